"""Deployments, their ReplicaSets and their pods, as kubectl sees them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio

from devmesh.config.kinds import DEPLOYMENT, POD, REPLICA_SET
from devmesh.config.store import Key, Raw
from devmesh.runtime.controllers.rollout import Replicas, next_scales

Make = Callable[..., Raw]
WEB = Key(DEPLOYMENT, "default", "web")


def condition(world: Any, kind: str) -> Raw:
    conditions = world.store.by_key(WEB).raw["status"]["conditions"]
    return next(c for c in conditions if c["type"] == kind)


def is_rolled_out(world: Any) -> bool:
    """Tell what `kubectl rollout status` tells."""
    raw = world.store.by_key(WEB).raw
    status, wanted = raw["status"], raw["spec"]["replicas"]
    return (
        status["observedGeneration"] >= raw["metadata"]["generation"]
        and status.get("updatedReplicas", 0) == wanted
        and status.get("replicas", 0) == wanted
        and status.get("availableReplicas", 0) == wanted
    )


async def test_pods_come_and_the_deployment_is_available(
    autojump_clock: Any, world: Any, make_deployment: Make
) -> None:
    world.put(DEPLOYMENT, make_deployment("web", 3))
    await world.settled()

    assert len(world.pods(app="web")) == 3
    assert is_rolled_out(world)
    assert condition(world, "Available")["status"] == "True"
    assert condition(world, "Progressing")["reason"] == "NewReplicaSetAvailable"
    [replicas] = world.store.list(REPLICA_SET)
    assert replicas.name.startswith("web-")
    assert replicas.labels["pod-template-hash"] == replicas.name.removeprefix("web-")
    assert {i.workload.name for i in world.runtime.instances.current.values()} == {"web"}
    assert {i.workload.kind for i in world.runtime.instances.current.values()} == {"Deployment"}


async def test_scaling_adds_and_removes(autojump_clock: Any, world: Any, make_deployment: Make) -> None:
    world.put(DEPLOYMENT, make_deployment("web", 1))
    await world.settled()
    world.put(DEPLOYMENT, make_deployment("web", 4))
    await world.settled()
    assert len(world.pods(app="web")) == 4
    world.put(DEPLOYMENT, make_deployment("web", 2))
    await world.settled()
    assert len(world.pods(app="web")) == 2
    assert is_rolled_out(world)
    assert len(world.store.list(REPLICA_SET)) == 1


async def test_a_rolling_update_never_lacks_a_ready_pod(
    autojump_clock: Any, world: Any, make_deployment: Make
) -> None:
    world.put(DEPLOYMENT, make_deployment("web", 4))
    await world.settled()
    fewest = most = 4

    def count(event: Any) -> None:
        nonlocal fewest, most
        pods = [p for p in world.store.list(POD) if not p.deleting]
        ready = sum(i.ready for i in world.runtime.instances.current.values())
        fewest, most = min(fewest, ready), max(most, len(pods))

    world.store.subscribe(count)
    world.put(DEPLOYMENT, make_deployment("web", 4, image="app:2"))
    await trio.sleep(1)

    assert is_rolled_out(world)
    assert {p.raw["spec"]["containers"][0]["image"] for p in world.pods(app="web")} == {"app:2"}
    assert fewest >= 3  # maxUnavailable 25 %
    assert most <= 5  # maxSurge 25 %


async def test_recreate_ends_the_old_before_the_new(
    autojump_clock: Any, world: Any, make_deployment: Make
) -> None:
    recreate = {"strategy": {"type": "Recreate"}}
    world.put(DEPLOYMENT, make_deployment("web", 2, **recreate))
    await world.settled()
    old = {p.name for p in world.pods(app="web")}
    for pod in old:
        world.container(pod).obeys = False
    world.put(DEPLOYMENT, make_deployment("web", 2, image="app:2", **recreate))
    await world.settled()
    assert {p.name for p in world.pods(app="web")} == old
    for pod in old:
        world.container(pod).exit(0)
    await world.settled()
    assert len(world.pods(app="web")) == 2
    assert not old & {p.name for p in world.pods(app="web")}
    assert is_rolled_out(world)


async def test_an_update_that_does_not_come_up_keeps_the_old_and_times_out(
    autojump_clock: Any, world: Any, make_deployment: Make
) -> None:
    world.put(DEPLOYMENT, make_deployment("web", 2))
    await world.settled()
    world.backend.missing["app:2"] = "nobody has it"
    world.put(DEPLOYMENT, make_deployment("web", 2, image="app:2", progressDeadlineSeconds=60))
    await trio.sleep(70)

    assert condition(world, "Progressing")["reason"] == "ProgressDeadlineExceeded"
    assert condition(world, "Progressing")["status"] == "False"
    assert condition(world, "Available")["status"] == "True"
    assert sum(i.ready for i in world.runtime.instances.current.values()) == 2


async def test_an_undone_revision_is_the_newest_again(
    autojump_clock: Any, world: Any, make_deployment: Make
) -> None:
    for image in ("app:1", "app:2", "app:1"):
        world.put(DEPLOYMENT, make_deployment("web", 1, image=image))
        await trio.sleep(1)
    revisions = {
        s.raw["spec"]["template"]["spec"]["containers"][0]["image"]: s.annotations[
            "deployment.kubernetes.io/revision"
        ]
        for s in world.store.list(REPLICA_SET)
    }
    assert revisions == {"app:2": "2", "app:1": "3"}
    assert world.store.by_key(WEB).annotations["deployment.kubernetes.io/revision"] == "3"
    assert is_rolled_out(world)


async def test_a_restart_annotation_replaces_the_pods(
    autojump_clock: Any, world: Any, make_deployment: Make
) -> None:
    world.put(DEPLOYMENT, make_deployment("web", 2))
    await world.settled()
    before = {p.name for p in world.pods(app="web")}
    raw = make_deployment("web", 2)
    raw["spec"]["template"]["metadata"]["annotations"] = {"kubectl.kubernetes.io/restartedAt": "now"}
    world.put(DEPLOYMENT, raw)
    await trio.sleep(1)
    assert is_rolled_out(world)
    assert not before & {p.name for p in world.pods(app="web")}


async def test_old_revisions_are_forgotten(autojump_clock: Any, world: Any, make_deployment: Make) -> None:
    for number in range(5):
        world.put(DEPLOYMENT, make_deployment("web", 1, image=f"app:{number}", revisionHistoryLimit=2))
        await trio.sleep(1)
    assert len(world.store.list(REPLICA_SET)) == 3


async def test_a_deleted_pod_is_replaced(autojump_clock: Any, world: Any, make_deployment: Make) -> None:
    world.put(DEPLOYMENT, make_deployment("web", 1))
    await world.settled()
    [pod] = world.pods(app="web")
    world.store.delete(pod.key)
    await world.settled()
    [other] = world.pods(app="web")
    assert other.name != pod.name


async def test_deleting_a_deployment_ends_everything(
    autojump_clock: Any, world: Any, make_deployment: Make
) -> None:
    world.put(DEPLOYMENT, make_deployment("web", 3))
    await world.settled()
    world.store.delete(WEB)
    await world.settled()
    assert world.store.list(REPLICA_SET) == []
    assert world.store.list(POD) == []
    assert world.runtime.instances.current == {}


async def test_a_paused_deployment_waits(autojump_clock: Any, world: Any, make_deployment: Make) -> None:
    world.put(DEPLOYMENT, make_deployment("web", 2))
    await world.settled()
    world.put(DEPLOYMENT, make_deployment("web", 2, image="app:2", paused=True))
    await world.settled()
    assert len(world.store.list(REPLICA_SET)) == 1
    world.put(DEPLOYMENT, make_deployment("web", 2, image="app:2", paused=False))
    await trio.sleep(1)
    assert is_rolled_out(world)
    assert {p.raw["spec"]["containers"][0]["image"] for p in world.pods(app="web")} == {"app:2"}


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "old", "current", "expected"),
    [
        pytest.param(4, "25%", "25%", (4, 4), (0, 0), (1, 3), id="first step: one more, one less"),
        pytest.param(4, 1, 0, (4, 4), (0, 0), (1, 4), id="none may lack"),
        pytest.param(4, 1, 0, (4, 4), (1, 1), (1, 3), id="the new one is there"),
        pytest.param(4, 0, 1, (4, 4), (0, 0), (0, 3), id="none may be too many"),
        pytest.param(1, "25%", "25%", (1, 1), (0, 0), (1, 1), id="one replica: the new one first"),
        pytest.param(1, "25%", "25%", (1, 1), (1, 1), (1, 0), id="one replica: then the old one goes"),
        pytest.param(3, 1, 1, (3, 1), (0, 0), (1, 2), id="broken old pods go first"),
        pytest.param(2, "100%", "0%", (2, 2), (0, 0), (2, 2), id="all at once"),
    ],
)
def test_the_steps_of_a_rolling_update(
    replicas: int,
    surge: int | str,
    unavailable: int | str,
    old: tuple[int, int],
    current: tuple[int, int],
    expected: tuple[int, int],
) -> None:
    rolling = {"maxSurge": surge, "maxUnavailable": unavailable}
    spec = {"replicas": replicas, "strategy": {"type": "RollingUpdate", "rollingUpdate": rolling}}
    before = Replicas("old", old[0], old[0], old[1], old[1])
    now = Replicas("new", current[0], current[0], current[1], current[1])
    new, (left,) = next_scales(spec, [before], now)
    assert (new, left) == expected


async def test_a_pod_counts_once_it_has_been_ready_for_long_enough(
    autojump_clock: Any, world: Any, make_deployment: Make
) -> None:
    world.put(DEPLOYMENT, make_deployment("web", 1, minReadySeconds=20))
    await trio.sleep(15)
    status = world.store.by_key(WEB).raw["status"]
    assert (status["readyReplicas"], status.get("availableReplicas", 0)) == (1, 0)
    await trio.sleep(10)
    assert is_rolled_out(world)


async def test_what_was_orphaned_is_adopted_again(
    autojump_clock: Any, world: Any, make_deployment: Make
) -> None:
    world.put(DEPLOYMENT, make_deployment("web", 2))
    await world.settled()
    before = {p.uid for p in world.pods(app="web")}
    world.store.delete(WEB, orphan=True)
    await world.settled()
    assert {p.uid for p in world.pods(app="web")} == before
    world.put(DEPLOYMENT, make_deployment("web", 2))
    await world.settled()
    assert {p.uid for p in world.pods(app="web")} == before
    assert len(world.store.list(REPLICA_SET)) == 1
    assert is_rolled_out(world)
