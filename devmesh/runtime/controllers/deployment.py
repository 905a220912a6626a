"""Deployments: one ReplicaSet per revision of the template, and the way from one to the next."""

from __future__ import annotations

from collections.abc import Iterable

from devmesh.config.kinds import DEPLOYMENT, POD, REPLICA_SET
from devmesh.config.store import Event, Key, Raw, Store, Stored
from devmesh.runtime.controllers.objects import (
    HASH_LABEL,
    adopt,
    controlled_by,
    is_active,
    owned,
    owner_reference,
    template_hash,
)
from devmesh.runtime.controllers.rollout import (
    REVISION,
    Replicas,
    deployment_status,
    next_scales,
    revision_of,
)
from devmesh.runtime.events import Events

DESIRED = "deployment.kubernetes.io/desired-replicas"
MAXIMUM = "deployment.kubernetes.io/max-replicas"
CHANGE_CAUSE = "kubernetes.io/change-cause"
_NOT_COPIED = {"kubectl.kubernetes.io/last-applied-configuration", REVISION, DESIRED, MAXIMUM}
_KEPT_REVISIONS = 10


class Deployments:
    """Kubernetes' Deployment controller."""

    name = "deployment"

    def __init__(self, events: Events) -> None:
        self._events = events

    def all(self, store: Store) -> Iterable[Key]:
        return [stored.key for stored in store.list(DEPLOYMENT)]

    def affected(self, store: Store, event: Event) -> Iterable[Key]:
        kind = event.object.key.kind
        if kind is DEPLOYMENT:
            yield event.object.key
        elif kind is REPLICA_SET:
            yield from controlled_by(event, DEPLOYMENT, store)
        elif kind is POD and event.type == "DELETED" and event.object.controller:
            # Recreate waits for the last pod of the old revision.
            owner = store.get(REPLICA_SET, event.object.namespace, event.object.controller["name"])
            if owner is not None and owner.controller is not None:
                yield Key(DEPLOYMENT, owner.namespace, owner.controller["name"])

    def reconcile(self, store: Store, key: Key) -> float | None:
        deployment = store.by_key(key)
        if deployment is None or deployment.deleting:
            return None
        adopt(store, REPLICA_SET, deployment, deployment.raw["spec"]["selector"])
        sets = owned(store, REPLICA_SET, deployment)
        current = find_current(deployment, sets)
        paused = bool(deployment.raw["spec"].get("paused"))
        if current is None and not paused and not self._waits_for_old(store, deployment, sets):
            current = self._create(store, deployment, sets)
        elif current is not None:
            current = _renew(store, deployment, current, sets)
        sets = owned(store, REPLICA_SET, deployment)
        self._scale(store, deployment, current, sets)
        _forget_old(store, deployment, current)
        return self._tell_status(store, key, current)

    def _waits_for_old(self, store: Store, deployment: Stored, sets: list[Stored]) -> bool:
        """Tell whether Recreate still has pods of old revisions to get rid of."""
        if (deployment.raw["spec"].get("strategy") or {}).get("type") != "Recreate":
            return False
        for old in sets:
            if int(old.raw["spec"].get("replicas", 1)):
                self._set_replicas(store, deployment, old, 0)
        return any(owned(store, POD, old) and any(map(_is_there, owned(store, POD, old))) for old in sets)

    def _create(self, store: Store, deployment: Stored, sets: list[Stored]) -> Stored:
        spec = deployment.raw["spec"]
        template = spec["template"]
        digest = template_hash(template)
        revision = max(map(revision_of, sets), default=0) + 1
        metadata = template.get("metadata") or {}
        labels = {**(metadata.get("labels") or {}), HASH_LABEL: digest}
        selector = spec["selector"]
        new: Raw = {
            "metadata": {
                "name": f"{deployment.name}-{digest}",
                "namespace": deployment.namespace,
                "labels": labels,
                "annotations": _annotations(deployment, revision),
                "ownerReferences": [owner_reference(deployment)],
            },
            "spec": {
                "replicas": 0,
                "minReadySeconds": int(spec.get("minReadySeconds") or 0),
                "selector": {
                    **selector,
                    "matchLabels": {**(selector.get("matchLabels") or {}), HASH_LABEL: digest},
                },
                "template": {**template, "metadata": {**metadata, "labels": labels}},
            },
        }
        # With its first pods at once: one write less on the way to them.
        replicas = [Replicas.of(old, store) for old in sets]
        new["spec"]["replicas"] = next_scales(spec, replicas, None)[0]
        made = store.create(REPLICA_SET, new)
        if new["spec"]["replicas"]:
            self._told_scale(deployment, made.name, 0, int(new["spec"]["replicas"]))
        _annotate(store, deployment, REVISION, str(revision))
        return made

    def _scale(self, store: Store, deployment: Stored, current: Stored | None, sets: list[Stored]) -> None:
        spec = deployment.raw["spec"]
        old = [s for s in sets if current is None or s.uid != current.uid]
        known = [Replicas.of(s, store) for s in old]
        newest = Replicas.of(current, store) if current is not None else None
        wanted, others = next_scales(spec, known, newest)
        # Down before up, so that there are never more pods than maxSurge allows.
        for stored, replicas, count in zip(old, known, others, strict=True):
            if count != replicas.wanted:
                self._set_replicas(store, deployment, stored, count)
        if current is not None and newest is not None and wanted != newest.wanted:
            self._set_replicas(store, deployment, current, wanted)

    def _set_replicas(self, store: Store, deployment: Stored, replicas: Stored, count: int) -> None:
        before = int(replicas.raw["spec"].get("replicas", 1))
        stored = store.by_key(replicas.key)
        if stored is None:
            return
        store.update(REPLICA_SET, {**stored.raw, "spec": {**stored.raw["spec"], "replicas": count}})
        self._told_scale(deployment, replicas.name, before, count)

    def _told_scale(self, deployment: Stored, name: str, before: int, count: int) -> None:
        way = "up" if count > before else "down"
        told = f"Scaled {way} replica set {name} from {before} to {count}"
        self._events.record(
            deployment, "Normal", "ScalingReplicaSet", told, component="deployment-controller"
        )

    def _tell_status(self, store: Store, key: Key, current: Stored | None) -> float | None:
        deployment = store.by_key(key)
        if deployment is None:
            return None
        sets = owned(store, REPLICA_SET, deployment)
        newest = next((s for s in sets if current is not None and s.uid == current.uid), None)
        status, again = deployment_status(
            deployment,
            [Replicas.of(s, store) for s in sets],
            Replicas.of(newest, store) if newest else None,
            store.timestamp(),
        )
        store.update(DEPLOYMENT, {**deployment.raw, "status": status}, status=True)
        return again


