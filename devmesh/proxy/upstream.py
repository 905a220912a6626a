"""The client role of HTTP/1.1: one connection to an endpoint, kept for the next request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devmesh.proxy.body import Body, body_of
from devmesh.proxy.deadlines import Deadline
from devmesh.proxy.http1 import UNTIL_CLOSE, Malformed, parse_response, remember
from devmesh.proxy.plane import Pool
from devmesh.proxy.reactor import Connection, Owner
from devmesh.proxy.sockets import text_of

if TYPE_CHECKING:
    from devmesh.proxy.exchange import Exchange

CONNECT_TIMEOUT = "connection timeout"  # Envoy's name for it
IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})  # RFC 9110 §9.2.2


class Upstream(Owner):
    """Owns a connection; it carries one exchange at a time.

    Attributes:
        exchange: The one under way; None: idle, or done with.
        requests: How many it has carried, the present one included.
        since: When it was first seen idle; 0: not since it was used.
    """

    __slots__ = (
        "_body",
        "_buffer",
        "_closed",
        "_pending",
        "_reusable",
        "_timer",
        "connection",
        "exchange",
        "local",
        "pool",
        "requests",
        "since",
    )

    connection: Connection

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.exchange: Exchange | None = None
        self.requests = 0
        self.since = 0.0
        self.local = ""
        self._buffer = b""
        self._body: Body | None = None
        self._pending = True
        self._closed = False
        self._reusable = True
        self._timer: Deadline | None = None
        pool.connections += 1
        pool.cluster.connections += 1
        pool.cluster.pending += 1

    def attach(self, connection: Connection, timeout: float) -> None:
        """Take the connection, which has `timeout` seconds to come up."""
        self.connection = connection
        self._timer = self.pool.cluster.deadline(timeout, self._too_slow)

    def abandon(self) -> None:
        """There will be no connection, or it is another's now."""
        if not self._closed:
            self._count_out()

    def surrender(self) -> Connection:
        """Give the connection away; `abandon` counts it out when it ends."""
        self.exchange = None
        return self.connection

    # -- as the owner of a connection --

    def connected(self) -> None:
        self._no_longer_pending()
        self.local = text_of(self.connection.local)
        if self.exchange is not None:
            self.exchange.connected()

    def readable(self) -> None:
        data = self.connection.recv()
        if data is None:
            return
        exchange = self.exchange
        if exchange is None:  # closed while idle, or it speaks unasked
            self.discard()
        elif not data:
            self._ended(exchange)
        elif self._body is None:
            self._head(exchange, self._buffer + data if self._buffer else data)
        else:
            self._more(exchange, self._body, data)

    def drained(self) -> None:
        if self.exchange is not None:
            self.exchange.upload_drained()

    def lost(self, reason: str) -> None:
        exchange, established = self.exchange, not self._pending
        self.discard()
        if exchange is None:
            return
        if established:
            exchange.failed("connection-termination", _of_tls(reason), started=True)
        else:
            if not reason.startswith(("TLS error", CONNECT_TIMEOUT)):
                reason = f"delayed connect error: {reason}"
            exchange.failed("connect-failure", reason, started=False)

    # --

    def discard(self) -> None:
        """Close; nothing of the exchange, if there is one, goes on here."""
        self.exchange = None
        if not self._closed:
            if self in self.pool.idle:
                self.pool.idle.remove(self)
            self.connection.close()
            self._count_out()

    def _count_out(self) -> None:
        pool = self.pool
        self._closed = True
        if self._pending:
            self._no_longer_pending()
        pool.connections -= 1
        pool.cluster.connections -= 1
        if pool.waiting:
            pool.waiting.popleft().connection_free()

    def _no_longer_pending(self) -> None:
        self._pending = False
        self.pool.cluster.pending -= 1
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        self.lost(CONNECT_TIMEOUT)

    def _ended(self, exchange: Exchange) -> None:
        """The peer has closed, or the connection broke."""
        body, error = self._body, self.connection.error
        silent = body is None and not self._buffer
        is_stale = self.requests > 1 and silent
        self.discard()
        if body is not None and body_is_whole(body, exchange, error):
            exchange.answer_more(b"", True)
            return
        if is_stale and exchange.request.method in IDEMPOTENT and exchange.again():
            return
        if silent:
            exchange.failed("connection-termination", _of_tls(error), started=True)
        else:  # Envoy: a message that has begun and is cut off is one that is malformed
            exchange.failed("protocol-error", "", started=True)

    def _head(self, exchange: Exchange, data: bytes) -> None:
        while True:
            known = exchange.plane.responses
            method = exchange.request.method
            response = known.get(data[: data.find(b"\r\n\r\n") + 4]) if method != "HEAD" else None
            if response is None:
                try:
                    response = parse_response(data, method)
                except Malformed as error:
                    self._misbehaved(exchange, error)
                    return
                if response is None:
                    self._buffer = data
                    return
                if method != "HEAD":
                    remember(known, data, response)
            self._buffer = b""
            rest = data[response.size :]
            if response.status >= 200:
                break
            if response.status == 101:
                self._switch(exchange, data[: response.size], rest)
                return
            exchange.inform(response)
            if not rest:
                return
            data = rest
        length = response.length
        self._reusable = not response.close
        if 0 <= length <= len(rest):
            if length < len(rest):  # more than was promised
                self._reusable = False
                rest = rest[:length]
            self._done(exchange)
            exchange.answer(response, rest, True)
            return
        body = body_of(length)
        try:
            taken = body.take(rest)
        except Malformed as error:
            self._misbehaved(exchange, error)
            return
        if taken < len(rest):
            self._reusable = False
            rest = rest[:taken]
        self._body = exchange.response_body = body
        if body.done:
            self._body = None
            self._done(exchange)
        exchange.answer(response, rest, body.done)

    def _more(self, exchange: Exchange, body: Body, data: bytes) -> None:
        try:
            taken = body.take(data)
        except Malformed as error:
            self._misbehaved(exchange, error)
            return
        if taken < len(data):
            self._reusable = False
            data = data[:taken]
        if body.done:
            self._body = None
            self._done(exchange)
        exchange.answer_more(data, body.done)

    def _done(self, exchange: Exchange) -> None:
        """The response is complete: be there for the next request."""
        self.exchange = None
        exchange.upstream_done()
        pool = self.pool
        limit = exchange.cluster.limits.max_requests_per_connection
        if not self._reusable or not exchange.is_uploaded or (limit and self.requests >= limit):
            self.discard()
            return
        pool.idle.append(self)
        if pool.waiting:
            pool.waiting.popleft().connection_free()

    def _misbehaved(self, exchange: Exchange, error: Malformed) -> None:
        self.discard()
        exchange.failed("protocol-error", error.details, started=True)

    def _switch(self, exchange: Exchange, head: bytes, rest: bytes) -> None:
        if not exchange.upgrade:
            self._misbehaved(exchange, Malformed("http1.codec_error"))
            return
        exchange.switch(head, rest)


def _of_tls(reason: str) -> str:
    """Return why a connection that was up broke, as far as Envoy tells that."""
    return reason if reason.startswith("TLS error") else ""


def body_is_whole(body: Body, exchange: Exchange, error: str) -> bool:
    """Tell whether a body that its connection's end has cut off was meant to end so."""
    return not error and exchange.response_length == UNTIL_CLOSE
