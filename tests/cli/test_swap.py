"""devmesh swap against a fake API."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from devmesh.cli.failure import CliFailure
from devmesh.cli.main import cli
from devmesh.config.statedir import StateDir
from tests.cli.fake_api import FakeApi, serving

NS = "/namespaces/default"
ENTRIES = f"/apis/networking.istio.io/v1{NS}/workloadentries"
WORKLOAD = {
    "kind": "Deployment",
    "metadata": {"name": "cart"},
    "spec": {
        "selector": {"matchLabels": {"app": "cart"}},
        "template": {"metadata": {"labels": {"app": "cart"}}, "spec": {"serviceAccountName": "shop"}},
    },
    "status": {"readyReplicas": 1},
}
POD: dict[str, Any] = {
    "metadata": {
        "name": "cart-1",
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "labels": {"app": "cart"},
        "annotations": {"sidecar.istio.io/status": "{}"},
    },
    "spec": {"containers": [{"name": "cart", "ports": [{"name": "web", "containerPort": 8080}]}]},
}
HTTP = {"name": "http", "port": 80, "targetPort": "web"}
ADMIN = {"name": "admin", "port": 81, "targetPort": 9090}


def service(*ports: dict[str, Any]) -> dict[str, Any]:
    return {"items": [{"spec": {"selector": {"app": "cart"}, "ports": list(ports)}}]}


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeApi]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("DEVMESH_MESH", raising=False)
    monkeypatch.chdir(tmp_path)
    with serving(StateDir.of("shop")) as fake:
        groups = [{"preferredVersion": {"groupVersion": f"{g}/v1"}} for g in ("apps", "networking.istio.io")]
        fake.add("GET", "/apis", {"groups": groups})
        kinds = [("deployments", "Deployment"), ("statefulsets", "StatefulSet"), ("daemonsets", "DaemonSet")]
        listed = [{"name": n, "singularName": k.lower(), "kind": k, "namespaced": True} for n, k in kinds]
        fake.add("GET", "/apis/apps/v1", {"resources": listed})
        entry = {"name": "workloadentries", "kind": "WorkloadEntry", "namespaced": True}
        fake.add("GET", "/apis/networking.istio.io/v1", {"resources": [entry]})
        fake.add("GET", f"/apis/apps/v1{NS}/deployments/cart", WORKLOAD)
        fake.add("GET", f"/api/v1{NS}/pods?labelSelector=app=cart", {"items": [POD]})
        fake.add("GET", f"/api/v1{NS}/services", service(HTTP))
        fake.add("GET", ENTRIES, {"items": []})
        fake.add("POST", ENTRIES, {})
        yield fake


@pytest.fixture
def port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def swap(*words: str) -> Result:
    return CliRunner().invoke(cli, ["swap", *words])


def failure(result: Result) -> CliFailure:
    assert isinstance(result.exception, CliFailure), result.output
    return result.exception


def written(api: FakeApi, method: str = "POST") -> dict[str, Any]:
    [body] = [body for asked, _, body in api.asked if asked == method]
    assert isinstance(body, dict)
    return body


def test_the_process_joins_as_a_workload_entry(api: FakeApi, port: int) -> None:
    done = swap("cart", "--to", f"localhost:{port}")
    assert done.output.startswith(f"deployment/cart is served at 127.0.0.1:{port} now")
    assert written(api) == {
        "apiVersion": "networking.istio.io/v1",
        "kind": "WorkloadEntry",
        "metadata": {"name": "cart", "annotations": {"devmesh.dev/swap": "Deployment/cart"}},
        "spec": {
            "address": "127.0.0.1",
            "ports": {"http": port},
            "labels": {"app": "cart"},
            "serviceAccount": "shop",
        },
    }


@pytest.mark.parametrize("name", ["cart", "deployments/cart", "deployment/cart"])
def test_a_workload_is_named_as_for_kubectl(api: FakeApi, port: int, name: str) -> None:
    assert swap(name, "--to", f"127.0.0.1:{port}").exit_code == 0


def test_of_several_ports_the_one_with_that_number_is_meant_or_has_to_be_named(
    api: FakeApi, port: int
) -> None:
    api.add("GET", f"/api/v1{NS}/services", service(HTTP, ADMIN))
    refused = failure(swap("cart", "--to", f"localhost:{port}"))
    assert "has the ports http (8080), admin (9090): say which is to be at" in str(refused)
    assert refused.status == 2
    assert swap("cart", "--to", f"localhost:{port}", "--port", "admin").exit_code == 0
    assert written(api)["spec"]["ports"] == {"admin": port}


def test_a_port_with_several_names_goes_by_its_number(api: FakeApi, port: int) -> None:
    api.add("GET", f"/api/v1{NS}/services", service(HTTP, HTTP | {"name": "http-alt", "port": 8081}))
    assert swap("cart", "--to", f"localhost:{port}").exit_code == 0
    assert written(api)["spec"]["ports"] == {"8080": port}


def test_ports_may_each_have_a_place(api: FakeApi, port: int) -> None:
    api.add("GET", f"/api/v1{NS}/services", service(HTTP, ADMIN))
    assert swap("cart", "--to", "localhost", "--port", f"http={port}", "--port", "admin=9").exit_code == 1
    done = swap("cart", "--to", "localhost", "--port", f"http={port}", "--port", "admin=9", "--force")
    assert done.exit_code == 0
    assert written(api)["spec"]["ports"] == {"http": port, "admin": 9}


def test_another_place_replaces_the_first(api: FakeApi, port: int) -> None:
    meta = {
        "name": "cart",
        "namespace": "default",
        "resourceVersion": "7",
        "annotations": {"devmesh.dev/swap": "Deployment/cart"},
    }
    api.add("GET", ENTRIES, {"items": [{"metadata": meta, "spec": {"address": "127.0.0.1"}}]})
    api.add("PUT", f"{ENTRIES}/cart", {})
    assert swap("cart", "--to", f"localhost:{port}").exit_code == 0
    assert written(api, "PUT")["metadata"]["resourceVersion"] == "7"
    api.add("DELETE", f"{ENTRIES}/cart", {})
    assert swap("cart", "--back").output == "deployment/cart is served by its own pods again\n"


def test_an_entry_of_the_users_own_keeps_its_name(api: FakeApi, port: int) -> None:
    api.add("POST", ENTRIES, "exists", 409)
    assert failure(swap("cart", "--to", f"localhost:{port}")).code == 409  # type: ignore[attr-defined]
    posted = [body["metadata"]["name"] for asked, _, body in api.asked if asked == "POST"]
    assert posted == ["cart", "cart-swap"]


def test_what_is_not_swapped_is_told_so(api: FakeApi) -> None:
    assert swap("cart", "--back").output == "deployment/cart is not swapped\n"


def test_the_swaps_are_listed(api: FakeApi) -> None:
    meta = {"name": "cart", "namespace": "default", "annotations": {"devmesh.dev/swap": "Deployment/cart"}}
    found = {"metadata": meta, "spec": {"address": "127.0.0.1", "ports": {"http": 5000}}}
    other = {"metadata": {"name": "vm", "namespace": "default"}, "spec": {"address": "192.0.2.1"}}
    api.add("GET", "/apis/networking.istio.io/v1/workloadentries", {"items": [found, other]})
    assert swap().output.splitlines()[1].split() == ["default", "Deployment/cart", "127.0.0.1", "http=5000"]


@pytest.mark.parametrize(
    ("words", "says", "status"),
    [
        (("cart",), "say --to HOST[:PORT], or --back", 2),
        (("cart", "--to", "localhost:1", "--back"), "say --to HOST[:PORT], or --back", 2),
        (("--to", "localhost:1"), "say which workload", 2),
        (("nobody", "--to", "localhost:1"), "there is no workload 'nobody' in namespace 'default'", 1),
        (("cart", "--to", "localhost:x"), "is no port", 2),
        (("cart", "--to", "localhost:0"), "is no port", 2),
        (("cart", "--to", "localhost:1", "--port", "grpc"), "has no port grpc: its Services name http", 2),
        (("cart", "--to", "localhost:1", "--port", "=1"), "write NAME or NAME=PORT", 2),
        (("cart", "--to", "localhost:1"), "nothing listens on localhost:1: start the process first", 1),
        (("cart", "--to", "no.such.host.invalid:1"), "the name has no address", 2),
    ],
)
def test_what_cannot_be_done_is_said(api: FakeApi, words: tuple[str, ...], says: str, status: int) -> None:
    refused = failure(swap(*words))
    assert says in str(refused)
    assert refused.status == status


def test_a_workload_outside_the_mesh_is_refused(api: FakeApi, port: int) -> None:
    bare = {**POD, "metadata": {**POD["metadata"], "annotations": {}}}
    api.add("GET", f"/api/v1{NS}/pods?labelSelector=app=cart", {"items": [bare]})
    assert "is outside the mesh" in str(failure(swap("cart", "--to", f"localhost:{port}")))


def test_a_workload_that_no_service_names_has_no_callers(api: FakeApi, port: int) -> None:
    api.add("GET", f"/api/v1{NS}/services", {"items": []})
    assert "no Service leads to deployment/cart" in str(failure(swap("cart", "--to", f"localhost:{port}")))


def test_going_back_to_pods_that_are_not_ready_is_warned_of(api: FakeApi) -> None:
    meta = {"name": "cart", "namespace": "default", "annotations": {"devmesh.dev/swap": "Deployment/cart"}}
    api.add("GET", ENTRIES, {"items": [{"metadata": meta, "spec": {"address": "127.0.0.1"}}]})
    api.add("DELETE", f"{ENTRIES}/cart", {})
    api.add("GET", f"/apis/apps/v1{NS}/deployments/cart", WORKLOAD | {"status": {}})
    assert "none of them is ready" in swap("cart", "--back").output
