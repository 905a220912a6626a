"""``pods/NAME/portforward``: connections to a pod's ports, through one WebSocket.

kubectl tunnels SPDY (``SPDY/3.1+portforward.k8s.io``): for each connection it opens a stream for
errors and one for data, both with the same ``requestID``. Others use a pair of channels per port
(``v4.channel.k8s.io``), each of which begins with the port's number.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import trio

from devmesh.api.kube import channels, spdy
from devmesh.api.kube.channels import Socket
from devmesh.api.kube.deps import KubeDeps
from devmesh.api.kube.errors import bad_request
from devmesh.api.kube.pods import find_pod
from devmesh.api.kube.request import Request
from devmesh.api.kube.target import Target
from devmesh.runtime.access import NotRunning

log = logging.getLogger(__name__)

TUNNEL = "SPDY/3.1+portforward.k8s.io"
CHANNELS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
QUEUE = 16
"""Pieces that wait for a slow application; then the client waits, with all its connections."""

MAX_STREAMS = 512

_Sender = Callable[[bytes], Awaitable[None]]


def choose(offered: Sequence[str]) -> str | None:
    return next((protocol for protocol in (TUNNEL, *CHANNELS) if protocol in offered), None)


def prepare(deps: KubeDeps, target: Target, request: Request) -> tuple[int, ...]:
    """Look at the pod before the WebSocket is accepted; return the ports that the URL names.

    Raises:
        ApiError: The ports are none.
        NotFound: There is no such pod.
    """
    find_pod(deps, target)
    ports = [text for given in request.query.get("ports", ()) for text in given.split(",") if text]
    if any(not (text.isdecimal() and 0 < int(text) < 65536) for text in ports):
        raise bad_request(f"ports: expected numbers up to 65535, got {','.join(ports)}")
    return tuple(map(int, ports))


async def run(deps: KubeDeps, target: Target, ports: tuple[int, ...], socket: Socket) -> None:
    """Forward until the client goes."""
    with deps.streams.waiting():
        if socket.protocol == TUNNEL:
            await _Tunnel(deps, target, socket).run()
        else:
            await _Pairs(deps, target, ports, socket).run()


async def _connect(deps: KubeDeps, target: Target, port: int) -> trio.SocketStream | str:
    """Return a connection, or why there is none."""
    try:
        return await deps.containers.connect(target.namespace, target.name, port)
    except (NotRunning, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return f"an error occurred forwarding {port} to port {port} of pod {target.name}: {reason}"


@dataclass(slots=True)
class _Side:
    """What a client sends on one stream."""

    send: trio.MemorySendChannel[bytes]
    receive: trio.MemoryReceiveChannel[bytes]

    @classmethod
    def new(cls) -> _Side:
        return cls(*trio.open_memory_channel[bytes](QUEUE))


@dataclass(slots=True)
class _Tunnel:
    deps: KubeDeps
    target: Target
    socket: Socket
    _session: spdy.Session = field(default_factory=spdy.Session)
    _errors: dict[str, int] = field(default_factory=dict)
    _sides: dict[int, _Side] = field(default_factory=dict)
    _lock: trio.Lock = field(default_factory=trio.Lock)

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            try:
                while True:
                    message = channels.raw(await self.socket.receive())
                    for event in self._session.receive(message):
                        await self._handle(event, nursery)
            except spdy.SpdyError as error:
                log.debug("port-forward ended: %s", error)
                nursery.cancel_scope.cancel()

    async def _handle(self, event: spdy.Event, nursery: trio.Nursery) -> None:
        match event:
            case spdy.Answer(content=content):
                await self._send(content)
            case spdy.Opened():
                await self._open(event, nursery)
            case spdy.Data(stream=stream, content=content, ended=ended):
                if side := self._sides.get(stream):
                    if content:
                        await _put(side, content)
                    if ended:
                        side.send.close()
            case spdy.Reset(stream=stream):
                if side := self._sides.pop(stream, None):
                    side.send.close()

    async def _open(self, event: spdy.Opened, nursery: trio.Nursery) -> None:
        if len(self._sides) + len(self._errors) >= MAX_STREAMS:
            raise spdy.SpdyError("too many streams")
        await self._send(self._session.reply(event.stream))
        request, kind = event.headers.get("requestid", ""), event.headers.get("streamtype")
        if kind == "error":
            self._errors[request] = event.stream
        elif kind == "data":
            side = self._sides[event.stream] = _Side.new()
            if event.ended:
                side.send.close()
            errors = self._errors.pop(request, None)
            port = event.headers.get("port", "")
            number = int(port) if port.isdecimal() else 0
            nursery.start_soon(self._forward, event.stream, errors, number, side)

    async def _forward(self, stream: int, errors: int | None, port: int, side: _Side) -> None:
        connection = await _connect(self.deps, self.target, port)
        if isinstance(connection, str):
            if errors is not None:
                await self._send(spdy.data(errors, connection.encode()))
        else:
            async with connection, trio.open_nursery() as nursery:
                nursery.start_soon(_copy_in, side, connection)
                await _copy_out(connection, partial(self._data, stream))
                await self._send(spdy.data(stream, b"", ended=True))
                # The client closes its side when it is done with what it got.
                nursery.cancel_scope.deadline = trio.current_time() + 60
        if isinstance(connection, str):
            await self._send(spdy.data(stream, b"", ended=True))
        if errors is not None:
            await self._send(spdy.data(errors, b"", ended=True))
        if self._sides.pop(stream, None):
            side.receive.close()

    async def _data(self, stream: int, content: bytes) -> None:
        await self._send(spdy.data(stream, content))

    async def _send(self, content: bytes) -> None:
        async with self._lock:
            await self.socket.send(content)


@dataclass(slots=True)
class _Pairs:
    deps: KubeDeps
    target: Target
    ports: tuple[int, ...]
    socket: Socket

    async def run(self) -> None:
        sides = [_Side.new() for _ in self.ports]
        async with trio.open_nursery() as nursery:
            for n, port in enumerate(self.ports):
                for channel in (2 * n, 2 * n + 1):
                    await self.socket.send(bytes([channel]) + port.to_bytes(2, "little"))
                nursery.start_soon(self._forward, n, port, sides[n])
            while True:
                channel, content = channels.split(await self.socket.receive())
                if channel == channels.CLOSE and content and content[0] % 2 == 0:
                    if content[0] // 2 < len(sides):
                        sides[content[0] // 2].send.close()
                elif content and channel >= 0 and channel % 2 == 0 and channel // 2 < len(sides):
                    await _put(sides[channel // 2], content)

    async def _forward(self, n: int, port: int, side: _Side) -> None:
        connection = await _connect(self.deps, self.target, port)
        if isinstance(connection, str):
            await self.socket.send(bytes([2 * n + 1]) + connection.encode())
            return
        async with connection, trio.open_nursery() as nursery:
            nursery.start_soon(_copy_in, side, connection)
            await _copy_out(connection, partial(self._data, 2 * n))
            if self.socket.protocol == CHANNELS[0]:
                await self.socket.send(bytes([channels.CLOSE, 2 * n]))
            else:
                # v4 cannot close one channel: the connection's end is the WebSocket's.
                await self.socket.close()
            nursery.cancel_scope.cancel()

    async def _data(self, channel: int, content: bytes) -> None:
        await self.socket.send(bytes([channel]) + content)


async def _put(side: _Side, content: bytes) -> None:
    # Where the application reads no more, or the client sends after closing, nobody misses it.
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        await side.send.send(content)


async def _copy_in(side: _Side, connection: trio.SocketStream) -> None:
    try:
        async for piece in side.receive:
            await connection.send_all(piece)
        await connection.send_eof()
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        side.receive.close()


async def _copy_out(connection: trio.SocketStream, send: _Sender) -> None:
    try:
        while piece := await connection.receive_some(spdy.PIECE):
            await send(piece)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
