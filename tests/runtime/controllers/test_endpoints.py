"""What stands behind Services."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from devmesh.config.kinds import DEPLOYMENT, ENDPOINT_SLICE, ENDPOINTS, SERVICE
from devmesh.config.store import Raw

Make = Callable[..., Raw]


def service(name: str, *ports: Raw, **spec: Any) -> Raw:
    found = list(ports) or [{"name": "http", "port": 80, "targetPort": 8080}]
    return {"metadata": {"name": name}, "spec": {"selector": {"app": name}, "ports": found, **spec}}


async def test_ready_pods_are_endpoints(autojump_clock: Any, world: Any, make_deployment: Make) -> None:
    world.put(SERVICE, service("web"))
    world.put(DEPLOYMENT, make_deployment("web", 2))
    await world.settled()

    [endpoints] = world.store.list(ENDPOINTS)
    [subset] = endpoints.raw["subsets"]
    assert subset["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]
    assert {a["ip"] for a in subset["addresses"]} == {p.raw["status"]["podIP"] for p in world.pods(app="web")}
    [slice_] = world.store.list(ENDPOINT_SLICE)
    assert slice_.labels["kubernetes.io/service-name"] == "web"
    assert [e["conditions"]["ready"] for e in slice_.raw["endpoints"]] == [True, True]


async def test_a_pod_that_ends_is_not_ready_but_serves(
    autojump_clock: Any, world: Any, make_deployment: Make
) -> None:
    world.put(SERVICE, service("web"))
    world.put(DEPLOYMENT, make_deployment("web", 1))
    await world.settled()
    [pod] = world.pods(app="web")
    world.container(pod).obeys = False
    world.store.delete(pod.key)
    await world.settled()
    [slice_] = world.store.list(ENDPOINT_SLICE)
    found = {e["targetRef"]["name"]: e["conditions"] for e in slice_.raw["endpoints"]}
    assert found[pod.name] == {"ready": False, "serving": True, "terminating": True}
    [subset] = world.store.list(ENDPOINTS)[0].raw["subsets"]
    named = [*subset["addresses"], *subset.get("notReadyAddresses", ())]
    assert pod.name not in [a["targetRef"]["name"] for a in named]


async def test_named_target_ports_are_looked_up_in_each_pod(
    autojump_clock: Any, world: Any, make_pod: Make
) -> None:
    from devmesh.config.kinds import POD

    for name, number in (("a", 8081), ("b", 8082)):
        raw = make_pod(name, {"ports": [{"name": "web", "containerPort": number}]})
        raw["metadata"]["labels"] = {"app": "web"}
        world.put(POD, raw)
    world.put(SERVICE, service("web", {"port": 80, "targetPort": "web"}))
    await world.settled()
    subsets = world.store.list(ENDPOINTS)[0].raw["subsets"]
    assert sorted(s["ports"][0]["port"] for s in subsets) == [8081, 8082]
    assert len(world.store.list(ENDPOINT_SLICE)) == 2


async def test_written_endpoints_are_mirrored(autojump_clock: Any, world: Any) -> None:
    world.put(SERVICE, {"metadata": {"name": "db"}, "spec": {"ports": [{"port": 5432}]}})
    subset = {"addresses": [{"ip": "192.0.2.7"}], "ports": [{"port": 5432}]}
    world.put(ENDPOINTS, {"metadata": {"name": "db"}, "subsets": [subset]})
    await world.settled()
    [slice_] = world.store.list(ENDPOINT_SLICE)
    assert slice_.raw["endpoints"][0]["addresses"] == ["192.0.2.7"]
    assert slice_.raw["ports"][0]["port"] == 5432


async def test_nothing_is_left_of_a_deleted_service(
    autojump_clock: Any, world: Any, make_deployment: Make
) -> None:
    stored = world.put(SERVICE, service("web"))
    world.put(DEPLOYMENT, make_deployment("web", 1))
    await world.settled()
    world.store.delete(stored.key)
    await world.settled()
    assert world.store.list(ENDPOINTS) == []
    assert world.store.list(ENDPOINT_SLICE) == []
