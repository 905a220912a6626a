"""The current snapshot, and how one learns of the next."""

from __future__ import annotations

from collections.abc import Callable

import trio

from devmesh.snapshot.snapshot import Snapshot


class SnapshotFeed:
    """Holds the snapshot in force; the pilot's alone to publish to."""

    def __init__(self, first: Snapshot | None = None) -> None:
        self.current = first or Snapshot()
        self._changed = trio.Event()
        self._subscribers: list[Callable[[Snapshot], None]] = []

    def subscribe(self, subscriber: Callable[[Snapshot], None]) -> None:
        """Call `subscriber`, which must not block, with each snapshot from the next one on."""
        self._subscribers.append(subscriber)

    def publish(self, snapshot: Snapshot) -> None:
        """Make `snapshot` current for whoever asks next."""
        self.current = snapshot
        for subscriber in self._subscribers:
            subscriber(snapshot)
        self._changed.set()
        self._changed = trio.Event()

    async def newer_than(self, version: int) -> Snapshot:
        """Wait for a snapshot above `version`. Those in between may be skipped."""
        await trio.lowlevel.checkpoint()
        while self.current.version <= version:
            await self._changed.wait()
        return self.current
