"""Reading Envoy's configuration as YAML has it: what is taken is known, what is left over is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from devmesh.config.documents.scalars import Duration

T = TypeVar("T")
Tell = Callable[[str, str], None]
"""Told of a path inside the value, and of what has no effect there."""


class Misread(ValueError):
    """A value is not what Envoy takes there; `path` leads to it."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(message)
        self.path = path


class Fields:
    """One message. Names are taken in snake case, and found in camel case as well (protojson has both)."""

    def __init__(self, value: object, path: str, tell: Tell) -> None:
        if not isinstance(value, Mapping):
            raise Misread(path, f"expected a mapping, got {value!r}")
        self._left = {
            _snake(str(name)): (str(name), item) for name, item in value.items() if item is not None
        }
        self._path, self._tell = path, tell

    @property
    def tell(self) -> Tell:
        return self._tell

    def has(self, name: str) -> bool:
        return name in self._left

    def names(self) -> list[str]:
        """Return the names that are left, as they are written."""
        return [written for written, _ in self._left.values()]

    def path(self, name: str) -> str:
        written = self._left[name][0] if name in self._left else name
        return f"{self._path}.{written}" if self._path else written

    def any(self, name: str) -> Any:
        """Take a value, whatever it is; None where it isn't there."""
        return self._left.pop(name, ("", None))[1]

    def message(self, name: str) -> Fields | None:
        """Take a message."""
        path = self.path(name)
        value = self.any(name)
        return None if value is None else Fields(value, path, self._tell)

    def messages(self, name: str) -> list[Fields]:
        """Take a list of messages."""
        path = self.path(name)
        value = self.any(name)
        if value is None:
            return []
        if not isinstance(value, list):
            raise Misread(path, f"expected a list, got {value!r}")
        return [Fields(item, f"{path}[{index}]", self._tell) for index, item in enumerate(value)]

    def text(self, name: str, default: str = "") -> str:
        return self._of(name, str, default, "a text")

    def flag(self, name: str, default: bool = False) -> bool:
        path, value = self.path(name), self.any(name)
        if isinstance(value, Mapping):  # google.protobuf.BoolValue, written out
            value = value.get("value", default)
        return default if value is None else _checked(value, bool, path, "true or false")

    def number(self, name: str, default: int = 0) -> int:
        """Take a whole number that isn't negative; protojson has texts for large ones."""
        path, value = self.path(name), self.any(name)
        if value is None:
            return default
        if isinstance(value, Mapping):
            value = value.get("value", default)
        if isinstance(value, str) and value.isdigit():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise Misread(path, f"{value!r} is not a whole number")
        return value

    def seconds(self, name: str, default: float = 0.0) -> float:
        """Take a duration such as ``60s``."""
        path, value = self.path(name), self.any(name)
        if value is None:
            return default
        if isinstance(value, Mapping):
            return float(value.get("seconds") or 0) + float(value.get("nanos") or 0) / 1e9
        try:
            return float(Duration.parse(str(value)))
        except ValueError as error:
            raise Misread(path, str(error)) from None

    def end(self, why: str = "devmesh knows no such field here") -> None:
        """Tell of all that has not been taken."""
        for name in list(self._left):
            self._tell(self.path(name), f"has no effect in devmesh: {why}")
        self._left.clear()

    def _of(self, name: str, kind: type[T], default: T, what: str) -> T:
        path, value = self.path(name), self.any(name)
        return default if value is None else _checked(value, kind, path, what)


def _checked(value: Any, kind: type[T], path: str, what: str) -> T:
    if not isinstance(value, kind):
        raise Misread(path, f"expected {what}, got {value!r}")
    return value


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name)


def unpacked(fields: Fields) -> tuple[str, Fields]:
    """Return the type of a ``typed_config`` and its content; a TypedStruct holds another."""
    type_url = fields.text("@type").rpartition("/")[2]
    if type_url.endswith(".TypedStruct"):
        inner = fields.text("type_url").rpartition("/")[2]
        value = fields.message("value") or Fields({}, fields.path("value"), fields.tell)
        fields.end()
        return inner, value
    return type_url, fields
