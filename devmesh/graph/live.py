"""The graph as it is now, for however many readers."""

from __future__ import annotations

from collections.abc import AsyncIterator

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

    async def changes(self, seconds: int) -> AsyncIterator[Graph]:
        """Yield the graph now, and then whenever it has changed, at most each `PUSH_EVERY` seconds."""
        last: Graph | None = None
        seen, drawn = (-1, -1), 0.0
        while True:
            state = (self._feed.current.version, self._recorder.revision)
            if state != seen or trio.current_time() - drawn >= _IDLE_EVERY:
                seen, drawn = state, trio.current_time()
                graph = self.graph(seconds)
                if last is None or (graph.nodes, graph.edges) != (last.nodes, last.edges):
                    last = graph
                    yield graph
            await trio.sleep(PUSH_EVERY)
