"""The latest access log lines of each instance: what ``kubectl logs POD -c istio-proxy`` reads."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from itertools import islice

import trio

from devmesh.telemetry.accesslog import Format
from devmesh.telemetry.record import Record

PER_INSTANCE = 500  # records; 1.5 kB each
TOTAL = 10_000
INSTANCES = 500

# When it ended (epoch) and the line, with its line feed.
Line = tuple[float, str]


class _Ring:
    """The records of one instance. `added` counts all there ever were, so that a reader knows its place."""

    __slots__ = ("added", "lot", "records")

    def __init__(self) -> None:
        self.records: deque[Record] = deque()
        self.added = 0
        self.lot = trio.lowlevel.ParkingLot()


class AccessLogs:
    """Rings of records by instance; lines are made when read, in the format in force then."""

    def __init__(self, form: Format) -> None:
        self.form = form
        self._rings: dict[str, _Ring] = {}
        self._room = PER_INSTANCE

    def add(self, record: Record) -> None:
        """Keep a record that is to be logged; the oldest of its instance goes."""
        ring = self._rings.get(record.instance) or self._ring(record.instance)
        records = ring.records
        records.append(record)
        ring.added += 1
        if len(records) > self._room:
            records.popleft()
        if ring.lot:
            ring.lot.unpark_all()

    def lines(self, instance: str, tail: int | None = None, since: float = 0.0) -> list[Line]:
        """Return the lines there are, oldest first: the last `tail` of those that ended after `since`."""
        ring = self._rings.get(instance)
        return self._render(ring, 0, tail, since)[0] if ring else []

    async def follow(
        self, instance: str, tail: int | None = None, since: float = 0.0
    ) -> AsyncIterator[list[Line]]:
        """Yield what `lines` returns, then what comes, for ever. A slow reader misses what fell off."""
        ring = self._ring(instance)
        batch, position = self._render(ring, 0, tail, since)
        while True:
            if batch:
                yield batch
            if ring.added == position:
                await ring.lot.park()
            else:
                await trio.lowlevel.checkpoint()
            batch, position = self._render(ring, position, None, 0.0)

    def _ring(self, instance: str) -> _Ring:
        ring = self._rings.get(instance)
        if ring is None:
            if len(self._rings) >= INSTANCES:  # the one that was made first is most likely gone
                self._rings.pop(next(key for key, ring in self._rings.items() if not ring.lot))
            ring = self._rings[instance] = _Ring()
            self._room = max(20, min(PER_INSTANCE, TOTAL // len(self._rings)))
        return ring

    def _render(self, ring: _Ring, position: int, tail: int | None, since: float) -> tuple[list[Line], int]:
        records = ring.records
        skip = max(0, len(records) - (ring.added - position))
        render = self.form.render
        chosen = [r for r in islice(records, skip, None) if r.started + r.duration >= since]
        if tail is not None:
            chosen = chosen[len(chosen) - tail :] if tail < len(chosen) else chosen
        return [(r.started + r.duration, render(r)) for r in chosen], ring.added
