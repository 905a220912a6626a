"""The columns of pods and of what makes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from devmesh.api.kube.columns import AGE, NAME, Column, at, count, field, labels, selector
from devmesh.api.kube.duration import age, human, parse_time

Raw = Mapping[str, Any]


def _sidecars(raw: Raw) -> set[str]:
    return {c["name"] for c in at(raw, "spec.initContainers", ()) if c.get("restartPolicy") == "Always"}


def _app_statuses(raw: Raw) -> list[dict[str, Any]]:
    """Return the statuses of what runs beside each other: containers and sidecars."""
    sidecars = _sidecars(raw)
    beside = [s for s in at(raw, "status.initContainerStatuses", ()) if s.get("name") in sidecars]
    return [*beside, *at(raw, "status.containerStatuses", ())]


def _ready(raw: Raw) -> str:
    total = len(at(raw, "spec.containers", ())) + len(_sidecars(raw))
    return f"{sum(bool(s.get('ready')) for s in _app_statuses(raw))}/{total}"


def pod_status(raw: Raw) -> str:
    """Return the word in kubectl's STATUS column: the phase, or what a container is held up by."""
    reason = at(raw, "status.reason") or at(raw, "status.phase", "Unknown")
    if initializing := _init_status(raw):
        reason = initializing
    else:
        running = False
        for status in reversed(at(raw, "status.containerStatuses", ())):
            waiting, ended = at(status, "state.waiting.reason"), at(status, "state.terminated")
            if waiting:
                reason = waiting
            elif ended:
                reason = _ended(ended)
            elif status.get("ready") and at(status, "state.running") is not None:
                running = True
        if reason == "Completed" and running:
            reason = "Running" if _is_ready(raw) else "NotReady"
    if at(raw, "metadata.deletionTimestamp"):
        phase = at(raw, "status.phase")
        if at(raw, "status.reason") == "NodeLost":
            return "Unknown"
        return reason if phase in ("Succeeded", "Failed") else "Terminating"
    return str(reason)


def _init_status(raw: Raw) -> str:
    sidecars = _sidecars(raw)
    statuses = at(raw, "status.initContainerStatuses", ())
    for n, status in enumerate(statuses):
        ended = at(status, "state.terminated")
        if ended is not None and ended.get("exitCode") == 0:
            continue
        if status.get("name") in sidecars and status.get("started"):
            continue
        if ended is not None:
            return f"Init:{_ended(ended)}"
        waiting = at(status, "state.waiting.reason")
        if waiting and waiting != "PodInitializing":
            return f"Init:{waiting}"
        return f"Init:{n}/{len(at(raw, 'spec.initContainers', ()))}"
    return ""


def _ended(state: Mapping[str, Any]) -> str:
    if reason := state.get("reason"):
        return str(reason)
    return f"Signal:{state['signal']}" if state.get("signal") else f"ExitCode:{state.get('exitCode', 0)}"


def _is_ready(raw: Raw) -> bool:
    return any(
        c.get("type") == "Ready" and c.get("status") == "True" for c in at(raw, "status.conditions", ())
    )


def _restarts(raw: Raw) -> str:
    statuses = _app_statuses(raw)
    restarts = sum(int(s.get("restartCount") or 0) for s in statuses)
    ended = [t for s in statuses if (t := at(s, "lastState.terminated.finishedAt"))]
    last = max(ended, key=lambda t: parse_time(t) or 0.0, default=None)
    return f"{restarts} ({age(last)} ago)" if restarts and last else str(restarts)


def _gates(raw: Raw) -> str:
    gates = [g.get("conditionType") for g in at(raw, "spec.readinessGates", ())]
    true = {c.get("type") for c in at(raw, "status.conditions", ()) if c.get("status") == "True"}
    return f"{sum(g in true for g in gates)}/{len(gates)}" if gates else "<none>"


def _containers(raw: Raw) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = at(raw, "spec.template.spec.containers", [])
    return found


