"""Who changed what, when: the last thousand changes of what people and files write."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

KEPT_CHANGES = 1_000
_LARGEST_DIFF = 100


@dataclass(frozen=True, slots=True)
class Difference:
    """One field that changed; a side is None where the field was not there."""

    path: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Change:
    """One write. `time` is in seconds since the epoch; `manager` is who wrote."""

    version: int
    time: float
    manager: str
    type: str
    group: str
    kind: str
    namespace: str
    name: str
    differences: tuple[Difference, ...] = ()


class History:
    """The last `KEPT_CHANGES` changes, the newest last."""

    def __init__(self) -> None:
        self._changes: deque[Change] = deque(maxlen=KEPT_CHANGES)

    def add(self, change: Change) -> None:
        self._changes.append(change)

    def __iter__(self) -> Iterator[Change]:
        return iter(tuple(self._changes))


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Difference, ...]:
    """Compare what users write of two versions: not status, and not what the store keeps itself."""
    found: list[Difference] = []
    _compare(_essence(before), _essence(after), "", found)
    return tuple(found[:_LARGEST_DIFF])


_BOOK_KEEPING = {
    "resourceVersion",
    "generation",
    "managedFields",
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
}
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def _essence(raw: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {k: v for k, v in (raw.get("metadata") or {}).items() if k not in _BOOK_KEEPING}
    if _LAST_APPLIED in (metadata.get("annotations") or {}):
        metadata["annotations"] = {k: v for k, v in metadata["annotations"].items() if k != _LAST_APPLIED}
    return {**{k: v for k, v in raw.items() if k not in ("status", "metadata")}, "metadata": metadata}


def _compare(before: Any, after: Any, path: str, found: list[Difference]) -> None:
    if before == after or len(found) > _LARGEST_DIFF:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for key in (*before, *(k for k in after if k not in before)):
            _compare(before.get(key), after.get(key), f"{path}.{key}" if path else str(key), found)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for n, (one, other) in enumerate(zip(before, after, strict=True)):
            _compare(one, other, f"{path}[{n}]", found)
    else:
        found.append(Difference(path, before, after))