def find_current(deployment: Stored, sets: list[Stored]) -> Stored | None:
    """Return the ReplicaSet whose template is the Deployment's, the hash label apart."""
    wanted = deployment.raw["spec"]["template"]
    return next((s for s in sets if _without_hash(s.raw["spec"]["template"]) == _without_hash(wanted)), None)


def _without_hash(template: Raw) -> Raw:
    metadata = template.get("metadata") or {}
    labels = {k: v for k, v in (metadata.get("labels") or {}).items() if k != HASH_LABEL}
    return {**template, "metadata": {**metadata, "labels": labels}}


def _renew(store: Store, deployment: Stored, current: Stored, sets: list[Stored]) -> Stored:
    """Make an existing ReplicaSet's revision the newest: after an undo it is an old one's."""
    newest = max(map(revision_of, sets))
    revision = revision_of(current)
    if revision < newest:
        revision = newest + 1
    annotations = {**current.annotations, **_annotations(deployment, revision)}
    minimum = int(deployment.raw["spec"].get("minReadySeconds") or 0)
    metadata = {**current.metadata, "annotations": annotations}
    spec = {**current.raw["spec"], "minReadySeconds": minimum}
    current = store.update(REPLICA_SET, {**current.raw, "metadata": metadata, "spec": spec})
    _annotate(store, deployment, REVISION, str(revision))
    return current


def _annotations(deployment: Stored, revision: int) -> dict[str, str]:
    copied = {k: v for k, v in deployment.annotations.items() if k not in _NOT_COPIED}
    return {**copied, REVISION: str(revision)}


def _annotate(store: Store, deployment: Stored, name: str, value: str) -> None:
    stored = store.by_key(deployment.key)
    if stored is not None and stored.annotations.get(name) != value:
        metadata = {**stored.metadata, "annotations": {**stored.annotations, name: value}}
        store.update(DEPLOYMENT, {**stored.raw, "metadata": metadata})


def _forget_old(store: Store, deployment: Stored, current: Stored | None) -> None:
    """Remove revisions beyond revisionHistoryLimit, the oldest first."""
    limit = int(deployment.raw["spec"].get("revisionHistoryLimit", _KEPT_REVISIONS))
    old = [
        s
        for s in owned(store, REPLICA_SET, deployment)
        if (current is None or s.uid != current.uid)
        and not int(s.raw["spec"].get("replicas", 1))
        and not int((s.raw.get("status") or {}).get("replicas") or 0)
    ]
    for stored in sorted(old, key=revision_of)[: max(0, len(old) - limit)]:
        store.delete(stored.key)


def _is_there(pod: Stored) -> bool:
    return pod.deleting or is_active(pod)
