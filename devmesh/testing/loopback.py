"""A network on 127.0.0.1, without namespaces or rules: real sockets, made-up addresses."""

from __future__ import annotations

import errno
import os
import socket

from devmesh.snapshot.network import MARK_HOP, Capture, CaptureWatcher

Address = tuple[str, int]


class LoopbackNetwork:
    """Implements `ListenerSource` and `Dialer`, and tells where its connections were meant to go.

    `devmesh.proxy.epoll.EpollReactor` takes `original` in place of the kernel's answer.

    Attributes:
        places: Where made-up addresses really are; others are taken as they stand.
    """

    def __init__(self) -> None:
        self.places: dict[Address, Address] = {}
        self._inbound: dict[str, Address] = {}
        self._outbound: dict[str, Address] = {}
        self._meant: dict[Address, Address] = {}  # by the connecting socket's own address
        self._fixed: dict[Address, Address] = {}  # by the listener's
        self._captures: list[Capture] = []
        self._watcher: CaptureWatcher | None = None

    def capture(self, instance: str, *, outbound_to: Address | None = None) -> Address:
        """Take over the traffic of `instance`; return where its outgoing connections arrive.

        Args:
            outbound_to: Where connections that arrive there by themselves were meant to go.
        """
        outbound, inbound = _listener(), _listener()
        self._outbound[instance], self._inbound[instance] = outbound.getsockname(), inbound.getsockname()
        if outbound_to is not None:
            self._fixed[outbound.getsockname()] = outbound_to
        capture = Capture(instance, outbound, inbound)
        if self._watcher is not None:
            self._watcher.captured(capture)
        else:
            self._captures.append(capture)
        return self._outbound[instance]

    def release(self, instance: str) -> None:
        """Let go of an instance."""
        if self._watcher is not None:
            self._watcher.released(instance)

    def connect(self, instance: str, address: str, port: int) -> socket.socket:
        """Connect as an application of `instance` would; the socket is up and blocks."""
        return self._redirected(self._outbound[instance], (address, port))

    def arrive(self, instance: str, address: str, port: int) -> socket.socket:
        """Connect to `instance` as somebody from outside the mesh would."""
        return self._redirected(self._inbound[instance], (address, port))

    def original(self, sock: socket.socket) -> Address | None:
        """Return where an accepted connection was meant to go."""
        try:
            peer = sock.getpeername()
        except OSError:
            return None
        # What is fixed goes first: a client may come from a port that a connection had which is gone.
        return self._fixed.get(sock.getsockname()) or self._meant.get(peer)

    # -- ListenerSource --

    def subscribe(self, watcher: CaptureWatcher) -> None:
        self._watcher = watcher
        for capture in self._captures:
            watcher.captured(capture)
        self._captures.clear()

    def listen(self, instance: str | None, address: str, port: int) -> socket.socket:
        """Listen: for devmesh itself on that loopback address and port, else on any port of 127.0.0.1."""
        made = _listener(port, address) if instance is None else _listener(0)
        if instance is not None:
            self.places[instance, port] = made.getsockname()
        return made

    # -- Dialer --

    def dial(
        self,
        destination: str | None,
        address: str,
        port: int,
        *,
        mark: int,
        origin: str | None = None,
        bind: str | None = None,
    ) -> socket.socket:
        if mark == MARK_HOP and destination in self._inbound:
            made = _connecting(self._inbound[destination])
            self._meant[made.getsockname()] = (address, port)
            return made
        return _connecting(self.places.get((address, port), (address, port)))

    def _redirected(self, where: Address, meant: Address) -> socket.socket:
        made = socket.socket()
        made.bind(("127.0.0.1", 0))
        self._meant[made.getsockname()] = meant
        made.connect(where)
        return made


def _listener(port: int = 0, address: str = "127.0.0.1") -> socket.socket:
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((address, port))
        made.listen(1024)
    except OSError:
        made.close()
        raise
    made.setblocking(False)
    return made


def _connecting(where: Address) -> socket.socket:
    made = socket.socket()
    made.setblocking(False)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    code = made.connect_ex(where)
    if code not in (0, errno.EINPROGRESS):
        made.close()
        raise OSError(code, os.strerror(code))
    return made