_CONTAINERS = Column("Containers", lambda r: ",".join(c.get("name", "") for c in _containers(r)), wide=True)
_IMAGES = Column("Images", lambda r: ",".join(c.get("image", "") for c in _containers(r)), wide=True)
_SELECTOR = Column("Selector", lambda r: selector(at(r, "spec.selector")), wide=True)

POD = (
    NAME,
    Column("Ready", _ready, description="Containers that are ready, of all"),
    Column("Status", pod_status),
    Column("Restarts", _restarts),
    AGE,
    field("IP", "status.podIP", wide=True),
    field("Node", "spec.nodeName", wide=True),
    field("Nominated Node", "status.nominatedNodeName", wide=True),
    Column("Readiness Gates", _gates, wide=True),
)
DEPLOYMENT = (
    NAME,
    Column("Ready", lambda r: f"{at(r, 'status.readyReplicas', 0)}/{at(r, 'spec.replicas', 1)}"),
    count("Up-to-date", "status.updatedReplicas"),
    count("Available", "status.availableReplicas"),
    AGE,
    _CONTAINERS,
    _IMAGES,
    _SELECTOR,
)
REPLICA_SET = (
    NAME,
    count("Desired", "spec.replicas"),
    count("Current", "status.replicas"),
    count("Ready", "status.readyReplicas"),
    AGE,
    _CONTAINERS,
    _IMAGES,
    _SELECTOR,
)
STATEFUL_SET = (
    NAME,
    Column("Ready", lambda r: f"{at(r, 'status.readyReplicas', 0)}/{at(r, 'spec.replicas', 1)}"),
    AGE,
    _CONTAINERS,
    _IMAGES,
)
DAEMON_SET = (
    NAME,
    count("Desired", "status.desiredNumberScheduled"),
    count("Current", "status.currentNumberScheduled"),
    count("Ready", "status.numberReady"),
    count("Up-to-date", "status.updatedNumberScheduled"),
    count("Available", "status.numberAvailable"),
    Column("Node Selector", lambda r: labels(at(r, "spec.template.spec.nodeSelector"))),
    AGE,
    _CONTAINERS,
    _IMAGES,
    _SELECTOR,
)


def _job_status(raw: Raw) -> str:
    true = {c.get("type") for c in at(raw, "status.conditions", ()) if c.get("status") == "True"}
    for type_, word in (("Complete", "Complete"), ("Failed", "Failed"), ("Suspended", "Suspended")):
        if type_ in true:
            return word
    if at(raw, "metadata.deletionTimestamp"):
        return "Terminating"
    return "Running"


def _completions(raw: Raw) -> str:
    wanted, succeeded = at(raw, "spec.completions"), at(raw, "status.succeeded", 0)
    if wanted is not None:
        return f"{succeeded}/{wanted}"
    parallel = at(raw, "spec.parallelism", 1)
    return f"{succeeded}/1 of {parallel}" if parallel > 1 else f"{succeeded}/1"


def _duration(raw: Raw) -> str:
    start, end = at(raw, "status.startTime"), at(raw, "status.completionTime")
    if start is None:
        return ""
    if end is None:
        return age(start)
    return human((parse_time(end) or 0) - (parse_time(start) or 0))


JOB = (
    NAME,
    Column("Status", _job_status),
    Column("Completions", _completions),
    Column("Duration", _duration),
    AGE,
    _CONTAINERS,
    _IMAGES,
    _SELECTOR,
)


def _owner(raw: Raw) -> str:
    for owner in at(raw, "metadata.ownerReferences", ()):
        if owner.get("controller"):
            group = owner.get("apiVersion", "").rpartition("/")[0]
            return f"{owner.get('kind', '').lower()}{'.' + group if group else ''}/{owner.get('name', '')}"
    return "<none>"


CONTROLLER_REVISION = (
    NAME,
    Column("Controller", _owner),
    field("Revision", "revision", 0, type_="integer"),
    AGE,
)
