"""The latest access log lines of each instance: what ``kubectl logs POD -c istio-proxy`` reads."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import UTC, datetime
from itertools import islice
from typing import NamedTuple

import trio

from devmesh.telemetry.accesslog import Format
from devmesh.telemetry.record import Record

PER_INSTANCE = 1000  # records; about 1.5 kB each
TOTAL = 10_000
INSTANCES = 500
_BATCH = 100  # lines made at a time

Select = Callable[[str], bool]


class Line(NamedTuple):
    """When the request ended (epoch), whose proxy wrote it, and the text with its line feed."""

    time: float
    instance: str
    text: str


class _Ring:
    """The records of one instance. `added` counts all there ever were, so that a reader knows its place."""

    __slots__ = ("added", "records")

    def __init__(self) -> None:
        self.records: deque[Record] = deque()
        self.added = 0


class AccessLogs:
    """Rings of records by instance; lines are made when read, in the format in force then."""

    def __init__(self, form: Format) -> None:
        self.form = form
        self._rings: dict[str, _Ring] = {}
        self._room = PER_INSTANCE
        self._readers = trio.lowlevel.ParkingLot()

    def add(self, record: Record) -> None:
        """Keep a record that is to be logged; the oldest of its instance goes."""
        ring = self._rings.get(record.instance) or self._new_ring(record.instance)
        records = ring.records
        records.append(record)
        ring.added += 1
        while len(records) > self._room:
            records.popleft()
        if self._readers:
            self._readers.unpark_all()

    async def read(
        self, select: Select, *, tail: int | None = None, since: float = 0.0, follow: bool = False
    ) -> AsyncGenerator[list[Line], None]:
        """Yield the lines of the instances that `select` accepts (by id), some at a time, by their end.

        First those there are (the last `tail`, ended after `since`); then, if `follow`, what comes, for
        ever. A reader slower than the traffic misses what fell off the ring meanwhile.
        """
        places: dict[str, int] = {}
        records = [r for r in self._fresh(select, places) if r.started + r.duration >= since]
        if tail is not None:
            records = records[max(0, len(records) - tail) :]
        while True:
            for start in range(0, len(records), _BATCH):
                yield [self._line(record) for record in records[start : start + _BATCH]]
                await trio.lowlevel.checkpoint()
            if not follow:
                return
            records = self._fresh(select, places)
            if not records:
                await self._readers.park()

    async def text(
        self,
        instance: str,
        *,
        follow: bool = False,
        tail: int | None = None,
        since: float = 0.0,
        timestamps: bool = False,
        limit: int | None = None,
    ) -> AsyncGenerator[bytes, None]:
        """Yield one instance's lines as a container's log is read: with `timestamps` each begins with the
        time (RFC 3339); after `limit` bytes it ends."""
        async with aclosing(self.read(only(instance), tail=tail, since=since, follow=follow)) as batches:
            async for batch in batches:
                for line in batch:
                    text = f"{_rfc3339(line.time)} {line.text}" if timestamps else line.text
                    piece = text.encode()
                    if limit is not None:
                        piece = piece[:limit]
                        limit -= len(piece)
                    if piece:
                        yield piece
                    if limit == 0:
                        return

    def _fresh(self, select: Select, places: dict[str, int]) -> list[Record]:
        """Return what was added since `places`, and move these on."""
        found: list[Record] = []
        for instance, ring in self._rings.items():
            new = ring.added - places.get(instance, 0)
            if new and select(instance):
                found += islice(ring.records, max(0, len(ring.records) - new), None)
                places[instance] = ring.added
        if len(self._rings) > 1:
            found.sort(key=lambda record: record.started + record.duration)
        return found

    def _line(self, record: Record) -> Line:
        return Line(record.started + record.duration, record.instance, self.form.render(record))

    def _new_ring(self, instance: str) -> _Ring:
        if len(self._rings) >= INSTANCES:  # the one that was made first is the likeliest to be gone
            del self._rings[next(iter(self._rings))]
        ring = self._rings[instance] = _Ring()
        self._room = max(20, min(PER_INSTANCE, TOTAL // len(self._rings)))
        return ring


def _rfc3339(epoch: float) -> str:
    seconds, nanoseconds = divmod(round(epoch * 1e6) * 1000, 10**9)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanoseconds:09d}Z"


def only(instance: str) -> Select:
    """Select one instance."""
    return instance.__eq__
