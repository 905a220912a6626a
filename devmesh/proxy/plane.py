"""What all connections of the data plane share, and what each proxy remembers between requests."""

from __future__ import annotations

import random
import socket
import ssl
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from devmesh.model.identity import Identity
from devmesh.model.outside import OutsideNames
from devmesh.model.workload import Instance, Workload
from devmesh.proxy.deadlines import Deadline
from devmesh.proxy.http1 import Request, Response
from devmesh.proxy.reactor import Connection, Reactor
from devmesh.proxy.sockets import Address, text_of
from devmesh.snapshot.cluster import Endpoint, TlsMode, UpstreamTls
from devmesh.snapshot.feed import SnapshotFeed
from devmesh.snapshot.proxy import ServerTls
from devmesh.telemetry.record import RecordSink
from devmesh.traffic.balancing import State

if TYPE_CHECKING:
    from devmesh.proxy.exchange import Exchange
    from devmesh.proxy.upstream import Upstream

_NO_TLS = UpstreamTls(TlsMode.DISABLE)
SetDeadline = Callable[[float, Callable[[], None]], Deadline]
_MAX_HOPS = 8192
_NAME_TTL = 5.0  # seconds; Envoy: dns_refresh_rate


class Certificates(Protocol):
    """What the data plane asks of `devmesh.security.contexts.Certificates`."""

    def server(self, identity: Identity) -> ssl.SSLContext: ...

    def client(self, identity: Identity, protocols: tuple[str, ...] = ()) -> ssl.SSLContext: ...

    def peer_identity(self, session: ssl.SSLObject) -> Identity | None: ...

    def peer_hash(self, session: ssl.SSLObject) -> str: ...


class Pool:
    """The connections of one proxy to one endpoint of one cluster. The latest used is the first reused.

    Attributes:
        is_mesh_tls: They are mutual TLS by the mesh's own certificates.
        host, identity: The endpoint's, as text.
    """

    __slots__ = (
        "cluster",
        "connections",
        "endpoint",
        "host",
        "identity",
        "idle",
        "is_mesh_tls",
        "waiting",
    )

    def __init__(self, cluster: ClusterState, endpoint: Endpoint) -> None:
        self.cluster = cluster
        self.idle: list[Upstream] = []
        self.connections = 0
        self.waiting: deque[Exchange] = deque()  # for a connection, while there are as many as allowed
        self.host = text_of(endpoint.key)
        self.use(endpoint)

    def use(self, endpoint: Endpoint) -> None:
        """Connect to `endpoint` from now on; its address and port are as before."""
        self.endpoint = endpoint
        self.identity = str(endpoint.identity) if endpoint.identity is not None else ""
        mode = self.cluster.tls.mode
        self.is_mesh_tls = mode is TlsMode.ISTIO_MUTUAL or (mode is TlsMode.AUTO and endpoint.mtls)


class ClusterState:
    """What a proxy remembers of a cluster; it outlives snapshots.

    Attributes:
        requests: Under way.
        pending: Of those, waiting for a connection.
    """

    __slots__ = ("balancing", "connections", "deadline", "pending", "pools", "requests", "tls")

    def __init__(self, deadline: SetDeadline) -> None:
        self.deadline = deadline
        self.balancing = State()
        self.pools: dict[tuple[str, int], Pool] = {}
        self.requests = 0
        self.pending = 0
        self.connections = 0
        self.tls = _NO_TLS

    def pool(self, endpoint: Endpoint) -> Pool:
        """Return the pool for `endpoint`. Where it is another than before under the same address (another
        instance, identity or way to speak), nothing that is idle is used again."""
        pool = self.pools.get(endpoint.key)
        if pool is None:
            pool = self.pools[endpoint.key] = Pool(self, endpoint)
        elif pool.endpoint is not endpoint:
            old = pool.endpoint
            pool.use(endpoint)
            if (old.instance, old.identity, old.mtls) != (
                endpoint.instance,
                endpoint.identity,
                endpoint.mtls,
            ):
                self.close_idle(pool)
        return pool

    def use_tls(self, tls: UpstreamTls) -> None:
        """Speak so to the cluster from now on."""
        changed, self.tls = self.tls != tls, tls
        for pool in self.pools.values():
            pool.use(pool.endpoint)
            if changed:
                self.close_idle(pool)

    def close_idle(self, pool: Pool | None = None) -> None:
        """Close the connections, of one pool or all, that carry nothing."""
        for each in [pool] if pool is not None else list(self.pools.values()):
            idle, each.idle = each.idle, []
            for upstream in idle:
                upstream.discard()


class ProxyState:
    """What one proxy remembers, by the names of its clusters."""

    __slots__ = ("_deadline", "clusters", "instance")

    def __init__(self, instance: str, deadline: SetDeadline) -> None:
        self.instance = instance
        self._deadline = deadline
        self.clusters: dict[str, ClusterState] = {}

    def cluster(self, name: str) -> ClusterState:
        state = self.clusters.get(name)
        if state is None:
            state = self.clusters[name] = ClusterState(self._deadline)
        return state

    def close_idle(self) -> None:
        for state in self.clusters.values():
            state.close_idle()


class Plane:
    """The parts that connections work with.

    Attributes:
        hops: Who made a connection into a workload's namespace, and from what address, by (instance, the
            socket's port): both ends are in this process. For telemetry alone, never to allow anything.
        draw: Returns chance, uniform in [0, 1).
        outside: Names of the world that have another address here.
        requests, responses: Heads that were read before, by their bytes; requests' by scheme.
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
    ) -> None:
        self.reactor = reactor
        self.feed = feed
        self.certificates = certificates
        self.sink = sink
        self.draw = draw
        self.bits = bits
        self.outside = outside or OutsideNames()
        self.hops: dict[tuple[str, int], tuple[Workload, Address | None]] = {}
        self.proxies: dict[str, ProxyState] = {}
        self.contexts: dict[UpstreamTls | ServerTls, ssl.SSLContext | Exception] = {}
        self.requests: dict[str, dict[bytes, Request]] = {"http": {}, "https": {}}
        self.responses: dict[bytes, Response] = {}
        self._names: dict[str, tuple[float, list[str]]] = {}

    def state(self, instance: str) -> ProxyState:
        state = self.proxies.get(instance)
        if state is None:
            state = self.proxies[instance] = ProxyState(instance, self.reactor.deadline)
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
        state = self.proxies.pop(instance, None)
        if state is not None:
            state.close_idle()

    def resolved(self, name: str) -> str | None:
        """Return an address of `name` if it is known and fresh; "" if it has none.

        Services' names are known: a ServiceEntry's endpoint may be one.
        """
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
