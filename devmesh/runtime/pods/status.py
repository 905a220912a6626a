"""A pod's status, as Kubernetes derives it from its containers. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from devmesh.config.store import Raw
from devmesh.runtime.pods.environment import NODE_ADDRESS

KILLED = 137  # 128 + SIGKILL


@dataclass(slots=True)
class ContainerView:
    """What is to be said of one container. `state` and `last` are as in containerStatuses."""

    name: str
    image: str
    kind: str = "app"  # app, init, sidecar (an init container that keeps running), proxy
    state: Raw = field(default_factory=lambda: {"waiting": {"reason": "ContainerCreating"}})
    last: Raw = field(default_factory=dict)
    ready: bool = False
    started: bool = False
    restarts: int = 0
    image_id: str = ""
    container_id: str = ""

    @property
    def is_done(self) -> bool:
        return "terminated" in self.state

    def lose(self, now: str) -> None:
        """Note that its sandbox is gone, and what ran in it was killed: it begins anew, as a restart."""
        if running := self.state.get("running"):
            self.last = {"terminated": {"exitCode": KILLED, "reason": "Error", **running, "finishedAt": now}}
            if self.container_id:
                self.last["terminated"]["containerID"] = self.container_id
        elif self.is_done:
            self.last = self.state
        self.state = {"waiting": {"reason": "PodInitializing"}}
        self.ready = self.started = False
        self.restarts += 1

    def as_status(self) -> Raw:
        status: Raw = {
            "name": self.name,
            "state": self.state,
            "lastState": self.last,
            "ready": self.ready,
            "restartCount": self.restarts,
            "image": self.image,
            "imageID": self.image_id,
            "started": self.started,
        }
        if self.container_id:
            status["containerID"] = self.container_id
        return status


@dataclass(frozen=True, slots=True)
class PodView:
    """Everything that a pod's status is derived from."""

    containers: Sequence[ContainerView]
    init: Sequence[ContainerView]
    addresses: tuple[str, ...] = ()
    started: str = ""  # startTime
    restart_policy: str = "Always"
    has_sandbox: bool = False
    failed: str = ""  # why the pod as a whole failed (DeadlineExceeded); "" where it didn't
    message: str = ""
    stopping: bool = False
    gates: Sequence[str] = ()  # types of conditions that others set, and that readiness waits for


def pod_status(view: PodView, before: Raw, now: str, generation: int | None = None) -> Raw:
    """Return the status. Transition times stay where a condition's status is as it was in `before`."""
    phase = pod_phase(view)
    ready_containers = [c.name for c in view.containers if not c.ready]
    initialized = all(_is_past(c) for c in view.init)
    done = phase in ("Succeeded", "Failed")
    reason = (
        "PodCompleted" if phase == "Succeeded" else "PodFailed" if phase == "Failed" else "ContainersNotReady"
    )
    unready = f"containers with unready status: [{' '.join(ready_containers)}]"
    all_ready = not ready_containers and not done and bool(view.containers) and not view.stopping
    closed = _closed_gates(view.gates, before) if all_ready else ""
    is_ready = all_ready and not closed
    waiting = [c.name for c in view.init if not _is_past(c)]
    conditions = [
        _condition("PodReadyToStartContainers", view.has_sandbox and not done),
        _condition(
            "Initialized",
            initialized,
            "" if initialized else "ContainersNotInitialized",
            "" if initialized else f"containers with incomplete status: [{' '.join(waiting)}]",
        ),
        _condition("Ready", False, "ReadinessGatesNotReady", closed)
        if closed
        else _condition("Ready", is_ready, "" if is_ready else reason, "" if is_ready or done else unready),
        _condition(
            "ContainersReady", all_ready, "" if all_ready else reason, "" if all_ready or done else unready
        ),
        _condition("PodScheduled", True),
    ]
    status: Raw = {
        "phase": phase,
        "conditions": _with_times(conditions, before.get("conditions") or (), now, generation),
        "hostIP": NODE_ADDRESS,
        "hostIPs": [{"ip": NODE_ADDRESS}],
        "startTime": view.started or now,
        "qosClass": before.get("qosClass") or "BestEffort",
        "containerStatuses": [c.as_status() for c in view.containers],
    }
    if view.init:
        status["initContainerStatuses"] = [c.as_status() for c in view.init]
    if view.addresses:
        status["podIP"] = view.addresses[0]
        status["podIPs"] = [{"ip": address} for address in view.addresses]
    if view.failed:
        status["reason"] = view.failed
        status["message"] = view.message
    return status


