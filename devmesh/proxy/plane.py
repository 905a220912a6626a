"""What all connections of the data plane share, and what each proxy remembers between requests."""

from __future__ import annotations

import random
import socket
import ssl
from collections.abc import Callable
from typing import Protocol

from devmesh.model.identity import Identity
from devmesh.model.outside import OutsideNames
from devmesh.model.workload import Instance, Workload
from devmesh.proxy.http1 import Request, Response
from devmesh.proxy.origination import Origination
from devmesh.proxy.pools import ProxyState
from devmesh.proxy.reactor import Connection, Reactor
from devmesh.proxy.sockets import Address
from devmesh.snapshot.cluster import Cluster
from devmesh.snapshot.feed import SnapshotFeed
from devmesh.snapshot.network import PodFiles
from devmesh.telemetry.record import RecordSink
from devmesh.traffic.limiting import Quotas

_MAX_HOPS = 8192
_OWN = ("localhost", "host.docker.internal", "host.containers.internal")
_NAME_TTL = 5.0  # seconds; Envoy: dns_refresh_rate


class Certificates(Protocol):
    """What the data plane asks of `devmesh.security.contexts.Certificates`."""

    def server(self, identity: Identity) -> ssl.SSLContext: ...

    def client(self, identity: Identity, protocols: tuple[str, ...] = ()) -> ssl.SSLContext: ...

    def peer_identity(self, session: ssl.SSLObject) -> Identity | None: ...

    def peer_hash(self, session: ssl.SSLObject) -> str: ...


class Plane:
    """The parts that connections work with.

    Attributes:
        hops: Who made a connection into a workload's namespace, and from what address, by (instance, the
            socket's port): both ends are in this process. For telemetry alone, never to allow anything.
        quotas: What has been used of the rate limits that devmesh itself keeps for all proxies.
        services: Clusters that are spoken to by gRPC whatever their ports are named, by name: as they are
            configured, and as they are used.
        draw: Returns chance, uniform in [0, 1).
        outside: Names of the world that have another address here.
        origination: TLS that DestinationRules ask for.
        requests, responses: Heads that were read before, by their bytes; requests' by scheme.
        http2_requests, http2_responses: The same of HTTP/2, by their fields.
    """

    def __init__(
        self,
        reactor: Reactor,
        feed: SnapshotFeed,
        certificates: Certificates,
        sink: RecordSink,
        draw: Callable[[], float] = random.random,
        bits: Callable[[int], int] = random.getrandbits,
        outside: OutsideNames | None = None,
        files: PodFiles | None = None,
    ) -> None:
        self.reactor = reactor
        self.feed = feed
        self.certificates = certificates
        self.sink = sink
        self.draw = draw
        self.bits = bits
        self.outside = outside or OutsideNames()
        self.quotas = Quotas()
        self.services: dict[str, tuple[Cluster, Cluster]] = {}
        self.hops: dict[tuple[str, int], tuple[Workload, Address | None]] = {}
        self.proxies: dict[str, ProxyState] = {}
        self.origination = Origination(reactor, files)
        self.contexts: dict[tuple[object, ...], ssl.SSLContext | Exception] = {}
        self.requests: dict[str, dict[bytes, Request]] = {"http": {}, "https": {}}
        self.responses: dict[bytes, Response] = {}
        self.http2_requests: dict[tuple[object, ...], Request] = {}
        self.http2_responses: dict[tuple[object, ...], Response] = {}
        self._names: dict[str, tuple[float, list[str]]] = {}

    def state(self, instance: str) -> ProxyState:
        state = self.proxies.get(instance)
        if state is None:
            state = self.proxies[instance] = ProxyState(instance, self.reactor)
        return state

    def remember_hop(self, source: Instance, instance: str, connection: Connection) -> None:
        """Note that `connection`, made in the namespace of `instance`, is one of `source`.

        Both sides tell addresses as if it came from there, as it would on a network.
        """
        if len(self.hops) >= _MAX_HOPS:  # made into namespaces where nobody takes them over
            for key in list(self.hops)[: _MAX_HOPS // 2]:
                del self.hops[key]
        host, port = connection.local
        alike = next((a for a in source.addresses if (":" in a) == (":" in host)), None)
        shown = (alike, port) if alike else None
        self.hops[instance, port] = source.workload, shown
        connection.show(local=shown)

    def recognize(self, instance: str, connection: Connection) -> Workload | None:
        """Return whose hop an accepted connection is, and let it tell that address; None: a stranger's."""
        workload, shown = self.hops.pop((instance, connection.remote[1]), (None, None))
        connection.show(remote=shown)
        return workload

    def forget(self, instance: str) -> None:
        """Close what an instance that is gone has kept."""
        self.origination.forget(instance)
        state = self.proxies.pop(instance, None)
        if state is not None:
            state.close_idle()

    def resolved(self, name: str) -> str | None:
        """Return an address of `name` if it is known and fresh; "" if it has none.

        Services' names are known: a ServiceEntry's endpoint may be one.
        """
        if name in _OWN or name.endswith(".localhost"):
            return "127.0.0.1"
        snapshot = self.feed.current
        if name.endswith(f".svc.{snapshot.mesh.domain}") and (own := snapshot.names.get(name)):
            return own[int(self.draw() * len(own))]
        if (given := self.outside.addresses(name)) is not None:
            return given[int(self.draw() * len(given))] if given else ""
        found = self._names.get(name)
        if found is None or found[0] < self.reactor.now():
            return None
        addresses = found[1]
        return addresses[int(self.draw() * len(addresses))] if addresses else ""

    def resolve(self, name: str, then: Callable[[], None]) -> None:
        """Look `name` up, and call `then` when `resolved` knows."""

        def done(result: list[str] | Exception) -> None:
            addresses = [] if isinstance(result, Exception) else result
            self._names[name] = (self.reactor.now() + _NAME_TTL, addresses)
            then()

        self.reactor.aside(lambda: _addresses(name), done)


def _addresses(name: str) -> list[str]:
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))
