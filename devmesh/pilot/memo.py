"""What the last compile made, used again where its parts are the very same."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from operator import is_
from typing import Any, TypeVar, cast

T = TypeVar("T")


class Memo:
    """The values of one compile by key, each with the parts it was made of.

    Parts are compared by identity: everything a compile is made of is frozen, and a resource that has
    not changed is the same object as before. What a compile did not ask for is forgotten after it.
    """

    def __init__(self, previous: Memo | None = None) -> None:
        self._old: dict[Hashable, tuple[tuple[object, ...], Any]] = previous._new if previous else {}
        self._new: dict[Hashable, tuple[tuple[object, ...], Any]] = {}

    def get(self, key: Hashable, parts: tuple[object, ...], build: Callable[..., T], *args: object) -> T:
        """Return the value of `key`: ``build(*args)`` where it isn't there or was made of other parts."""
        found = self._new.get(key) or self._old.get(key)
        if found is None or len(found[0]) != len(parts) or not all(map(is_, found[0], parts)):
            found = (parts, build(*args))
        self._new[key] = found
        return cast("T", found[1])

    def same(self, key: Hashable, value: T) -> T:
        """Return the object that was kept under `key` where it equals `value`, else keep `value`."""
        found = self._new.get(key) or self._old.get(key)
        if found is None or found[1] != value:
            found = ((), value)
        self._new[key] = found
        return cast("T", found[1])

    def seal(self) -> None:
        """Let the compile before go; only reading by the next one follows."""
        self._old = {}
