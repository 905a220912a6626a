"""The server role: a client's connection, each of whose streams is an exchange."""

from __future__ import annotations

from devmesh.proxy import local
from devmesh.proxy.body import Unchunk
from devmesh.proxy.exchange import Exchange
from devmesh.proxy.http1 import CHUNKED, Fields, Request, Response
from devmesh.proxy.http2 import frames
from devmesh.proxy.http2.frames import Code, Http2Error
from devmesh.proxy.http2.heads import pairs, read_request, read_trailers
from devmesh.proxy.http2.hpack import Block
from devmesh.proxy.http2.streams import Stream
from devmesh.proxy.http2.wire import CONNECTION_WINDOW, STREAM_WINDOW, Wire
from devmesh.proxy.lingering import finish_gently
from devmesh.proxy.reactor import Connection
from devmesh.proxy.side import Side

MAX_STREAMS = 1024  # of one client at a time (Envoy: max_concurrent_streams)


class Http2Server(Wire):
    """Reads a client's frames.

    Args:
        first: What was read from the connection already, the preface at its front.
    """

    max_streams = 0

    def __init__(self, side: Side, connection: Connection, first: bytes = b"") -> None:
        super().__init__(side.plane.reactor)
        self.connection = connection
        self.side = side
        self._known = side.plane.http2_requests
        self._counted = True  # among those that are open
        self._leaving: int | None = None  # the last stream that is served
        side.http.cx_total += 1
        side.http.cx_active += 1
        side.http.http2_total += 1
        side.http.http2_active += 1
        self._preface = frames.PREFACE
        connection.owner = self
        self.emit(
            frames.settings(
                (frames.MAX_CONCURRENT_STREAMS, MAX_STREAMS), (frames.INITIAL_WINDOW_SIZE, STREAM_WINDOW)
            )
            + frames.window_update(0, CONNECTION_WINDOW - frames.DEFAULT_WINDOW)
        )
        if first:
            self._take(first)

    # -- as the owner of a connection --

    def readable(self) -> None:
        data = self.connection.recv()
        if data:
            self._take(data)
        elif data is not None:
            self._gone()

    def lost(self, reason: str) -> None:
        self._gone()

    def _take(self, data: bytes) -> None:
        if self._preface:
            wanted = self._preface
            size = min(len(data), len(wanted))
            if data[:size] != wanted[:size]:
                self.fail(Http2Error(Code.PROTOCOL_ERROR, "http2.bad_preface"))
                return
            self._preface, data = wanted[size:], data[size:]
        if data:
            self.receive(data)

    def _gone(self) -> None:
        self.lose("")
        self._count_out()
        self.connection.close()

    def _count_out(self) -> None:
        if self._counted:
            self._counted = False
            self.side.http.cx_active -= 1
            self.side.http.http2_active -= 1

    # -- as a wire --

    def opened(self, number: int, block: Block, ended: bool) -> None:
        self.last = number
        self.budget.opened += 1
        if len(self.streams) >= MAX_STREAMS:
            self.emit(frames.reset(number, Code.REFUSED_STREAM))
            return
        side = self.side
        if self._leaving is not None and number > self._leaving:
            self.emit(frames.reset(number, Code.REFUSED_STREAM))
            return
        if side.may_refuse and side.refuses():
            self.lose("")
            self._count_out()
            self.connection.abort()
            return
        paths = side.plane.feed.current.mesh.path_normalization
        request = read_request(self._known, block, ended, paths)
        if ended and request.length > 0:
            raise Http2Error(Code.PROTOCOL_ERROR, "http2.violation.of.messaging.rule")
        stream = ServerStream(self, number)
        self.streams[number] = stream
        side.http.http2_requests += 1
        stream.start(request, ended)

    def forget(self, stream: Stream) -> None:
        super().forget(stream)
        if not self.streams and self.side.state.closing and self._leaving is None:
            self._leaving = self.last  # with no stream under way: not all clients bear it otherwise
            self.emit(frames.goaway(self.last, Code.NO_ERROR))

    def is_idle(self, number: int) -> bool:
        if number % 2 == 0:
            raise Http2Error(Code.PROTOCOL_ERROR, "http2.codec_error")
        return number > self.last

    def going_away(self, last: int, code: int) -> None:
        """The client opens no more streams: it will close when these are done."""

    def settled(self) -> None: ...

    def over(self, details: str) -> None:
        self._count_out()
        finish_gently(self.side.plane.reactor, self.connection)


