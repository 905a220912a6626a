"""ReplicaSets: as many pods of one template as are asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from devmesh.config.kinds import POD, REPLICA_SET
from devmesh.config.store import Event, Key, Raw, Store, Stored
from devmesh.runtime.controllers.objects import (
    adopt,
    availability,
    controlled_by,
    create_pod,
    delete_pod,
    is_active,
    is_ready,
    owned,
    phase,
    selects,
)
from devmesh.runtime.events import Events


class ReplicaSets:
    """Kubernetes' ReplicaSet controller."""

    name = "replicaset"

    def __init__(self, events: Events, *, inject_all: bool = False) -> None:
        self._events = events
        self._inject_all = inject_all

    def all(self, store: Store) -> Iterable[Key]:
        return [stored.key for stored in store.list(REPLICA_SET)]

    def affected(self, store: Store, event: Event) -> Iterable[Key]:
        if event.object.key.kind is REPLICA_SET:
            yield event.object.key
        elif event.object.key.kind is POD:
            yield from controlled_by(event, REPLICA_SET, store)
            if event.object.controller is None and event.type == "ADDED":
                for stored in store.list(REPLICA_SET, event.object.namespace):
                    if selects(stored.raw["spec"].get("selector") or {}, event.object.labels):
                        yield stored.key

    def reconcile(self, store: Store, key: Key) -> float | None:
        replicas = store.by_key(key)
        if replicas is None or replicas.deleting:
            return None
        spec = replicas.raw["spec"]
        adopt(store, POD, replicas, spec["selector"])
        pods = [pod for pod in owned(store, POD, replicas) if is_active(pod)]
        wanted = int(spec.get("replicas", 1))
        for _ in range(wanted - len(pods)):
            pod = create_pod(store, replicas, spec["template"], inject_all=self._inject_all)
            self._tell(replicas, "SuccessfulCreate", f"Created pod: {pod.name}")
        for pod in surplus(pods, len(pods) - wanted):
            delete_pod(store, pod)
            self._tell(replicas, "SuccessfulDelete", f"Deleted pod: {pod.name}")
        status, again = replica_status(store, replicas)
        store.update(REPLICA_SET, {**replicas.raw, "status": status}, status=True)
        return again

    def _tell(self, about: Stored, reason: str, message: str) -> None:
        self._events.record(about, "Normal", reason, message, component="replicaset-controller")


def surplus(pods: Sequence[Stored], count: int) -> list[Stored]:
    """Choose `count` pods to delete: those least missed first.

    Kubernetes: not running before running, not ready before ready, lower deletion cost first,
    the younger before the older.
    """
    if count <= 0:
        return []

    def missed(pod: Stored) -> tuple[bool, bool, int]:
        cost = int(pod.annotations.get("controller.kubernetes.io/pod-deletion-cost", 0))
        return (phase(pod) == "Running", is_ready(pod), cost)

    young_first = sorted(pods, key=lambda pod: pod.metadata["creationTimestamp"], reverse=True)
    return sorted(young_first, key=missed)[:count]


def replica_status(store: Store, replicas: Stored) -> tuple[Raw, float | None]:
    """Return the status of a ReplicaSet, and when it changes by time alone."""
    spec = replicas.raw["spec"]
    pods = [pod for pod in owned(store, POD, replicas) if is_active(pod)]
    template = (spec["template"].get("metadata") or {}).get("labels") or {}
    available, again = availability(pods, float(spec.get("minReadySeconds") or 0), store.timestamp())
    status: Raw = {
        "replicas": len(pods),
        "fullyLabeledReplicas": sum(template.items() <= dict(pod.labels).items() for pod in pods),
        "readyReplicas": sum(map(is_ready, pods)),
        "availableReplicas": available,
        "observedGeneration": int(replicas.metadata.get("generation", 1)),
    }
    if status["replicas"] == 0:
        status = {"replicas": 0, "observedGeneration": status["observedGeneration"]}
    return status, again
