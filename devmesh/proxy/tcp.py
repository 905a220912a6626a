"""Bytes carried between two connections, whatever they mean."""

from __future__ import annotations

from collections.abc import Callable

from devmesh.proxy.reactor import HIGH, Connection, Owner

Ended = Callable[[int, int, str], None]
"""Told once: bytes received from the client, bytes sent to it, Envoy's response flag ("" is none)."""


class _End(Owner):
    """One of the two connections."""

    __slots__ = ("carried", "connection", "ended", "flag", "other", "tunnel")

    other: _End

    def __init__(self, tunnel: Tunnel, connection: Connection, flag: str) -> None:
        self.tunnel = tunnel
        self.connection = connection
        self.flag = flag
        self.carried = 0
        self.ended = False

    def readable(self) -> None:
        data = self.connection.recv_view()
        if data is None:
            return
        size = len(data)
        other = self.other.connection
        if size:
            self.carried += size
            other.send(data)
            if other.pending > HIGH:
                self.connection.pause()
            return
        self.ended = True
        self.connection.pause()
        if self.connection.error:
            self.tunnel.end(self.flag)
        else:
            other.finish()
            self.tunnel.end_if_done()

    def drained(self) -> None:
        if self.other.ended:
            self.tunnel.end_if_done()
        else:
            self.other.connection.resume()

    def lost(self, reason: str) -> None:
        self.tunnel.end("" if self.ended and self.other.ended else self.flag)


class Tunnel:
    """Carries both directions, each to its own end: half-closed connections stay as they are.

    Who sends faster than the other receives is not read until that has caught up.
    """

    __slots__ = ("_client", "_ended", "_upstream")

    def __init__(self, client: Connection, upstream: Connection, ended: Ended) -> None:
        self._ended: Ended | None = ended
        self._client, self._upstream = _End(self, client, "DC"), _End(self, upstream, "UC")
        self._client.other, self._upstream.other = self._upstream, self._client
        client.owner, upstream.owner = self._client, self._upstream
        client.resume()
        upstream.resume()

    @property
    def received(self) -> int:
        return self._client.carried

    @property
    def sent(self) -> int:
        return self._upstream.carried

    def count(self, received: int, sent: int = 0) -> None:
        """Count bytes of the client's, and for it, that went another way."""
        self._client.carried += received
        self._upstream.carried += sent

    def end_if_done(self) -> None:
        """Close both, if both have ended and all is sent."""
        client, upstream = self._client, self._upstream
        client.connection.flush()
        upstream.connection.flush()
        if client.ended and upstream.ended and not client.connection.pending + upstream.connection.pending:
            self.end("")

    def end(self, flag: str) -> None:
        """Close both."""
        ended, self._ended = self._ended, None
        if ended is None:
            return
        for end in (self._client, self._upstream):
            if flag:
                end.connection.abort()
            else:
                end.connection.close()
        ended(self.received, self.sent, flag)
