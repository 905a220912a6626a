"""SPDY/3.1 frames, as ``kubectl port-forward`` sends them inside a WebSocket: bytes in, events out.

Streams with headers, data, half-closing, resets and pings: what Kubernetes uses. There is no flow
control on either side; Kubernetes' SPDY has none.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

VERSION = 3
SYN_STREAM, SYN_REPLY, RST_STREAM, PING, GOAWAY = 1, 2, 3, 6, 7
FIN = 1
MAX_FRAME = 16 * 1024 * 1024 - 1
MAX_HEADERS = 64 * 1024
PIECE = 32 * 1024

_WORDS = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language "
    "accept-ranges age allow authorization cache-control connection content-base content-encoding "
    "content-language content-length content-location content-md5 content-range content-type date etag "
    "expect expires from host if-match if-modified-since if-none-match if-range if-unmodified-since "
    "last-modified location max-forwards pragma proxy-authenticate proxy-authorization range referer "
    "retry-after server te trailer transfer-encoding upgrade user-agent vary via warning "
    "www-authenticate method get status"
)
_TAIL = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request"
    "401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented"
    "503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, "
    "Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,"
    "application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,"
    "sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)


def _dictionary() -> bytes:
    """Return what both sides' compression begins with (SPDY/3.1, section 2.6.10.1)."""
    words = [
        *_WORDS.split(),
        "200 OK",
        "version",
        "HTTP/1.1",
        "url",
        "public",
        "set-cookie",
        "keep-alive",
        "origin",
    ]
    return b"".join(struct.pack(">I", len(word)) + word.encode() for word in words) + _TAIL.encode()


DICTIONARY = _dictionary()


class SpdyError(ValueError):
    """The peer does not speak SPDY/3.1; nothing that follows can be understood."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The peer has opened a stream; `ended` when it sends nothing on it."""

    stream: int
    headers: Mapping[str, str]
    ended: bool


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes of a stream; `ended` when they are the last."""

    stream: int
    content: bytes
    ended: bool


@dataclass(frozen=True, slots=True)
class Reset:
    """The peer has given a stream up."""

    stream: int


@dataclass(frozen=True, slots=True)
class Answer:
    """Bytes to send back at once."""

    content: bytes


Event = Opened | Data | Reset | Answer


class Session:
    """One connection, seen by the side that streams are opened to."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)
        self._deflate = zlib.compressobj(zdict=DICTIONARY)

    def receive(self, content: bytes) -> Iterator[Event]:
        """Yield what `content` completes.

        Raises:
            SpdyError: On iteration.
        """
        self._buffer += content
        while len(self._buffer) >= 8:
            first, second = struct.unpack_from(">II", self._buffer)
            flags, length = second >> 24, second & 0xFFFFFF
            if len(self._buffer) < 8 + length:
                return
            body = bytes(self._buffer[8 : 8 + length])
            del self._buffer[: 8 + length]
            if first >> 31:
                if (first >> 16) & 0x7FFF != VERSION:
                    raise SpdyError(f"SPDY version {(first >> 16) & 0x7FFF}: expected {VERSION}")
                yield from self._control(first & 0xFFFF, flags, body)
            else:
                yield Data(first, body, bool(flags & FIN))

    def _control(self, type_: int, flags: int, body: bytes) -> Iterator[Event]:
        if type_ == SYN_STREAM and len(body) >= 10:
            (stream,) = struct.unpack_from(">I", body)
            yield Opened(stream & 0x7FFFFFFF, self._headers(body[10:]), bool(flags & FIN))
        elif type_ == RST_STREAM and len(body) >= 4:
            yield Reset(struct.unpack_from(">I", body)[0] & 0x7FFFFFFF)
        elif type_ == PING and len(body) >= 4:
            yield Answer(_control(PING, 0, body[:4]))
        # Settings, windows and goodbyes ask for nothing here.

    def _headers(self, block: bytes) -> Mapping[str, str]:
        try:
            plain = self._inflate.decompress(block, MAX_HEADERS)
            if self._inflate.unconsumed_tail:
                raise SpdyError(f"headers of more than {MAX_HEADERS} bytes")
            (count,) = struct.unpack_from(">I", plain)
            at, found = 4, {}
            for _ in range(count):
                name, at = _text(plain, at)
                value, at = _text(plain, at)
                found[name.lower()] = value
        except (zlib.error, struct.error, UnicodeDecodeError) as error:
            raise SpdyError(f"unreadable headers: {error}") from error
        return found

    def reply(self, stream: int) -> bytes:
        """Return the frame that accepts a stream."""
        block = self._deflate.compress(struct.pack(">I", 0)) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        return _control(SYN_REPLY, 0, struct.pack(">I", stream) + block)


def data(stream: int, content: bytes, *, ended: bool = False) -> bytes:
    """Return a frame of data; `ended` closes our side of the stream."""
    return struct.pack(">II", stream, (FIN if ended else 0) << 24 | len(content)) + content


def _control(type_: int, flags: int, body: bytes) -> bytes:
    return struct.pack(">II", 1 << 31 | VERSION << 16 | type_, flags << 24 | len(body)) + body


def _text(plain: bytes, at: int) -> tuple[str, int]:
    (size,) = struct.unpack_from(">I", plain, at)
    end = at + 4 + size
    if end > len(plain):
        raise SpdyError("headers end too early")
    return plain[at + 4 : end].decode(), end
