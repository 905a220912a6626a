"""What earlier compiles made, used again where its parts are the very same."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from operator import is_
from typing import Any, TypeVar, cast

T = TypeVar("T")

_KEPT_COMPILES = 64  # what so many compiles did not ask for may go


class Memo:
    """Values by key, each with the parts it was made of.

    Parts are compared by identity: everything a compile is made of is frozen, and a resource that has
    not changed is the same object as before. Since a value depends on its key and parts alone, it never
    matters which compile made it. What is no longer asked for is swept out when it has piled up.
    """

    def __init__(self) -> None:
        self._kept: dict[Hashable, _Kept] = {}
        self._compile = 0
        self._sweep_at = 1000

    def begin(self) -> None:
        """Begin a compile."""
        self._compile += 1
        if len(self._kept) > self._sweep_at:
            oldest = self._compile - _KEPT_COMPILES
            self._kept = {key: kept for key, kept in self._kept.items() if kept.used >= oldest}
            self._sweep_at = max(1000, 2 * len(self._kept))

    def get(self, key: Hashable, parts: tuple[object, ...], build: Callable[..., T], *args: object) -> T:
        """Return the value of `key`: ``build(*args)`` where it isn't there or was made of other parts."""
        kept = self._kept.get(key)
        if kept is None or len(kept.parts) != len(parts) or not all(map(is_, kept.parts, parts)):
            kept = self._kept[key] = _Kept(parts, build(*args))
        kept.used = self._compile
        return cast("T", kept.value)

    def same(self, key: Hashable, value: T) -> T:
        """Return the object that was kept under `key` where it equals `value`, else keep `value`."""
        kept = self._kept.get(key)
        if kept is None or kept.value != value:
            kept = self._kept[key] = _Kept((), value)
        kept.used = self._compile
        return cast("T", kept.value)

    def token(self, key: Hashable, parts: tuple[object, ...]) -> object:
        """Return an object that stands for all of `parts`: another one as soon as one of them is."""
        return self.get(("token", key), parts, object)


class _Kept:
    __slots__ = ("parts", "used", "value")

    def __init__(self, parts: tuple[object, ...], value: Any) -> None:
        self.parts = parts
        self.value = value
        self.used = 0
