"""The data plane's reactor in memory: bytes move when a test says so, on a clock that it owns."""

from __future__ import annotations

import errno
import os
import socket
import time
from collections import deque
from collections.abc import Callable

from devmesh.proxy.deadlines import Deadline, Deadlines
from devmesh.proxy.reactor import PIECE, Acceptor, Address, Connection, Flushes, Owner, T
from devmesh.snapshot.network import MARK_HOP

EPOCH = float(int(time.time()))  # certificates are verified against the real date
_START = 1000.0
_NOBODY = Owner()


class MemoryReactor:
    """Implements `Reactor`; nothing happens until `settle` or `advance`.

    Attributes:
        places: Who is reached at an address: called with each connection that arrives there.
        window: Bytes that a connection holds for a peer that doesn't read.
    """

    def __init__(self, window: int = 1 << 18) -> None:
        self.places: dict[tuple[str | None, str, int], Callable[[Connection], None]] = {}
        self.window = window
        self._inbound: dict[str, Callable[[Connection], None]] = {}
        self._now = _START
        self._deadlines = Deadlines()
        self._events: deque[Callable[[], None]] = deque()
        self._port = 40000
        self.dialled: list[tuple[str | None, str, int, int]] = []

    # -- what tests do --

    def settle(self, limit: int = 100_000) -> None:
        """Let everything happen that can happen now.

        Raises:
            RuntimeError: It never ends.
        """
        for _ in range(limit):
            if not self._events:
                return
            self._events.popleft()()
        raise RuntimeError("the connections never come to rest")

    def advance(self, seconds: float) -> None:
        """Let time pass, in small steps, with all that happens meanwhile."""
        until = self._now + seconds
        self.settle()
        while self._deadlines.next <= until:
            self._now = max(self._now, self._deadlines.next)
            self._deadlines.expire(self._now)
            self.settle()
        self._now = until
        self._deadlines.expire(until)
        self.settle()

    def serve(
        self, instance: str | None, address: str, port: int, accepted: Callable[[Connection], None]
    ) -> None:
        """Have connections to an address, from inside `instance`'s namespace or from outside, accepted."""
        self.places[instance, address, port] = accepted

    def take_over(self, instance: str, accepted: Callable[[Connection], None]) -> None:
        """Have the hops into `instance`'s namespace accepted, as its inbound listener would."""
        self._inbound[instance] = accepted

    def connect(
        self,
        accepted: Callable[[Connection], None],
        *,
        original: Address | None = None,
        remote: Address = ("10.9.9.9", 5555),
    ) -> MemoryConnection:
        """Connect to whoever accepts; return the client's side."""
        client, server = self._pair(remote, original or ("127.0.0.1", 15001), original)
        client.established = True
        accepted(server)
        return client

    # -- Reactor --

    def now(self) -> float:
        return self._now

    def time(self) -> float:
        return EPOCH + self._now - _START

    def deadline(self, after: float, callback: Callable[[], None]) -> Deadline:
        return self._deadlines.add(self._now + after, callback)

    def accept(self, listener: socket.socket, accepted: Callable[[Connection], None]) -> Acceptor:
        raise NotImplementedError("a listener's socket has no place in memory: use `serve`")

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
    ) -> MemoryConnection:
        self.dialled.append((destination, address, port, mark))
        self._port += 1
        mine, theirs = self._pair((bind or "10.0.0.1", self._port), (address, port), (address, port))
        mine.owner = owner
        accepted = self.places.get((destination, address, port))
        if mark == MARK_HOP and destination in self._inbound:
            accepted = self._inbound[destination]
        self.later(lambda: self._arrive(mine, theirs, accepted))
        return mine

    def at_end(self, keeper: Flushes) -> None:
        self.later(keeper.flush)

    def aside(self, work: Callable[[], T], then: Callable[[T | Exception], None]) -> None:
        result: T | Exception
        try:
            result = work()
        except Exception as error:
            result = error
        self.later(lambda: then(result))

    # --

    def later(self, event: Callable[[], None]) -> None:
        """Have `event` happen at the next `settle`."""
        self._events.append(event)

    def _pair(
        self, client: Address, server: Address, original: Address | None
    ) -> tuple[MemoryConnection, MemoryConnection]:
        one = MemoryConnection(self, client, server, None)
        other = MemoryConnection(self, server, client, original)
        one.peer, other.peer = other, one
        other.established = True
        return one, other

    def _arrive(
        self,
        mine: MemoryConnection,
        theirs: MemoryConnection,
        accepted: Callable[[Connection], None] | None,
    ) -> None:
        if mine.closed:
            return
        if accepted is None:
            mine.error = os.strerror(errno.ECONNREFUSED)
            owner = mine.owner
            mine.close()
            owner.lost(mine.error)
            return
        mine.established = True
        accepted(theirs)
        mine.owner.connected()
        mine.move()


