"""A column of a table, and those that most tables have."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from devmesh.api.kube.duration import age

Cell = Callable[[Mapping[str, Any]], Any]
MORE_AFTER = 3


@dataclass(frozen=True, slots=True)
class Column:
    """`wide` ones are shown by ``-o wide`` alone. `value` has to cope with fields that are missing."""

    name: str
    value: Cell
    type: str = "string"
    format: str = ""
    wide: bool = False
    description: str = ""

    def definition(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "description": self.description or f"{self.name} of the object",
            "priority": int(self.wide),
        }

    def cell(self, raw: Mapping[str, Any]) -> Any:
        return self.value(raw)


def at(raw: Any, path: str, default: Any = None) -> Any:
    """Return what is at a dotted path, where all of it is there and not null."""
    for name in path.split("."):
        raw = raw.get(name) if isinstance(raw, dict) else None
    return default if raw is None else raw


def field(
    name: str, path: str, default: Any = "<none>", *, wide: bool = False, type_: str = "string"
) -> Column:
    return Column(name, lambda raw: at(raw, path, default), type_, wide=wide)


def count(name: str, path: str) -> Column:
    """Return a column of a number; 0 where it is missing."""
    return Column(name, lambda raw: at(raw, path, 0), "integer")


def few(values: Iterable[str]) -> str:
    """Join with commas: the first three, and how many more there are."""
    found = list(values)
    if not found:
        return "<none>"
    if len(found) <= MORE_AFTER:
        return ",".join(found)
    return f"{','.join(found[:MORE_AFTER])} + {len(found) - MORE_AFTER} more..."


def labels(values: Mapping[str, Any] | None) -> str:
    """Write labels, or a selector by labels, as ``app=reviews,version=v1``."""
    return ",".join(f"{key}={value}" for key, value in sorted((values or {}).items())) or "<none>"


def selector(raw: Any) -> str:
    """Write a LabelSelector."""
    raw = raw or {}
    parts = [f"{key}={value}" for key, value in sorted((raw.get("matchLabels") or {}).items())]
    for one in raw.get("matchExpressions") or ():
        key, values = one.get("key", ""), ",".join(one.get("values") or ())
        match one.get("operator"):
            case "Exists":
                parts.append(key)
            case "DoesNotExist":
                parts.append(f"!{key}")
            case operator:
                parts.append(f"{key} {str(operator).lower()} ({values})")
    return ",".join(parts) or "<none>"


NAME = Column(
    "Name", lambda raw: at(raw, "metadata.name", ""), format="name", description="The object's name"
)
AGE = Column(
    "Age", lambda raw: age(at(raw, "metadata.creationTimestamp")), description="How long ago it was created"
)
CREATED_AT = Column("Created At", lambda raw: at(raw, "metadata.creationTimestamp", "<unknown>"), type="date")
