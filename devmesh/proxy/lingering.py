"""How a connection ends whose peer has to read, before, why."""

from __future__ import annotations

from devmesh.proxy.reactor import Connection, Owner, Reactor

_LINGER = 1.0  # seconds for the client to read what it is told (Envoy: delayed close)


def finish_gently(reactor: Reactor, connection: Connection) -> None:
    """End after what is pending. Closing with unread input would reset the connection, and the client lose
    what it was told: read on for a moment, into nothing."""
    connection.finish()
    connection.resume()
    connection.owner = _Lingering(reactor, connection)


class _Lingering(Owner):
    """Reads until the client closes too."""

    __slots__ = ("_connection", "_deadline")

    def __init__(self, reactor: Reactor, connection: Connection) -> None:
        self._connection = connection
        self._deadline = reactor.deadline(_LINGER, connection.close)

    def readable(self) -> None:
        if self._connection.recv() == b"":
            self.lost("")

    def lost(self, reason: str) -> None:
        self._deadline.cancel()
        self._connection.close()
