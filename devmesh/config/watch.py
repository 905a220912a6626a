"""The changes of the store, in order, for whoever follows them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import takewhile

import trio

from devmesh.config.kind import Kind
from devmesh.config.objects import Event, Expired

KEPT_EVENTS = 2_000


class EventLog:
    """The last `KEPT_EVENTS` events; versions rise from each to the next."""

    def __init__(self, version: int) -> None:
        self.version = version
        self._forgotten = version
        self._events: deque[Event] = deque(maxlen=KEPT_EVENTS)
        self._changed = trio.Event()

    def add(self, event: Event) -> None:
        if len(self._events) == KEPT_EVENTS:
            self._forgotten = self._events[0].object.version
        self._events.append(event)
        self.version = event.object.version
        self._changed.set()
        self._changed = trio.Event()

    async def changed(self) -> None:
        await self._changed.wait()

    def after(self, version: int) -> list[Event]:
        """Return the events after `version`.

        Raises:
            Expired: Some of them are no longer kept.
        """
        if version < self._forgotten:
            raise Expired(f"too old resource version: {version} ({self._forgotten})")
        found = list(takewhile(lambda event: event.object.version > version, reversed(self._events)))
        found.reverse()
        return found


class Watch:
    """The changes after a version, in order. Iterate it asynchronously; it never ends by itself.

    Raises:
        Expired: On iteration, when the reader fell more than `KEPT_EVENTS` behind, or begins
            before what is kept.
    """

    def __init__(self, log: EventLog, since: int, kind: Kind | None) -> None:
        self._log, self._kind = log, kind
        self._seen = since
        self._waiting: deque[Event] = deque()

    def __aiter__(self) -> Watch:
        return self

    async def __anext__(self) -> Event:
        await trio.lowlevel.checkpoint()
        while True:
            self._fetch()
            if self._waiting:
                return self._waiting.popleft()
            await self._log.changed()

    def ready(self) -> Iterator[Event]:
        """Yield what is there without waiting, at most once each."""
        self._fetch()
        while self._waiting:
            yield self._waiting.popleft()

    def _fetch(self) -> None:
        # A reader that takes nothing must not make this queue grow: it is filled when empty only.
        if self._waiting or self._seen >= self._log.version:
            return
        events = self._log.after(self._seen)
        self._seen = max(self._seen, self._log.version)
        self._waiting.extend(e for e in events if self._kind in (None, e.object.key.kind))
