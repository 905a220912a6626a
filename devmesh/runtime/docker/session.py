"""A command that runs beside a container's own."""

from __future__ import annotations

import contextlib

import trio

from devmesh.runtime.docker.engine import Engine
from devmesh.runtime.docker.stream import RawStream, demultiplex

POLL = 0.02  # seconds between questions whether the command has ended, once its output has


class _Input(trio.abc.SendStream):
    """The command's standard input; closing it is the command's end of file."""

    def __init__(self, stream: RawStream) -> None:
        self._stream = stream

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(bytes(data))

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        with contextlib.suppress(trio.ClosedResourceError, trio.BrokenResourceError):
            await self._stream.send_eof()


class _Output(trio.abc.ReceiveStream):
    """One of the two outputs, filled by the session's reader."""

    def __init__(self, session: DockerExec) -> None:
        self._session = session
        self.send, self._receive = trio.open_memory_channel[bytes](16)
        self._rest = b""

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        self._session.begin()
        if not self._rest:
            try:
                self._rest = await self._receive.receive()
            except trio.EndOfChannel:
                return b""
        size = max_bytes or len(self._rest)
        piece, self._rest = self._rest[:size], self._rest[size:]
        return piece

    async def aclose(self) -> None:
        await self._receive.aclose()


class DockerExec:
    """See `devmesh.runtime.access.ExecSession`."""

    def __init__(self, engine: Engine, id_: str, stream: RawStream, *, stdin: bool, tty: bool) -> None:
        self._engine, self._id, self._stream, self._tty = engine, id_, stream, tty
        self._begun = False
        self._scope = trio.CancelScope()
        self.stdin: trio.abc.SendStream | None = _Input(stream) if stdin else None
        self._out = _Output(self)
        self._err = None if tty else _Output(self)
        self.stdout: trio.abc.ReceiveStream = self._out
        self.stderr: trio.abc.ReceiveStream | None = self._err

    def begin(self) -> None:
        """Start to read, at the first call: the two outputs come on one connection."""
        if not self._begun:
            self._begun = True
            trio.lowlevel.spawn_system_task(self._read)

    async def resize(self, width: int, height: int) -> None:
        import docker

        with contextlib.suppress(docker.errors.APIError):  # it has ended already
            await self._engine.call(self._engine.api.exec_resize, self._id, height=height, width=width)

    async def wait(self) -> int:
        while True:
            state = await self._engine.call(self._engine.api.exec_inspect, self._id)
            if not state["Running"] and state["ExitCode"] is not None:
                return int(state["ExitCode"])
            await trio.sleep(POLL)

    async def aclose(self) -> None:
        self._scope.cancel()
        await self._stream.aclose()

    async def _read(self) -> None:
        try:
            with self._scope:
                if self._err is None:
                    while piece := await self._stream.receive():
                        await self._out.send.send(piece)
                else:
                    async for kind, content in demultiplex(self._stream):
                        output = self._err if kind == "stderr" else self._out
                        with contextlib.suppress(trio.BrokenResourceError):  # nobody reads that one any more
                            await output.send.send(content)
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            pass  # closed by us, or nobody reads any more
        finally:
            self._out.send.close()
            if self._err is not None:
                self._err.send.close()
