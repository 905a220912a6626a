"""What the structs of the documents expect, in a form that decoder and schema can walk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from msgspec import inspect

from devmesh.config.documents.message import Message
from devmesh.config.documents.scalars import Duration

Scalar = Literal["string", "integer", "number", "boolean", "quantity", "int-or-string", "duration", "base64"]


@dataclass(frozen=True, slots=True)
class Value:
    """A scalar. `known` are an enumeration's values; `least` and `most` are inclusive bounds."""

    type: Scalar
    known: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    item: Shape


@dataclass(frozen=True, slots=True)
class Map:
    """An object whose keys users choose."""

    value: Shape


@dataclass(frozen=True, slots=True)
class Anything:
    """Whatever JSON can hold."""


@dataclass(frozen=True, slots=True)
class Member:
    """A field of an object, by the name that documents use."""

    name: str
    shape: Shape
    required: bool


@dataclass(frozen=True, slots=True, eq=False)
class Object:
    """An object with known fields, by the names that documents use."""

    struct: type[Message]
    members: Mapping[str, Member] = field(default_factory=dict)


Shape = Value | Items | Map | Anything | Object


_known: dict[type[Message], Object] = {}
"""The shapes made so far, whole ones only: threads read them too."""


def shape_of(struct: type[Message]) -> Object:
    """Return the shape of a struct, the same object each time."""
    found = _known.get(struct)
    if found is None:
        # Inspected with all that is in it at once: struct by struct took five times as long.
        made: dict[type[Message], Object] = {}
        _object(inspect.type_info(struct), made)
        for cls, shape in made.items():
            _known.setdefault(cls, shape)
        found = _known[struct]
    return found


def _object(info: Any, made: dict[type[Message], Object]) -> Object:
    found = _known.get(info.cls) or made.get(info.cls)
    if found is None:
        members: dict[str, Member] = {}
        found = made[info.cls] = Object(info.cls, members)
        for f in info.fields:
            members[f.encode_name] = Member(f.encode_name, _shape(f.type, made), f.required)
    return found


def _shape(type_: Any, made: dict[type[Message], Object]) -> Shape:
    match type_:
        case inspect.StructType():
            return _object(type_, made)
        case inspect.UnionType(types=types):
            return _union([t for t in types if not isinstance(t, inspect.NoneType)], made)
        case inspect.VarTupleType(item_type=item):
            return Items(_shape(item, made))
        case inspect.DictType(value_type=value):
            return Map(_shape(value, made))
        case inspect.Metadata(type=inner):
            return _shape(inner, made)
        case inspect.AnyType():
            return Anything()
        case inspect.CustomType(cls=cls):
            return Value("duration" if cls is Duration else "base64")
        case inspect.LiteralType(values=values):
            return Value("string", known=tuple(map(str, values)))
        case inspect.StrType():
            return Value("string")
        case inspect.BoolType():
            return Value("boolean")
        case inspect.IntType(ge=least, le=most):
            return Value("integer", least=least, most=most)
        case inspect.FloatType(ge=least, le=most):
            return Value("number", least=least, most=most)
    raise NotImplementedError(type_)


def _union(types: list[Any], made: dict[type[Message], Object]) -> Shape:
    if len(types) == 1:
        return _shape(types[0], made)
    kinds = {type(t) for t in types}
    if kinds == {inspect.IntType, inspect.StrType}:
        return Value("int-or-string")
    if kinds == {inspect.IntType, inspect.FloatType, inspect.StrType}:
        return Value("quantity")
    raise NotImplementedError(types)
