"""A container that is a process: its output, its end, commands beside it."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import trio

from devmesh.runtime.access import ExecSession, NotRunning
from devmesh.runtime.pods.backend import Exit, StartProblem, Stream
from devmesh.runtime.process.cgroups import ControlGroup
from devmesh.runtime.process.session import Ends, ProcessSession, open_pipes, open_terminal
from devmesh.runtime.process.spawn import Child, Launch, LaunchFailed, spawn

_CHUNK = 1 << 16
_KILL_SECONDS = 2.0
# With runc these are exit codes of the container itself.
_EXIT_CODES = {errno.ENOENT: 127, errno.ENOTDIR: 127, errno.EACCES: 126, errno.ENOEXEC: 126}


class ProcessContainer:
    """`devmesh.runtime.pods.backend.Container` of a process. `launch` is how it was started."""

    def __init__(
        self,
        name: str,
        child: Child,
        ends: Ends,
        launch: Launch,
        stop_signal: str | None = None,
        group: ControlGroup | None = None,
    ) -> None:
        self._name = name
        self._child = child
        self._ends = ends
        self._launch = launch
        self._stop_signal = getattr(signal, stop_signal or "", signal.SIGTERM)
        self._group = group
        self._sessions: set[ProcessSession] = set()

    @property
    def id(self) -> str:
        return f"process://{self._child.pid}"

    @property
    def notes(self) -> tuple[str, ...]:
        """What the launcher had to say."""
        return self._child.notes

    async def output(self) -> AsyncIterator[tuple[Stream, bytes]]:
        sending, receiving = trio.open_memory_channel[tuple[Stream, bytes]](0)
        async with trio.open_nursery() as nursery, receiving:
            async with sending:
                assert self._ends.stderr is not None
                nursery.start_soon(_relay, "stdout", self._ends.stdout, sending.clone())
                nursery.start_soon(_relay, "stderr", self._ends.stderr, sending.clone())
            async for item in receiving:
                yield item

    async def wait(self) -> Exit:
        status = await self._child.wait()
        killed = status == 128 + signal.SIGKILL
        if killed and self._group is not None and self._group.was_out_of_memory():
            return Exit(status, "OOMKilled")
        return Exit(status)

    async def signal(self, number: int) -> None:
        await trio.lowlevel.checkpoint()
        self._child.signal(self._stop_signal if number == signal.SIGTERM else number)

    async def exec(
        self, command: Sequence[str], env: Sequence[tuple[str, str]] = (), *, stdin: bool, tty: bool
    ) -> ExecSession:
        if self._child.status is not None:
            raise NotRunning(f"container {self._name!r} is not running")
        ends = open_terminal(stdin) if tty else open_pipes(stdin)
        launch = replace(
            self._launch,
            argv=tuple(command),
            env={**self._launch.env, **dict(env)} | ({"TERM": "xterm"} if tty else {}),
            join=self._child.pidfd,
            netns=None,
            tty=tty,
            mounts=(),
            files=(),
        )
        try:
            child = await spawn(launch, stdin=ends.theirs[0], stdout=ends.theirs[1], stderr=ends.theirs[2])
        except LaunchFailed as problem:
            await ends.aclose()
            if problem.stage == "exec" and problem.errno in _EXIT_CODES:
                why = os.strerror(problem.errno or 0).lower()
                raise FileNotFoundError(
                    f'exec: "{command[0]}": {why} in container {self._name!r}'
                ) from problem
            raise NotRunning(f"container {self._name!r} cannot be entered: {problem.text}") from problem
        except BaseException:
            with trio.CancelScope(shield=True):
                await ends.aclose()
            raise
        finally:
            ends.close_theirs()
        session = ProcessSession(child, ends, self._sessions.discard)
        self._sessions.add(session)
        return session

    async def aclose(self) -> None:
        with trio.CancelScope(shield=True):
            for session in tuple(self._sessions):
                session.kill()
            self._child.signal(signal.SIGKILL)
            with trio.move_on_after(_KILL_SECONDS):
                await self._child.wait()
            if self._child.status is not None:
                self._child.close()
            await self._ends.aclose()
            if self._group is not None:
                self._group.remove()


async def _relay(
    name: Stream, source: trio.abc.ReceiveStream, sink: trio.MemorySendChannel[tuple[Stream, bytes]]
) -> None:
    async with sink:
        while True:
            try:
                data = await source.receive_some(_CHUNK)
            except (trio.ClosedResourceError, trio.BrokenResourceError):
                return
            if not data:
                return
            await sink.send((name, bytes(data)))


async def start_process(
    name: str,
    launch: Launch,
    turn: trio.Lock,
    stop_signal: str | None = None,
    group: ControlGroup | None = None,
) -> ProcessContainer:
    """Start a container's process; `turn` is `spawn`'s. The container owns `group` from now on.

    Raises:
        StartProblem: A step failed; its message says which.
    """
    ends = open_pipes(stdin=False)
    try:
        into = ends.theirs
        child = await spawn(launch, stdin=into[0], stdout=into[1], stderr=into[2], turn=turn)
    except BaseException as problem:
        with trio.CancelScope(shield=True):
            await ends.aclose()
        if group is not None:
            group.remove()
        if isinstance(problem, LaunchFailed):
            raise _explained(problem, launch) from problem
        raise
    finally:
        ends.close_theirs()
    return ProcessContainer(name, child, ends, launch, stop_signal, group)


def _explained(problem: LaunchFailed, launch: Launch) -> StartProblem:
    if problem.stage == "exec":
        why = os.strerror(problem.errno or 0).lower()
        return StartProblem(
            f'exec: "{launch.argv[0]}": {why}; the command comes from the manifest\'s command, else from '
            "images[].process.command of devmesh.yaml",
            "StartError",
            _EXIT_CODES.get(problem.errno or 0, 128),
        )
    if problem.stage == "volume":
        return StartProblem(f"cannot mount a volume: {problem.text}", "CreateContainerError")
    return StartProblem(f"{problem.stage}: {problem.text}", "CreateContainerError")


def private_folder(path: Path) -> str:
    """Make an empty folder for a container's tree to be mounted on."""
    path.mkdir(parents=True, exist_ok=True)
    return str(path)
