"""StatefulSets, DaemonSets, Jobs, namespaces, claims."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio

from devmesh.config.kinds import (
    CONFIG_MAP,
    CONTROLLER_REVISION,
    DAEMON_SET,
    JOB,
    NAMESPACE,
    NODE,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    SERVICE_ACCOUNT,
    STATEFUL_SET,
)
from devmesh.config.store import Raw

Make = Callable[..., Raw]


def template(name: str, image: str = "app", **spec: Any) -> Raw:
    containers = [{"name": "main", "image": image}]
    return {"metadata": {"labels": {"app": name}}, "spec": {"containers": containers, **spec}}


def stateful(name: str, replicas: int, image: str = "app", **spec: Any) -> Raw:
    return {
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "serviceName": name,
            "selector": {"matchLabels": {"app": name}},
            "template": template(name, image),
            **spec,
        },
    }


def job(name: str, **spec: Any) -> Raw:
    return {"metadata": {"name": name}, "spec": {"template": template(name, restartPolicy="Never"), **spec}}


async def test_a_stateful_set_starts_one_after_the_other(autojump_clock: Any, world: Any) -> None:
    world.backend.answers = lambda command: (1, b"")
    raw = stateful("db", 3)
    raw["spec"]["template"]["spec"]["containers"][0]["readinessProbe"] = {"exec": {"command": ["x"]}}
    world.put(STATEFUL_SET, raw)
    await trio.sleep(15)
    assert [p.name for p in world.pods(app="db")] == ["db-0"]
    world.backend.answers = lambda command: (0, b"")
    world.container("db-0").answers = world.backend.answers
    await trio.sleep(60)
    assert [p.name for p in world.pods(app="db")] == ["db-0", "db-1", "db-2"]
    assert world.pod("db-1").raw["spec"]["hostname"] == "db-1"
    status = world.store.list(STATEFUL_SET)[0].raw["status"]
    assert (status["readyReplicas"], status["currentRevision"]) == (3, status["updateRevision"])


async def test_a_stateful_set_keeps_names_and_claims(autojump_clock: Any, world: Any) -> None:
    claims = [{"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": "1Gi"}}}}]
    world.put(STATEFUL_SET, stateful("db", 2, volumeClaimTemplates=claims))
    await world.settled()
    names = [c.name for c in world.store.list(PERSISTENT_VOLUME_CLAIM)]
    assert names == ["data-db-0", "data-db-1"]
    assert world.store.list(PERSISTENT_VOLUME_CLAIM)[0].raw["status"]["phase"] == "Bound"
    uid = world.pod("db-1").uid
    world.store.delete(world.pod("db-1").key)
    await world.settled()
    assert world.pod("db-1").uid != uid
    world.put(STATEFUL_SET, stateful("db", 1, volumeClaimTemplates=claims))
    await world.settled()
    assert [p.name for p in world.pods(app="db")] == ["db-0"]
    assert len(world.store.list(PERSISTENT_VOLUME_CLAIM)) == 2


async def test_a_stateful_set_is_updated_from_the_last(autojump_clock: Any, world: Any) -> None:
    world.put(STATEFUL_SET, stateful("db", 2))
    await world.settled()
    gone = []
    world.store.subscribe(
        lambda e: gone.append(e.object.name) if e.type == "DELETED" and e.object.key.kind is POD else None
    )
    world.put(STATEFUL_SET, stateful("db", 2, image="app:2"))
    await trio.sleep(1)
    assert gone == ["db-1", "db-0"]
    status = world.store.list(STATEFUL_SET)[0].raw["status"]
    assert status["updatedReplicas"] == 2
    assert status["currentRevision"] == status["updateRevision"]
    assert sorted(r.raw["revision"] for r in world.store.list(CONTROLLER_REVISION)) == [1, 2]


async def test_an_undone_stateful_set_has_its_old_revision_again(autojump_clock: Any, world: Any) -> None:
    for image in ("app:1", "app:2", "app:1"):
        world.put(STATEFUL_SET, stateful("db", 1, image=image))
        await trio.sleep(1)
    assert sorted(r.raw["revision"] for r in world.store.list(CONTROLLER_REVISION)) == [2, 3]
    status = world.store.list(STATEFUL_SET)[0].raw["status"]
    newest = max(world.store.list(CONTROLLER_REVISION), key=lambda r: r.raw["revision"])
    assert status["updateRevision"] == newest.name


async def test_a_daemon_set_has_one_pod(autojump_clock: Any, world: Any) -> None:
    spec = {"selector": {"matchLabels": {"app": "d"}}, "template": template("d")}
    world.put(DAEMON_SET, {"metadata": {"name": "d"}, "spec": spec})
    await world.settled()
    assert len(world.pods(app="d")) == 1
    world.put(DAEMON_SET, {"metadata": {"name": "d"}, "spec": {**spec, "template": template("d", "app:2")}})
    await trio.sleep(1)
    [pod] = world.pods(app="d")
    assert pod.raw["spec"]["containers"][0]["image"] == "app:2"
    status = world.store.list(DAEMON_SET)[0].raw["status"]
    assert (status["numberReady"], status["updatedNumberScheduled"]) == (1, 1)


async def test_a_job_runs_to_its_completions(autojump_clock: Any, world: Any) -> None:
    world.backend.exits["app"] = 0
    world.put(JOB, job("work", completions=5, parallelism=2))
    await world.settled()
    status = world.store.list(JOB)[0].raw["status"]
    assert (status["succeeded"], status.get("active")) == (5, None)
    assert [c["type"] for c in status["conditions"]] == ["Complete"]
    assert "completionTime" in status


async def test_a_job_tries_again_and_gives_up(autojump_clock: Any, world: Any) -> None:
    world.backend.exits["app"] = 1
    world.put(JOB, job("work", backoffLimit=2))
    await trio.sleep(15)
    assert world.store.list(JOB)[0].raw["status"]["failed"] == 2
    await trio.sleep(60)
    status = world.store.list(JOB)[0].raw["status"]
    assert status["failed"] == 3
    assert status["conditions"][0]["reason"] == "BackoffLimitExceeded"


async def test_a_finished_job_goes_after_its_time(autojump_clock: Any, world: Any) -> None:
    world.backend.exits["app"] = 0
    world.put(JOB, job("work", ttlSecondsAfterFinished=30))
    await trio.sleep(20)
    assert world.store.list(JOB)
    await trio.sleep(20)
    assert not world.store.list(JOB)
    assert not world.store.list(POD)


async def test_a_job_that_takes_too_long_fails(autojump_clock: Any, world: Any) -> None:
    world.put(JOB, job("work", activeDeadlineSeconds=10))
    await trio.sleep(12)
    status = world.store.list(JOB)[0].raw["status"]
    assert status["conditions"][0]["reason"] == "DeadlineExceeded"
    assert world.pods(app="work") == []


async def test_each_namespace_has_what_kubernetes_gives_it(autojump_clock: Any, world: Any) -> None:
    world.put(NAMESPACE, {"metadata": {"name": "shop"}})
    await world.settled()
    account = world.store.get(SERVICE_ACCOUNT, "shop", "default")
    assert account is not None
    world.store.delete(account.key)
    await world.settled()
    assert world.store.get(SERVICE_ACCOUNT, "shop", "default") is not None
    assert world.store.get(CONFIG_MAP, "shop", "kube-root-ca.crt") is not None


async def test_there_is_one_node(autojump_clock: Any, world: Any) -> None:
    [node] = world.store.list(NODE)
    assert node.raw["status"]["nodeInfo"]["containerRuntimeVersion"] == "fake://1"
