"""Raw streams of the Docker engine: attaching to a container, running a command in it.

The engine switches such a connection from HTTP to bytes. The docker package loses what arrives together
with the answer's head (it reads ahead into a buffer that it then leaves behind), so this is done here.
"""

from __future__ import annotations

import json
import struct
from collections.abc import AsyncIterator
from urllib.parse import urlencode

import trio

from devmesh.runtime.pods.backend import Stream

HEAD_LIMIT = 65536


class HijackFailed(OSError):
    """The engine refused the stream; the message is the engine's. `status` is the HTTP status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class RawStream:
    """A connection after the switch: bytes both ways, with half-close towards the engine."""

    def __init__(self, stream: trio.SocketStream, first: bytes) -> None:
        self._stream, self._first = stream, first

    async def receive(self) -> bytes:
        """Return what comes next; empty at the end."""
        if self._first:
            first, self._first = self._first, b""
            await trio.lowlevel.checkpoint()
            return first
        try:
            return await self._stream.receive_some(65536)
        except trio.BrokenResourceError:
            return b""

    async def send_all(self, data: bytes) -> None:
        await self._stream.send_all(data)

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await trio.aclose_forcefully(self._stream)


async def hijack(socket_path: str, path: str, query: dict[str, str], body: object = None) -> RawStream:
    """POST to the engine and take the connection over.

    Raises:
        HijackFailed: The engine refused.
        OSError: It could not be reached.
    """
    stream = await trio.open_unix_socket(socket_path)
    content = b"" if body is None else json.dumps(body).encode()
    head = (
        f"POST {path}?{urlencode(query)} HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    try:
        await stream.send_all(head.encode() + content)
        received = b""
        while b"\r\n\r\n" not in received:
            piece = await stream.receive_some(65536)
            if not piece or len(received) > HEAD_LIMIT:
                raise HijackFailed(f"the engine closed the connection: {received[:200]!r}", 0)
            received += piece
        answer, _, rest = received.partition(b"\r\n\r\n")
        status = int(answer.split(b" ", 2)[1])
        if status not in (101, 200):
            raise HijackFailed(_reason(rest), status)
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return RawStream(stream, rest)


async def demultiplex(stream: RawStream) -> AsyncIterator[tuple[Stream, bytes]]:
    """Split the engine's frames (8 bytes of head: stream, three zeros, length) of a container without tty."""
    buffer = b""
    while piece := await stream.receive():
        buffer += piece
        while len(buffer) >= 8:
            kind, length = struct.unpack(">BxxxI", buffer[:8])
            if len(buffer) < 8 + length:
                break
            content, buffer = buffer[8 : 8 + length], buffer[8 + length :]
            yield ("stderr" if kind == 2 else "stdout"), content


def _reason(body: bytes) -> str:
    start = body.find(b"{")
    try:
        return str(json.loads(body[start : body.rfind(b"}") + 1])["message"])
    except (ValueError, KeyError):
        return body[:300].decode(errors="replace") or "no reason given"
