"""Strict decoding: every unknown field and wrong type is found, not the first alone."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Any

from devmesh.config.documents.message import Message
from devmesh.config.documents.scalars import Base64, Duration, amount
from devmesh.config.problems import (
    Cause,
    MapKey,
    Path,
    required,
    unknown_field,
    unsupported,
    written,
    wrong_type,
)
from devmesh.config.shapes import Anything, Items, Map, Object, Shape, Value, shape_of

_EXPECTED = {
    "string": (str, "a string"),
    "integer": (int, "an integer"),
    "number": (int | float, "a number"),
    "boolean": (bool, "true or false"),
}


def check(
    raw: dict[str, Any], struct: type[Message], *, snake_case: bool
) -> tuple[dict[str, Any], list[Cause]]:
    """Hold a document against its kind's struct.

    Args:
        snake_case: Whether ``max_connections`` is another spelling of ``maxConnections``
            (protojson, and so Istio's kinds).

    Returns:
        The document with canonical names, without nulls and unknown fields; and all that is wrong.
    """
    causes: list[Cause] = []
    clean = _Walk(causes, snake_case).object(raw, shape_of(struct), (), ())
    return clean, causes


class _Walk:
    def __init__(self, causes: list[Cause], snake_case: bool) -> None:
        self._causes = causes
        self._snake_case = snake_case

    def value(self, value: Any, shape: Shape, path: Path, parents: tuple[Object, ...]) -> Any:
        match shape:
            case Object():
                if not isinstance(value, dict):
                    return self._misfit(path, value, "an object is expected here")
                return self.object(value, shape, path, parents)
            case Items(item=item):
                if not isinstance(value, list):
                    return self._misfit(path, value, "a list is expected here")
                return [self.value(v, item, (*path, n), parents) for n, v in enumerate(value)]
            case Map(value=inner):
                if not isinstance(value, dict):
                    return self._misfit(path, value, "an object is expected here")
                return {
                    key: self.value(v, inner, (*path, MapKey(key)), parents)
                    for key, v in value.items()
                    if v is not None
                }
            case Value():
                return self._scalar(value, shape, path)
            case Anything():
                return value

    def object(
        self, raw: dict[str, Any], shape: Object, path: Path, parents: tuple[Object, ...]
    ) -> dict[str, Any]:
        clean: dict[str, Any] = {}
        for given, value in raw.items():
            name = self._canonical(given, shape, raw)
            if name is None:
                self._causes.append(unknown_field((*path, given), _hint(given, shape, path, parents)))
            elif value is not None:
                member = shape.members[name].shape
                clean[name] = self.value(value, member, (*path, name), (*parents, shape))
        for name, member_ in shape.members.items():
            if member_.required and name not in clean:
                self._causes.append(required((*path, name)))
        return clean

    def _canonical(self, given: str, shape: Object, raw: dict[str, Any]) -> str | None:
        if given in shape.members:
            return given
        if self._snake_case and "_" in given:
            name = re.sub(r"_([a-zA-Z0-9])", lambda found: found[1].upper(), given)
            if name in shape.members and name not in raw:
                return name
        return None

    def _scalar(self, value: Any, shape: Value, path: Path) -> Any:
        wrong = _wrong(value, shape)
        if wrong:
            return self._misfit(path, value, wrong)
        if shape.known and value not in shape.known:
            self._causes.append(unsupported(path, value, shape.known, did_you_mean(str(value), shape.known)))
        return int(value) if shape.type == "integer" else value

    def _misfit(self, path: Path, value: Any, detail: str) -> Any:
        self._causes.append(wrong_type(path, value, detail))
        return value


def _wrong(value: Any, shape: Value) -> str:
    """Return what is wrong with a scalar, or ""."""
    match shape.type:
        case "quantity":
            return _refusal(amount, value) if isinstance(value, str | int | float) else "not a quantity"
        case "duration":
            return _refusal(Duration.parse, value)
        case "base64":
            return _refusal(Base64.parse, value)
        case "int-or-string":
            is_right = isinstance(value, int | str) and not isinstance(value, bool)
            return "" if is_right else "expected a number or a string"
    type_, name = _EXPECTED[shape.type]
    if shape.type == "integer" and isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, type_) or (isinstance(value, bool) and shape.type != "boolean"):
        quoted = shape.type == "string" and isinstance(value, bool | int | float)
        return f"expected {name}, got {_type_name(value)}" + (" (put it in quotes)" if quoted else "")
    if isinstance(value, int | float):
        if shape.least is not None and value < shape.least:
            return f"must be {shape.least:.0f} or more"
        if shape.most is not None and value > shape.most:
            return f"must be {shape.most:.0f} or less"
    return ""


def _refusal(parse: Any, value: Any) -> str:
    try:
        parse(value)
    except ValueError as error:
        return str(error)
    return ""


def _type_name(value: Any) -> str:
    names: Sequence[tuple[type, str]] = (
        (bool, "a boolean"),
        (int, "a number"),
        (float, "a number"),
        (str, "a string"),
        (list, "a list"),
        (dict, "an object"),
    )
    return next((name for type_, name in names if isinstance(value, type_)), "null")


def _hint(given: str, shape: Object, path: Path, parents: tuple[Object, ...]) -> str:
    near = did_you_mean(given, shape.members)
    if near:
        return near
    # A field one or more levels too deep is the commonest slip of indentation.
    fields = [n for n, part in enumerate(path) if isinstance(part, str) and not isinstance(part, MapKey)]
    for depth, parent in zip(reversed(fields), reversed(parents), strict=False):
        if given in parent.members:
            return f" (it belongs to {written(path[:depth]) or 'the top level'})"
    return ""


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """Return `` (did you mean "...")`` where a known name is near, else ""."""
    by_lower = {name.lower(): name for name in known}
    near = difflib.get_close_matches(given.lower().replace("_", ""), by_lower, n=1, cutoff=0.7)
    return f' (did you mean "{by_lower[near[0]]}"?)' if near else ""
