"""Flows summed up: one tally for each edge, from the reports of both its sides."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from devmesh.graph.health import is_error
from devmesh.graph.topology import SPARKS
from devmesh.telemetry.edges import Flow, Slot, Window
from devmesh.telemetry.histogram import Histogram

Answers = dict[tuple[str, str, str], float]  # (protocol, code, flags) to a count


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

    def add(self, flow: Flow, slots: Iterable[Slot], spark: SparkScale) -> None:
        """Add the slots of `flow`."""
        key = flow.key
        durations, sparks, start, width = self.durations, self.sparks, spark.start, spark.width
        count = 0
        for slot in slots:
            n = slot.count
            count += n
            self.received += slot.received
            self.sent += slot.sent
            sparks[min((slot.second - start) // width, SPARKS - 1)] += n
            for bucket, times in slot.durations.items():
                durations[bucket] = durations.get(bucket, 0) + times
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


@dataclass(frozen=True, slots=True)
class SparkScale:
    """How the window is cut into `SPARKS` pieces of `width` seconds."""

    start: int
    width: int

    @classmethod
    def of(cls, window: Window, now: float) -> SparkScale:
        length = int(now) + 1 - window.start
        return cls(window.start, max(window.step, -(-length // SPARKS)))


def tallies(flows: Iterable[Flow], window: Window, now: float) -> dict[object, tuple[Flow, Tally, Tally]]:
    """Sum up each edge's flows, apart by reporter: (a flow of it, the source's tally, the destination's).

    An edge is (source, destination, protocol), and where nothing answered (source, service, protocol).
    """
    scale = SparkScale.of(window, now)
    found: dict[object, tuple[Flow, Tally, Tally]] = {}
    for flow in flows:
        if flow.latest.second < window.start:
            continue
        slots = [slot for slot in flow.slots(window) if slot.count or slot.received or slot.sent]
        if not slots:
            continue
        key = flow.key
        edge = (key.source, key.destination, None if key.destination else key.service, key.protocol)
        entry = found.get(edge)
        if entry is None:
            entry = found[edge] = (flow, Tally(), Tally())
        _, by_source, by_destination = entry
        (by_source if key.reporter == "source" else by_destination).add(flow, slots, scale)
    return found
