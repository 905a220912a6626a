"""Waiting for what a client says first, to find out what it speaks."""

from __future__ import annotations

from collections.abc import Callable

from devmesh.proxy.client_hello import MAX_HELLO
from devmesh.proxy.deadlines import Deadline
from devmesh.proxy.reactor import Connection, Owner, Reactor

_LATE = 0.02  # seconds that a deadline may be late for no reason but its coarseness

Decide = Callable[[bytes, bool], bool]
"""Takes the bytes so far, and whether no more are waited for; tells whether that was enough. Whoever
decides takes the connection over, and the bytes with it."""


class Held(Owner):
    """Keeps a connection as it is until `then`, which is called once by `go_on`; not where it has gone."""

    __slots__ = ("_connection", "_then")

    def __init__(self, connection: Connection, then: Callable[[], None]) -> None:
        self._connection = connection
        self._then: Callable[[], None] | None = then
        connection.owner = self
        connection.pause()

    def go_on(self) -> None:
        then, self._then = self._then, None
        if then is not None:
            then()

    def lost(self, reason: str) -> None:
        self._then = None
        self._connection.close()


class FirstBytes(Owner):
    """Collects a connection's first bytes until they are enough.

    Args:
        timeout: Seconds after which what is there, maybe nothing, has to do; 0: never.
    """

    __slots__ = ("_connection", "_data", "_deadline", "_decide", "_due", "_reactor", "_timeout")

    def __init__(
        self,
        reactor: Reactor,
        connection: Connection,
        decide: Decide,
        timeout: float = 0.0,
        first: bytes = b"",
    ) -> None:
        self._connection = connection
        self._decide = decide
        self._data = first
        self._deadline: Deadline | None = None
        self._due = 0.0
        connection.owner = self
        if first and self._decide(first, False):
            return
        self._reactor = reactor
        self._timeout = timeout
        if timeout:
            self._wait()

    def readable(self) -> None:
        data = self._connection.recv()
        if data is None:
            return
        if not data:
            self._cancel()
            if self._data:
                self._connection.pause()
                self._end()
            else:
                self._connection.close()
            return
        self._data += data
        if self._decide(self._data, len(self._data) > MAX_HELLO):
            self._cancel()

    def lost(self, reason: str) -> None:
        self._cancel()
        self._connection.close()

    def _wait(self) -> None:
        self._due = self._reactor.now() + self._timeout
        self._deadline = self._reactor.deadline(self._timeout, self._too_long)

    def _too_long(self) -> None:
        """End, unless it was this process that was slow: what is there has not been read, or the client is
        a proxy of this process, too, and its turn has not come."""
        self._deadline = None
        if self._connection.owner is self:
            self.readable()
        if self._connection.owner is not self:
            return
        if self._reactor.now() - self._due > _LATE:
            self._wait()
        else:
            self._end()

    def _end(self) -> None:
        if not self._decide(self._data, True):
            self._connection.close()

    def _cancel(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
