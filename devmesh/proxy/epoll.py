"""The reactor over sockets: one private epoll descriptor, one trio task that drains it.

Waking a trio task for each event costs five times as much as a call. So trio waits for the descriptor
as a whole, and `_drain` handles what is ready for at most `BUDGET` seconds, then lets trio's tasks run.
"""

from __future__ import annotations

import logging
import select
import socket
import time
from collections import deque
from collections.abc import Callable
from math import inf

import trio

from devmesh.proxy.deadlines import Deadline, Deadlines
from devmesh.proxy.reactor import HIGH, PIECE, Address, Connection, Owner, T
from devmesh.proxy.sockets import LINGER_RESET, address_of, original_destination, reason_of
from devmesh.snapshot.network import Dialer

log = logging.getLogger(__name__)

BUDGET = 0.002  # seconds that ready sockets get before trio's other tasks do
LINGER = 0.001  # seconds to wait for the next event before going back to trio: an answer is often near
_EVENTS = 64  # per poll
_ACCEPTED = 16  # connections taken from one listener at a time
_BULK = 1 << 20
_SMALL = 1 << 14  # bytes up to which what is sent may wait for the end of its batch
_IN, _OUT = select.EPOLLIN, select.EPOLLOUT
_BROKEN = select.EPOLLERR | select.EPOLLHUP

