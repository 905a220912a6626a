"""Trying the whole of interception in namespaces made for it: what `devmesh doctor` relies on."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from functools import partial

from devmesh.runtime.network.fabric import Fabric
from devmesh.runtime.network.namespaces import Namespaces
from devmesh.runtime.network.original import original_destination
from devmesh.runtime.network.pod import NameSockets
from devmesh.snapshot.network import MARK_HOP, Capture

_TIMEOUT = 1.0  # seconds; all of it happens inside this kernel
_SERVICE, _SERVICE_V6 = "240.240.0.1", "2001:2::1"
_WORLD, _NAME_SERVER = "192.0.2.1", "192.0.2.53"


class SelfTestFailed(RuntimeError):
    """Something did not arrive where it should have; the message says what."""


class SelfTest:
    """Two pods of a fabric of its own, with an application in each. Tests raise SelfTestFailed or OSError."""

    def __init__(self, namespaces: Namespaces) -> None:
        self._namespaces = namespaces
        self._captures: dict[str, Capture] = {}
        self._names: dict[str, NameSockets] = {}
        self._fabric = Fabric(namespaces, names=self)
        self._fabric.subscribe(self)
        try:
            self._pods = [self._fabric.create(name) for name in ("client", "server")]
        except OSError:
            self._fabric.close()
            raise

    def close(self) -> None:
        self._fabric.close()

    @property
    def has_ipv6(self) -> bool:
        return len(self._pods[0].addresses) > 1

    def outbound(self) -> None:
        """A connection to a Service's address, and one to the world, arrive with their targets known."""
        for target in (_SERVICE, _WORLD):
            self._arrives("client", "outbound", (target, 9080), partial(self._connect, "client", target))

    def outbound_ipv6(self) -> None:
        """The same for IPv6."""
        self._arrives(
            "client", "outbound", (_SERVICE_V6, 9080), partial(self._connect, "client", _SERVICE_V6)
        )

    def hop(self) -> None:
        """A connection on behalf of a client arrives at the server's side."""
        address = self._pods[1].addresses[0]
        dial = partial(self._fabric.dial, "server", address, 9080, mark=MARK_HOP)
        self._arrives("server", "inbound", (address, 9080), dial)

    def names(self) -> None:
        """A query to any name server arrives at the pod's own, and its answer at the asker."""
        answering = self._names["client"].datagrams[0]
        answering.settimeout(_TIMEOUT)
        with self._socket("client", socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.connect((_NAME_SERVER, 53))
            asking.send(b"question")
            question, asker = answering.recvfrom(16)
            answering.sendto(b"answer", asker)
            if (question, asking.recv(16)) != (b"question", b"answer"):
                raise SelfTestFailed("a DNS query was answered by somebody else")

    def between_pods(self) -> None:
        """UDP goes from pod to pod."""
        receiving = self._socket("server", socket.AF_INET, socket.SOCK_DGRAM)
        with receiving, self._socket("client", socket.AF_INET, socket.SOCK_DGRAM) as sending:
            receiving.bind(("0.0.0.0", 5000))
            sending.sendto(b"ping", (self._pods[1].addresses[0], 5000))
            receiving.recv(16)

    def captured(self, capture: Capture) -> None:
        self._captures[capture.instance] = capture

    def released(self, instance: str) -> None:
        capture = self._captures.pop(instance)
        for sock in (capture.outbound, capture.inbound):
            if sock is not None:
                sock.close()

    def serve(self, sockets: NameSockets) -> None:
        self._names[sockets.instance] = sockets

    def stop(self, instance: str) -> None:
        if (sockets := self._names.pop(instance, None)) is not None:
            for sock in (*sockets.datagrams, *sockets.listeners):
                sock.close()

    def _socket(self, instance: str, family: int, kind: int) -> socket.socket:
        network = self._fabric.network(instance)
        assert network is not None
        made = self._namespaces.socket(network.netns_fd, family, kind)
        made.settimeout(_TIMEOUT)
        return made

    def _connect(self, instance: str, address: str) -> socket.socket:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        made = self._socket(instance, family, socket.SOCK_STREAM)
        try:
            made.connect((address, 9080))
        except OSError:
            made.close()
            raise
        return made

    def _arrives(
        self, instance: str, side: str, wanted: tuple[str, int], begin: Callable[[], socket.socket]
    ) -> None:
        listener: socket.socket = getattr(self._captures[instance], side)
        listener.settimeout(_TIMEOUT)
        with contextlib.closing(begin()), contextlib.closing(listener.accept()[0]) as accepted:
            found = original_destination(accepted)
        if found != wanted:
            raise SelfTestFailed(f"a connection to {wanted} arrived with the target {found}")
