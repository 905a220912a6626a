"""Envoy's configuration as istioctl prints it: names in camel case, as protojson has them."""

from __future__ import annotations

import re
from typing import Any

_SNAKE = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)+")
_STRUCTS = ("filter_metadata", "labels")  # their names are values of a kind


def camel(value: Any) -> Any:
    """Return `value` with the names of its fields in camel case; keys of maps stay as they are."""
    if isinstance(value, list):
        return [camel(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {_name(name): each if name in _STRUCTS else camel(each) for name, each in value.items()}


def _name(name: str) -> str:
    if _SNAKE.fullmatch(name) is None:
        return name
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)