class ServerStream(Stream):
    """Is an exchange's downstream."""

    __slots__ = ("_exchange", "_request", "_server", "_unchunk")

    def __init__(self, wire: Http2Server, number: int) -> None:
        super().__init__(wire, number)
        self._server = wire
        self._exchange: Exchange | None = None
        self._unchunk: Unchunk | None = None
        self.is_unanswered = True

    def start(self, request: Request, ended: bool) -> None:
        """Begin the exchange."""
        side = self._server.side
        self.is_read = ended
        exchange = self._exchange = Exchange(side, self, request)
        if not ended:
            self.left = request.length if request.length >= 0 else -1
            if request.headers.get("expect", "").lower() == "100-continue":
                self.wire.send_headers(self, _CONTINUE, ended=False)
        if not request.authority:
            exchange.is_uploaded = ended
            exchange.reply(400, b"", "", "missing_host_header")
            return
        exchange.start(b"", ended)

    # -- what arrives --

    def headers(self, block: Block, ended: bool) -> None:
        if not ended:
            raise Http2Error(Code.PROTOCOL_ERROR, "http2.violation.of.messaging.rule")
        trailers = read_trailers(block)
        if self._exchange is not None:
            self._exchange.upload(b"", True, trailers)

    def data(self, piece: bytes, ended: bool) -> None:
        if self._exchange is not None:
            self._exchange.upload(piece, ended)

    def was_reset(self, code: int) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.cancel("DR", "http2.remote_reset")

    def was_lost(self, reason: str) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.cancel()

    def written(self) -> None:
        if self._exchange is not None:
            self._exchange.download_drained()
        elif self.is_written and not self.is_read:
            self.reset(Code.NO_ERROR)

    # -- as an exchange's downstream --

    @property
    def pending(self) -> int:
        return self.waiting

    def inform(self, response: Response) -> None:
        status = str(response.status).encode()
        self.wire.send_headers(self, [(b":status", status, False), *pairs(response.fields)], ended=False)

    def answer(self, exchange: Exchange, response: Response, piece: bytes, ended: bool) -> None:
        block = self._server.side.response_block(exchange, response)
        self.is_unanswered = False
        if response.length == CHUNKED:
            self._unchunk = Unchunk()
            piece = self._unchunk.content(piece)
        alone = ended and not piece
        self.wire.send_headers(self, block, ended=alone)
        if not alone and (piece or ended):
            self.write(piece, ended)

    def answer_more(self, piece: bytes, ended: bool, trailers: Fields | None) -> None:
        if self._unchunk is not None:
            piece = self._unchunk.content(piece)
        if piece or ended:
            self.write(piece, ended, pairs(trailers) if trailers else None)

    def reply(self, exchange: Exchange, status: int, body: bytes, fields: Fields) -> None:
        side = self._server.side
        made = local.reply_fields(body, fields, side.plane.reactor.time(), side.server_name)
        if exchange.request.method == "HEAD":
            body = b""
        self.is_unanswered = False
        block = [(b":status", b"%d" % status, False), *pairs(made)]
        self.wire.send_headers(self, block, ended=not body)
        if body:
            self.write(body, True)

    def finished(self, *, reusable: bool) -> None:
        self._exchange = None
        if self.is_written and not self.is_read:  # RFC 9113 §8.1: the rest of the request isn't wanted
            self.reset(Code.NO_ERROR)

    def cut(self) -> None:
        self._exchange = None
        self.drop()
        self.reset(Code.INTERNAL_ERROR)

    def surrender(self) -> tuple[Connection, bytes]:
        raise RuntimeError("a stream cannot change its protocol")


_CONTINUE: Block = [(b":status", b"100", False)]
