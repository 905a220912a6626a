"""The client role of HTTP/1.1: one connection to an endpoint, kept for the next request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devmesh.proxy.body import LAST_CHUNK, Body, UntilClose, body_of, chunk
from devmesh.proxy.deadlines import Deadline
from devmesh.proxy.http1 import UNTIL_CLOSE, Fields, Malformed, parse_response, remember
from devmesh.proxy.pools import Pool
from devmesh.proxy.reactor import Connection, Owner
from devmesh.proxy.sockets import text_of
from devmesh.snapshot.cluster import Limits

if TYPE_CHECKING:
    from devmesh.proxy.exchange import Exchange

CONNECT_TIMEOUT = "connection timeout"  # Envoy's name for it
DEFAULT_IDLE = Limits().idle_timeout
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
        "_chunks",
        "_closed",
        "_draining",
        "_idle_timer",
        "_pending",
        "_reusable",
        "_timer",
        "_to_close",
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
        self._chunks = False  # the request's body is sent in chunks of our own
        self._pending = True
        self._closed = False
        self._reusable = True
        self._timer: Deadline | None = None
        self._idle_timer: Deadline | None = None
        self._to_close: Deadline | None = None
        self._draining = False  # the present request is the last
        pool.connections += 1
        pool.cluster.connections += 1
        pool.cluster.pending += 1

    def attach(self, connection: Connection, timeout: float) -> None:
        """Take the connection, which has `timeout` seconds to come up."""
        self.connection = connection
        self.pool.cx_total += 1
        self.pool.cluster.stats.upstream_cx_total += 1
        self._timer = self.pool.cluster.deadline(timeout, self._too_slow)

    def abandon(self) -> None:
        """There will be no connection, or it is another's now."""
        if not self._closed:
            self._count_out()

    # -- as what carries an exchange --

    @property
    def pending(self) -> int:
        return self.connection.pending

    def begin(self, exchange: Exchange, body: bytes) -> None:
        data = exchange.side.request_head(exchange).encode("latin-1")
        self._chunks = exchange.request.length == UNTIL_CLOSE
        self.exchange = exchange
        self.requests += 1
        self.since = 0.0
        if self._chunks:
            body = self._chunked(body, exchange.is_uploaded)
        self.connection.send(data + body if body else data)

    def upload(self, piece: bytes, ended: bool, trailers: Fields | None) -> None:
        self.connection.send(self._chunked(piece, ended) if self._chunks else piece)

    def _chunked(self, piece: bytes, ended: bool) -> bytes:
        return (chunk(piece) if piece else b"") + (LAST_CHUNK if ended else b"")

    def pause(self) -> None:
        self.connection.pause()

    def resume(self) -> None:
        self.connection.resume()

    def surrender(self) -> Connection:
        """Give the connection away; `abandon` counts it out when it ends."""
        self.exchange = None
        return self.connection

    # -- as the owner of a connection --

    def connected(self) -> None:
        self._no_longer_pending()
        self.local = text_of(self.connection.local)
        cluster = self.pool.cluster
        if cluster.used is not None and (longest := cluster.used.limits.max_connection_duration):
            self._to_close = cluster.deadline(longest, self._too_old)
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
            exchange.failed("connection-termination", of_tls(reason), started=True)
        else:
            self._count_failure(reason == CONNECT_TIMEOUT)
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

    def _count_failure(self, timeout: bool) -> None:
        stats = self.pool.cluster.stats
        stats.upstream_cx_connect_fail += 1
        stats.upstream_cx_connect_timeout += timeout
        stats.upstream_rq_pending_failure_eject += 1
        self.pool.cx_connect_fail += 1

    def _too_old(self) -> None:
        """The connection has lived long enough: it ends with its present request."""
        self._to_close = None
        self.pool.cluster.stats.upstream_cx_max_duration_reached += 1
        if self.exchange is None:
            self.discard()
        else:
            self._draining = True

    def _idle(self) -> None:
        """Look whether it has carried nothing for as long as is allowed."""
        self._idle_timer = None
        cluster = self.pool.cluster
        limit = cluster.used.limits.idle_timeout if cluster.used is not None else 0.0
        if self._closed or self.exchange is not None or not limit:
            return
        left = self.since + limit - cluster.now()
        if left > 0:
            self._idle_timer = cluster.deadline(left, self._idle)
        else:
            cluster.stats.upstream_cx_idle_timeout += 1
            self.discard()

    def _count_out(self) -> None:
        pool = self.pool
        self._closed = True
        if self._to_close is not None:
            self._to_close.cancel()
        if self._pending:
            self._no_longer_pending()
        pool.connections -= 1
        pool.cluster.connections -= 1
        pool.cluster.stats.upstream_cx_destroy += 1
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
        if isinstance(body, UntilClose) and not error:
            exchange.answer_more(b"", True)
            return
        if is_stale and exchange.request.method in IDEMPOTENT and exchange.again():
            return
        if silent:
            exchange.failed("connection-termination", of_tls(error), started=True)
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
        pool, limits = self.pool, exchange.cluster.limits
        limit = limits.max_requests_per_connection
        if limit and self.requests >= limit:
            pool.cluster.stats.upstream_cx_max_requests += 1
            self._draining = True
        if not self._reusable or self._draining or not exchange.is_uploaded:
            self.discard()
            return
        pool.idle.append(self)
        if limits.idle_timeout != DEFAULT_IDLE:  # that one is kept by the pruning
            self.since = pool.cluster.now()
            if self._idle_timer is None and limits.idle_timeout:
                self._idle_timer = pool.cluster.deadline(limits.idle_timeout, self._idle)
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


def of_tls(reason: str) -> str:
    """Return why a connection that was up broke, as far as Envoy tells that."""
    return reason if reason.startswith("TLS error") else ""
