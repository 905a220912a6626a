"""``metadata.managedFields``: who has set which field; and server-side apply, which is built on it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from devmesh.api.kube.errors import ApiError
from devmesh.api.kube.fields import (
    FieldPath,
    Fields,
    ListKeys,
    from_v1,
    item_element,
    leaves,
    to_v1,
    written,
)
from devmesh.api.kube.patch import same

_ABSENT = object()
KEPT_MANAGERS = 10
"""How many entries of updates there may be; the older ones are merged (Kubernetes: 10)."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What one manager has set, by one kind of operation: Apply or Update."""

    manager: str
    operation: str
    api_version: str
    time: str
    fields: Fields
    subresource: str = ""

    def is_by(self, manager: str, operation: str) -> bool:
        return (self.manager, self.operation, self.subresource) == (manager, operation, "")

    def raw(self) -> dict[str, Any]:
        found = {
            "manager": self.manager,
            "operation": self.operation,
            "apiVersion": self.api_version,
            "time": self.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": to_v1(self.fields),
        }
        return {**found, "subresource": self.subresource} if self.subresource else found


def read_entries(raw: Any) -> list[Entry]:
    """Read ``managedFields``; entries that make no sense are left out."""
    return [
        Entry(
            str(entry["manager"]),
            str(entry["operation"]),
            str(entry.get("apiVersion", "")),
            str(entry.get("time", "")),
            from_v1(entry.get("fieldsV1") or {}),
            str(entry.get("subresource") or ""),
        )
        for entry in (raw if isinstance(raw, list) else ())
        if isinstance(entry, dict) and entry.get("manager") and entry.get("operation") in ("Apply", "Update")
    ]


def updated(
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    *,
    manager: str,
    api_version: str,
    now: str,
    list_keys: ListKeys,
    base: Any,
) -> list[dict[str, Any]]:
    """Return ``managedFields`` after an update: what changed belongs to `manager` alone.

    Args:
        before: {} for a new object.
        base: The entries to begin with: those of `before`, or others that the client has sent.
    """
    was, becomes = leaves(before, list_keys), leaves(after, list_keys)
    changed = frozenset(p for p, value in becomes.items() if not same(was.get(p, _ABSENT), value))
    gone = was.keys() - becomes.keys()
    entries = read_entries(base)
    found = [
        entry if entry.is_by(manager, "Update") else replace(entry, fields=entry.fields - changed)
        for entry in entries
    ]
    found = [replace(entry, fields=entry.fields - gone) for entry in found]
    if changed:
        own = next((e for e in found if e.is_by(manager, "Update")), None)
        if own is None:
            found.append(Entry(manager, "Update", api_version, now, changed))
        else:
            found[found.index(own)] = replace(
                own, fields=own.fields | changed, api_version=api_version, time=now
            )
    return [entry.raw() for entry in _few(found)]


def applied(
    live: dict[str, Any],
    config: dict[str, Any],
    *,
    manager: str,
    api_version: str,
    now: str,
    force: bool,
    list_keys: ListKeys,
) -> dict[str, Any]:
    """Return `live` as server-side apply of `config` leaves it, ``managedFields`` included.

    Fields that `manager` applied before and no longer mentions go, unless others have set them too.

    Raises:
        ApiError: 409: others have set fields to other values, and `force` is off.
    """
    entries = read_entries(live.get("metadata", {}).get("managedFields"))
    own = next((e for e in entries if e.is_by(manager, "Apply")), None)
    others = [e for e in entries if e is not own]
    wanted, was = leaves(config, list_keys), leaves(live, list_keys)
    conflicts = [
        (entry, path)
        for entry in others
        for path in sorted(entry.fields & wanted.keys())
        if not same(was.get(path, _ABSENT), wanted[path])
    ]
    if conflicts and not force:
        raise _conflict(conflicts)
    taken = {path for _, path in conflicts}
    others = [replace(entry, fields=entry.fields - taken) for entry in others]
    merged = _merge(live, config, "", list_keys)
    kept = frozenset(wanted).union(*(entry.fields for entry in others))
    gone = (own.fields if own else frozenset()) - kept
    # Whole items first: an item whose key was taken out could not be found any more.
    for path in sorted(gone, key=lambda p: (p[-1] != ".", p)):
        inside = path[:-1] if path[-1] == "." else path
        if not any(k[: len(inside)] == inside for k in kept) and not _is_key(path):
            _remove(merged, path, "", list_keys)
    fields = frozenset(wanted)
    time = own.time if own and own.fields == fields else now
    entry = Entry(manager, "Apply", api_version, time, fields)
    metadata = {**merged.get("metadata", {}), "managedFields": [e.raw() for e in _few([entry, *others])]}
    return {**merged, "metadata": metadata}


