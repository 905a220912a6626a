"""The client role: one connection to an endpoint, which carries many tries at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devmesh.proxy.body import Unchunk
from devmesh.proxy.deadlines import Deadline
from devmesh.proxy.http1 import CHUNKED, Fields
from devmesh.proxy.http2 import frames
from devmesh.proxy.http2.frames import Code, Http2Error
from devmesh.proxy.http2.heads import pairs, read_response, read_trailers, request_block
from devmesh.proxy.http2.hpack import Block
from devmesh.proxy.http2.streams import Stream
from devmesh.proxy.http2.wire import CONNECTION_WINDOW, STREAM_WINDOW, Wire
from devmesh.proxy.reactor import Connection
from devmesh.proxy.sockets import text_of
from devmesh.proxy.upstream import CONNECT_TIMEOUT, of_tls
from devmesh.traffic.retry import Reset

if TYPE_CHECKING:
    from devmesh.proxy.exchange import Exchange
    from devmesh.proxy.http2.multiplex import Multiplex

_LAST_NUMBER = (1 << 31) - 1
_UNTOLD = 100  # streams at a time until the server has said how many it takes (RFC 9113 §6.5.2)


class Http2Client(Wire):
    """Owns a connection to an endpoint.

    Attributes:
        requests: How many it has carried, those under way included.
        is_draining: It gets no more streams, and ends with its last.
    """

    connection: Connection

    def __init__(self, shared: Multiplex) -> None:
        super().__init__(shared.plane.reactor)
        self.shared = shared
        self.pool = shared.pool
        self.known = shared.plane.http2_responses
        self.max_streams = _UNTOLD
        self.local = ""
        self.requests = 0
        self.is_up = self.is_draining = False
        self._closed = False
        self._next = 1
        self._idle_since = 0.0
        self._timer: Deadline | None = None  # to come up in time
        self._to_close: Deadline | None = None
        self._idle_timer: Deadline | None = None

    def attach(self, connection: Connection, timeout: float) -> None:
        """Take the connection, which has `timeout` seconds to come up."""
        self.connection = connection
        self._timer = self.pool.cluster.deadline(timeout, self._too_slow)

    @property
    def has_room(self) -> bool:
        """Tell whether one more stream can be opened now."""
        return self.is_up and not self.is_draining and len(self.streams) < self.most

    @property
    def most(self) -> int:
        """Return how many streams may be open at a time."""
        return min(self.max_streams, self.shared.limits.max_concurrent_streams)

    def stream(self) -> ClientStream:
        """Open a stream; there has to be room. Its first frame is to be sent before another's."""
        stream = ClientStream(self, self._next)
        self.last = self._next
        self.streams[self._next] = stream
        self._next += 2
        self.requests += 1
        self.budget.opened += 1
        most = self.shared.limits.max_requests_per_connection
        if most and self.requests >= most:
            self.pool.cluster.stats.upstream_cx_max_requests += 1
            self.is_draining = True
        if self._next > _LAST_NUMBER:
            self.is_draining = True
        return stream

    def drain(self) -> None:
        """Have the connection end with its last stream."""
        self.is_draining = True
        if not self.streams:
            self.close()

    # -- as the owner of a connection --

    def connected(self) -> None:
        self.is_up = True
        self._cancel_timer()
        self.local = text_of(self.connection.local)
        self.emit(
            frames.PREFACE
            + frames.settings((frames.ENABLE_PUSH, 0), (frames.INITIAL_WINDOW_SIZE, STREAM_WINDOW))
            + frames.window_update(0, CONNECTION_WINDOW - frames.DEFAULT_WINDOW)
        )
        longest = self.shared.limits.max_connection_duration
        if longest:
            self._to_close = self.pool.cluster.deadline(longest, self._too_old)
        self.shared.serve()
        self._rest()

    def readable(self) -> None:
        data = self.connection.recv()
        if data:
            self.receive(data)
        elif data is not None:
            self._finished(self.connection.error)

    def lost(self, reason: str) -> None:
        if self.is_up:
            self._finished(reason)
            return
        timeout = reason == CONNECT_TIMEOUT
        if not reason.startswith(("TLS error", CONNECT_TIMEOUT)):
            reason = f"delayed connect error: {reason}"
        self.close()
        self.shared.unreachable(reason, timeout=timeout)

    def _finished(self, reason: str) -> None:
        self.lose(of_tls(reason))
        self.close()

    def _too_slow(self) -> None:
        self._timer = None
        self.lost(CONNECT_TIMEOUT)

    def _too_old(self) -> None:
        self._to_close = None
        self.pool.cluster.stats.upstream_cx_max_duration_reached += 1
        self.drain()

    def close(self) -> None:
        """End at once."""
        if self._closed:
            return
        self._closed = self.is_over = True
        for timer in (self._timer, self._to_close, self._idle_timer):
            if timer is not None:
                timer.cancel()
        self.flush()
        self.connection.close()
        self.shared.closed(self)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # -- as a wire --

    def opened(self, number: int, block: Block, ended: bool) -> None:
        raise Http2Error(Code.PROTOCOL_ERROR, "http2.codec_error")

    def is_idle(self, number: int) -> bool:
        return number % 2 == 0 or number >= self._next

    def going_away(self, last: int, code: int) -> None:
        self.is_draining = True
        for number, stream in list(self.streams.items()):
            if number > last:
                self.forget(stream)
                stream.was_reset(Code.REFUSED_STREAM)
        if not self.streams:
            self.close()

    def settled(self) -> None:
        if self._closed or self.is_over:
            return
        if not self.streams and self.is_draining:
            self.close()
            return
        if self.shared.waiting:
            self.shared.serve()
        self._rest()

    def over(self, details: str) -> None:
        self.close()

    def _rest(self) -> None:
        """Note since when nothing has been carried."""
        if self.streams:
            return
        self._idle_since = self.now()
        limit = self.shared.limits.idle_timeout
        if limit and self._idle_timer is None:
            self._idle_timer = self.pool.cluster.deadline(limit, self._look)

    def _look(self) -> None:
        self._idle_timer = None
        if self.streams:
            return
        left = self._idle_since + self.shared.limits.idle_timeout - self.now()
        if left > 0:
            self._idle_timer = self.pool.cluster.deadline(left, self._look)
        else:
            self.pool.cluster.stats.upstream_cx_idle_timeout += 1
            self.close()