def _closed_gates(gates: Sequence[str], status: Raw) -> str:
    """Return which of the pod's readiness gates are not open, in kubelet's words; "" where all are."""
    found = {c["type"]: c.get("status") for c in status.get("conditions") or ()}
    said = [
        f'corresponding condition of pod readiness gate "{gate}" does not exist.'
        if gate not in found
        else f'the status of pod readiness gate "{gate}" is not "True", but {found[gate]}'
        for gate in gates
        if found.get(gate) != "True"
    ]
    return f"[{', '.join(said)}]" if len(said) > 1 else "".join(said)


def pod_phase(view: PodView) -> str:
    """Return Pending, Running, Succeeded or Failed (Kubernetes: "Pod phase")."""
    if view.failed:
        return "Failed"
    if any(c.kind == "init" and c.is_done and _code(c) and view.restart_policy == "Never" for c in view.init):
        return "Failed"
    apps = [c for c in view.containers if c.kind == "app"]
    if not any(_has_begun(c) for c in apps) and not all(_is_past(c) for c in view.init):
        return "Pending"
    if apps and all(c.is_done for c in apps) and not (view.stopping and _has_proxy(view)):
        return _phase_of_done(apps, view)
    return "Running" if all(_has_begun(c) for c in view.containers) else "Pending"


def _has_proxy(view: PodView) -> bool:
    """Tell whether the proxy still runs: in a pod that is being stopped it outlives the application."""
    return any(c.kind == "proxy" and "running" in c.state for c in view.containers)


def _has_begun(container: ContainerView) -> bool:
    return "running" in container.state or container.is_done or bool(container.last)


def _phase_of_done(apps: Sequence[ContainerView], view: PodView) -> str:
    if view.restart_policy == "Always" and not view.stopping:
        return "Running"
    if all(_code(c) == 0 for c in apps):
        return "Succeeded"
    return "Failed" if view.restart_policy == "Never" or view.stopping else "Running"


def qos_class(spec: Raw) -> str:
    """Return Guaranteed, Burstable or BestEffort (Kubernetes: "Pod Quality of Service")."""
    containers = [*spec.get("containers", ()), *(spec.get("initContainers") or ())]
    resources = [c.get("resources") or {} for c in containers]
    if not any(r.get("requests") or r.get("limits") for r in resources):
        return "BestEffort"
    for resource in resources:
        limits = resource.get("limits") or {}
        requests = {**limits, **(resource.get("requests") or {})}
        if {"cpu", "memory"} - limits.keys() or any(
            requests.get(k) != limits.get(k) for k in ("cpu", "memory")
        ):
            return "Burstable"
    return "Guaranteed"


def _is_past(container: ContainerView) -> bool:
    """Tell whether the containers after an init container may start."""
    if container.kind == "sidecar":
        return container.started
    return container.is_done and _code(container) == 0


def _code(container: ContainerView) -> int:
    return int(container.state["terminated"]["exitCode"])


def _condition(kind: str, holds: bool, reason: str = "", message: str = "") -> Raw:
    condition: Raw = {"type": kind, "status": "True" if holds else "False", "lastProbeTime": None}
    if reason:
        condition["reason"] = reason
    if message:
        condition["message"] = message
    return condition


def _with_times(conditions: list[Raw], before: Sequence[Raw], now: str, generation: int | None) -> list[Raw]:
    known = {c["type"]: c for c in before}
    ours = {c["type"] for c in conditions}
    for condition in conditions:
        old = known.get(condition["type"], {})
        same = old.get("status") == condition["status"] and old.get("lastTransitionTime")
        condition["lastTransitionTime"] = same or now
        if generation is not None:
            condition["observedGeneration"] = generation
    return conditions + [c for kind, c in known.items() if kind not in ours]
