"""Who owns whom: an index over owner references."""

from __future__ import annotations

from devmesh.config.objects import Key, Stored


class Owners:
    """Objects by uid, and what each uid owns."""

    def __init__(self) -> None:
        self._keys: dict[str, Key] = {}
        self._owned: dict[str, dict[Key, None]] = {}
        self._owners: dict[Key, tuple[str, ...]] = {}

    def key(self, uid: str) -> Key | None:
        return self._keys.get(uid)

    def owned_by(self, uid: str) -> tuple[Key, ...]:
        """Return what names `uid` as an owner, in the order of its creation."""
        return tuple(self._owned.get(uid, ()))

    def add(self, stored: Stored) -> None:
        """Know an object, or its new version."""
        self._keys[stored.uid] = stored.key
        if self._owners.get(stored.key, ()) == stored.owners:
            return
        self._unlink(stored.key)
        self._owners[stored.key] = stored.owners
        for uid in stored.owners:
            self._owned.setdefault(uid, {})[stored.key] = None

    def discard(self, stored: Stored) -> None:
        """Forget an object."""
        self._keys.pop(stored.uid, None)
        self._unlink(stored.key)

    def _unlink(self, key: Key) -> None:
        for uid in self._owners.pop(key, ()):
            owned = self._owned.get(uid, {})
            owned.pop(key, None)
            if not owned:
                self._owned.pop(uid, None)
