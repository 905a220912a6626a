"""Snapshots as JSON-like data, for people and tests: names as in the code, defaults left out."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from typing import Any

from devmesh.model.identity import Identity
from devmesh.snapshot.match import Exact, PathPrefix, Prefix, Present, Regex, Suffix
from devmesh.snapshot.origin import Origin
from devmesh.snapshot.route import RouteTable


def dump(value: Any) -> Any:
    """Return `value`, something of a snapshot, as JSON has it.

    Fields with their default value are left out, and so is what is not for everyone's eyes (fields
    without a place in ``repr``: private keys). Keys that are pairs become ``address:port``.
    """
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Enum():
            return value.value
        case bytes():
            return value.decode("utf-8", "replace")
        case Origin() | Identity():
            return str(value)
        case Exact() | Prefix() | PathPrefix() | Suffix() | Regex() | Present():
            return _match(value)
        case RouteTable():  # instead of its indexes
            return {"name": value.name, "virtual_hosts": [dump(host) for host in value.virtual_hosts]}
        case Mapping():
            return {_key(key): dump(item) for key, item in value.items()}
        case Set():
            return sorted(dump(item) for item in value)
        case tuple() | list():
            return [dump(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: dump(v) for f in fields(value) if f.repr and (v := _given(f, value)) is not _ABSENT}
    return str(getattr(value, "pattern", value))


_ABSENT = object()


def _given(field: Field[Any], owner: object) -> object:
    value = getattr(owner, field.name)
    if field.default is not MISSING:
        return _ABSENT if value == field.default else value
    if field.default_factory is not MISSING:
        return _ABSENT if value == field.default_factory() else value
    return value


def _match(test: Exact | Prefix | PathPrefix | Suffix | Regex | Present) -> dict[str, object]:
    kind = "path_prefix" if isinstance(test, PathPrefix) else type(test).__name__.lower()
    if isinstance(test, Present):
        return {kind: True}
    found: dict[str, object] = {kind: test.source if isinstance(test, Regex) else test.value}
    if isinstance(test, Exact | Prefix) and test.ignore_case:
        found["ignore_case"] = True
    return found


def _key(key: object) -> str:
    return ":".join(str(part) for part in key) if isinstance(key, tuple) else str(key)
