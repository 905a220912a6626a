"""The work queue: what has changed is brought to what is wanted, promptly and again until it is."""

from __future__ import annotations

import heapq
import logging
import time
from collections.abc import Iterable, Sequence
from typing import Protocol

import trio

from devmesh.config.store import Event, Key, Store

log = logging.getLogger(__name__)

_RETRY = 1.0
_BUDGET = 0.002  # seconds of work between two turns of the loop's other tasks


class Controller(Protocol):
    """Knows one kind of object. Level-triggered: `reconcile` looks at what is, not at what has happened."""

    @property
    def name(self) -> str: ...

    def all(self, store: Store) -> Iterable[Key]:
        """Yield every object there is to look after."""
        ...

    def affected(self, store: Store, event: Event) -> Iterable[Key]:
        """Yield the objects that a change may concern. Quick: called within each write."""
        ...

    def reconcile(self, store: Store, key: Key) -> float | None:
        """Bring the world closer to what the object wants; the object may be gone.

        Returns:
            Seconds after which to look again even if nothing changes; None: no need.
        """
        ...


class Controllers:
    """Runs controllers over a store, each object at most once at a time, in the order of changes."""

    def __init__(self, store: Store, controllers: Sequence[Controller]) -> None:
        self._store = store
        self._controllers = controllers
        self._queue: dict[tuple[Controller, Key], None] = {}
        self._later: list[tuple[float, int, Controller, Key]] = []
        self._order = 0
        self._wake = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Look after everything, until cancelled."""
        self._store.subscribe(self._noticed)
        for controller in self._controllers:
            for key in controller.all(self._store):
                self._put(controller, key)
        task_status.started()
        while True:
            self._due()
            until = time.perf_counter() + _BUDGET
            while self._queue and time.perf_counter() < until:
                self._work(*self._take())
            if self._queue:
                await trio.lowlevel.checkpoint()
            else:
                await self._wait()

    def settle(self) -> None:
        """Work off all that is there, now: for tests, and for writers that want to see the outcome."""
        while self._queue:
            self._work(*self._take())

    def _noticed(self, event: Event) -> None:
        for controller in self._controllers:
            for key in controller.affected(self._store, event):
                self._put(controller, key)

    def _put(self, controller: Controller, key: Key) -> None:
        self._queue[controller, key] = None
        self._wake.set()

    def _take(self) -> tuple[Controller, Key]:
        first = next(iter(self._queue))
        del self._queue[first]
        return first

    def _work(self, controller: Controller, key: Key) -> None:
        try:
            again = controller.reconcile(self._store, key)
        except Exception:
            log.exception("%s controller failed on %s; it tries again", controller.name, key)
            again = _RETRY
        if again is not None:
            self._order += 1
            heapq.heappush(self._later, (trio.current_time() + again, self._order, controller, key))

    def _due(self) -> None:
        while self._later and self._later[0][0] <= trio.current_time():
            _, _, controller, key = heapq.heappop(self._later)
            self._put(controller, key)

    async def _wait(self) -> None:
        self._wake = trio.Event()
        deadline = self._later[0][0] if self._later else float("inf")
        with trio.move_on_at(deadline):
            await self._wake.wait()