class MemoryConnection:
    """Implements `Connection`. Readiness is level-triggered, as epoll's."""

    peer: MemoryConnection

    def __init__(
        self, reactor: MemoryReactor, local: Address, remote: Address, original: Address | None
    ) -> None:
        self._reactor = reactor
        self._original = original
        self._arrived = bytearray()  # to be read here
        self._out = bytearray()  # not taken by the peer yet
        self._at_end = False  # the peer has finished
        self._finishing = self._paused = False
        self._told = False  # an event for the owner is due
        self.local, self.remote = local, remote
        self.owner: Owner = _NOBODY
        self.established = False
        self.closed = False
        self.error = ""
        self.kept_alive: tuple[int, int, int] | None = None

    def show(self, *, local: Address | None = None, remote: Address | None = None) -> None:
        self.local, self.remote = local or self.local, remote or self.remote

    @property
    def pending(self) -> int:
        return len(self._out)

    def recv(self) -> bytes | None:
        if self._arrived:
            data = bytes(self._arrived[:PIECE])
            del self._arrived[:PIECE]
            self.peer.later_move()
            self._tell()
            return data
        return b"" if self._at_end or self.error else None

    def recv_view(self) -> memoryview | bytes | None:
        return self.recv()

    def send(self, data: bytes | memoryview) -> None:
        if self.closed or self.error or self._finishing:
            return
        self._out += data
        if self.established:
            self.move(quietly=True)

    def flush(self) -> None: ...

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        self._paused = False
        self._tell()

    def finish(self) -> None:
        if not self.closed and not self._finishing:
            self._finishing = True
            self.later_move()

    def close(self) -> None:
        self._end(reset=bool(self._arrived))

    def abort(self) -> None:
        self._end(reset=True)

    def keep_alive(self, probes: int, time: int, interval: int) -> None:
        self.kept_alive = (probes, time, interval)

    def original(self) -> Address | None:
        return self._original

    # --

    def move(self, *, quietly: bool = False) -> None:
        """Hand the peer what it has room for."""
        peer = self.peer
        if not self.established or self.closed:
            return
        before = len(self._out)
        room = self._reactor.window - len(peer._arrived)
        if before and room > 0 and not peer.closed:
            peer._arrived += self._out[:room]
            del self._out[:room]
            peer._tell()
        if before and not self._out and not quietly:
            self.owner.drained()
        if self._finishing and not self._out and not peer._at_end:
            peer._at_end = True
            peer._tell()

    def later_move(self) -> None:
        if self._out or self._finishing:
            self._reactor.later(self.move)

    def _tell(self) -> None:
        if not self._told and not self.closed:
            self._told = True
            self._reactor.later(self._event)

    def _event(self) -> None:
        self._told = False
        if self.closed:
            return
        if self.error and self._paused:
            owner = self.owner
            self.close()
            owner.lost(self.error)
        elif not self._paused and (self._arrived or self._at_end or self.error):
            self.owner.readable()

    def _end(self, *, reset: bool) -> None:
        if self.closed:
            return
        self.closed = True
        self.owner = _NOBODY
        peer = self.peer
        if peer.closed:
            return
        if reset:
            peer.error = peer.error or os.strerror(errno.ECONNRESET)
            peer._arrived.clear()
            peer._out.clear()
        elif self.established:
            peer._at_end = True
        peer._tell()
