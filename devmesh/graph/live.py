"""The graph as it is now, for however many readers."""

from __future__ import annotations

import time

import trio

from devmesh.graph.inventory import Inventory
from devmesh.graph.tally import Fold
from devmesh.graph.topology import Graph
from devmesh.graph.traffic import build_graph
from devmesh.snapshot.feed import SnapshotFeed
from devmesh.telemetry.recorder import Recorder

PUSH_EVERY = 0.25  # seconds: at most four pictures a second
_IDLE_EVERY = 1.0  # with no new traffic, rates still sink
_WINDOWS = 8  # kept graphs
_SLICE = 30  # flows folded at a time; about a millisecond


class LiveGraph:
    """Folds a recorder's traffic over the current snapshot; readers of one window share the work."""

    def __init__(self, feed: SnapshotFeed, recorder: Recorder, mesh: str) -> None:
        self._feed = feed
        self._recorder = recorder
        self._mesh = mesh
        self._inventory = Inventory.of(feed.current)
        self._last: dict[int, tuple[tuple[int, int, int], Graph]] = {}
        self._drawing = trio.Lock()
        self._cost = 0.0  # seconds that the latest drawing took

    async def graph(self, seconds: int) -> Graph:
        """Return the graph of the last `seconds`, at most an hour."""
        async with self._drawing:
            now = self._recorder.clock()
            # within a quarter of a second and with nothing new, the answer is the one before
            stamp = (*self.state(), int(now / PUSH_EVERY))
            known = self._last.get(seconds)
            if known and known[0] == stamp:
                return known[1]
            began = time.perf_counter()
            graph = await self._draw(seconds, now)
            self._cost = time.perf_counter() - began
            if len(self._last) >= _WINDOWS:
                self._last.clear()
            self._last[seconds] = (stamp, graph)
            return graph

    async def _draw(self, seconds: int, now: float) -> Graph:
        if self._inventory.version != self._feed.current.version:
            self._inventory = Inventory.of(self._feed.current)
        edges = self._recorder.edges
        fold = Fold(edges.window(seconds, now), now)
        for number, flow in enumerate(edges.flows(), start=1):
            fold.add(flow)
            if number % _SLICE == 0:
                await trio.lowlevel.checkpoint()
        return build_graph(fold, self._inventory, seconds=seconds, mesh=self._mesh)

    def changes(self, seconds: int) -> Changes:
        """Return a reader of what changes from now on."""
        return Changes(self, seconds)

    @property
    def pause(self) -> float:
        """How long a reader should wait between two graphs, in seconds: drawing takes a tenth at most."""
        return max(PUSH_EVERY, 10 * self._cost)

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

        At least `PUSH_EVERY` seconds lie between two, more where the mesh is large. May be cancelled, and
        called again.
        """
        while True:
            await trio.sleep_until(self._drawn + self._live.pause)
            now, state = trio.current_time(), self._live.state()
            if state == self._seen and now - self._drawn < _IDLE_EVERY:
                await trio.sleep(PUSH_EVERY)
                continue
            self._drawn = now
            graph, last = await self._live.graph(self._seconds), self._last
            self._seen = state
            if last is None or (graph.nodes, graph.edges) != (last.nodes, last.edges):
                self._last = graph
                return graph
