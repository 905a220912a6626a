"""Kubernetes' protobuf bodies, which kubectl sends for ``create namespace`` and its like.

The envelope is ``k8s\\0`` and a ``runtime.Unknown`` that names the kind and holds the object. A
decoder of the wire format over a table of field numbers is smaller than the protobuf package with
compiled descriptors, and can tell what it does not know.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import resources
from typing import Any

from devmesh.api.kube.errors import ApiError, bad_request

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
MAGIC = b"k8s\x00"
_DEPTH = 64


class _Malformed(ValueError):
    """The bytes are no protobuf of the kind they claim to be; the sender's fault."""


@dataclass(frozen=True, slots=True)
class _Field:
    """`type` is s, i, b, y, - or a message's name; `shape` is "", [] or {}."""

    name: str
    type: str
    shape: str
    keeps_zero: bool


Message = Mapping[int, _Field]


def decode_object(body: bytes) -> dict[str, Any]:
    """Return the object in a body, as its JSON would be.

    Raises:
        ApiError: 400 where it is damaged; 415 where its kind is not known here.
    """
    if not body.startswith(MAGIC):
        raise bad_request(f"the body does not begin as {MEDIA_TYPE} does")
    try:
        envelope = _message(body[len(MAGIC) :], "Unknown", 0)
        type_ = envelope.get("typeMeta", {})
        kind = type_.get("kind", "")
        if kind not in _messages():
            raise ApiError(
                415, f'the kind "{kind}" is not understood as {MEDIA_TYPE}: send it as application/json'
            )
        content = base64.b64decode(envelope.get("raw", ""))
        return {"apiVersion": type_.get("apiVersion", ""), "kind": kind, **_message(content, kind, 0)}
    except _Malformed as error:
        raise bad_request(f"the body cannot be read as {MEDIA_TYPE}: {error}") from error


@cache
def _messages() -> Mapping[str, Message]:
    text = resources.files("devmesh.api.kube").joinpath("protobuf_fields.txt").read_text()
    found: dict[str, Message] = {}
    for line in text.splitlines():
        name, equals, fields = line.partition(" =")
        if equals and not line.startswith("#"):
            found[name] = dict(_field(word) for word in fields.split())
    return found


def _field(word: str) -> tuple[int, _Field]:
    found = re.fullmatch(r"([\w+]+):(\d+)(\w+|-)(\[\]|\{\})?(\*)?", word)
    assert found, word
    return int(found[2]), _Field(found[1], found[3], found[4] or "", bool(found[5]))


def _message(content: bytes, name: str, depth: int) -> dict[str, Any]:
    if depth > _DEPTH:
        raise _Malformed("it is nested too deeply")
    fields = _messages()[name]
    found: dict[str, Any] = {}
    for number, value in _wire(content):
        field = fields.get(number)
        if field is None:
            raise _Malformed(f"{name} has no field {number}: send it as application/json")
        if field.type != "-":
            _add(found, field, value, depth)
    return found


def _add(found: dict[str, Any], field: _Field, value: int | bytes, depth: int) -> None:
    if field.shape == "{}":
        key, item = _entry(_bytes(value), field, depth)
        found.setdefault(field.name, {})[key] = item
        return
    decoded = _value(value, field.type, depth)
    if field.shape == "[]":
        if field.type in ("i", "b") and isinstance(value, bytes):
            raise _Malformed("packed numbers are not expected")
        found.setdefault(field.name, []).append(decoded)
    elif field.name == "+":
        found.update(decoded)
    elif decoded == {}:  # Go writes nested structs even when they are empty, as it writes zeros
        if field.type not in _OFTEN_EMPTY:
            found[field.name] = decoded
    elif decoded or (field.keeps_zero and decoded is not None):
        found[field.name] = decoded


_OFTEN_EMPTY = (
    "ObjectMeta",
    "ResourceRequirements",
    "DeploymentStrategy",
    "RollingUpdateStatefulSetStrategy",
    "StatefulSetUpdateStrategy",
    "DaemonSetUpdateStrategy",
    "IngressSpec",
    "VolumeResourceRequirements",
    "EventSource",
)


def _entry(content: bytes, field: _Field, depth: int) -> tuple[str, Any]:
    key, item = "", _value(b"", field.type, depth) if field.type not in ("i", "b") else 0
    for number, value in _wire(content):
        if number == 1:
            key = _text(_bytes(value))
        elif number == 2:
            item = _value(value, field.type, depth)
    return key, item


def _value(value: int | bytes, type_: str, depth: int) -> Any:
    match type_:
        case "i":
            return _signed(value)
        case "b":
            return bool(_signed(value))
        case "s":
            return _text(_bytes(value))
        case "y":
            return base64.b64encode(_bytes(value)).decode()
        case "Time" | "MicroTime":
            return _time(_bytes(value), micro=type_ == "MicroTime")
        case "Quantity":
            return next((_text(_bytes(v)) for n, v in _wire(_bytes(value)) if n == 1), "0")
        case "IntOrString":
            parts = dict(_wire(_bytes(value)))
            return _text(_bytes(parts.get(3, b""))) if parts.get(1) else _signed(parts.get(2, 0))
        case "ExtraValue":
            return [_text(_bytes(v)) for _, v in _wire(_bytes(value))]
    return _message(_bytes(value), type_, depth + 1)


def _time(content: bytes, *, micro: bool) -> str | None:
    """Return a time as JSON has it; an empty message is Go's zero time, which is none."""
    parts = {number: _signed(value) for number, value in _wire(content)}
    if not parts:
        return None
    when = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(
        seconds=parts.get(1, 0), microseconds=parts.get(2, 0) // 1000
    )
    if when.year < 1970:
        return None
    return when.strftime("%Y-%m-%dT%H:%M:%S.%fZ" if micro else "%Y-%m-%dT%H:%M:%SZ")


# The wire format (protobuf.dev, "Encoding")


def _wire(content: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield field numbers with their values: numbers, or bytes."""
    at = 0
    while at < len(content):
        tag, at = _varint(content, at)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == 0:
            value, at = _varint(content, at)
            yield number, value
            continue
        if wire_type == 2:
            size, at = _varint(content, at)
        elif wire_type in (1, 5):
            size = 8 if wire_type == 1 else 4
        else:
            raise _Malformed(f"wire type {wire_type} at byte {at}")
        if at + size > len(content):
            raise _Malformed("it ends too early")
        yield number, content[at : at + size]
        at += size


def _varint(content: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(content) and shift < 70:
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise _Malformed("it ends too early")


def _signed(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise _Malformed("a number was expected")
    return value - (1 << 64) if value >= 1 << 63 else value


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise _Malformed("bytes were expected")
    return value


def _text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise _Malformed(f"text that is not UTF-8: {error}") from error
