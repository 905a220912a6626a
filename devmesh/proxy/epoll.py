"""The reactor over sockets: one private epoll descriptor, one trio task that drains it.

Waking a trio task for each event costs five times as much as a call. So trio waits for the descriptor
as a whole, and `_drain` handles what is ready for at most `BUDGET` seconds, then lets trio's tasks run.
"""

from __future__ import annotations

import logging
import select
import socket
import time
from collections.abc import Callable
from math import inf

import trio

from devmesh.proxy.connection import SocketAcceptor, SocketConnection
from devmesh.proxy.deadlines import Deadline, Deadlines
from devmesh.proxy.reactor import Address, Connection, Flushes, Owner, T
from devmesh.proxy.sockets import original_destination
from devmesh.snapshot.network import Dialer

log = logging.getLogger(__name__)

BUDGET = 0.002  # seconds that ready sockets get before going back to trio
SHARED_BUDGET = 0.001  # the same while other tasks want to run
LINGER = 0.001  # seconds to wait for the next event where no other task wants to run: an answer is often near
_EVENTS = 64  # per poll
_BULK = 1 << 20
_IN = select.EPOLLIN

Original = Callable[[socket.socket], Address | None]


class _Watcher(trio.abc.Instrument):
    """Knows whether other tasks wanted to run when trio last looked for events."""

    alone = True

    def before_io_wait(self, timeout: float) -> None:
        self.alone = timeout > 0


class EpollReactor:
    """Implements `Reactor` for as long as `run` runs.

    Args:
        dialer: Makes the sockets that are dialled.
        original: How the destination of a redirected connection is told.
    """

    def __init__(self, dialer: Dialer, original: Original = original_destination) -> None:
        self._dialer = dialer
        self._epoll = select.epoll()
        self._ready: dict[int, SocketConnection | SocketAcceptor] = {}
        self._silent: dict[int, SocketConnection] = {}  # open still, but nothing can happen to them
        self._buried: list[socket.socket] = []
        self.draining = False
        self.kept: list[Flushes] = []  # which have something to send at the end of the batch
        self._deadlines = Deadlines(self._sooner)
        self._earlier = trio.Event()
        self._nursery: trio.Nursery | None = None
        self._others = _Watcher()
        self.original = original
        self.bulk = memoryview(bytearray(_BULK))
        self.now = time.monotonic
        self.time = time.time

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Move bytes until cancelled; then everything is closed."""
        trio.lowlevel.add_instrument(self._others)
        try:
            async with trio.open_nursery() as self._nursery:
                self._nursery.start_soon(self._keep_time)
                task_status.started()
                descriptor = self._epoll.fileno()
                while True:
                    await trio.lowlevel.wait_readable(descriptor)
                    self._drain()
        finally:
            trio.lowlevel.remove_instrument(self._others)
            self._nursery = None
            for ready in (*self._ready.values(), *self._silent.values()):
                ready.close()
            self._epoll.close()

    def deadline(self, after: float, callback: Callable[[], None]) -> Deadline:
        return self._deadlines.add(time.monotonic() + after, callback)

    def accept(self, listener: socket.socket, accepted: Callable[[Connection], None]) -> SocketAcceptor:
        return SocketAcceptor(self, listener, accepted)

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
    ) -> SocketConnection:
        made = self._dialer.dial(destination, address, port, mark=mark, origin=origin, bind=bind)
        return SocketConnection(self, made, owner, established=False)

    def at_end(self, keeper: Flushes) -> None:
        if self.draining:
            self.kept.append(keeper)
        else:
            keeper.flush()

    def aside(self, work: Callable[[], T], then: Callable[[T | Exception], None]) -> None:
        async def do() -> None:
            result: T | Exception
            try:
                result = await trio.to_thread.run_sync(work)
            except Exception as error:
                result = error
            then(result)

        assert self._nursery is not None, "the reactor is not running"
        self._nursery.start_soon(do)

    def watch(self, sock: socket.socket, events: int, ready: SocketConnection | SocketAcceptor) -> None:
        """Begin to watch `sock`."""
        self._ready[sock.fileno()] = ready
        self._epoll.register(sock, events)

    def rewatch(self, descriptor: int, events: int) -> None:
        """Watch for other events."""
        if descriptor in self._ready:
            self._epoll.modify(descriptor, events)

    def silence(self, sock: socket.socket, connection: SocketConnection) -> None:
        """Watch no more a connection that has ended but isn't closed."""
        if self._ready.pop(sock.fileno(), None) is not None:
            self._epoll.unregister(sock)
            self._silent[sock.fileno()] = connection

    def bury(self, sock: socket.socket) -> None:
        """Close `sock`: at the end of the batch, so that no event of it is taken for another's that gets
        the same descriptor."""
        descriptor = sock.fileno()
        if self._ready.pop(descriptor, None) is None:
            self._silent.pop(descriptor, None)
        elif self.draining:
            self._epoll.unregister(descriptor)
        if self.draining:
            self._buried.append(sock)
        else:
            sock.close()

    def _drain(self) -> None:
        poll, find, clock, deadlines = self._epoll.poll, self._ready.get, time.monotonic, self._deadlines
        alone = self._others.alone
        until = clock() + (BUDGET if alone else SHARED_BUDGET)
        self.draining = True
        try:
            while True:
                events = poll(0, _EVENTS) or (poll(LINGER, _EVENTS) if alone else None)
                if not events:
                    return
                for descriptor, event in events:
                    ready = find(descriptor)
                    if ready is not None:
                        try:
                            if event == _IN:
                                ready.owner.readable()
                            else:
                                ready.ready(event)
                        except Exception:
                            log.exception("a connection of the data plane failed")
                            ready.close()
                        if clock() > until:
                            return  # what is left is reported again
                if deadlines.next <= until:
                    deadlines.expire(clock())
                self._end_batch()
        finally:
            self._end_batch()
            self.draining = False

    def _end_batch(self) -> None:
        """Send what the batch has kept, then close what it has closed.

        A send that finds its receiver asleep costs several times one that finds it busy, so all are made
        in one go.
        """
        for keeper in self.kept:  # some keep what they have with others, which then come after them
            keeper.flush()
        self.kept.clear()
        if self._buried:
            self._close_buried()

    def _close_buried(self) -> None:
        for sock in self._buried:
            sock.close()
        self._buried.clear()

    def _sooner(self) -> None:
        self._earlier.set()

    async def _keep_time(self) -> None:
        while True:
            self._earlier = trio.Event()
            due = self._deadlines.next
            with trio.move_on_after(inf if due == inf else max(0.0, due - time.monotonic())):
                await self._earlier.wait()
            self._deadlines.expire(time.monotonic())