Original = Callable[[socket.socket], Address | None]


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
        self.kept: list[SocketConnection] = []  # which have something to send at the end of the batch
        self._deadlines = Deadlines(self._sooner)
        self._earlier = trio.Event()
        self._nursery: trio.Nursery | None = None
        self.original = original
        self.bulk = memoryview(bytearray(_BULK))
        self.now = time.monotonic
        self.time = time.time

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Move bytes until cancelled; then everything is closed."""
        try:
            async with trio.open_nursery() as self._nursery:
                self._nursery.start_soon(self._keep_time)
                task_status.started()
                descriptor = self._epoll.fileno()
                while True:
                    await trio.lowlevel.wait_readable(descriptor)
                    self._drain()
        finally:
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
        until = clock() + BUDGET
        self.draining = True
        try:
            while True:
                events = poll(0, _EVENTS) or poll(LINGER, _EVENTS)
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
        for connection in self.kept:
            connection.flush()
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


class SocketAcceptor(Owner):
    """A listening socket. `owner` is itself: what epoll finds readable is told so."""

    owner: Owner

    def __init__(
        self, reactor: EpollReactor, listener: socket.socket, accepted: Callable[[Connection], None]
    ) -> None:
        self._reactor, self._listener, self._accepted = reactor, listener, accepted
        self._closed = False
        self.owner = self
        listener.setblocking(False)
        reactor.watch(listener, _IN, self)

    def ready(self, event: int) -> None:
        """Handle what else epoll reports: nothing but errors, of which accepting tells."""
        self.readable()

    def readable(self) -> None:
        """Accept what has arrived."""
        for _ in range(_ACCEPTED):
            if self._closed:
                return
            try:
                sock, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:  # the client is gone again, or no descriptors are left
                log.debug("accepting failed: %s", error)
                return
            sock.setblocking(False)
            try:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError:
                sock.close()
                continue
            connection = SocketConnection(self._reactor, sock, _NOBODY, established=True)
            try:
                self._accepted(connection)
            except Exception:
                log.exception("an accepted connection failed")
                connection.close()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._reactor.bury(self._listener)


_NOBODY = Owner()


class SocketConnection:
    """Implements `Connection` over a non-blocking socket, level-triggered."""

    __slots__ = (
        "_closed",
        "_deaf",
        "_descriptor",
        "_ended",
        "_finishing",
        "_kept",
        "_kernel_recv",
        "_kernel_send",
        "_local",
        "_mask",
        "_out",
        "_reactor",
        "_remote",
        "_sock",
        "error",
        "established",
        "owner",
        "pending",
    )

    def __init__(
        self, reactor: EpollReactor, sock: socket.socket, owner: Owner, *, established: bool
    ) -> None:
        self._reactor = reactor
        self._sock = sock
        self._descriptor = sock.fileno()
        self._kernel_recv = sock.recv
        self._kernel_send = sock.send
        self._out: deque[bytes | memoryview] = deque()
        self._mask = _IN if established else _OUT
        self._closed = self._finishing = self._ended = False
        self._deaf = False  # closed or finishing: nothing more is sent
        self._kept = b""  # to be sent at the end of the batch
        self._remote: Address | None = None
        self._local: Address | None = None
        self.owner = owner
        self.pending = 0
        self.established = established
        self.error = ""
        reactor.watch(sock, self._mask, self)

    def ready(self, event: int) -> None:
        """Handle what epoll reports."""
        if not self.established:
            self._connect()
            return
        if event & _OUT and self._mask & _OUT:
            self._flush()
        if event & (_IN | _BROKEN) and not self._closed:
            if self._mask & _IN:
                self.owner.readable()
            elif event & _BROKEN:
                self._hung_up()

    def recv(self) -> bytes | None:
        try:
            data = self._kernel_recv(PIECE)
        except BlockingIOError:
            return None
        except OSError as error:
            self._break(error)
            data = b""
        if not data:
            self._ended = True
        return data

    def recv_view(self) -> memoryview | bytes | None:
        bulk = self._reactor.bulk
        try:
            size = self._sock.recv_into(bulk)
        except BlockingIOError:
            return None
        except OSError as error:
            self._break(error)
            size = 0
        if not size:
            self._ended = True
        return bulk[:size]

    def send(self, data: bytes | memoryview) -> None:
        if self._deaf or self.error:
            return
        size, reactor = len(data), self._reactor
        if not self.pending and self.established:
            if size <= _SMALL and reactor.draining:
                self._kept = bytes(data)
                self.pending = size
                reactor.kept.append(self)
            else:
                self._send(data, size)
            return
        self.pending += size
        if self._kept:
            self._kept += data
            if self.pending > HIGH:
                self.flush()
        else:
            self._out.append(bytes(data))

    def flush(self) -> None:
        data = self._kept
        if not data:
            return
        self._kept = b""
        self.pending = 0
        self._send(data, len(data))
        if self._finishing and not self.pending:
            self._shut()

    def _send(self, data: bytes | memoryview, size: int) -> None:
        try:
            sent = self._kernel_send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._break(error)
            return
        if sent < size:
            self._out.append(bytes(memoryview(data)[sent:]))
            self.pending = size - sent
            self._watch(self._mask | _OUT)

    def pause(self) -> None:
        if self._mask & _IN and self.established:
            self._watch(self._mask & ~_IN)

    def resume(self) -> None:
        if not self._mask & _IN and self.established:
            self._watch(self._mask | _IN)

    def finish(self) -> None:
        if self._finishing or self._closed:
            return
        self._finishing = self._deaf = True
        if not self.pending and self.established:
            self._shut()

    def close(self) -> None:
        if not self._closed:
            self.flush()
            self._closed = self._deaf = True
            self.owner = _NOBODY
            self._out.clear()
            self._reactor.bury(self._sock)

    def abort(self) -> None:
        if not self._closed:
            try:
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
            except OSError:
                log.debug("cannot set SO_LINGER")
            self._kept = b""
            self.close()

    @property
    def remote(self) -> Address:
        if self._remote is None:
            self._remote = address_of(self._sock.getpeername)
        return self._remote

    @property
    def local(self) -> Address:
        if self._local is None:
            self._local = address_of(self._sock.getsockname)
        return self._local

    def original(self) -> Address | None:
        return self._reactor.original(self._sock)

    def _watch(self, mask: int) -> None:
        if not self._closed:
            self._mask = mask
            self._reactor.rewatch(self._descriptor, mask)

    def _hung_up(self) -> None:
        """Nothing goes either way any more. Epoll would say so for ever: it is asked no more."""
        self._reactor.silence(self._sock, self)
        code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if self._ended and not code:
            return  # the owner knows that it has ended
        self.error = self.error or reason_of(code)
        self.owner.lost(self.error)
        self.close()

    def _connect(self) -> None:
        code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self.error = reason_of(code)
            owner = self.owner
            self.close()
            owner.lost(self.error)
            return
        self.established = True
        self._watch(_IN | (_OUT if self.pending else 0))
        self.owner.connected()
        if self.pending and not self._closed:
            self._flush()
        elif self._finishing:
            self._shut()

    def _flush(self) -> None:
        out = self._out
        while out:
            data = out[0]
            try:
                sent = self._kernel_send(data)
            except BlockingIOError:
                return
            except OSError as error:
                self._break(error)
                return
            self.pending -= sent
            if sent < len(data):
                out[0] = memoryview(data)[sent:]
                return
            out.popleft()
        self._watch(self._mask & ~_OUT)
        if self._finishing:
            self._shut()
        self.owner.drained()

    def _shut(self) -> None:
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            log.debug("cannot end a stream: %s", error)

    def _break(self, error: OSError) -> None:
        """Remember why; the owner learns of it by `recv`, which epoll makes it call."""
        self.error = self.error or error.strerror or str(error)
        self._out.clear()
        self._kept = b""
        self.pending = 0
        if self._mask & _OUT:
            self._watch(self._mask & ~_OUT)
