"""Flows summed up: one tally for each edge, from the reports of both its sides."""

from __future__ import annotations

from dataclasses import dataclass, field

from devmesh.graph.health import is_error
from devmesh.graph.topology import SPARKS
from devmesh.telemetry.edges import Flow, Window
from devmesh.telemetry.histogram import Histogram, add

Answers = dict[tuple[str, str, str], float]  # (protocol, code, flags) to a count


@dataclass(frozen=True, slots=True)
class SparkScale:
    """How the window is cut into `SPARKS` pieces of `width` seconds."""

    start: int
    width: int

    @classmethod
    def of(cls, window: Window, now: float) -> SparkScale:
        length = int(now) + 1 - window.start
        return cls(window.start, max(window.step, -(-length // SPARKS)))


@dataclass(slots=True)
class Tally:
    """What one side (the source's proxy, or the destination's) counted on an edge."""

    count: int = 0
    errors: int = 0
    mtls: int = 0
    received: int = 0
    sent: int = 0
    durations: Histogram = field(default_factory=dict)
    answers: Answers = field(default_factory=dict)
    sparks: list[int] = field(default_factory=lambda: [0] * SPARKS)
    source_principal: str = ""
    destination_principal: str = ""
    route: str = ""
    latest: int = 0  # when the latest traffic was, in seconds since the epoch

    def add(self, flow: Flow, window: Window, spark: SparkScale) -> None:
        """Add what `flow` counted in `window`."""
        key, count = flow.key, 0
        for slot in flow.coarse(window):
            count += slot.count
            self.received += slot.received
            self.sent += slot.sent
            add(self.durations, slot.durations)
        if flow.is_timed:  # the other report of the same calls isn't drawn
            sparks, start, width = self.sparks, spark.start, spark.width
            for slot in flow.slots(window):
                sparks[(slot.second - start) // width] += slot.count
        answer = (key.protocol, key.code, key.flags)
        self.answers[answer] = self.answers.get(answer, 0.0) + count
        failed = is_error(*answer)
        # a TCP connection was counted when it opened; its failure is told apart at its end
        self.count += 0 if failed and key.protocol == "tcp" else count
        self.errors += count if failed else 0
        self.mtls += count if key.mtls else 0
        self.source_principal = key.source_principal or self.source_principal
        self.destination_principal = key.destination_principal or self.destination_principal
        if flow.latest.second >= self.latest:
            self.latest, self.route = flow.latest.second, flow.route or self.route


@dataclass(slots=True)
class Tallied:
    """An edge with the reports of both sides, and one of its flows to tell its ends by."""

    flow: Flow
    by_source: Tally = field(default_factory=Tally)
    by_destination: Tally = field(default_factory=Tally)


class Fold:
    """Sums up flows edge by edge, one at a time, so that a large mesh can be folded in slices.

    An edge is (source, destination, protocol), and where nothing answered (source, service, protocol).
    """

    def __init__(self, window: Window, now: float) -> None:
        self.window = window
        self.now = now
        self.scale = SparkScale.of(window, now)
        self._edges: dict[object, Tallied] = {}

    def add(self, flow: Flow) -> None:
        """Add a flow; nothing where it had no traffic in the window."""
        if flow.latest.second < self.window.start:
            return
        key = flow.key
        edge = (key.source, key.destination, None if key.destination else key.service, key.protocol)
        tallied = self._edges.get(edge) or self._edges.setdefault(edge, Tallied(flow))
        tally = tallied.by_source if key.reporter == "source" else tallied.by_destination
        tally.add(flow, self.window, self.scale)

    def edges(self) -> list[Tallied]:
        """Return the edges with traffic."""
        return list(self._edges.values())
