"""StatefulSets: pods with names and volumes of their own, one after the other."""

from __future__ import annotations

from collections.abc import Iterable

from devmesh.config.kinds import PERSISTENT_VOLUME_CLAIM, POD, STATEFUL_SET
from devmesh.config.store import Event, Key, Raw, Store, Stored
from devmesh.runtime.controllers.objects import (
    availability,
    controlled_by,
    create_pod,
    delete_pod,
    is_ready,
    owned,
    phase,
)
from devmesh.runtime.controllers.revisions import REVISION_LABEL, current_revision
from devmesh.runtime.events import Events

POD_NAME_LABEL = "statefulset.kubernetes.io/pod-name"
INDEX_LABEL = "apps.kubernetes.io/pod-index"


class StatefulSets:
    """Kubernetes' StatefulSet controller."""

    name = "statefulset"

    def __init__(self, events: Events, *, inject_all: bool = False) -> None:
        self._events = events
        self._inject_all = inject_all

    def all(self, store: Store) -> Iterable[Key]:
        return [stored.key for stored in store.list(STATEFUL_SET)]

    def affected(self, store: Store, event: Event) -> Iterable[Key]:
        if event.object.key.kind is STATEFUL_SET:
            yield event.object.key
        elif event.object.key.kind is POD:
            yield from controlled_by(event, STATEFUL_SET, store)

    def reconcile(self, store: Store, key: Key) -> float | None:
        owner = store.by_key(key)
        if owner is None or owner.deleting:
            return None
        revision = current_revision(store, owner)
        self._step(store, owner, revision)
        status, again = _status(store, owner, revision.name)
        store.update(STATEFUL_SET, {**owner.raw, "status": status}, status=True)
        return again

    def _step(self, store: Store, owner: Stored, revision: Stored) -> None:
        """Do what may be done now: with OrderedReady, one pod at a time while all others are ready."""
        spec = owner.raw["spec"]
        ordered = spec.get("podManagementPolicy", "OrderedReady") == "OrderedReady"
        start = int((spec.get("ordinals") or {}).get("start") or 0)
        ordinals = range(start, start + int(spec.get("replicas", 1)))
        pods = _by_ordinal(store, owner)
        for ordinal in ordinals:
            pod = pods.get(ordinal)
            if pod is not None and phase(pod) in ("Failed", "Succeeded"):
                delete_pod(store, pod)
            elif pod is None:
                self._create(store, owner, revision, ordinal)
            if ordered and (pod is None or not is_ready(pod)):
                return
        surplus = sorted((o for o in pods if o not in ordinals), reverse=True)
        for ordinal in surplus:
            self._delete(store, owner, pods[ordinal])
            if ordered:
                return
        self._update(store, owner, revision, {o: pods[o] for o in ordinals if o in pods})

    def _update(self, store: Store, owner: Stored, revision: Stored, pods: dict[int, Stored]) -> None:
        """Replace pods of older revisions, the highest ordinal first, one at a time."""
        strategy = owner.raw["spec"].get("updateStrategy") or {}
        if strategy.get("type", "RollingUpdate") != "RollingUpdate":
            return
        partition = int((strategy.get("rollingUpdate") or {}).get("partition") or 0)
        for ordinal in sorted(pods, reverse=True):
            pod = pods[ordinal]
            if ordinal >= partition and pod.labels.get(REVISION_LABEL) != revision.name:
                self._delete(store, owner, pod)
                return
            if not is_ready(pod):
                return

    def _create(self, store: Store, owner: Stored, revision: Stored, ordinal: int) -> None:
        name = f"{owner.name}-{ordinal}"
        if store.get(POD, owner.namespace, name) is not None:
            return  # the one before it, or another's, has not gone yet
        spec = owner.raw["spec"]
        template = spec["template"]
        volumes = list((template.get("spec") or {}).get("volumes") or ())
        for claim in spec.get("volumeClaimTemplates") or ():
            claim_name = _claim(store, owner, claim, ordinal)
            volume = {
                "name": claim["metadata"]["name"],
                "persistentVolumeClaim": {"claimName": claim_name},
            }
            volumes = [*(v for v in volumes if v["name"] != volume["name"]), volume]
        extra: Raw = {"hostname": name, **({"volumes": volumes} if volumes else {})}
        if spec.get("serviceName"):
            extra["subdomain"] = spec["serviceName"]
        create_pod(
            store,
            owner,
            template,
            name=name,
            labels={REVISION_LABEL: revision.name, POD_NAME_LABEL: name, INDEX_LABEL: str(ordinal)},
            spec=extra,
            inject_all=self._inject_all,
        )
        self._tell(owner, "SuccessfulCreate", f"create Pod {name} in StatefulSet {owner.name} successful")

    def _delete(self, store: Store, owner: Stored, pod: Stored) -> None:
        if not pod.deleting:
            delete_pod(store, pod)
            self._tell(
                owner, "SuccessfulDelete", f"delete Pod {pod.name} in StatefulSet {owner.name} successful"
            )

    def _tell(self, about: Stored, reason: str, message: str) -> None:
        self._events.record(about, "Normal", reason, message, component="statefulset-controller")


def _by_ordinal(store: Store, owner: Stored) -> dict[int, Stored]:
    found = {}
    for pod in owned(store, POD, owner):
        ordinal = pod.name.removeprefix(owner.name + "-")
        if ordinal.isdigit():
            found[int(ordinal)] = pod
    return found


def _claim(store: Store, owner: Stored, template: Raw, ordinal: int) -> str:
    """Make a replica's PersistentVolumeClaim. It has no owner: it stays when the StatefulSet goes."""
    metadata = template.get("metadata") or {}
    name = f"{metadata['name']}-{owner.name}-{ordinal}"
    if store.get(PERSISTENT_VOLUME_CLAIM, owner.namespace, name) is None:
        labels = {
            **(metadata.get("labels") or {}),
            **(owner.raw["spec"]["selector"].get("matchLabels") or {}),
        }
        raw = {
            "metadata": {"name": name, "namespace": owner.namespace, "labels": labels},
            "spec": template.get("spec") or {},
        }
        store.create(PERSISTENT_VOLUME_CLAIM, raw)
    return name


def _status(store: Store, owner: Stored, newest: str) -> tuple[Raw, float | None]:
    spec = owner.raw["spec"]
    pods = list(_by_ordinal(store, owner).values())
    updated = [pod for pod in pods if pod.labels.get(REVISION_LABEL) == newest]
    available, again = availability(pods, float(spec.get("minReadySeconds") or 0), store.timestamp())
    wanted = int(spec.get("replicas", 1))
    before = (owner.raw.get("status") or {}).get("currentRevision")
    done = len(updated) == len(pods) == wanted and all(map(is_ready, pods))
    current = newest if done or not before else before
    status: Raw = {
        "observedGeneration": int(owner.metadata.get("generation", 1)),
        "replicas": len(pods),
        "readyReplicas": sum(map(is_ready, pods)),
        "availableReplicas": available,
        "currentReplicas": sum(pod.labels.get(REVISION_LABEL) == current for pod in pods),
        "updatedReplicas": len(updated),
        "currentRevision": current,
        "updateRevision": newest,
        "collisionCount": 0,
    }
    return status, again
