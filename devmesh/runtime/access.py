"""What the API asks of running pods: logs, commands, connections."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import trio


class NotRunning(LookupError):
    """The pod or the container is not there, or not running; the message says which."""


@dataclass(frozen=True, slots=True)
class LogOptions:
    """kubectl logs' options; times are seconds. `limit_bytes` None means everything."""

    follow: bool = False
    tail: int | None = None
    since: float | None = None
    timestamps: bool = False
    previous: bool = False
    limit_bytes: int | None = None


class ExecSession(Protocol):
    """A command that runs inside a container."""

    stdin: trio.abc.SendStream | None
    stdout: trio.abc.ReceiveStream
    stderr: trio.abc.ReceiveStream | None  # None with a terminal: all comes by stdout

    async def resize(self, width: int, height: int) -> None:
        """Set the terminal's size; nothing without one."""

    async def wait(self) -> int:
        """Return the exit status; a signal is 128 + its number."""

    async def aclose(self) -> None:
        """End the command where it still runs, and close the streams."""


class Containers(Protocol):
    """The runtime, as the API sees it."""

    def logs(self, namespace: str, pod: str, container: str, options: LogOptions) -> AsyncIterator[bytes]:
        """Yield pieces of a container's log; ``istio-proxy`` is the access log of the pod's proxy.

        Raises:
            NotRunning: There is no such pod or container, or it has not started.
        """
        ...

    async def exec(
        self, namespace: str, pod: str, container: str, command: Sequence[str], *, stdin: bool, tty: bool
    ) -> ExecSession:
        """Start `command` in a running container.

        Raises:
            NotRunning: There is no such pod or container, or it isn't running.
            FileNotFoundError: The command is not in the container.
        """
        ...

    async def connect(self, namespace: str, pod: str, port: int) -> trio.SocketStream:
        """Connect to a port on the pod's loopback, as port-forward does.

        Raises:
            NotRunning: There is no such pod.
            OSError: Nobody listens there.
        """
        ...
