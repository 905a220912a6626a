"""What the controllers share: ownership, selectors, templates, the state of pods."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from devmesh.config.kinds import POD, Kind
from devmesh.config.store import Event, Key, Raw, Store, Stored
from devmesh.runtime.pods.admission import admit

HASH_LABEL = "pod-template-hash"
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # Kubernetes' own: no vowels, so no words


def seconds_since(timestamp: str | None, now: str) -> float:
    """Return the seconds between two timestamps as Kubernetes writes them; 0 without the first."""
    if not timestamp:
        return 0.0
    return (datetime.fromisoformat(now) - datetime.fromisoformat(timestamp)).total_seconds()


def owner_reference(owner: Stored) -> Raw:
    return {
        "apiVersion": owner.key.kind.api_version,
        "kind": owner.key.kind.kind,
        "name": owner.name,
        "uid": owner.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def owned(store: Store, kind: Kind, owner: Stored) -> list[Stored]:
    """Return the objects of `kind` that `owner` controls, the oldest first."""
    found = [
        stored
        for stored in store.list(kind, owner.namespace)
        if stored.controller is not None and stored.controller.get("uid") == owner.uid
    ]
    return sorted(found, key=lambda s: (s.metadata["creationTimestamp"], s.name))


def adopt(store: Store, kind: Kind, owner: Stored, selector: Raw) -> None:
    """Take over objects that the selector wants and nobody controls; let go of those it no longer wants.

    Kubernetes: ControllerRefManager.
    """
    for stored in store.list(kind, owner.namespace):
        controller = stored.controller
        wanted = selects(selector, stored.labels)
        if controller is None and wanted and not stored.deleting:
            others = list(stored.metadata.get("ownerReferences") or ())
            _set_owners(store, stored, [*others, owner_reference(owner)])
        elif controller is not None and controller.get("uid") == owner.uid and not wanted:
            others = [o for o in stored.metadata["ownerReferences"] if o.get("uid") != owner.uid]
            _set_owners(store, stored, others)


def _set_owners(store: Store, stored: Stored, owners: list[Raw]) -> None:
    metadata = {**stored.metadata, "ownerReferences": owners}
    store.update(stored.key.kind, {**stored.raw, "metadata": metadata})


def selects(selector: Raw, labels: Mapping[str, str]) -> bool:
    """Tell whether a LabelSelector takes an object with `labels`; an empty one takes all."""
    for name, value in (selector.get("matchLabels") or {}).items():
        if labels.get(name) != value:
            return False
    return all(_meets(expression, labels) for expression in selector.get("matchExpressions") or ())


def _meets(expression: Raw, labels: Mapping[str, str]) -> bool:
    value, values = labels.get(expression["key"]), expression.get("values") or ()
    match expression["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
    return False


def template_hash(template: Raw) -> str:
    """Return what names a revision of a template: ten characters that depend on its content alone."""
    text = json.dumps(template, sort_keys=True, separators=(",", ":"))
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    digits = []
    for _ in range(10):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(digits)


def create_pod(
    store: Store,
    owner: Stored,
    template: Raw,
    *,
    name: str = "",
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    spec: Raw | None = None,
    inject_all: bool = False,
) -> Stored:
    """Create a pod from a template, with `owner` as its controller.

    Args:
        name: Empty: the owner's with a random ending.
        spec: Taken in place of fields of the template's spec.
    """
    from_template = template.get("metadata") or {}
    metadata: Raw = {
        "namespace": owner.namespace,
        "labels": {**(from_template.get("labels") or {}), **(labels or {})},
        "ownerReferences": [owner_reference(owner)],
    }
    if found := {**(from_template.get("annotations") or {}), **(annotations or {})}:
        metadata["annotations"] = found
    if name:
        metadata["name"] = name
    else:
        metadata["generateName"] = f"{owner.name}-"
    raw: Raw = {
        "metadata": metadata,
        "spec": {**(template.get("spec") or {}), **(spec or {})},
        "status": {"phase": "Pending"},
    }
    return store.create(POD, admit(store, raw, inject_all=inject_all))


def delete_pod(store: Store, pod: Stored) -> None:
    if not pod.deleting:
        store.delete(pod.key, grace=float(pod.raw["spec"].get("terminationGracePeriodSeconds", 30)))


def is_active(pod: Stored) -> bool:
    """Tell whether a pod counts as a replica: it has neither ended nor is it asked to."""
    return not pod.deleting and phase(pod) not in ("Succeeded", "Failed")


def phase(pod: Stored) -> str:
    return str((pod.raw.get("status") or {}).get("phase") or "Pending")


def ready_since(pod: Stored) -> str | None:
    """Return since when a pod is ready; None where it isn't."""
    if pod.deleting:
        return None
    for condition in (pod.raw.get("status") or {}).get("conditions") or ():
        if condition["type"] == "Ready" and condition["status"] == "True":
            return str(condition.get("lastTransitionTime") or pod.metadata["creationTimestamp"])
    return None


def is_ready(pod: Stored) -> bool:
    return ready_since(pod) is not None


def availability(pods: Iterable[Stored], min_ready: float, now: str) -> tuple[int, float | None]:
    """Return how many pods have been ready for `min_ready` seconds, and when to look again."""
    available, again = 0, None
    for pod in pods:
        since = ready_since(pod)
        if since is None:
            continue
        left = min_ready - seconds_since(since, now)
        if min_ready <= 0 or left <= 0:
            available += 1
        else:
            again = left if again is None else min(again, left)
    return available, again


def scaled(value: int | str | None, total: int, default: int | str, *, up: bool) -> int:
    """Return a number that may be given in percent of `total`, rounded up or down."""
    value = default if value is None else value
    if isinstance(value, str) and value.endswith("%"):
        exact = int(value[:-1]) * total
        return -(-exact // 100) if up else exact // 100
    return int(value)


def controlled_by(event: Event, kind: Kind, store: Store) -> Iterator[Key]:
    """Yield the object of `kind` that controls the changed one, now or before."""
    stored = event.object
    owners = [stored.controller, event.before.controller if event.before else None]
    for owner in owners:
        if owner is not None and owner.get("kind") == kind.kind:
            yield Key(kind, stored.namespace, owner["name"])


def set_condition(conditions: list[Raw], condition: Raw, now: str) -> list[Raw]:
    """Return `conditions` with one of a type put in; its transition time moves with its status alone."""
    old = next((c for c in conditions if c["type"] == condition["type"]), None)
    same = old is not None and old["status"] == condition["status"]
    assert old is not None or not same
    new = {**condition, "lastTransitionTime": old["lastTransitionTime"] if same and old else now}
    unchanged = old is not None and all(old.get(k) == v for k, v in condition.items())
    new["lastUpdateTime"] = old.get("lastUpdateTime", now) if unchanged and old else now
    return [*(c for c in conditions if c["type"] != condition["type"]), new]
