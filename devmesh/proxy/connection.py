"""Connections and listeners over non-blocking sockets, as `devmesh.proxy.epoll` drives them."""

from __future__ import annotations

import logging
import select
import socket
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from devmesh.proxy.reactor import HIGH, PIECE, Address, Connection, Owner
from devmesh.proxy.sockets import LINGER_RESET, address_of, reason_of

if TYPE_CHECKING:
    from devmesh.proxy.epoll import EpollReactor

log = logging.getLogger(__name__)

_ACCEPTED = 16  # connections taken from one listener at a time
_SMALL = 1 << 14  # bytes up to which what is sent may wait for the end of its batch
_IN, _OUT = select.EPOLLIN, select.EPOLLOUT
_BROKEN = select.EPOLLERR | select.EPOLLHUP
_NOBODY = Owner()


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

    def keep_alive(self, probes: int, time: int, interval: int) -> None:
        if self._sock.family == socket.AF_UNIX:
            return
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in (
            (socket.TCP_KEEPCNT, probes),
            (socket.TCP_KEEPIDLE, time),
            (socket.TCP_KEEPINTVL, interval),
        ):
            if value:
                self._sock.setsockopt(socket.IPPROTO_TCP, option, value)

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

    def show(self, *, local: Address | None = None, remote: Address | None = None) -> None:
        self._local, self._remote = local or self._local, remote or self._remote

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
