"""The life of a pod, with containers that do what the test says."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from devmesh.config.kinds import NAMESPACE, POD
from devmesh.config.store import Key, Raw
from devmesh.runtime.access import LogOptions, NotRunning
from devmesh.runtime.pods.backend import SandboxProblem
from devmesh.runtime.pods.kubelet import clear_last_run

MakePod = Callable[..., Raw]


def status_of(world: Any, pod: str, container: str = "main") -> Raw:
    statuses = world.pod(pod).raw["status"]["containerStatuses"]
    return next(s for s in statuses if s["name"] == container)


async def test_a_pod_runs_and_is_ready_without_probes(
    autojump_clock: Any, world: Any, make_pod: MakePod
) -> None:
    world.put(POD, make_pod("a"))
    await world.settled()

    status = world.pod("a").raw["status"]
    assert status["phase"] == "Running"
    assert {c["type"]: c["status"] for c in status["conditions"]}["Ready"] == "True"
    assert status["podIP"] == "10.244.0.2"
    [instance] = world.runtime.instances.current.values()
    assert (instance.pod, instance.ready, instance.meshed) == ("a", True, False)
    assert [reason for reason, _ in world.events("a")].count("Started") == 1


async def test_containers_wait_for_the_proxy(autojump_clock: Any, world: Any, make_pod: MakePod) -> None:
    world.configures_all = False
    world.put(NAMESPACE, {"metadata": {"name": "default", "labels": {"istio-injection": "enabled"}}})
    pod = world.put(POD, make_pod("a"))
    await world.settled()
    assert world.backend.sandbox("a").containers == []
    assert not world.runtime.instances.current[pod.uid].ready

    world.configured.add(pod.uid)
    await trio.sleep(0.1)

    assert [s["ready"] for s in world.pod("a").raw["status"]["containerStatuses"]] == [True, True]
    assert world.runtime.instances.current[pod.uid].ready


async def test_a_container_that_ends_is_started_again_with_growing_delays(
    autojump_clock: Any, world: Any, make_pod: MakePod
) -> None:
    world.put(POD, make_pod("a"))
    starts = []
    await world.settled()
    for _ in range(4):
        starts.append(trio.current_time())
        before = world.container("a")
        before.exit(1)
        while world.container("a") is before:  # noqa: ASYNC110 (the fake tells nobody)
            await trio.sleep(0.1)
    assert [round(b - a) for a, b in itertools.pairwise(starts)] == [0, 10, 20]
    assert status_of(world, "a")["restartCount"] == 4


async def test_waiting_to_start_again_is_a_crash_loop(
    autojump_clock: Any, world: Any, make_pod: MakePod
) -> None:
    world.backend.exits["app"] = 3
    world.put(POD, make_pod("a"))
    await world.settled()

    status = status_of(world, "a")
    assert status["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert status["lastState"]["terminated"]["exitCode"] == 3
    assert world.pod("a").raw["status"]["phase"] == "Running"
    assert "BackOff" in dict(world.events("a"))


async def test_a_pod_that_is_never_restarted_ends_as_its_containers_did(
    autojump_clock: Any, world: Any, make_pod: MakePod
) -> None:
    world.put(POD, make_pod("good", restartPolicy="Never"))
    world.put(POD, make_pod("bad", restartPolicy="Never"))
    await world.settled()
    world.container("good").exit(0)
    world.container("bad").exit(2)
    await world.settled()
    assert world.pod("good").raw["status"]["phase"] == "Succeeded"
    assert world.pod("bad").raw["status"]["phase"] == "Failed"
    assert world.runtime.instances.current == {}
    assert world.backend.sandbox("good").is_closed


async def test_deletion_makes_unready_at_once_and_keeps_to_the_grace(
    autojump_clock: Any, world: Any, make_pod: MakePod
) -> None:
    pod = world.put(POD, make_pod("a", terminationGracePeriodSeconds=7))
    await world.settled()
    container = world.container("a")
    container.obeys = False
    world.store.delete(pod.key, grace=7)
    await world.settled()
    assert not world.runtime.instances.current[pod.uid].ready
    conditions = {c["type"]: c["status"] for c in world.pod("a").raw["status"]["conditions"]}
    assert conditions["Ready"] == "False"
    assert container.signals == [signal.SIGTERM]

    await trio.sleep(7.1)

    assert container.signals == [signal.SIGTERM, signal.SIGKILL]
    assert world.store.get(POD, "default", "a") is None
    assert world.backend.sandbox("a").is_closed
    assert world.runtime.instances.current == {}


async def test_a_pod_with_finalizers_is_stopped_and_stays_until_they_are_taken_away(
    autojump_clock: Any, world: Any, make_pod: MakePod
) -> None:
    raw = make_pod("a", restartPolicy="Never")
    raw["metadata"]["finalizers"] = ["example.com/keep"]
    pod = world.put(POD, raw)
    await world.settled()
    world.store.delete(pod.key, grace=7)
    await trio.sleep(10)
    stored = world.pod("a")
    assert world.backend.sandbox("a").is_closed
    assert (stored.deleting, stored.metadata["deletionGracePeriodSeconds"]) == (True, 0)
    assert stored.raw["status"]["phase"] == "Failed"
    assert status_of(world, "a")["state"]["terminated"]["exitCode"] == 143

    world.store.update(POD, {**stored.raw, "metadata": {**stored.metadata, "finalizers": []}})
    assert world.store.get(POD, "default", "a") is None


async def test_finalizers_do_not_keep_a_pod_from_being_killed(
    autojump_clock: Any, world: Any, make_pod: MakePod
) -> None:
    raw = make_pod("a")
    raw["metadata"]["finalizers"] = ["example.com/keep"]
    pod = world.put(POD, raw)
    await world.settled()
    world.container("a").obeys = False
    world.store.delete(pod.key, grace=30)
    await trio.sleep(1)
    world.store.delete(pod.key, grace=0)
    await world.settled()
    assert world.backend.sandbox("a").is_closed
    assert world.pod("a").deleting


async def test_pods_with_finalizers_outlast_a_restart(store: Any, make_pod: MakePod, tmp_path: Any) -> None:
    raw = make_pod("a")
    raw["metadata"] |= {"finalizers": ["example.com/keep"]}
    store.create(POD, raw)
    store.delete(Key(POD, "default", "a"), grace=5)
    clear_last_run(SimpleNamespace(store=store, pods=tmp_path))  # type: ignore[arg-type]
    assert store.get(POD, "default", "a").metadata["deletionGracePeriodSeconds"] == 0


async def test_readiness_waits_for_the_gates_that_others_open(
    autojump_clock: Any, world: Any, make_pod: MakePod
) -> None:
    pod = world.put(POD, make_pod("a", readinessGates=[{"conditionType": "example.com/lb"}]))
    await world.settled()

    def conditions() -> dict[str, Raw]:
        return {c["type"]: c for c in world.pod("a").raw["status"]["conditions"]}

    def open_gate(status: str) -> None:
        raw = world.pod("a").raw
        found = [c for c in raw["status"]["conditions"] if c["type"] != "example.com/lb"]
        gate = {"type": "example.com/lb", "status": status}
        new = {**raw, "status": {**raw["status"], "conditions": [*found, gate]}}
        world.store.update(POD, new, status=True)

    assert conditions()["ContainersReady"]["status"] == "True"
    ready = conditions()["Ready"]
    assert (ready["status"], ready["reason"]) == ("False", "ReadinessGatesNotReady")
    assert "does not exist" in ready["message"]
    assert not world.runtime.instances.current[pod.uid].ready
    open_gate("True")
    assert conditions()["Ready"]["status"] == "True"
    assert world.runtime.instances.current[pod.uid].ready
    open_gate("False")
    assert conditions()["Ready"]["status"] == "False"
    assert not world.runtime.instances.current[pod.uid].ready


@pytest.mark.parametrize(
    ("image_user", "own", "shared", "problem"),
    [
        (None, {"runAsNonRoot": True, "runAsUser": 0}, {}, "runAsUser breaks non-root policy"),
        (None, {}, {"runAsNonRoot": True, "runAsUser": 0}, "runAsUser breaks non-root policy"),
        ("", {"runAsNonRoot": True}, {}, "image will run as root"),
        ("0:0", {}, {"runAsNonRoot": True}, "image will run as root"),
        ("app", {"runAsNonRoot": True}, {}, "non-numeric user"),
        ("1000", {"runAsNonRoot": True}, {}, ""),
        ("", {"runAsNonRoot": True, "runAsUser": 7}, {}, ""),
        ("", {"runAsNonRoot": False}, {"runAsNonRoot": True}, ""),
        (None, {"runAsNonRoot": True}, {}, ""),
        ("", {}, {}, ""),
    ],
)
async def test_what_must_not_be_root_is_not_started_as_root(
    autojump_clock: Any,
    world: Any,
    make_pod: MakePod,
    image_user: str | None,
    own: Raw,
    shared: Raw,
    problem: str,
) -> None:
    world.backend.image_user = image_user
    world.put(POD, make_pod("a", {"securityContext": own}, securityContext=shared))
    await world.settled()
    state = status_of(world, "a")["state"]
    if problem:
        assert state["waiting"]["reason"] == "CreateContainerConfigError"
        assert problem in state["waiting"]["message"]
    else:
        assert "running" in state


async def test_a_forced_deletion_kills(autojump_clock: Any, world: Any, make_pod: MakePod) -> None:
    pod = world.put(POD, make_pod("a"))
    await world.settled()
    world.store.delete(pod.key, grace=0)
    await world.settled()
    assert world.container("a").signals == [signal.SIGKILL]
    assert world.backend.sandbox("a").is_closed


@pytest.mark.parametrize("grace", [0, 10])
async def test_what_ends_is_out_of_the_mesh_before_it_is_told_to(
    autojump_clock: Any, world: Any, make_pod: MakePod, grace: int
) -> None:
    pod = world.put(POD, make_pod("a"))
    await world.settled()
    world.slow_to_withdraw = 0.5
    world.store.delete(pod.key, grace=grace)
    await trio.sleep(0.4)
    assert world.withdrawn == {pod.uid: True}
    assert world.container("a").signals == []
    await trio.sleep(0.3)
    assert world.container("a").signals == [signal.SIGKILL if grace == 0 else signal.SIGTERM]


async def test_a_mesh_that_does_not_withdraw_holds_nothing_up(
    autojump_clock: Any, world: Any, make_pod: MakePod
) -> None:
    pod = world.put(POD, make_pod("a"))
    await world.settled()
    world.slow_to_withdraw = 100
    world.store.delete(pod.key, grace=0)
    await trio.sleep(1.1)
    assert world.container("a").signals == [signal.SIGKILL]


async def test_init_containers_run_in_order_before_the_others(
    autojump_clock: Any, world: Any, make_pod: MakePod
) -> None:
    init = [{"name": "one", "image": "app"}, {"name": "two", "image": "app"}]
    world.put(POD, make_pod("a", initContainers=init))
    await world.settled()
    assert [c.spec.name for c in world.backend.sandbox("a").containers] == ["one"]
    world.container("a", "one").exit(1)
    await world.settled()
    assert [c.spec.attempt for c in world.backend.sandbox("a").containers] == [0, 1]
    world.container("a", "one").exit(0)
    await world.settled()
    assert world.pod("a").raw["status"]["phase"] == "Pending"
    world.container("a", "two").exit(0)
    await world.settled()
    assert [c.spec.name for c in world.backend.sandbox("a").containers] == ["one", "one", "two", "main"]
    assert world.pod("a").raw["status"]["phase"] == "Running"


async def test_a_sidecar_runs_beside_and_ends_after_the_others(
    autojump_clock: Any, world: Any, make_pod: MakePod
) -> None:
    sidecar = {"name": "side", "image": "side", "restartPolicy": "Always"}
    world.put(POD, make_pod("a", initContainers=[sidecar], restartPolicy="Never"))
    await world.settled()
    assert world.container("a", "side").is_running
    world.container("a", "main").exit(0)
    await world.settled()
    assert world.container("a", "side").signals == [signal.SIGTERM]
    assert not world.container("a", "side").is_running
    assert world.pod("a").raw["status"]["phase"] == "Succeeded"


async def test_readiness_gates_and_liveness_restarts(
    autojump_clock: Any, world: Any, make_pod: MakePod
) -> None:
    answers = {"ready": 1, "live": 0}
    world.backend.answers = lambda command: (answers[command[0]], b"told why")
    probes = {
        "readinessProbe": {"exec": {"command": ["ready"]}, "periodSeconds": 5},
        "livenessProbe": {"exec": {"command": ["live"]}, "periodSeconds": 5, "failureThreshold": 2},
    }
    world.put(POD, make_pod("a", probes))
    await trio.sleep(1)
    assert not status_of(world, "a")["ready"]
    answers["ready"] = 0
    await trio.sleep(5)
    assert status_of(world, "a")["ready"]

    answers["live"] = 1
    await trio.sleep(11)

    assert status_of(world, "a")["restartCount"] == 1
    assert ("Unhealthy", "Liveness probe failed: told why") in world.events("a")
    assert "will be restarted" in dict(world.events("a"))["Killing"]


async def test_a_pod_is_ready_as_soon_as_its_probe_says_so(
    autojump_clock: Any, world: Any, make_pod: MakePod
) -> None:
    started = trio.current_time()
    world.backend.answers = lambda command: (0 if trio.current_time() > started + 0.3 else 1, b"")
    world.put(POD, make_pod("a", {"readinessProbe": {"exec": {"command": ["x"]}, "periodSeconds": 10}}))
    await trio.sleep(0.8)
    assert status_of(world, "a")["ready"]


async def test_an_image_that_cannot_be_had_is_told_and_tried_again(
    autojump_clock: Any, world: Any, make_pod: MakePod
) -> None:
    world.backend.missing["app"] = "nobody builds it"
    world.put(POD, make_pod("a"))
    await trio.sleep(2)
    waiting = status_of(world, "a")["state"]["waiting"]
    assert waiting["reason"] == "ImagePullBackOff"
    assert "nobody builds it" in waiting["message"]
    told = [message for reason, message in world.events("a") if "nobody builds it" in message]
    assert told == ['Failed to pull image "app": nobody builds it']
    del world.backend.missing["app"]
    await trio.sleep(30)
    assert status_of(world, "a")["ready"]


async def test_a_lost_sandbox_is_made_anew(autojump_clock: Any, world: Any, make_pod: MakePod) -> None:
    world.put(POD, make_pod("a"))
    await world.settled()
    world.backend.sandbox("a").lose()
    await world.settled()
    assert len(world.backend.sandboxes["a"]) == 2
    assert world.backend.sandboxes["a"][0].is_closed
    assert status_of(world, "a")["restartCount"] == 1
    assert status_of(world, "a")["ready"]


async def test_a_lost_sandbox_shows_as_the_last_state_of_what_ran_in_it(
    autojump_clock: Any, world: Any, make_pod: MakePod
) -> None:
    world.put(NAMESPACE, {"metadata": {"name": "default", "labels": {"istio-injection": "enabled"}}})
    world.put(POD, make_pod("a", initContainers=[{"name": "init", "image": "app"}]))
    await world.settled()
    world.container("a", "init").exit(0)
    await world.settled()
    before = status_of(world, "a")
    await trio.sleep(5)
    world.backend.sandbox("a").lose()
    await world.settled()

    assert world.pod("a").raw["status"]["phase"] == "Running"
    assert status_of(world, "a")["state"] == {"waiting": {"reason": "PodInitializing"}}
    last = status_of(world, "a")["lastState"]["terminated"]
    assert (last["exitCode"], last["reason"]) == (137, "Error")
    assert last["startedAt"] == before["state"]["running"]["startedAt"] < last["finishedAt"]
    assert last["containerID"] == before["containerID"]
    proxy = status_of(world, "a", "istio-proxy")
    assert (proxy["lastState"]["terminated"]["exitCode"], proxy["restartCount"]) == (137, 1)
    [init] = world.pod("a").raw["status"]["initContainerStatuses"]
    assert init["lastState"]["terminated"]["exitCode"] == 0


async def test_a_pod_runs_until_its_proxy_has_ended(
    autojump_clock: Any, world: Any, make_pod: MakePod
) -> None:
    world.put(NAMESPACE, {"metadata": {"name": "default", "labels": {"istio-injection": "enabled"}}})
    pod = world.put(POD, make_pod("a", {}, {"name": "other"}))
    await world.settled()
    phases = []

    def note(event: Any) -> None:
        if event.object.key == pod.key:
            phases.append(event.object.raw["status"]["phase"])

    world.container("a").obeys = False
    world.store.delete(pod.key, grace=5)
    world.store.subscribe(note)
    await trio.sleep(6)

    assert world.store.get(POD, "default", "a") is None
    assert set(phases[:-2]) == {"Running"}
    assert phases[-1] == "Failed"


async def test_stopping_the_runtime_keeps_the_objects(
    autojump_clock: Any, world: Any, make_pod: MakePod
) -> None:
    world.put(POD, make_pod("a"))
    await world.settled()
    world.container("a").obeys = False
    began = trio.current_time()
    await world.runtime.stop(3)
    assert trio.current_time() - began < 4
    assert world.store.get(POD, "default", "a") is not None
    await world.settled()
    assert world.backend.is_closed


async def test_hooks_run_after_the_start_and_before_the_end(
    autojump_clock: Any, world: Any, make_pod: MakePod
) -> None:
    commands: list[str] = []

    def answer(command: Any) -> tuple[int, bytes]:
        commands.append(command[0])
        return 0, b""

    world.backend.answers = answer
    lifecycle = {
        "postStart": {"exec": {"command": ["started"]}},
        "preStop": {"exec": {"command": ["stopping"]}},
    }
    pod = world.put(POD, make_pod("a", {"lifecycle": lifecycle}))
    await world.settled()
    assert commands == ["started"]
    world.store.delete(pod.key)
    await world.settled()
    assert commands == ["started", "stopping"]
    assert world.container("a").signals == [signal.SIGTERM]


async def test_a_failed_post_start_hook_restarts(autojump_clock: Any, world: Any, make_pod: MakePod) -> None:
    world.backend.answers = lambda command: (1, b"no")
    hook = {"lifecycle": {"postStart": {"exec": {"command": ["x"]}}}}
    world.put(POD, make_pod("a", hook))
    await world.settled()
    assert status_of(world, "a")["restartCount"] >= 1
    assert ("FailedPostStartHook", "PostStartHook failed: no") in world.events("a")


async def test_a_startup_probe_that_fails_for_good_restarts(
    autojump_clock: Any, world: Any, make_pod: MakePod
) -> None:
    world.backend.answers = lambda command: (1, b"not yet")
    probe = {"startupProbe": {"exec": {"command": ["x"]}, "periodSeconds": 5, "failureThreshold": 2}}
    world.put(POD, make_pod("a", probe))
    await trio.sleep(9)
    assert status_of(world, "a")["restartCount"] == 0
    assert not status_of(world, "a")["started"]
    await trio.sleep(4)
    assert status_of(world, "a")["restartCount"] == 1


async def test_a_pod_that_cannot_be_run_is_tried_again(
    autojump_clock: Any, world: Any, make_pod: MakePod
) -> None:
    world.backend.refuses = RuntimeError("a bug")
    world.put(POD, make_pod("a"))
    await world.settled()
    assert "FailedSync" in dict(world.events("a"))
    world.backend.refuses = None
    await trio.sleep(6)
    assert status_of(world, "a")["ready"]


async def test_an_outage_of_the_network_is_told_and_tried_again(
    autojump_clock: Any, world: Any, make_pod: MakePod
) -> None:
    world.backend.refuses = SandboxProblem("no address is free")
    world.put(POD, make_pod("a"))
    await trio.sleep(2)
    assert "no address is free" in dict(world.events("a"))["FailedCreatePodSandBox"]
    assert world.pod("a").raw["status"]["phase"] == "Pending"
    world.backend.refuses = None
    await trio.sleep(8)
    assert status_of(world, "a")["ready"]


async def test_the_proxys_log_is_the_access_log(autojump_clock: Any, world: Any, make_pod: MakePod) -> None:
    world.put(NAMESPACE, {"metadata": {"name": "default", "labels": {"istio-injection": "enabled"}}})
    pod = world.put(POD, make_pod("a"))
    await world.settled()
    pieces = world.runtime.logs("default", "a", "istio-proxy", LogOptions())
    assert [piece async for piece in pieces] == [b"[access] " + pod.uid.encode()]
    with pytest.raises(NotRunning, match="devmesh itself is the proxy"):
        await world.runtime.exec("default", "a", "istio-proxy", ["sh"], stdin=False, tty=False)


async def test_labels_that_change_reach_the_mesh(autojump_clock: Any, world: Any, make_pod: MakePod) -> None:
    pod = world.put(POD, make_pod("a"))
    await world.settled()
    world.put(POD, {**make_pod("a"), "metadata": {"name": "a", "labels": {"version": "v2"}}})
    assert world.runtime.instances.current[pod.uid].labels["version"] == "v2"


async def test_a_deletion_can_be_forced_later(autojump_clock: Any, world: Any, make_pod: MakePod) -> None:
    pod = world.put(POD, make_pod("a"))
    await world.settled()
    world.container("a").obeys = False
    world.store.delete(pod.key, grace=1000)
    await world.settled()
    assert world.container("a").is_running
    world.store.delete(pod.key, grace=0)
    await world.settled()
    assert not world.container("a").is_running
    assert world.backend.sandbox("a").is_closed


async def test_a_stop_does_not_wait_for_a_slow_deletion(
    autojump_clock: Any, world: Any, make_pod: MakePod
) -> None:
    pod = world.put(POD, make_pod("a"))
    await world.settled()
    world.container("a").obeys = False
    world.store.delete(pod.key, grace=1000)
    await world.settled()
    began = trio.current_time()
    await world.runtime.stop(3)
    assert trio.current_time() - began < 4
    assert not world.container("a").is_running


async def test_a_new_image_of_a_pod_replaces_its_container(
    autojump_clock: Any, world: Any, make_pod: MakePod
) -> None:
    world.put(POD, make_pod("a"))
    await world.settled()
    world.put(POD, make_pod("a", {"image": "app:2"}))
    await world.settled()
    assert world.container("a").spec.image.name == "app:2"
    assert status_of(world, "a")["restartCount"] == 1
    world.backend.missing["app:3"] = "nobody has it"
    world.put(POD, make_pod("a", {"image": "app:3"}))
    await trio.sleep(20)
    world.put(POD, make_pod("a", {"image": "app:2"}))
    await trio.sleep(1)
    assert status_of(world, "a")["ready"]


async def test_a_sandbox_that_cannot_be_closed_does_not_end_the_pod(
    autojump_clock: Any, world: Any, make_pod: MakePod, caplog: pytest.LogCaptureFixture
) -> None:
    world.put(POD, make_pod("a"))
    await world.settled()

    async def refuse() -> None:
        await trio.lowlevel.checkpoint()
        raise RuntimeError("the engine is busy")

    first = world.backend.sandbox("a")
    first.aclose = refuse
    first.lose()
    await world.settled()
    assert len(world.backend.sandboxes["a"]) == 2
    assert status_of(world, "a")["ready"]
    assert "the engine is busy" in caplog.text


async def test_a_pod_is_out_of_the_mesh_before_it_hears_of_its_end(
    autojump_clock: Any, world: Any, make_pod: MakePod
) -> None:
    pod = world.put(POD, make_pod("a"))
    await world.settled()
    world.store.delete(pod.key)
    await trio.sleep(0.05)
    assert not world.runtime.instances.current[pod.uid].ready
    assert world.container("a").signals == []
    await trio.sleep(0.06)
    assert world.container("a").signals == [signal.SIGTERM]
