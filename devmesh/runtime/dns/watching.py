"""Names kept looked up: ahead of the first request, and again whenever their time is up."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection

import trio

from devmesh.runtime.dns.lookup import Found

log = logging.getLogger(__name__)

REFRESH = 60.0  # seconds; Istio: dnsRefreshRate
_AT_LEAST = 1.0  # Envoy: dns_min_refresh_rate
_AFTER_FAILURE = 5.0

Lookup = Callable[[str], Awaitable[Found | None]]


class WatchedNames:
    """Looks up the names that are wanted, each for as long as it is.

    Envoy (strict DNS): the time to live says when to ask again; where a lookup fails, what was known stays.

    Args:
        lookup: Finds a name's addresses; None where it fails.
        changed: Called after `current` has changed.
        refresh: Returns when to ask again where no time to live is known, in seconds.
    """

    def __init__(
        self, lookup: Lookup, changed: Callable[[], None], refresh: Callable[[], float] = lambda: REFRESH
    ) -> None:
        self._lookup = lookup
        self._changed = changed
        self._refresh = refresh
        self._watches: dict[str, trio.CancelScope] = {}
        self._nursery: trio.Nursery | None = None
        self._wanted: frozenset[str] = frozenset()
        self.current: dict[str, tuple[str, ...]] = {}
        """The addresses by name; none where a name was asked for and never had any."""

    def want(self, names: Collection[str]) -> None:
        """Look up `names` and no others from now on."""
        if names == self._wanted:
            return
        self._wanted = frozenset(names)
        for name in self._watches.keys() - self._wanted:
            self._watches.pop(name).cancel()
            self.current.pop(name, None)
        self._begin()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Look names up until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                self._begin()
                task_status.started()
                await trio.sleep_forever()
        finally:
            self._nursery = None

    def _begin(self) -> None:
        if self._nursery is None:
            return
        for name in self._wanted - self._watches.keys():
            scope = self._watches[name] = trio.CancelScope()
            self._nursery.start_soon(self._watch, name, scope)

    async def _watch(self, name: str, scope: trio.CancelScope) -> None:
        with scope:
            while True:
                try:
                    found = await self._lookup(name)
                except OSError as error:
                    log.debug("looking up %s failed: %s", name, error)
                    found = None
                await trio.sleep(self._note(name, found))

    def _note(self, name: str, found: Found | None) -> float:
        """Keep what was found; return for how long it is good."""
        before = self.current.get(name)
        if found is None:
            if before is None:
                self.current[name] = ()
                self._changed()
            return min(_AFTER_FAILURE, self._refresh())
        # Name servers turn the order round; only other addresses are news.
        if before is None or set(before) != set(found.addresses):
            self.current[name] = found.addresses
            self._changed()
        return max(_AT_LEAST, self._refresh() if found.ttl is None else found.ttl)