class ClientStream(Stream):
    """Carries a try of an exchange."""

    __slots__ = ("_answered", "_client", "_exchange", "_unchunk", "local")

    def __init__(self, wire: Http2Client, number: int) -> None:
        super().__init__(wire, number)
        self._client = wire
        self.local = wire.local
        self._exchange: Exchange | None = None
        self._unchunk: Unchunk | None = None
        self._answered = False

    # -- as what carries an exchange --

    @property
    def pending(self) -> int:
        return self.waiting

    def begin(self, exchange: Exchange, body: bytes) -> None:
        self._exchange = exchange
        request = exchange.request
        block = request_block(exchange.side.request_head(exchange), request.scheme)
        if request.length == CHUNKED:
            self._unchunk = Unchunk()
            body = self._unchunk.content(body)
        trailers, ended = exchange.request_trailers, exchange.is_uploaded
        alone = ended and not body and not trailers
        self.wire.send_headers(self, block, ended=alone)
        if not alone and (body or ended):
            self.write(body, ended, pairs(trailers) if trailers else None)

    def upload(self, piece: bytes, ended: bool, trailers: Fields | None) -> None:
        if self._unchunk is not None:
            piece = self._unchunk.content(piece)
        if piece or ended:
            self.write(piece, ended, pairs(trailers) if trailers else None)

    def pause(self) -> None:
        self.hold()

    def resume(self) -> None:
        self.unhold()

    def discard(self) -> None:
        self._exchange = None
        self.reset(Code.CANCEL)

    def surrender(self) -> Connection:
        raise RuntimeError("a stream cannot change its protocol")

    def abandon(self) -> None:
        raise RuntimeError("a stream is never given away")

    # -- what arrives --

    def headers(self, block: Block, ended: bool) -> None:
        exchange = self._exchange
        if exchange is None:
            return
        if self._answered:
            if not ended:
                raise Http2Error(Code.PROTOCOL_ERROR, "http2.violation.of.messaging.rule")
            trailers = read_trailers(block)
            self._done(exchange)
            exchange.answer_more(b"", True, trailers)
            return
        response = read_response(self._client.known, block, ended, exchange.request.method)
        if response.status < 200:
            if ended or response.status == 101:
                raise Http2Error(Code.PROTOCOL_ERROR, "http2.violation.of.messaging.rule")
            exchange.inform(response)
            return
        self._answered = True
        if ended:
            if response.length > 0:
                raise Http2Error(Code.PROTOCOL_ERROR, "http2.violation.of.messaging.rule")
            self._done(exchange)
        elif response.length >= 0:
            self.left = response.length
        exchange.answer(response, b"", ended)

    def data(self, piece: bytes, ended: bool) -> None:
        exchange = self._exchange
        if exchange is None:
            return
        if not self._answered:
            raise Http2Error(Code.PROTOCOL_ERROR, "http2.violation.of.messaging.rule")
        if ended:
            self._done(exchange)
        exchange.answer_more(piece, ended)

    def _done(self, exchange: Exchange) -> None:
        """The response is complete, whether or not the request is."""
        self._exchange = None
        exchange.upstream_done()
        if not self.is_written:
            self.reset(Code.NO_ERROR)

    def was_reset(self, code: int) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            self._client.pool.cluster.stats.upstream_rq_rx_reset += 1
            refused = code == Code.REFUSED_STREAM
            exchange.failed("refused-stream" if refused else "remote-reset", "", started=not refused)

    def was_lost(self, reason: str) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            broken = reason.startswith("http2.")
            why: Reset = "protocol-error" if broken else "connection-termination"
            exchange.failed(why, "" if broken else reason, started=True)

    def written(self) -> None:
        if self._exchange is not None:
            self._exchange.upload_drained()
