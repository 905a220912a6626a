"""What the data plane asks of whatever moves its bytes.

Two things implement it: `devmesh.proxy.epoll` over sockets, and `devmesh.testing.reactor` in memory
with a clock of its own. All calls are synchronous, on one thread, and never block.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Protocol, TypeVar

from mypy_extensions import mypyc_attr

from devmesh.proxy.deadlines import Deadline

PIECE = 1 << 16  # bytes that one `recv` returns at most; larger allocations cost more than they bring
HIGH = 1 << 16  # bytes waiting to be sent above which who feeds a connection should stop reading

Address = tuple[str, int]
T = TypeVar("T")


@mypyc_attr(allow_interpreted_subclasses=True)
class Owner:
    """Whoever a connection tells of what happens to it. Calls never come from within the owner's own
    calls of the connection, save `drained`, which never does either."""

    __slots__ = ()

    def connected(self) -> None:
        """A dialled connection is up (with TLS: the handshake is done, the peer verified)."""

    def readable(self) -> None:
        """`Connection.recv` has something to say."""

    def drained(self) -> None:
        """All that was sent is on its way: `Connection.pending` is 0 again."""

    def lost(self, reason: str) -> None:
        """It could not be established, or broke while nobody was reading. `reason` is for logs and for
        Envoy's "transport failure reason"."""


class Connection(Protocol):
    """One side of a byte stream.

    Attributes:
        owner: Who is told; may be replaced at any time.
        pending: Bytes that `send` took and that haven't left yet.
        established: Whether it is up.
        error: Why it broke; "" as long as it did not.
    """

    owner: Owner
    established: bool
    error: str

    @property
    def pending(self) -> int: ...

    def recv(self) -> bytes | None:
        """Return up to `PIECE` bytes (with TLS a little more); b"" at the end, or when it broke (`error`
        says so); None: nothing now."""

    def recv_view(self) -> memoryview | bytes | None:
        """Like `recv`, for bulk: a larger piece, which is valid until the next call of any connection."""

    def send(self, data: bytes | memoryview) -> None:
        """Send, or keep what can't be sent yet. Before it is established everything is kept. Once it has
        ended or broken, the data goes nowhere."""

    def flush(self) -> None:
        """Hand over at once what a reactor may keep until it has dealt with everything that is ready."""

    def pause(self) -> None:
        """Call `readable` no more: the peer feels it when its window is full."""

    def resume(self) -> None:
        """Undo `pause`."""

    def finish(self) -> None:
        """Send the end of the stream after what is pending; reading goes on."""

    def close(self) -> None:
        """End both directions at once; what the peer has no room for is lost. The owner hears no more."""

    def abort(self) -> None:
        """Close with a reset, as a refusing peer would."""

    @property
    def remote(self) -> Address: ...

    @property
    def local(self) -> Address: ...

    def show(self, *, local: Address | None = None, remote: Address | None = None) -> None:
        """Tell other addresses than the socket's own: those of the connection that it stands for."""

    def keep_alive(self, probes: int, time: int, interval: int) -> None:
        """Have silent peers probed (TCP keep-alive): after `time` seconds of silence, each `interval`, and
        given up after `probes` without an answer; 0: the system's default."""

    def original(self) -> Address | None:
        """Return where the client of an accepted connection meant to go; None: here."""


class Acceptor(Protocol):
    """A place where connections arrive."""

    def close(self) -> None:
        """Accept no more; those accepted go on."""


class Flushes(Protocol):
    """Something that keeps what it is to send until the end of a batch."""

    def flush(self) -> None: ...


class Reactor(Protocol):
    """The clock, the listeners and the connections."""

    def now(self) -> float:
        """Return seconds of a clock that never goes back."""

    def time(self) -> float:
        """Return seconds since the epoch."""

    def deadline(self, after: float, callback: Callable[[], None]) -> Deadline:
        """Have `callback` called in `after` seconds."""

    def accept(self, listener: socket.socket, accepted: Callable[[Connection], None]) -> Acceptor:
        """Hand each connection that arrives at `listener`, which is now the reactor's, to `accepted`."""

    def dial(
        self,
        owner: Owner,
        destination: str | None,
        address: str,
        port: int,
        *,
        mark: int,
        origin: str | None = None,
        bind: str | None = None,
    ) -> Connection:
        """Begin to connect; `owner` hears whether it succeeds. See `devmesh.snapshot.network.Dialer`.

        Raises:
            OSError: It failed at once.
        """

    def at_end(self, keeper: Flushes) -> None:
        """Have `keeper` flushed when everything that is ready has been dealt with; at once where nothing is
        being dealt with."""

    def aside(self, work: Callable[[], T], then: Callable[[T | Exception], None]) -> None:
        """Do slow `work` in a thread and hand its result, or what it raised, to `then`."""
