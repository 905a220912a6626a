"""A command inside a running container, with its streams or its terminal."""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import termios
from collections.abc import Callable
from dataclasses import dataclass

import trio

from devmesh.runtime.process.spawn import Child

_KILL_SECONDS = 2.0


@dataclass(slots=True)
class Ends:
    """The descriptors of one start: the command's own ends, and ours as streams."""

    theirs: tuple[int, int, int]
    stdin: trio.abc.SendStream | None
    stdout: trio.abc.ReceiveStream
    stderr: trio.abc.ReceiveStream | None
    terminal: int | None = None

    def close_theirs(self) -> None:
        for descriptor in set(self.theirs):
            os.close(descriptor)

    async def aclose(self) -> None:
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream is not None:
                await stream.aclose()


def open_pipes(stdin: bool) -> Ends:
    """Make pipes for stdout and stderr; without `stdin` the command reads nothing."""
    out_reading, out_writing = os.pipe2(os.O_CLOEXEC)
    err_reading, err_writing = os.pipe2(os.O_CLOEXEC)
    sending: trio.abc.SendStream | None = None
    if stdin:
        in_reading, in_writing = os.pipe2(os.O_CLOEXEC)
        sending = trio.lowlevel.FdStream(in_writing)
    else:
        in_reading = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    return Ends(
        (in_reading, out_writing, err_writing),
        sending,
        trio.lowlevel.FdStream(out_reading),
        trio.lowlevel.FdStream(err_reading),
    )


def open_terminal(stdin: bool) -> Ends:
    """Make a pseudo-terminal: one stream for everything that the command writes."""
    ours, theirs = os.openpty()
    return Ends(
        (theirs, theirs, theirs),
        trio.lowlevel.FdStream(os.dup(ours)) if stdin else None,
        _TerminalOutput(trio.lowlevel.FdStream(ours)),
        None,
        ours,
    )


class _TerminalOutput(trio.abc.ReceiveStream):
    """A terminal's output: reading gives EIO, not the end, once nobody holds the other side."""

    def __init__(self, stream: trio.lowlevel.FdStream) -> None:
        self._stream = stream

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        try:
            return bytes(await self._stream.receive_some(max_bytes))
        except trio.BrokenResourceError:
            return b""

    async def aclose(self) -> None:
        await self._stream.aclose()


class ProcessSession:
    """`devmesh.runtime.access.ExecSession` of a process."""

    def __init__(self, child: Child, ends: Ends, done: Callable[[ProcessSession], None]) -> None:
        self.stdin = ends.stdin
        self.stdout = ends.stdout
        self.stderr = ends.stderr
        self._child = child
        self._ends = ends
        self._done = done

    async def resize(self, width: int, height: int) -> None:
        await trio.lowlevel.checkpoint()
        if self._ends.terminal is not None and self._child.status is None:
            size = struct.pack("HHHH", height, width, 0, 0)
            fcntl.ioctl(self._ends.terminal, termios.TIOCSWINSZ, size)

    async def wait(self) -> int:
        return await self._child.wait()

    async def aclose(self) -> None:
        with trio.CancelScope(shield=True):
            self.kill()
            with trio.move_on_after(_KILL_SECONDS):
                await self._child.wait()  # somebody else may wait too: nobody's descriptor is closed early
            await self._ends.aclose()
            self._child.close()
        self._done(self)
        await trio.lowlevel.checkpoint_if_cancelled()

    def kill(self) -> None:
        """End the command and what it has started in its session."""
        if self._child.status is None:
            try:
                os.killpg(self._child.pid, signal.SIGKILL)  # its group bears its number: it leads a session
            except ProcessLookupError:
                self._child.signal(signal.SIGKILL)
