"""DaemonSets: a pod on each node, of which there is one."""

from __future__ import annotations

from collections.abc import Iterable

from devmesh.config.kinds import DAEMON_SET, NODE, POD
from devmesh.config.store import Event, Key, Raw, Store, Stored
from devmesh.runtime.controllers.objects import (
    availability,
    controlled_by,
    create_pod,
    delete_pod,
    is_active,
    is_ready,
    owned,
    phase,
)
from devmesh.runtime.controllers.revisions import REVISION_LABEL, current_revision
from devmesh.runtime.events import Events
from devmesh.runtime.pods.admission import NODE_NAME


class DaemonSets:
    """Kubernetes' DaemonSet controller, for one node."""

    name = "daemonset"

    def __init__(self, events: Events, *, inject_all: bool = False) -> None:
        self._events = events
        self._inject_all = inject_all

    def all(self, store: Store) -> Iterable[Key]:
        return [stored.key for stored in store.list(DAEMON_SET)]

    def affected(self, store: Store, event: Event) -> Iterable[Key]:
        if event.object.key.kind is DAEMON_SET:
            yield event.object.key
        elif event.object.key.kind is POD:
            yield from controlled_by(event, DAEMON_SET, store)

    def reconcile(self, store: Store, key: Key) -> float | None:
        owner = store.by_key(key)
        if owner is None or owner.deleting:
            return None
        revision = current_revision(store, owner).name
        pods = owned(store, POD, owner)
        wanted = _fits(store, owner)
        for pod in pods:
            if phase(pod) in ("Failed", "Succeeded") or not wanted or _outdated(owner, pod, revision):
                delete_pod(store, pod)
        if wanted and not pods:
            pod = create_pod(
                store,
                owner,
                owner.raw["spec"]["template"],
                labels={REVISION_LABEL: revision},
                inject_all=self._inject_all,
            )
            told = f"Created pod: {pod.name}"
            self._events.record(owner, "Normal", "SuccessfulCreate", told, component="daemonset-controller")
        status, again = _status(store, owner, revision, int(wanted))
        store.update(DAEMON_SET, {**owner.raw, "status": status}, status=True)
        return again


def _fits(store: Store, owner: Stored) -> bool:
    """Tell whether the node has the labels that the template's nodeSelector asks for."""
    wanted = (owner.raw["spec"]["template"].get("spec") or {}).get("nodeSelector") or {}
    node = store.get(NODE, "", NODE_NAME)
    labels = dict(node.labels) if node else {}
    return all(labels.get(name) == value for name, value in wanted.items())


def _outdated(owner: Stored, pod: Stored, revision: str) -> bool:
    strategy = (owner.raw["spec"].get("updateStrategy") or {}).get("type", "RollingUpdate")
    return strategy == "RollingUpdate" and pod.labels.get(REVISION_LABEL) != revision


def _status(store: Store, owner: Stored, revision: str, wanted: int) -> tuple[Raw, float | None]:
    pods = [pod for pod in owned(store, POD, owner) if is_active(pod)]
    minimum = float(owner.raw["spec"].get("minReadySeconds") or 0)
    available, again = availability(pods, minimum, store.timestamp())
    status: Raw = {
        "observedGeneration": int(owner.metadata.get("generation", 1)),
        "currentNumberScheduled": min(wanted, len(pods)),
        "desiredNumberScheduled": wanted,
        "numberMisscheduled": 0,
        "numberReady": sum(map(is_ready, pods)),
        "numberAvailable": available,
        "numberUnavailable": max(0, wanted - available),
        "updatedNumberScheduled": sum(pod.labels.get(REVISION_LABEL) == revision for pod in pods),
    }
    return status, again
