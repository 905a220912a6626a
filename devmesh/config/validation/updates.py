"""What may not change once an object exists."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from devmesh.config.kinds import (
    CONFIG_MAP,
    DAEMON_SET,
    DEPLOYMENT,
    JOB,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    REPLICA_SET,
    SECRET,
    SERVICE,
    STATEFUL_SET,
    Kind,
)
from devmesh.config.problems import Cause, Path, forbidden, invalid

Raw = dict[str, Any]

_IMMUTABLE: dict[Kind, tuple[Path, ...]] = {
    DEPLOYMENT: (("spec", "selector"),),
    REPLICA_SET: (("spec", "selector"),),
    DAEMON_SET: (("spec", "selector"),),
    JOB: (("spec", "selector"), ("spec", "template"), ("spec", "completionMode"), ("spec", "completions")),
    SECRET: (("type",),),
}
_STATEFUL_SET = {
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
}
_POD_CHANGES = {"activeDeadlineSeconds", "terminationGracePeriodSeconds", "tolerations", "schedulingGates"}


def unchanged(kind: Kind, before: Raw, after: Raw) -> Iterator[Cause]:
    """Find what an update changes that must stay; both are complete, with their defaults."""
    for path in _IMMUTABLE.get(kind, ()):
        if _at(before, path) != _at(after, path):
            yield invalid(path, _at(after, path), "field is immutable")
    if kind is SERVICE:
        yield from _service(before["spec"], after["spec"])
    elif kind is STATEFUL_SET and _without(before, _STATEFUL_SET) != _without(after, _STATEFUL_SET):
        allowed = ", ".join(f"'{name}'" for name in sorted(_STATEFUL_SET))
        yield forbidden(
            ("spec",), f"updates to statefulset spec for fields other than {allowed} are forbidden"
        )
    elif kind is POD:
        yield from _pod(before["spec"], after["spec"])
    elif kind in (CONFIG_MAP, SECRET) and before.get("immutable"):
        for field in ("data", "binaryData", "immutable"):
            if before.get(field) != after.get(field):
                yield forbidden((field,), "field is immutable when `immutable` is set")
    elif kind is PERSISTENT_VOLUME_CLAIM:
        kept = {"resources", "volumeName"}
        if _without(before, kept) != _without(after, kept):
            yield forbidden(("spec",), "spec is immutable after creation except resources.requests")


def _service(before: Raw, after: Raw) -> Iterator[Cause]:
    was, now = before.get("clusterIP"), after.get("clusterIP")
    leaves = "ExternalName" in (before.get("type"), after.get("type"))
    if was and now != was and not leaves:
        yield invalid(("spec", "clusterIPs", 0), now, "may not change once set")


def _pod(before: Raw, after: Raw) -> Iterator[Cause]:
    def kept(spec: Raw) -> Raw:
        rest = {k: v for k, v in spec.items() if k not in (*_POD_CHANGES, "nodeName", "ephemeralContainers")}
        for field in ("containers", "initContainers"):
            if field in rest:
                rest[field] = [{k: v for k, v in c.items() if k != "image"} for c in rest[field]]
        return rest

    if kept(before) != kept(after):
        yield forbidden(
            ("spec",),
            "pod updates may not change fields other than `spec.containers[*].image`, "
            "`spec.initContainers[*].image`, `spec.activeDeadlineSeconds`, `spec.tolerations`, "
            "`spec.terminationGracePeriodSeconds`",
        )


def _at(raw: Raw, path: Path) -> Any:
    value: Any = raw
    for part in path:
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _without(raw: Raw, fields: set[str]) -> Raw:
    return {k: v for k, v in raw["spec"].items() if k not in fields}
