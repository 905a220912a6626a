"""OpenAPI schemas of the kinds, from the structs that decode them (kubectl explain reads these)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from devmesh.config.documents.message import Message
from devmesh.config.documents.meta import ObjectMeta
from devmesh.config.documents.structs import STRUCTS
from devmesh.config.kind import Kind
from devmesh.config.merge_keys import list_map_keys, merge_keys
from devmesh.config.shapes import Anything, Items, Map, Object, Shape, Value, shape_of

Schema = dict[str, Any]

_REF = "#/components/schemas/"
_API_VERSION = "The group and version in which the document is written."
_KIND = "What kind of resource this is."
_SCALARS: Mapping[str, Schema] = {
    "string": {"type": "string"},
    "integer": {"type": "integer"},
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
    "quantity": {"oneOf": [{"type": "string"}, {"type": "number"}]},
    "int-or-string": {"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]},
    "duration": {"type": "string"},
    "base64": {"type": "string", "format": "byte"},
}


def schemas(kinds: Iterable[Kind], group: str, version: str) -> dict[str, Schema]:
    """Return ``components.schemas`` of one group and version: its kinds, and all that they are made of."""
    found: dict[str, Schema] = {}
    for kind in kinds:
        if kind.group == group and version in kind.versions:
            found[schema_name(kind, version)] = _kind_schema(kind, version, found)
    return found


def schema_name(kind: Kind, version: str) -> str:
    """Return the name of a kind's schema; messages show its last part."""
    return f"{'.'.join(reversed(kind.group.split('.'))) or 'io.k8s.api.core'}.{version}.{kind.kind}"


def _kind_schema(kind: Kind, version: str, found: dict[str, Schema]) -> Schema:
    struct = STRUCTS.get((kind.group, kind.kind))
    if struct is None:
        schema: Schema = {
            "type": "object",
            "description": f"{kind.kind} is stored as it is written.",
            "x-kubernetes-preserve-unknown-fields": True,
            "properties": {"metadata": _ref(ObjectMeta, found)},
        }
    else:
        schema = _struct_schema(shape_of(struct), found)
    schema["properties"] = {
        "apiVersion": {"type": "string", "description": _API_VERSION},
        "kind": {"type": "string", "description": _KIND},
        **{k: v for k, v in schema["properties"].items() if k not in ("apiVersion", "kind")},
    }
    schema["x-kubernetes-group-version-kind"] = [{"group": kind.group, "kind": kind.kind, "version": version}]
    return schema


@cache
def _merged_lists() -> Mapping[tuple[str, str], tuple[str, tuple[str, ...]]]:
    """Return the lists that merge, by struct and field: patches' merge key, and the keys of their items."""
    found: dict[tuple[str, str], tuple[str, tuple[str, ...]]] = {}
    for (group, kind), root in STRUCTS.items():
        for path, key in merge_keys(group, kind).items():
            owner = _owner(shape_of(root), path.split("."))
            if owner is not None:
                keys = list_map_keys(group, kind, path) or ()
                found[owner.__name__, path.rpartition(".")[2]] = (key, keys)
    return found


def _owner(shape: Object, parts: list[str]) -> type[Message] | None:
    """Return the struct that holds the field at the end of a path."""
    for part in parts[:-1]:
        member = shape.members.get(part)
        inner = member.shape if member else None
        if isinstance(inner, Items):
            inner = inner.item
        if not isinstance(inner, Object):
            return None
        shape = inner
    return shape.struct if parts[-1] in shape.members else None


def _struct_schema(shape: Object, found: dict[str, Schema]) -> Schema:
    name = shape.struct.__name__
    told = descriptions()
    properties: dict[str, Schema] = {}
    for member in shape.members.values():
        schema = _schema(member.shape, found)
        description = told.get(f"{name}.{member.name}") or _about(member.shape)
        if description:
            schema = {**schema, "description": description}
        if isinstance(member.shape, Items):
            schema |= _merging(_merged_lists().get((name, member.name)))
        properties[member.name] = schema
    required = [member.name for member in shape.members.values() if member.required]
    schema = {"type": "object", "description": shape.struct.__doc__ or "", "properties": properties}
    return {**schema, "required": required} if required else schema


def _merging(merged: tuple[str, tuple[str, ...]] | None) -> Schema:
    if merged is None:
        return {"x-kubernetes-list-type": "atomic"}
    key, keys = merged
    listed: Schema = {"x-kubernetes-patch-strategy": "merge"}
    if key:
        listed["x-kubernetes-patch-merge-key"] = key
    if keys:
        return {**listed, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}
    return {**listed, "x-kubernetes-list-type": "set"}


def _about(shape: Shape) -> str:
    """Return what a field is, where nothing is said of it: the description of its type."""
    if isinstance(shape, Items | Map):
        return _about(shape.item if isinstance(shape, Items) else shape.value)
    if isinstance(shape, Object):
        return shape.struct.__doc__ or ""
    if isinstance(shape, Value) and shape.type == "duration":
        return "A duration, such as 5s or 500ms."
    return ""


def _schema(shape: Shape, found: dict[str, Schema]) -> Schema:
    match shape:
        case Items(item=item):
            return {"type": "array", "items": _schema(item, found)}
        case Map(value=value):
            return {"type": "object", "additionalProperties": _schema(value, found)}
        case Anything():
            return {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        case Object(struct=struct):
            return _ref(struct, found)
        case Value():
            return _value(shape)


def _value(value: Value) -> Schema:
    schema = dict(_SCALARS[value.type])
    if value.known:
        schema["enum"] = list(value.known)
    if value.least is not None:
        schema["minimum"] = value.least
    if value.most is not None:
        schema["maximum"] = value.most
    return schema


def _ref(struct: type[Message], found: dict[str, Schema]) -> Schema:
    name = f"{struct.__module__.rpartition('.')[2]}.{struct.__name__}"
    if name not in found:
        found[name] = {}  # known before it is finished, for structs that hold themselves
        found[name] = _struct_schema(shape_of(struct), found)
    return {"allOf": [{"$ref": _REF + name}]}


@cache
def descriptions() -> Mapping[str, str]:
    """Return what is said of single fields, by ``Struct.field``."""
    text = Path(__file__).with_name("descriptions.txt").read_text(encoding="utf-8")
    lines = (line.partition(": ") for line in text.splitlines() if line and not line.startswith("#"))
    return {field.strip(): said.strip() for field, _, said in lines}