def _few(entries: Iterable[Entry]) -> list[Entry]:
    """Drop entries without fields, and merge the oldest updates where there are too many."""
    found = [entry for entry in entries if entry.fields]
    updates = sorted((e for e in found if e.operation == "Update"), key=lambda e: e.time)
    while len(updates) > KEPT_MANAGERS:
        first, second, *updates = updates
        one = replace(second, manager="ancient-changes", fields=first.fields | second.fields, subresource="")
        found = [e for e in found if e is not first and e is not second] + [one]
        updates = [one, *updates]
    return found


def _conflict(conflicts: list[tuple[Entry, FieldPath]]) -> ApiError:
    causes, said = [], dict[str, list[str]]()
    for entry, path in conflicts:
        who = f'"{entry.manager}"' + (f" using {entry.api_version}" if entry.api_version else "")
        causes.append(
            {"reason": "FieldManagerConflict", "message": f"conflict with {who}", "field": written(path)}
        )
        said.setdefault(who, []).append(written(path))
    count = len(conflicts)
    if count == 1:
        text = f"conflict with {next(iter(said))}: {causes[0]['field']}"
    else:
        text = "\n".join(
            f"conflicts with {who}:\n" + "\n".join(f"- {path}" for path in paths)
            for who, paths in said.items()
        )
    return ApiError(
        409, f"Apply failed with {count} conflict{'s' * (count > 1)}: {text}", details={"causes": causes}
    )


def _merge(live: Any, config: Any, dotted: str, list_keys: ListKeys) -> Any:
    if isinstance(config, dict):
        merged = dict(live) if isinstance(live, dict) else {}
        for name, value in config.items():
            merged[name] = _merge(merged.get(name), value, f"{dotted}.{name}" if dotted else name, list_keys)
        return merged
    keys = list_keys(dotted) if isinstance(config, list) else None
    if keys is None or not isinstance(live, list):
        return config
    if keys == ():
        return [*live, *(item for item in config if item not in live)]
    merged_list = list(live)
    names = [item_element(item, keys) for item in live]
    for item in config:
        name = item_element(item, keys)
        if name in names:
            merged_list[names.index(name)] = _merge(live[names.index(name)], item, dotted, list_keys)
        else:
            merged_list.append(item)
    return merged_list


def _remove(node: Any, path: FieldPath, dotted: str, list_keys: ListKeys) -> Any:
    """Take the field at `path` out of `node`, in place but for lists and objects that `live` shares."""
    kind, _, rest = path[0].partition(":")
    if kind == "f" and isinstance(node, dict) and rest in node:
        if len(path) == 1:
            del node[rest]
            return node
        at = f"{dotted}.{rest}" if dotted else rest
        inner = node[rest]
        node[rest] = _remove(dict(inner) if isinstance(inner, dict) else inner, path[1:], at, list_keys)
        if node[rest] in ({}, []):
            del node[rest]
    elif isinstance(node, list):
        keys = list_keys(dotted) or ()
        if kind == "v":
            return [item for item in node if f"v:{_json(item)}" != path[0]]
        if path[1:] == (".",):
            return [item for item in node if item_element(item, keys) != path[0]]
        return [
            _remove(dict(item), path[1:], dotted, list_keys) if item_element(item, keys) == path[0] else item
            for item in node
        ]
    return node


def _is_key(path: FieldPath) -> bool:
    if len(path) < 2 or not path[-2].startswith("k:"):
        return False
    return path[-1][2:] in json.loads(path[-2][2:])


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
