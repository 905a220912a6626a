"""``pods/NAME/exec`` and ``attach``: a command's streams over the channels of a WebSocket."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import trio

from devmesh.api.kube import channels
from devmesh.api.kube.channels import CLOSE, PIECE, RESIZE, STDERR, STDIN, STDOUT, Socket
from devmesh.api.kube.deps import KubeDeps
from devmesh.api.kube.errors import bad_request
from devmesh.api.kube.pods import check_running, container_of, find_pod
from devmesh.api.kube.request import Request
from devmesh.api.kube.target import Target
from devmesh.runtime.access import ExecSession, LogOptions, NotRunning

DRAIN = 1.0
"""Seconds without output after which a command that has exited is done, though a child of it may still
hold its output open."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the URL asks for."""

    container: str
    command: tuple[str, ...]
    stdin: bool
    tty: bool


def prepare(deps: KubeDeps, target: Target, request: Request) -> Wanted:
    """Read the URL and look at the pod, before the WebSocket is accepted.

    Raises:
        ApiError: There is no such pod or container, or it does not run.
    """
    pod = find_pod(deps, target)
    container = container_of(pod, request.get("container"))
    command = tuple(request.query.get("command", ()))
    if target.subresource == "exec" and not command:
        raise bad_request("you must specify at least one command for the container")
    check_running(pod, container)
    return Wanted(container, command, request.flag("stdin"), request.flag("tty"))


async def run(deps: KubeDeps, target: Target, wanted: Wanted, socket: Socket) -> None:
    """Run a command until it ends or the client goes; then tell its exit status."""
    namespace, pod = target.namespace, target.name
    with deps.streams.waiting():
        try:
            session = await deps.containers.exec(
                namespace, pod, wanted.container, wanted.command, stdin=wanted.stdin, tty=wanted.tty
            )
        except NotRunning as error:
            await socket.send(channels.failure(str(error), 400, "BadRequest"))
            return
        except FileNotFoundError:
            text = f'exec: "{wanted.command[0]}": executable file not found in $PATH'
            await socket.send(channels.failure(f"error executing command in container: {text}"))
            return
        except OSError as error:
            text = f"error executing command in container: {error.strerror or error}"
            await socket.send(channels.failure(text))
            return
        try:
            await _Relay(session, socket).run()
        finally:
            with trio.move_on_after(5, shield=True):
                await session.aclose()


@dataclass(slots=True)
class _Relay:
    session: ExecSession
    socket: Socket
    _active: float = 0.0
    _open: int = 0
    _drained: trio.Event = field(default_factory=trio.Event)

    async def run(self) -> None:
        self._active = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._from_client)
            streams = ((STDOUT, self.session.stdout), (STDERR, self.session.stderr))
            for channel, stream in streams:
                if stream is not None:
                    self._open += 1
                    nursery.start_soon(self._to_client, channel, stream)
            status = await self.session.wait()
            await self._drain()
            nursery.cancel_scope.cancel()
        await self.socket.send(channels.exit_status(status))

    async def _drain(self) -> None:
        self._active = trio.current_time()
        while self._open and (left := self._active + DRAIN - trio.current_time()) > 0:
            with trio.move_on_after(left):
                await self._drained.wait()

    async def _to_client(self, channel: int, stream: trio.abc.ReceiveStream) -> None:
        try:
            while piece := await stream.receive_some(PIECE):
                await self.socket.send(bytes([channel]) + piece)
                self._active = trio.current_time()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        self._open -= 1
        if not self._open:
            self._drained.set()

    async def _from_client(self) -> None:
        stdin = self.session.stdin
        while True:
            channel, content = channels.split(await self.socket.receive())
            if channel == STDIN and stdin is not None and content:
                try:
                    await stdin.send_all(content)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    stdin = None  # the command reads no more; what it writes still counts
            elif channel == CLOSE and content[:1] == bytes([STDIN]) and stdin is not None:
                await stdin.aclose()
                stdin = None
            elif channel == RESIZE:
                await self._resize(content)

    async def _resize(self, content: bytes) -> None:
        try:
            size = json.loads(content)
            width, height = int(size["Width"]), int(size["Height"])
        except (ValueError, KeyError, TypeError):
            return
        if 0 < width < 65536 and 0 < height < 65536:
            await self.session.resize(width, height)


async def attach(deps: KubeDeps, target: Target, wanted: Wanted, socket: Socket) -> None:
    """Follow what a container writes from now on; it is read-only, since nothing holds the input open."""
    options = LogOptions(follow=True, tail=0)
    pieces = deps.containers.logs(target.namespace, target.name, wanted.container, options)
    with deps.streams.waiting():
        if wanted.stdin:
            text = b"devmesh: attach shows output only; use `kubectl exec -it` to type\n"
            await socket.send(bytes([STDERR]) + text)
        try:
            async for piece in pieces:
                for start in range(0, len(piece), PIECE):
                    await socket.send(bytes([STDOUT]) + piece[start : start + PIECE])
        except NotRunning as error:
            await socket.send(channels.failure(str(error), 400, "BadRequest"))
            return
        await socket.send(channels.exit_status(0))
