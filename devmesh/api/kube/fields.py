"""Which fields an object has, and who set them: the sets behind ``metadata.managedFields``.

A field is a path of elements as ``FieldsV1`` writes them: ``f:name`` for a field, ``k:{...}`` for
the item of a list with keys, ``v:...`` for a value of a set, and ``.`` for an item itself.
Only leaves are in a set (sigs.k8s.io/structured-merge-diff).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

FieldPath = tuple[str, ...]
Fields = frozenset[FieldPath]
ListKeys = Callable[[str], tuple[str, ...] | None]
"""From a list's dotted path to the keys of its items; () for a set, None for a list taken whole."""

_SERVERS = (
    "name",
    "namespace",
    "uid",
    "creationTimestamp",
    "resourceVersion",
    "generation",
    "managedFields",
    "selfLink",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
)
_DEFAULTED = {"protocol": "TCP"}


def leaves(raw: Mapping[str, Any], list_keys: ListKeys) -> dict[FieldPath, Any]:
    """Return the fields of an object, each with its value; without what the server sets, and status."""
    found: dict[FieldPath, Any] = {}
    for name, value in raw.items():
        if name == "metadata":
            value = {key: inner for key, inner in value.items() if key not in _SERVERS}
            if value:
                _walk(value, "metadata", ("f:metadata",), list_keys, found)
        elif name not in ("apiVersion", "kind", "status"):
            _walk(value, name, (f"f:{name}",), list_keys, found)
    return found


def _walk(value: Any, dotted: str, path: FieldPath, list_keys: ListKeys, found: dict[FieldPath, Any]) -> None:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            _walk(inner, f"{dotted}.{name}", (*path, f"f:{name}"), list_keys, found)
        return
    keys = list_keys(dotted) if isinstance(value, list) else None
    if keys is None:
        found[path] = value
    elif keys == ():
        found.update({(*path, f"v:{_compact(item)}"): item for item in value})
    else:
        for item in value:
            element = (*path, item_element(item, keys))
            found[*element, "."] = None
            if isinstance(item, dict):
                for name, inner in item.items():
                    _walk(inner, f"{dotted}.{name}", (*element, f"f:{name}"), list_keys, found)


def item_element(item: Any, keys: tuple[str, ...]) -> str:
    """Return how a path names the item of a list."""
    values = (
        {key: item.get(key, _DEFAULTED.get(key)) for key in sorted(keys)} if isinstance(item, dict) else {}
    )
    return f"k:{_compact({key: value for key, value in values.items() if value is not None})}"


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)


def to_v1(fields: Fields) -> dict[str, Any]:
    """Return a set as ``fieldsV1`` has it: nested objects."""
    root: dict[str, Any] = {}
    for path in sorted(fields):
        node = root
        for element in path:
            node = node.setdefault(element, {})
    return root


def from_v1(nested: Any) -> Fields:
    """Read ``fieldsV1``; every object without further ones is a field. What makes no sense is left out."""
    found: set[FieldPath] = set()

    def walk(node: Any, path: FieldPath) -> None:
        if isinstance(node, dict) and node:
            for element, inner in node.items():
                # A struct's own "." says only that it was there; an item's is a field of its own.
                if element != "." and not _is_element(element):
                    continue
                if element == "." and not (path and path[-1].startswith("k:")):
                    if len(node) == 1:
                        found.add(path)
                    continue
                walk(inner, (*path, element))
        elif path:
            found.add(path)

    walk(nested, ())
    return frozenset(found)


def _is_element(element: str) -> bool:
    kind, colon, rest = element.partition(":")
    if kind == "k":
        try:
            return isinstance(json.loads(rest), dict)
        except (ValueError, RecursionError):
            return False
    return bool(colon) and kind in ("f", "v", "i")


def written(path: FieldPath) -> str:
    """Return a path as conflicts name it: ``.spec.containers[name="app"].image``."""
    text = ""
    for element in path:
        kind, _, rest = element.partition(":")
        if kind == "f":
            text += f".{rest}"
        elif kind == "k":
            text += (
                "[" + ",".join(f"{key}={json.dumps(value)}" for key, value in json.loads(rest).items()) + "]"
            )
        elif kind == "v":
            text += f"[={rest}]"
    return text
