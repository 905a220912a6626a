"""Strategic merge patch: lists of things with names are merged by name, not replaced.

Kubernetes: "Strategic Merge Patch in the Kubernetes API Server". Which lists merge, and by what, is
`devmesh.config.merge_keys`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from devmesh.api.kube.errors import bad_request

MergeKey = Callable[[str], str | None]
"""From a list's dotted path to the key of its items; "" for a set of values, None to replace it."""

_ORDER = "$setElementOrder/"
_DELETE = "$deleteFromPrimitiveList/"


def strategic_patch(
    target: Mapping[str, Any], patch: Mapping[str, Any], merge_key: MergeKey
) -> dict[str, Any]:
    """Return `target` as `patch` leaves it; neither is changed.

    Raises:
        ApiError: 400: the patch holds a directive that is none, or an item without its key.
    """
    return _merge_object(dict(target), patch, "", merge_key)


def _merge_object(
    target: dict[str, Any], patch: Mapping[str, Any], path: str, merge_key: MergeKey
) -> dict[str, Any]:
    directive = patch.get("$patch")
    if directive == "replace":
        replaced: dict[str, Any] = _without_directives(patch)
        return replaced
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise bad_request(f"unrecognized $patch directive {directive!r} at {path or 'the top'}")
    merged = dict(target)
    if "$retainKeys" in patch:
        kept = patch["$retainKeys"]
        merged = {key: value for key, value in merged.items() if key in kept}
    for key, value in patch.items():
        at = f"{path}.{key}" if path else key
        if key.startswith(_DELETE):
            field = key[len(_DELETE) :]
            merged[field] = [item for item in merged.get(field) or [] if item not in value]
        elif key.startswith("$"):
            continue
        elif value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            found = merged.get(key)
            merged[key] = _merge_object(found if isinstance(found, dict) else {}, value, at, merge_key)
        elif isinstance(value, list):
            order = patch.get(_ORDER + key)
            merged[key] = _merge_list(merged.get(key) or [], value, order, at, merge_key)
        else:
            merged[key] = value
    _reorder(merged, patch, path, merge_key)
    return merged


def _merge_list(
    target: list[Any], patch: list[Any], order: list[Any] | None, path: str, merge_key: MergeKey
) -> list[Any]:
    key = merge_key(path)
    if key is None:
        return _without_directives(patch)  # type: ignore[no-any-return]
    if key == "":
        return [*target, *(item for item in patch if item not in target)]
    items = [
        item for item in patch if not isinstance(item, dict) or item.get("$patch") != "replace" or key in item
    ]
    if len(items) < len(patch):  # {"$patch": "replace"} alone replaces the whole list
        return [_without_directives(item) for item in items]
    merged = list(target)
    for item in patch:
        if not isinstance(item, dict) or key not in item:
            raise bad_request(f"{path}: map: {item!r} does not contain declared merge key: {key}")
        at = next((n for n, one in enumerate(merged) if one.get(key) == item[key]), None)
        if item.get("$patch") == "delete":
            merged = [one for one in merged if one.get(key) != item[key]]
        elif at is None:
            merged.append(_merge_object({}, item, path, merge_key))
        else:
            merged[at] = _merge_object(merged[at], item, path, merge_key)
    return merged


def _reorder(merged: dict[str, Any], patch: Mapping[str, Any], path: str, merge_key: MergeKey) -> None:
    """Follow ``$setElementOrder``: what it names in its order, what it does not name after its neighbour."""
    for name, order in patch.items():
        field = name[len(_ORDER) :]
        if not name.startswith(_ORDER) or not isinstance(merged.get(field), list):
            continue
        key = merge_key(f"{path}.{field}" if path else field)
        if key is None:
            continue
        wanted = [item.get(key) if key and isinstance(item, dict) else item for item in order]
        place = {_hashable(value): n for n, value in enumerate(wanted)}
        ranked, last = [], -1
        for n, item in enumerate(merged[field]):
            value = _hashable(item.get(key) if key else item)
            last = place.get(value, last)
            ranked.append((last, value not in place, n, item))
        merged[field] = [item for *_, item in sorted(ranked, key=lambda one: one[:3])]


def _hashable(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | None) else repr(value)


def _without_directives(value: Any) -> Any:
    """Drop the directives and the nulls of what is taken over as it is."""
    if isinstance(value, dict):
        return {
            k: _without_directives(v) for k, v in value.items() if not k.startswith("$") and v is not None
        }
    if isinstance(value, list):
        return [_without_directives(item) for item in value]
    return value
