"""What the first bytes of a connection tell: TLS and for whom, HTTP, or neither."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

MAX_HELLO = 1 << 14
_HANDSHAKE, _CLIENT_HELLO = 22, 1
_SERVER_NAME, _ALPN = 0, 16

HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_METHODS = (
    b"GET ",
    b"POST ",
    b"PUT ",
    b"HEAD ",
    b"DELETE ",
    b"OPTIONS ",
    b"PATCH ",
    b"CONNECT ",
    b"TRACE ",
)
_LONGEST = max(map(len, _METHODS))


class Kind(Enum):
    """What a connection speaks."""

    HTTP1 = "http/1"
    HTTP2 = "http/2"
    TLS = "tls"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class ClientHello:
    """The two extensions that connections are told apart by. `server_name` is in lower case."""

    server_name: str = ""
    protocols: tuple[str, ...] = ()


def kind_of(data: bytes) -> Kind | None:
    """Tell what begins with `data`; None: it may be several, wait for more."""
    if not data:
        return None
    if data[0] == _HANDSHAKE:
        if len(data) < 3:
            return None
        return Kind.TLS if data[1] == 3 and data[2] <= 4 else Kind.OTHER
    if data.startswith(_METHODS):
        return Kind.HTTP1
    if data.startswith(HTTP2_PREFACE[:16]):
        return Kind.HTTP2
    if len(data) < _LONGEST and any(method.startswith(data) for method in _METHODS):
        return None
    if len(data) < 16 and HTTP2_PREFACE.startswith(data):
        return None
    return Kind.OTHER


def read_client_hello(data: bytes) -> ClientHello | None:
    """Read a ClientHello (RFC 8446 §4.1.2), which may lie in several records; None: it isn't all there.

    Raises:
        ValueError: It is none, or longer than `MAX_HELLO`.
    """
    message = bytearray()
    position = 0
    while position + 5 <= len(data):
        if data[position] != _HANDSHAKE:
            raise ValueError("not a TLS handshake")
        size = int.from_bytes(data[position + 3 : position + 5])
        message += data[position + 5 : position + 5 + size]
        position += 5 + size
    if message and message[0] != _CLIENT_HELLO:
        raise ValueError("not a ClientHello")
    if len(message) >= 4 and 4 + int.from_bytes(message[1:4]) <= len(message):
        try:
            return _read(_Reader(bytes(message[4 : 4 + int.from_bytes(message[1:4])])))
        except IndexError:
            raise ValueError("a ClientHello cut short") from None
    if len(data) > MAX_HELLO:
        raise ValueError("a ClientHello of too many bytes")
    return None


class _Reader:
    """Takes length-prefixed fields from the front.

    Raises:
        IndexError: There is less than the length says.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data

    def take(self, size: int) -> bytes:
        if len(self.data) < size:
            raise IndexError
        taken, self.data = self.data[:size], self.data[size:]
        return taken

    def vector(self, width: int) -> bytes:
        return self.take(int.from_bytes(self.take(width)))


def _read(hello: _Reader) -> ClientHello:
    hello.take(2 + 32)  # version, random
    hello.vector(1)  # session id
    hello.vector(2)  # cipher suites
    hello.vector(1)  # compression
    name, protocols = "", []
    if not hello.data:
        return ClientHello()
    extensions = _Reader(hello.vector(2))
    while extensions.data:
        kind, body = int.from_bytes(extensions.take(2)), _Reader(extensions.vector(2))
        if kind == _SERVER_NAME:
            names = _Reader(body.vector(2))
            while names.data:
                is_host, value = names.take(1) == b"\0", names.vector(2)
                if is_host:
                    name = value.decode("latin-1").lower()
        elif kind == _ALPN:
            offered = _Reader(body.vector(2))
            while offered.data:
                protocols.append(offered.vector(1).decode("latin-1"))
    return ClientHello(name, tuple(protocols))
