"""The graph as it is now, for however many readers."""

from __future__ import annotations

import trio

from devmesh.graph.inventory import Inventory
from devmesh.graph.topology import Graph
from devmesh.graph.traffic import build_graph
from devmesh.snapshot.feed import SnapshotFeed
from devmesh.telemetry.recorder import Recorder

PUSH_EVERY = 0.25  # seconds: at most four pictures a second
_IDLE_EVERY = 1.0  # with no new traffic, rates still sink


class LiveGraph:
    """Folds a recorder's traffic over the current snapshot; readers of one window share the work."""

    def __init__(self, feed: SnapshotFeed, recorder: Recorder, mesh: str) -> None:
        self._feed = feed
        self._recorder = recorder
        self._mesh = mesh
        self._inventory = Inventory.of(feed.current)
        self._last: dict[int, tuple[tuple[int, int, int], Graph]] = {}

    def graph(self, seconds: int) -> Graph:
        """Return the graph of the last `seconds`, at most an hour."""
        now = self._recorder.clock()
        # within a quarter of a second and with nothing new, the answer is the one before
        stamp = (self._feed.current.version, self._recorder.revision, int(now / PUSH_EVERY))
        known = self._last.get(seconds)
        if known and known[0] == stamp:
            return known[1]
        if self._inventory.version != self._feed.current.version:
            self._inventory = Inventory.of(self._feed.current)
        edges = self._recorder.edges
        window = edges.window(seconds, now)
        graph = build_graph(edges.flows(), window, self._inventory, now, seconds=seconds, mesh=self._mesh)
        if len(self._last) >= 8:
            self._last.clear()
        self._last[seconds] = (stamp, graph)
        return graph

    def changes(self, seconds: int) -> Changes:
        """Return a reader of what changes from now on."""
        return Changes(self, seconds)

    def state(self) -> tuple[int, int]:
        """Return what an unchanged graph has in common with the one before."""
        return self._feed.current.version, self._recorder.revision


class Changes:
    """One reader's place in the course of the graph."""

    def __init__(self, live: LiveGraph, seconds: int) -> None:
        self._live = live
        self._seconds = seconds
        self._last: Graph | None = None
        self._seen = (-1, -1)
        self._drawn = 0.0

    async def next(self) -> Graph:
        """Wait for a graph that differs from the last one returned; the first time it is there at once.

        At least `PUSH_EVERY` seconds lie between two. May be cancelled and called again.
        """
        while True:
            await trio.sleep_until(self._drawn + PUSH_EVERY)
            now, state = trio.current_time(), self._live.state()
            if state == self._seen and now - self._drawn < _IDLE_EVERY:
                await trio.sleep(PUSH_EVERY)
                continue
            self._seen, self._drawn = state, now
            graph, last = self._live.graph(self._seconds), self._last
            if last is None or (graph.nodes, graph.edges) != (last.nodes, last.edges):
                self._last = graph
                return graph
