"""How a Deployment goes from one revision to the next, and what its status says. Pure.

Kubernetes: "Rolling update deployment"; the names and the arithmetic are its deployment controller's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from devmesh.config.store import Raw, Store, Stored
from devmesh.runtime.controllers.objects import scaled, seconds_since, set_condition
from devmesh.runtime.controllers.replicastate import current_state

REVISION = "deployment.kubernetes.io/revision"
_DEADLINE = 600.0


@dataclass(frozen=True, slots=True)
class Replicas:
    """One ReplicaSet in numbers: pods asked for, there, ready, available."""

    name: str
    wanted: int
    there: int
    ready: int
    available: int

    @classmethod
    def of(cls, stored: Stored, store: Store) -> Replicas:
        """Count the pods themselves: the ReplicaSet's own status may lag behind a write."""
        there, ready, available = current_state(store, stored)
        return cls(stored.name, int(stored.raw["spec"].get("replicas", 1)), there, ready, available)


def revision_of(replicas: Stored) -> int:
    text = replicas.annotations.get(REVISION, "0")
    return int(text) if text.isdigit() else 0


def limits(spec: Raw) -> tuple[int, int]:
    """Return how many pods above and below the number asked for a rolling update may have."""
    wanted = int(spec.get("replicas", 1))
    rolling = (spec.get("strategy") or {}).get("rollingUpdate") or {}
    surge = scaled(rolling.get("maxSurge"), wanted, "25%", up=True)
    unavailable = scaled(rolling.get("maxUnavailable"), wanted, "25%", up=False)
    if surge == 0 and unavailable == 0:
        unavailable = 1  # with neither, nothing could ever move
    return surge, min(unavailable, wanted)


def next_scales(spec: Raw, old: Sequence[Replicas], current: Replicas | None) -> tuple[int, tuple[int, ...]]:
    """Return the sizes to give: to the current revision's ReplicaSet, and to each of the `old`.

    `current` None is one that is about to be made.
    """
    wanted = int(spec.get("replicas", 1))
    if (spec.get("strategy") or {}).get("type") == "Recreate":
        return wanted, tuple(0 for _ in old)
    size = current.wanted if current else 0
    if not any(o.wanted for o in old):
        return wanted, tuple(0 for _ in old)
    if spec.get("paused"):
        return (size, tuple(o.wanted for o in old)) if current else (0, _shared(wanted, old))
    surge, unavailable = limits(spec)
    new = _grown(wanted, surge, size, sum(o.wanted for o in old))
    shrunk = _shrunk(wanted - unavailable, new, old, current)
    return new, shrunk


def _grown(wanted: int, surge: int, size: int, others: int) -> int:
    if size >= wanted:
        return wanted
    room = wanted + surge - (size + others)
    return size + max(0, min(room, wanted - size))


def _shrunk(minimum: int, new: int, old: Sequence[Replicas], current: Replicas | None) -> tuple[int, ...]:
    """Take from the old ones what isn't needed for `minimum` available pods: broken pods first."""
    available = current.available if current else 0
    total = new + sum(o.wanted for o in old)
    spare = total - minimum - (new - available)
    sizes = [o.wanted for o in old]
    if spare <= 0:
        return tuple(sizes)
    for index, replicas in enumerate(old):  # broken ones give no service: they go first
        broken = min(spare, max(0, replicas.wanted - replicas.available))
        sizes[index] -= broken
        spare -= broken
    left = available + sum(min(size, o.available) for size, o in zip(sizes, old, strict=True)) - minimum
    spare = min(spare, left)
    for index, size in enumerate(sizes):
        gone = max(0, min(spare, size))
        sizes[index] -= gone
        spare -= gone
    return tuple(sizes)


def _shared(wanted: int, old: Sequence[Replicas]) -> tuple[int, ...]:
    """Scale what is there while paused: the newest that has pods takes the difference."""
    sizes = [o.wanted for o in old]
    for index in range(len(sizes) - 1, -1, -1):
        if sizes[index]:
            sizes[index] = max(0, sizes[index] + wanted - sum(sizes))
            break
    return tuple(sizes)


def deployment_status(
    deployment: Stored, sets: Sequence[Replicas], current: Replicas | None, now: str
) -> tuple[Raw, float | None]:
    """Return a Deployment's status, and after how many seconds its deadline may have passed."""
    spec, before = deployment.raw["spec"], deployment.raw.get("status") or {}
    wanted = int(spec.get("replicas", 1))
    available = sum(s.available for s in sets)
    total = sum(s.there for s in sets)
    status: Raw = {
        "observedGeneration": int(deployment.metadata.get("generation", 1)),
        "replicas": total,
        "updatedReplicas": current.there if current else 0,
        "readyReplicas": sum(s.ready for s in sets),
        "availableReplicas": available,
        "unavailableReplicas": max(0, total - available, wanted - available),
    }
    status = {k: v for k, v in status.items() if v or k == "observedGeneration"}
    conditions = list(before.get("conditions") or ())
    _, unavailable = limits(spec)
    conditions = set_condition(conditions, _available(available >= wanted - unavailable), now)
    progress, again = _progress(spec, before, status, current, conditions, now)
    if progress is not None:
        conditions = set_condition(conditions, progress, now)
    status["conditions"] = conditions
    return status, again


def _available(holds: bool) -> Raw:
    return {
        "type": "Available",
        "status": "True" if holds else "False",
        "reason": "MinimumReplicasAvailable" if holds else "MinimumReplicasUnavailable",
        "message": f"Deployment {'has' if holds else 'does not have'} minimum availability.",
    }


def _progress(
    spec: Raw, before: Raw, status: Raw, current: Replicas | None, conditions: list[Raw], now: str
) -> tuple[Raw | None, float | None]:
    known = next((c for c in conditions if c["type"] == "Progressing"), None)
    wanted = int(spec.get("replicas", 1))
    if spec.get("paused"):
        told = "Deployment is paused"
        return {
            "type": "Progressing",
            "status": "Unknown",
            "reason": "DeploymentPaused",
            "message": told,
        }, None
    if current is None:
        return known, None
    name = f'ReplicaSet "{current.name}"'
    counts = ("replicas", "updatedReplicas", "availableReplicas")
    numbers = tuple(int(status.get(k, 0)) for k in counts)
    if numbers == (wanted, wanted, wanted):
        told = f"{name} has successfully progressed."
        return _moving("True", "NewReplicaSetAvailable", told), None
    moved = numbers != tuple(int(before.get(k, 0)) for k in counts) or known is None
    was_done = known is not None and known.get("reason") == "NewReplicaSetAvailable"
    deadline = float(spec.get("progressDeadlineSeconds") or _DEADLINE)
    if moved or was_done or (known is not None and known.get("reason") == "DeploymentPaused"):
        reason = "NewReplicaSetCreated" if known is None or was_done else "ReplicaSetUpdated"
        told = f"{'Created new replica set' if reason == 'NewReplicaSetCreated' else 'ReplicaSet'} "
        told = f'{told}"{current.name}"{"" if reason == "NewReplicaSetCreated" else " is progressing."}'
        moved_condition = {**_moving("True", reason, told), "lastUpdateTime": now}
        return moved_condition, deadline
    assert known is not None
    waited = seconds_since(known.get("lastUpdateTime"), now)
    if waited >= deadline:
        return _moving("False", "ProgressDeadlineExceeded", f"{name} has timed out progressing."), None
    return known, deadline - waited


def _moving(status: str, reason: str, message: str) -> Raw:
    return {"type": "Progressing", "status": status, "reason": reason, "message": message}
