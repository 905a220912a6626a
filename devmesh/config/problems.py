"""What is wrong with a resource, field by field, in Kubernetes' own words."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from devmesh.config.kinds import Kind

Path = tuple[str | int, ...]
"""Where in a resource: field names, list indexes, and `MapKey`s."""


class MapKey(str):
    """A key of a map that users fill, such as a label; written in brackets."""

    __slots__ = ()


def written(path: Sequence[str | int]) -> str:
    """Write a path as kubectl does: ``spec.http[0].route``, ``metadata.labels[app]``."""
    text = ""
    for part in path:
        if isinstance(part, int | MapKey):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing that is wrong. `reason` is Kubernetes' (``FieldValueRequired``, ...)."""

    path: Path
    reason: str
    message: str

    @property
    def field(self) -> str:
        return written(self.path)

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.path else self.message


class Refused(ValueError):
    """A resource that cannot be taken as it is; whoever wrote it has to change it.

    `causes` are all of them, in the order of the document.
    """

    def __init__(self, message: str, causes: Iterable[Cause]) -> None:
        super().__init__(message)
        self.causes = tuple(causes)


class Malformed(Refused):
    """It has unknown fields or values of a wrong type (HTTP 400, BadRequest)."""

    def __init__(self, kind: Kind, version: str, causes: Iterable[Cause]) -> None:
        causes = tuple(causes)
        unknown = all(cause.reason == UNKNOWN for cause in causes)
        said = ", ".join(c.message if c.reason == UNKNOWN else str(c) for c in causes)
        super().__init__(
            f'{kind.kind} in version "{version.rpartition("/")[2]}" cannot be handled as a {kind.kind}: '
            f"{'strict decoding error: ' if unknown else ''}{said}",
            causes,
        )


class Invalid(Refused):
    """It is well formed, and makes no sense or breaks a rule (HTTP 422, Invalid)."""

    def __init__(self, kind: Kind, name: str, causes: Iterable[Cause]) -> None:
        causes = tuple(causes)
        said = str(causes[0]) if len(causes) == 1 else f"[{', '.join(map(str, causes))}]"
        what = f"{kind.kind}.{kind.group}" if kind.group else kind.kind
        self.name = name
        super().__init__(f'{what} "{name}" is invalid: {said}', causes)


UNKNOWN = "UnknownField"
TYPE = "FieldValueTypeInvalid"
WARNING = "Warning"
NO_EFFECT = "NoEffect"
HARMLESS = (WARNING, NO_EFFECT)
"""Reasons of what is said, and is no reason to refuse."""


def required(path: Path, detail: str = "") -> Cause:
    return Cause(path, "FieldValueRequired", "Required value" + (f": {detail}" if detail else ""))


def invalid(path: Path, value: Any, detail: str) -> Cause:
    return Cause(path, "FieldValueInvalid", f"Invalid value: {shown(value)}: {detail}")


def wrong_type(path: Path, value: Any, detail: str) -> Cause:
    return Cause(path, TYPE, f"Invalid value: {shown(value)}: {detail}")


def unsupported(path: Path, value: Any, known: Iterable[str], hint: str = "") -> Cause:
    listed = ", ".join(f'"{name}"' for name in known)
    return Cause(
        path,
        "FieldValueNotSupported",
        f"Unsupported value: {shown(value)}: supported values: {listed}{hint}",
    )


def forbidden(path: Path, detail: str) -> Cause:
    return Cause(path, "FieldValueForbidden", f"Forbidden: {detail}")


def duplicate(path: Path, value: Any) -> Cause:
    return Cause(path, "FieldValueDuplicate", f"Duplicate value: {shown(value)}")


def not_found(path: Path, value: Any) -> Cause:
    return Cause(path, "FieldValueNotFound", f"Not found: {shown(value)}")


def warning(path: Path, message: str) -> Cause:
    """Something to say that is no reason to refuse."""
    return Cause(path, WARNING, message)


def unknown_field(path: Path, hint: str = "") -> Cause:
    return Cause(path, UNKNOWN, f'unknown field "{written(path)}"{hint}')


def shown(value: Any) -> str:
    """Return a value for a message, cut where it is long."""
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except (ValueError, RecursionError):
        text = f"a {type(value).__name__}"
    return text if len(text) <= 120 else text[:100] + "..."
