"""Traffic between workloads, by the second: what the graph of any window of the last hour is folded from."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from typing import NamedTuple

from devmesh.model.workload import Workload
from devmesh.snapshot.cluster import ServiceRef
from devmesh.telemetry.histogram import Histogram, add, bucket_of

LIMIT = 2000  # flows
# Seconds a slot covers and how many are kept: two minutes, a quarter of an hour, an hour, and one more
# of each, since a window is rounded out to whole slots.
LEVELS = ((1, 121), (10, 91), (60, 61))
HORIZON = 3600
_SWEEP_EVERY = 10


class FlowKey(NamedTuple):
    """What is counted apart: an edge of the graph, and how it went.

    `source` and `destination` are (namespace, workload), None where unknown. `code` is the HTTP
    status, for gRPC its own status, "" for TCP.
    """

    reporter: str
    source: tuple[str, str] | None
    destination: tuple[str, str] | None
    service: ServiceRef | None
    protocol: str
    code: str
    flags: str
    mtls: bool
    source_principal: str
    destination_principal: str


class Slot:
    """The traffic of one flow in one stretch of time that starts at `second` (epoch)."""

    __slots__ = ("count", "durations", "received", "second", "sent")

    def __init__(self, second: int) -> None:
        self.second = second
        self.count = 0
        self.received = 0
        self.sent = 0
        self.durations: Histogram = {}

    def merge(self, other: Slot) -> None:
        """Add the traffic of `other`."""
        self.count += other.count
        self.received += other.received
        self.sent += other.sent
        add(self.durations, other.durations)


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time, in whole slots of `step` seconds: from `start` until now (epoch).

    `length` is what rates are divided by, in seconds: of a mesh younger than its window, its age.
    """

    start: int
    step: int
    length: float


class Flow:
    """One flow's slots, at each level. Old slots fall off by themselves."""

    __slots__ = ("_levels", "destination", "is_timed", "key", "latest", "route", "service", "source")

    def __init__(self, key: FlowKey, source: Workload | None, destination: Workload | None) -> None:
        self.key = key
        self.source = source
        self.destination = destination
        self.service = key.service
        self.route = ""  # of the latest request
        # who calls by mutual TLS has a proxy, which times the call as its caller sees it
        self.is_timed = key.reporter == "source" or not key.mtls
        self.latest = Slot(0)  # still being written; not yet in any level
        self._levels: tuple[deque[Slot], ...] = tuple(deque(maxlen=kept) for _, kept in LEVELS)

    def observe(self, second: int, duration: float, received: int, sent: int) -> None:
        """Count one request that ended in `second`."""
        slot = self.latest
        if second > slot.second:
            slot = self._begin(second)
        slot.count += 1
        slot.received += received
        slot.sent += sent
        if self.is_timed:
            bucket = bucket_of(duration)
            durations = slot.durations
            durations[bucket] = durations.get(bucket, 0) + 1

    def move(self, second: int, connections: int, received: int, sent: int) -> None:
        """Count TCP connections and bytes."""
        slot = self.latest if second <= self.latest.second else self._begin(second)
        slot.count += connections
        slot.received += received
        slot.sent += sent

    def slots(self, window: Window) -> Iterator[Slot]:
        """Yield the slots of `window`, newest first."""
        start = window.start
        if self.latest.second >= start:
            yield self.latest
        for slot in reversed(self._levels[_level(window)]):
            if slot.second < start:
                break
            yield slot

    def coarse(self, window: Window) -> Iterator[Slot]:
        """Yield slots that cover the same traffic as `slots` does, but fewer of them: where a whole slot of
        the next level fits, that one. Not in order."""
        start, fine = window.start, _level(window)
        if self.latest.second >= start:
            yield self.latest
        whole: float = inf
        if fine + 1 < len(LEVELS):
            step = LEVELS[fine + 1][0]
            whole = float(-(-start // step) * step)
            for slot in reversed(self._levels[fine + 1]):
                if slot.second < whole:
                    break
                yield slot
        for slot in self._levels[fine]:
            if slot.second >= whole:
                break
            if slot.second >= start:
                yield slot

    def _begin(self, second: int) -> Slot:
        done = self.latest
        if done.second:
            self._levels[0].append(done)
            for (step, _), level in zip(LEVELS[1:], self._levels[1:], strict=True):
                start = done.second - done.second % step
                if not level or level[-1].second != start:
                    level.append(Slot(start))
                level[-1].merge(done)
        self.latest = Slot(second)
        return self.latest


def _level(window: Window) -> int:
    return next(n for n, (step, _) in enumerate(LEVELS) if step == window.step)


class EdgeStore:
    """All flows. Over `limit`, those idle for an hour go; if none is, one flow takes the rest."""

    def __init__(self, started: float, limit: int = LIMIT) -> None:
        self._started = started
        self._limit = limit
        self._flows: dict[FlowKey, Flow] = {}
        self._swept = 0  # when the idle ones were last looked for

    def flow(self, key: FlowKey, source: Workload | None, destination: Workload | None, second: int) -> Flow:
        """Return the flow of `key`, made where it is new."""
        flow = self._flows.get(key)
        if flow is None:
            if len(self._flows) >= self._limit:
                self._sweep(second)
            if len(self._flows) >= self._limit:
                more = ServiceRef("", "too many edges to tell apart", "")
                key = FlowKey(key.reporter, None, None, more, key.protocol, key.code, "", False, "", "")
                source = destination = None
            flow = self._flows.get(key) or self._flows.setdefault(key, Flow(key, source, destination))
        elif source is not None or destination is not None:
            flow.source, flow.destination = source, destination  # labels may have changed
        return flow

    def flows(self) -> list[Flow]:
        """Return all flows, idle ones too."""
        return list(self._flows.values())

    def window(self, seconds: float, now: float) -> Window:
        """Return the window of the last `seconds`, at most an hour, rounded out to whole slots."""
        whole = min(max(int(seconds), 1), HORIZON)
        step = next(step for step, kept in LEVELS if whole <= step * (kept - 1))
        start = int(now) + 1 - whole
        start -= start % step
        return Window(start, step, max(1.0, now - max(start, self._started)))

    def _sweep(self, second: int) -> None:
        if second - self._swept < _SWEEP_EVERY:
            return
        self._swept, before = second, second - HORIZON
        for key in [key for key, flow in self._flows.items() if flow.latest.second < before]:
            del self._flows[key]
