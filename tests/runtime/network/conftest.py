"""A fabric of real namespaces, and applications in its pods: plain sockets made there."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from devmesh.runtime.network.fabric import Fabric
from devmesh.runtime.network.namespaces import InlineNamespaces, Namespaces
from devmesh.runtime.network.pod import PodNetwork
from devmesh.runtime.network.userns import UserNamespaces
from devmesh.snapshot.network import Capture

SECONDS = 2.0  # what any of these may take at most


@dataclass
class Watcher:
    """Stands for the proxy: keeps what it is told."""

    captures: dict[str, Capture] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)

    def captured(self, capture: Capture) -> None:
        self.captures[capture.instance] = capture

    def released(self, instance: str) -> None:
        self.gone.append(instance)
        self.close(self.captures.pop(instance))

    @staticmethod
    def close(capture: Capture) -> None:
        for sock in (capture.outbound, capture.inbound):
            if sock is not None:
                sock.close()

    def accept(self, instance: str, side: str) -> socket.socket:
        listener: socket.socket = getattr(self.captures[instance], side)
        listener.settimeout(SECONDS)
        accepted, _ = listener.accept()
        accepted.settimeout(SECONDS)
        return accepted


@dataclass
class Application:
    """What runs in a pod: it makes sockets there, and knows nothing of the mesh."""

    namespaces: Namespaces
    pod: PodNetwork
    opened: list[socket.socket] = field(default_factory=list)

    def socket(self, address: str, kind: int = socket.SOCK_STREAM) -> socket.socket:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        made = self.namespaces.socket(self.pod.netns_fd, family, kind)
        made.settimeout(SECONDS)
        self.opened.append(made)
        return made

    def listen(self, address: str, port: int) -> socket.socket:
        listener = self.socket(address)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen()
        return listener

    def connect(self, address: str, port: int) -> socket.socket:
        client = self.socket(address)
        client.connect((address, port))
        return client

    def close(self) -> None:
        for sock in self.opened:
            sock.close()


@pytest.fixture(params=[InlineNamespaces, UserNamespaces.start], ids=["root", "user"])
def namespaces(request: pytest.FixtureRequest) -> Namespaces:
    made: Namespaces = request.param()
    return made


@pytest.fixture
def fabric(namespaces: Namespaces) -> Iterator[Fabric]:
    made = Fabric(namespaces)
    yield made
    made.close()


@pytest.fixture
def watcher(fabric: Fabric) -> Watcher:
    made = Watcher()
    fabric.subscribe(made)
    return made


class Applications:
    """Makes pods with an application in each."""

    def __init__(self, fabric: Fabric, namespaces: Namespaces) -> None:
        self._fabric = fabric
        self._namespaces = namespaces
        self._made: list[Application] = []

    def __call__(self, instance: str, **options: object) -> Application:
        pod = self._fabric.create(instance, **options)  # type: ignore[arg-type]
        application = Application(self._namespaces, pod)
        self._made.append(application)
        return application

    def close(self) -> None:
        for application in self._made:
            application.close()


@pytest.fixture
def run_pod(fabric: Fabric, namespaces: Namespaces) -> Iterator[Applications]:
    made = Applications(fabric, namespaces)
    yield made
    made.close()


def accept(listener: socket.socket) -> str:
    """Take the next connection, and return the address of its client."""
    accepted, peer = listener.accept()
    accepted.close()
    return str(peer[0])
