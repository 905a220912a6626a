"""Containers without a runtime: logs that tests write, commands that are Python functions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import trio
import trio.testing

from devmesh.runtime.access import LogOptions, NotRunning

Place = tuple[str, str, str]
"""Namespace, pod, container."""


class FakeSession:
    """A command that is a function: `devmesh.runtime.access.ExecSession`, in memory.

    The function gets the session and returns the exit status; it reads `stdin_lines`, writes to
    `out` and `err`, and may look at `sizes`.
    """

    def __init__(self, *, stdin: bool, tty: bool) -> None:
        self.out, self.stdout = trio.testing.memory_stream_one_way_pair()
        self.err, stderr = trio.testing.memory_stream_one_way_pair()
        self.stderr: trio.abc.ReceiveStream | None = None if tty else stderr
        self.stdin: trio.abc.SendStream | None = None
        self.input: trio.abc.ReceiveStream | None = None
        if stdin:
            self.stdin, self.input = trio.testing.memory_stream_one_way_pair()
        self.tty = tty
        self.sizes: list[tuple[int, int]] = []
        self.closed = False
        self._status: int | None = None
        self._ended = trio.Event()

    async def resize(self, width: int, height: int) -> None:
        self.sizes.append((width, height))

    async def wait(self) -> int:
        await self._ended.wait()
        assert self._status is not None
        return self._status

    async def aclose(self) -> None:
        self.closed = True
        self.end(137)

    async def read_input(self) -> bytes:
        """Return what the client sends until it closes its side."""
        assert self.input is not None
        found = b""
        while piece := await self.input.receive_some():
            found += piece
        return found

    def end(self, status: int) -> None:
        """End the command, once."""
        if self._status is None:
            self._status = status
            self.out.close()
            self.err.close()
            self._ended.set()


Command = Callable[[FakeSession, Sequence[str]], Awaitable[int]]


@dataclass
class FakeContainers:
    """`devmesh.runtime.access.Containers` in memory.

    Attributes:
        nursery: Runs the commands.
        commands: By the first word. Others are not found.
        ports: Who answers on a pod's port: gets the stream that a client's connection ends in.
    """

    nursery: trio.Nursery
    commands: dict[str, Command] = field(default_factory=dict)
    ports: dict[tuple[str, str, int], Callable[[trio.SocketStream], Awaitable[None]]] = field(
        default_factory=dict
    )
    sessions: list[FakeSession] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lines: dict[Place, list[tuple[float, bytes]]] = {}
        self._previous: dict[Place, list[tuple[float, bytes]]] = {}
        self._changed = trio.Event()

    def write(self, namespace: str, pod: str, container: str, text: str, at: float = 0.0) -> None:
        """Add lines to a log, written `at` (seconds since the epoch; 0 is now)."""
        when = at or datetime.now(UTC).timestamp()
        lines = self._lines.setdefault((namespace, pod, container), [])
        lines += [(when, line.encode() + b"\n") for line in text.splitlines()]
        self._changed.set()
        self._changed = trio.Event()

    def restart(self, namespace: str, pod: str, container: str) -> None:
        """Begin a new log; the one before is ``--previous``."""
        place = (namespace, pod, container)
        self._previous[place] = self._lines.pop(place, [])
        self._lines[place] = []

    async def logs(
        self, namespace: str, pod: str, container: str, options: LogOptions
    ) -> AsyncIterator[bytes]:
        source = self._previous if options.previous else self._lines
        lines = source.get((namespace, pod, container))
        if lines is None:
            raise NotRunning(f"container {container} of pod {namespace}/{pod} has written nothing")
        oldest = datetime.now(UTC).timestamp() - options.since if options.since is not None else 0.0
        chosen = [one for one in lines if one[0] >= oldest]
        if options.tail is not None:
            chosen = chosen[len(chosen) - options.tail :] if options.tail < len(chosen) else chosen
        seen = len(lines)
        while True:
            for when, line in chosen:
                stamp = datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ ")
                yield (stamp.encode() if options.timestamps else b"") + line
            if not options.follow or options.previous:
                return
            if len(lines) == seen:
                await self._changed.wait()
            chosen, seen = lines[seen:], len(lines)

    async def exec(
        self, namespace: str, pod: str, container: str, command: Sequence[str], *, stdin: bool, tty: bool
    ) -> FakeSession:
        if (namespace, pod, container) not in self._lines:
            raise NotRunning(f"container {container} of pod {namespace}/{pod} is not running")
        function = self.commands.get(command[0])
        if function is None:
            raise FileNotFoundError(command[0])
        session = FakeSession(stdin=stdin, tty=tty)
        self.sessions.append(session)

        async def run() -> None:
            try:
                session.end(await function(session, command))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                session.end(141)  # SIGPIPE: nobody reads any more

        self.nursery.start_soon(run)
        return session

    async def connect(self, namespace: str, pod: str, port: int) -> trio.SocketStream:
        answer = self.ports.get((namespace, pod, port))
        if answer is None:
            raise ConnectionRefusedError(111, "Connection refused")
        here, there = trio.socket.socketpair()
        self.nursery.start_soon(answer, trio.SocketStream(there))
        return trio.SocketStream(here)
