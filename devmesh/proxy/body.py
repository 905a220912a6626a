"""Where a message's body ends in a stream of bytes (RFC 9112 §6, §7). Bytes are never changed here."""

from __future__ import annotations

import re
from typing import Protocol

from devmesh.proxy.http1 import CHUNKED, MAX_HEAD, UNTIL_CLOSE, Malformed

_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?\r\n")
_TRAILER = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[\t\x20-\x7e\x80-\xff]*\r\n")
_FORBIDDEN = {b"content-length", b"transfer-encoding", b"host", b"connection", b"trailer"}
_MAX_LINE = 4096


class Body(Protocol):
    """Follows one body.

    Attributes:
        done: The end was seen.
        size: Bytes of content so far, without framing.
    """

    done: bool
    size: int

    def take(self, data: bytes) -> int:
        """Return how many bytes at the front of `data` belong to the body, framing included.

        Raises:
            Malformed: The framing is broken.
        """


def body_of(length: int) -> Body:
    """Return what follows a body of `length`, which may be `CHUNKED` or `UNTIL_CLOSE`."""
    if length == CHUNKED:
        return Chunked()
    return UntilClose() if length == UNTIL_CLOSE else Sized(length)


class Sized:
    """A body of Content-Length."""

    __slots__ = ("done", "left", "size")

    def __init__(self, length: int) -> None:
        self.left = length
        self.size = 0
        self.done = length == 0

    def take(self, data: bytes) -> int:
        taken = min(len(data), self.left)
        self.left -= taken
        self.size += taken
        self.done = self.left == 0
        return taken


class UntilClose:
    """A response's body that ends with its connection."""

    __slots__ = ("done", "size")

    def __init__(self) -> None:
        self.size = 0
        self.done = False

    def take(self, data: bytes) -> int:
        self.size += len(data)
        return len(data)


class Chunked:
    """A chunked body, with trailers. Lines of framing may come in any pieces."""

    __slots__ = ("_after", "_left", "_line", "_trailers", "done", "size")

    def __init__(self) -> None:
        self.size = 0
        self.done = False
        self._left = 0  # of the chunk that is open
        self._after = False  # its CRLF is due
        self._line = b""  # begun but not ended
        self._trailers = -1  # bytes of trailers; -1: the last chunk has not come

    def take(self, data: bytes) -> int:
        position, size = 0, len(data)
        while position < size and not self.done:
            if self._left:
                step = min(self._left, size - position)
                self._left -= step
                self.size += step
                position += step
                self._after = self._left == 0
                continue
            end = data.find(b"\n", position)
            if end < 0:
                self._begin_line(data[position:])
                return size
            line, self._line = self._line + data[position : end + 1], b""
            position = end + 1
            self._end_line(line)
        return position

    def _begin_line(self, piece: bytes) -> None:
        self._line += piece
        if len(self._line) > (_MAX_LINE if self._trailers < 0 else MAX_HEAD):
            raise Malformed("http1.codec_error")
        if self._after and not b"\r".startswith(self._line[:1]):
            raise Malformed("http1.codec_error")

    def _end_line(self, line: bytes) -> None:
        if self._after:
            if line != b"\r\n":
                raise Malformed("http1.codec_error")
            self._after = False
        elif self._trailers < 0:
            found = _CHUNK.fullmatch(line)
            if found is None:
                raise Malformed("http1.codec_error")
            self._left = int(found.group(1), 16)
            if self._left == 0:
                self._trailers = 0
        elif line == b"\r\n":
            self.done = True
        else:
            self._trailers += len(line)
            found = _TRAILER.fullmatch(line)
            if found is None or found.group(1).lower() in _FORBIDDEN or self._trailers > MAX_HEAD:
                raise Malformed("http1.codec_error")


class Unchunk:
    """Takes the content out of a chunked body whose framing `Chunked` has found to be right."""

    __slots__ = ("_after", "_left", "_line")

    def __init__(self) -> None:
        self._left = 0  # of the chunk that is open
        self._line = b""  # begun but not ended
        self._after = False  # a chunk's CRLF is due

    def content(self, data: bytes) -> bytes:
        """Return what `data` holds of the content; trailers are dropped (Envoy: enable_trailers is off)."""
        pieces: list[bytes] = []
        position, size = 0, len(data)
        while position < size:
            if self._left > 0:
                piece = data[position : position + self._left]
                pieces.append(piece)
                position += len(piece)
                self._left -= len(piece)
                self._after = not self._left
                continue
            end = data.find(b"\n", position)
            if end < 0:
                self._line += data[position:]
                break
            line, self._line = self._line + data[position:end], b""
            position = end + 1
            if self._after:
                self._after = False
            elif self._left == 0:
                self._left = int(line.partition(b";")[0], 16) or -1
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def chunk(data: bytes) -> bytes:
    """Return `data`, which isn't empty, as one chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"
