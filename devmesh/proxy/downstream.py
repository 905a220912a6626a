"""The server role of HTTP/1.1: one client's connection, its requests one after the other."""

from __future__ import annotations

from devmesh.proxy import local
from devmesh.proxy.body import LAST_CHUNK, Body, body_of, chunk
from devmesh.proxy.exchange import Exchange
from devmesh.proxy.heads import read_request
from devmesh.proxy.http1 import UNTIL_CLOSE, Fields, Malformed, Request, Response
from devmesh.proxy.lingering import finish_gently
from devmesh.proxy.reactor import HIGH, Connection, Owner
from devmesh.proxy.side import Side

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class HttpServer(Owner):
    """Reads requests and hands each to an `Exchange`, whose `Downstream` it is.

    While one is under way at most `HIGH` bytes of those after it are read ahead.

    Args:
        first: What was read from the connection already.
    """

    __slots__ = (
        "_body",
        "_buffer",
        "_chunks",
        "_connection",
        "_counted",
        "_exchange",
        "_known",
        "_serving",
        "_side",
    )

    def __init__(self, side: Side, connection: Connection, first: bytes = b"") -> None:
        self._side = side
        self._known = side.plane.requests[side.scheme]
        self._connection = connection
        self._exchange: Exchange | None = None
        self._body: Body | None = None  # of the request under way, while it is not complete
        self._buffer = first
        self._serving = False
        self._chunks = False  # the answer's body is sent in chunks of our own
        self._counted = True  # among those that are open
        side.http.cx_total += 1
        side.http.cx_active += 1
        connection.owner = self
        if first:
            self._serve()

    # -- as the owner of a connection --

    def readable(self) -> None:
        data = self._connection.recv()
        if data is None:
            return
        if not data:
            self._gone()
        elif self._exchange is None:
            if not self._buffer and (request := self._known.get(data)) is not None and not request.length:
                self._take(request)  # a head that is known, alone: the usual case
                return
            self._buffer = self._buffer + data if self._buffer else data
            self._serve()
        elif self._body is not None:
            self._upload(self._exchange, self._body, data)
        else:
            self._buffer += data
            if len(self._buffer) > HIGH:
                self._connection.pause()

    def drained(self) -> None:
        if self._exchange is not None:
            self._exchange.download_drained()

    def lost(self, reason: str) -> None:
        self._gone()

    # -- as an exchange's downstream --

    @property
    def pending(self) -> int:
        return self._connection.pending

    def inform(self, response: Response) -> None:
        lines = "".join([f"{name}: {value}\r\n" for name, value in response.fields])
        head = f"HTTP/1.1 {response.status} {local.reason(response.status)}\r\n{lines}\r\n"
        self._connection.send(head.encode("latin-1"))

    def answer(self, exchange: Exchange, response: Response, piece: bytes, ended: bool) -> None:
        head = self._side.response_head(exchange, response, exchange.close or not exchange.is_uploaded)
        if response.length == UNTIL_CLOSE:
            self._chunks = True
            if piece:
                piece = chunk(piece)
            if ended:
                piece += LAST_CHUNK
        else:
            self._chunks = False
        self._connection.send(head + piece)

    def answer_more(self, piece: bytes, ended: bool, trailers: Fields | None) -> None:
        if self._chunks:
            piece = (chunk(piece) if piece else b"") + (LAST_CHUNK if ended else b"")
        self._connection.send(piece)

    def reply(self, exchange: Exchange, status: int, body: bytes, fields: Fields) -> None:
        side = self._side
        data = local.reply(
            status,
            body,
            fields,
            side.plane.reactor.time(),
            side.server_name,
            close=exchange.close or not exchange.is_uploaded,
            head_only=exchange.request.method == "HEAD",
        )
        self._connection.send(data)

    def finished(self, *, reusable: bool) -> None:
        self._exchange = None
        if not reusable:
            self._close_gently()
        elif self._buffer:
            self._connection.resume()
            self._serve()

    def cut(self) -> None:
        self._exchange = None
        self._count_out()
        self._connection.close()

    def hold(self) -> None:
        self._connection.pause()

    def unhold(self) -> None:
        self._connection.resume()

    def surrender(self) -> tuple[Connection, bytes]:
        self._exchange = None
        self._count_out()
        ahead, self._buffer = self._buffer, b""
        return self._connection, ahead

    # --

    def _serve(self) -> None:
        """Take requests from the buffer as long as each is answered at once."""
        if self._serving:
            return
        self._serving = True
        try:
            while self._exchange is None and self._buffer and self._connection.owner is self:
                if not self._next(self._buffer):
                    break
        finally:
            self._serving = False

    def _next(self, data: bytes) -> bool:
        try:
            side = self._side
            paths = side.plane.feed.current.mesh.path_normalization
            request = read_request(self._known, data, side.scheme, paths)
        except Malformed as error:
            self._refuse(error)
            return False
        if request is None:
            if data.startswith(b"\r\n"):  # RFC 9112 §2.2: an empty line before a request
                self._buffer = data[2:]
                return True
            return False
        size = request.size
        if request.length == 0:
            self._buffer = data[size:]
            self._take(request)
            return True
        if self._side.may_refuse and self._side.refuses():
            self._count_out()
            self._connection.abort()
            return False
        return self._with_body(request, data[size:])

    def _take(self, request: Request) -> None:
        """Begin with a request that has no body."""
        side = self._side
        if side.may_refuse and side.refuses():
            self._buffer = b""
            self._count_out()
            self._connection.abort()
            return
        exchange = self._exchange = Exchange(side, self, request)
        exchange.is_uploaded = True
        if side.state.closing:
            exchange.close = True
        side.decide(exchange)

    def _with_body(self, request: Request, rest: bytes) -> bool:
        body = body_of(request.length)
        try:
            taken = body.take(rest)
        except Malformed as error:
            self._refuse(error)
            return False
        self._buffer = rest[taken:]
        exchange = self._exchange = Exchange(self._side, self, request)
        if self._side.state.closing:
            exchange.close = True
        if body.done:
            exchange.body = body
        else:
            exchange.body = self._body = body
            if request.headers.get("expect", "").lower() == "100-continue" and not rest:
                self._connection.send(_CONTINUE)
        exchange.start(rest[:taken], body.done)
        return True

    def _upload(self, exchange: Exchange, body: Body, data: bytes) -> None:
        try:
            taken = body.take(data)
        except Malformed as error:
            self._body = None
            exchange.malformed(error.details)
            return
        if body.done:
            self._body = None
            if taken < len(data):
                self._buffer = data[taken:]
                data = data[:taken]
        exchange.upload(data, body.done)

    def _refuse(self, error: Malformed) -> None:
        """Answer what is no request, and end."""
        now, side = self._side.plane.reactor.time(), self._side
        head_only = self._buffer.startswith(b"HEAD ")
        answer = local.refusal(error.status, error.details, now, side.server_name, head_only=head_only)
        self._connection.send(answer)
        record = side.refused(error, len(answer) - answer.index(b"\r\n\r\n") - 4)
        if record is not None:
            side.plane.sink.request(record)
        self._close_gently()

    def _gone(self) -> None:
        """The client has closed its side; Envoy drops what it has asked for."""
        exchange, self._exchange = self._exchange, None
        connection = self._connection
        if exchange is not None:
            exchange.cancel()
        self._count_out()
        connection.close()

    def _count_out(self) -> None:
        if self._counted:
            self._counted = False
            self._side.http.cx_active -= 1

    def _close_gently(self) -> None:
        self._buffer = b""
        self._count_out()
        finish_gently(self._side.plane.reactor, self._connection)
