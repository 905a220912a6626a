"""Stored resources as structs, decoded once per version."""

from __future__ import annotations

from typing import Any, TypeVar, overload

import msgspec

from devmesh.config.documents.message import Message
from devmesh.config.documents.scalars import from_text
from devmesh.config.documents.structs import STRUCTS
from devmesh.config.store import Stored

M = TypeVar("M", bound=Message)


@overload
def typed(stored: Stored) -> Any: ...
@overload
def typed(stored: Stored, struct: type[M]) -> M: ...
def typed(stored: Stored, struct: type[M] | None = None) -> Any:
    """Return `stored` as its kind's struct; the same one for as long as `stored` is kept.

    Args:
        struct: What the caller expects, for the type checker: ``typed(stored, VirtualService)``.

    Raises:
        LookupError: The kind has no struct.
        TypeError: It is another kind than `struct`.
        msgspec.ValidationError: What is stored does not fit; admission refuses such, so that
            this means a bug, or a store written by another version.
    """
    found: Message | None = stored.decoded
    if found is None:
        kind = stored.key.kind
        known = STRUCTS.get((kind.group, kind.kind))
        if known is None:
            raise LookupError(f"{kind.resource} has no struct")
        found = convert(stored.raw, known)
        object.__setattr__(stored, "decoded", found)
    if struct is not None and not isinstance(found, struct):
        raise TypeError(f"{stored.key} is no {struct.__name__}")
    return found


def convert(raw: object, struct: type[M]) -> M:
    """Decode JSON-like data, or a part of it, as `struct`; nulls are left out first.

    Raises:
        msgspec.ValidationError: It does not fit; the first misfit is told, with its path.
    """
    return msgspec.convert(without_nulls(raw), struct, dec_hook=from_text)


def without_nulls(value: Any) -> Any:
    """Return `value` without the keys that hold null: Kubernetes and protojson read them as absent."""
    if type(value) is dict:
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    if type(value) is list:
        return [without_nulls(item) for item in value]
    return value
