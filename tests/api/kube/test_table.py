from __future__ import annotations

from typing import Any

import pytest

from devmesh.api.kube.columns_workloads import pod_status
from devmesh.api.kube.duration import human
from devmesh.api.kube.table import columns_of, table
from devmesh.config.kinds import BUILT_IN, JOB, POD, SERVICE, Kind


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (330, "5m30s"),
        (600, "10m"),
        (3 * 3600 - 1, "179m"),
        (3 * 3600, "3h"),
        (5 * 3600 + 1800, "5h30m"),
        (8 * 3600, "8h"),
        (47 * 3600, "47h"),
        (48 * 3600, "2d"),
        (75 * 3600, "3d3h"),
        (9 * 86400, "9d"),
        (400 * 86400, "400d"),
        (800 * 86400, "2y70d"),
        (10 * 365 * 86400, "10y"),
        (-0.5, "0s"),
        (-60, "<invalid>"),
    ],
)
def test_ages_are_short(seconds: float, text: str) -> None:
    assert human(seconds) == text


@pytest.mark.parametrize("kind", BUILT_IN, ids=lambda kind: kind.resource)
def test_every_kind_has_a_table_even_for_an_object_without_anything(kind: Kind) -> None:
    found = table(
        kind, [{"metadata": {"name": "a", "creationTimestamp": "2026-01-01T00:00:00Z"}}], version="1"
    )
    assert len(found["rows"][0]["cells"]) == len(found["columnDefinitions"]) >= 2


def test_every_kind_has_a_table_even_where_everything_is_null() -> None:
    for kind in BUILT_IN:
        table(kind, [{"metadata": {"name": "a"}, "spec": None, "status": None}], version="1")


def status(*containers: dict[str, Any], phase: str = "Running", **more: Any) -> dict[str, Any]:
    return {
        "metadata": {},
        "spec": {},
        "status": {"phase": phase, "containerStatuses": list(containers), **more},
    }


WAITING = {"state": {"waiting": {"reason": "ImagePullBackOff"}}}
RUNNING = {"ready": True, "state": {"running": {}}}
ENDED = {"state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}


@pytest.mark.parametrize(
    ("raw", "word"),
    [
        (status(RUNNING), "Running"),
        (status(WAITING, phase="Pending"), "ImagePullBackOff"),
        (status(RUNNING, WAITING), "ImagePullBackOff"),
        (status({"state": {"terminated": {"exitCode": 3}}}, phase="Failed"), "ExitCode:3"),
        (status({"state": {"terminated": {"signal": 9, "exitCode": 137}}}), "Signal:9"),
        (status(ENDED, phase="Succeeded"), "Completed"),
        (status(ENDED, RUNNING, conditions=[{"type": "Ready", "status": "True"}]), "Running"),
        (status(ENDED, RUNNING), "NotReady"),
        (status(phase="Failed", reason="Evicted"), "Evicted"),
        ({**status(RUNNING), "metadata": {"deletionTimestamp": "x"}}, "Terminating"),
        (status(phase="Pending"), "Pending"),
    ],
)
def test_the_status_of_a_pod_is_what_holds_it_up(raw: dict[str, Any], word: str) -> None:
    assert pod_status(raw) == word


def test_init_containers_are_counted() -> None:
    raw = status(phase="Pending", initContainerStatuses=[ENDED, {"state": {"running": {}}}])
    raw["spec"] = {"initContainers": [{"name": "a"}, {"name": "b"}, {"name": "c"}]}
    assert pod_status(raw) == "Init:1/3"


def test_sidecars_count_as_containers() -> None:
    raw = status(
        {"name": "app", **RUNNING}, initContainerStatuses=[{"name": "proxy", "started": True, **RUNNING}]
    )
    raw["spec"] = {
        "containers": [{"name": "app"}],
        "initContainers": [{"name": "proxy", "restartPolicy": "Always"}],
    }
    assert cells(POD, raw)["Ready"] == "2/2"


def test_a_service_shows_its_ports_and_addresses() -> None:
    raw = {
        "metadata": {},
        "spec": {
            "type": "LoadBalancer",
            "clusterIP": "240.240.0.1",
            "ports": [{"port": 80, "nodePort": 8080}, {"port": 53, "protocol": "UDP"}],
        },
        "status": {"loadBalancer": {"ingress": [{"ip": "127.0.0.1"}]}},
    }
    found = cells(SERVICE, raw)
    assert (found["Port(s)"], found["External-IP"]) == ("80:8080/TCP,53/UDP", "127.0.0.1")


def test_a_job_shows_how_far_it_is() -> None:
    raw = {"metadata": {}, "spec": {"completions": 3}, "status": {"succeeded": 1}}
    assert cells(JOB, raw)["Completions"] == "1/3"


def cells(kind: Kind, raw: dict[str, Any]) -> dict[str, Any]:
    row = table(kind, [raw], version="1")["rows"][0]["cells"]
    return dict(zip((c.name for c in columns_of(kind)), row, strict=True))
