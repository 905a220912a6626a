"""What happens to a connection that arrives: which configuration it falls under, what it speaks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from devmesh.model.port import Protocol
from devmesh.proxy import dialing
from devmesh.proxy.client_hello import Kind, kind_of, read_client_hello
from devmesh.proxy.downstream import HttpServer
from devmesh.proxy.http2.server import Http2Server
from devmesh.proxy.outbound import ClientSide, original_endpoint
from devmesh.proxy.plane import Plane
from devmesh.proxy.pools import SHARED, Variant
from devmesh.proxy.reactor import Address, Connection, Owner
from devmesh.proxy.session import TcpSession
from devmesh.proxy.side import Side
from devmesh.proxy.sniffing import FirstBytes, Held
from devmesh.proxy.sockets import text_of
from devmesh.snapshot.cluster import Cluster, ClusterKind, Endpoint, Limits, TlsMode, UpstreamTls
from devmesh.snapshot.proxy import Proxy, Target, TcpRoute
from devmesh.snapshot.route import RouteTable
from devmesh.telemetry.record import Record
from devmesh.traffic.balancing import pick
from devmesh.traffic.chains import best_route
from devmesh.traffic.hashing import hashed
from devmesh.traffic.routing import pick_destination

PASSTHROUGH, BLACK_HOLE = "PassthroughCluster", "BlackHoleCluster"
_NO_LIMITS = Limits()
_AS_IT_IS = UpstreamTls(TlsMode.DISABLE)
_BY_NAME = (Protocol.TLS, Protocol.HTTPS)


def target_of(proxy: Proxy, original: Address) -> Target | None:
    """Return what configuration knows of an address that was dialled."""
    return proxy.outbound.target(*original)


class OutboundArrival:
    """A connection that an application opened, taken over on its way."""

    def __init__(self, plane: Plane, proxy: Proxy, connection: Connection, original: Address) -> None:
        self._plane, self._proxy = plane, proxy
        self._connection, self._original = connection, original
        self._target = target_of(proxy, original)

    def start(self) -> None:
        target, plane = self._target, self._plane
        if target is None:
            self._tcp(self._proxy.outbound.unknown, b"")
        elif target.protocol.is_http:
            FirstBytes(plane.reactor, self._connection, self._sniffed)
        elif target.protocol is Protocol.AUTO:
            FirstBytes(plane.reactor, self._connection, self._sniffed, plane.feed.current.mesh.sniff_timeout)
        elif any(route.sni for route in target.tcp):
            timeout = 0.0 if target.protocol in _BY_NAME else plane.feed.current.mesh.sniff_timeout
            FirstBytes(plane.reactor, self._connection, self._named, timeout)
        else:
            self._route(b"", "")

    def _sniffed(self, data: bytes, over: bool) -> bool:
        kind, target = kind_of(data), self._target
        assert target is not None
        if target.protocol.is_http:
            if kind is None and not over:
                return False
            self._http(data, kind)
            return True
        if kind is None and not over:
            return False
        if kind in (Kind.HTTP1, Kind.HTTP2) and target.routes is not None:
            self._http(data, kind)
            return True
        if kind is Kind.TLS:
            return self._named(data, over)
        if kind is Kind.HTTP2 and not target.tcp:
            self._tcp(self._cluster_by_address(), data)
        else:
            self._route(data, "")
        return True

    def _named(self, data: bytes, over: bool) -> bool:
        name = ""
        if kind_of(data) is Kind.TLS:
            try:
                hello = read_client_hello(data)
            except ValueError:
                hello, over = None, True
            if hello is None and not over:
                return False
            name = hello.server_name if hello else ""
        elif kind_of(data) is None and not over:
            return False
        self._route(data, name)
        return True

    def _http(self, first: bytes, kind: Kind | None) -> None:
        original = self._original

        def table(proxy: Proxy) -> RouteTable | None:
            target = target_of(proxy, original)
            return target.routes if target else None

        known = original in self._proxy.outbound.by_address
        side = ClientSide(
            self._plane,
            self._proxy,
            self._connection,
            table,
            original=original,
            stat_prefix=f"outbound_{original[0] if known else '0.0.0.0'}_{original[1]}",
        )
        serve(side, self._connection, kind, first)

    def _route(self, first: bytes, server_name: str) -> None:
        target = self._target
        assert target is not None
        arrival = TcpArrival(self._plane, self._proxy, self._connection, self._original, server_name)
        arrival.route(target.tcp, first)

    def _tcp(self, cluster: str, first: bytes) -> None:
        TcpArrival(self._plane, self._proxy, self._connection, self._original).to(cluster, first)

    def _cluster_by_address(self) -> str:
        """Return the cluster of the Service whose address was dialled: for what is opaque to the proxy."""
        address, port = self._original
        for host, service in self._plane.feed.current.services.items():
            if address in service.addresses:
                return f"outbound|{port}||{host}"
        return PASSTHROUGH


def serve(side: Side, connection: Connection, kind: Kind | None, first: bytes) -> None:
    """Serve what a client speaks, as its first bytes tell."""
    if kind is Kind.HTTP2:
        Http2Server(side, connection, first)
    else:
        HttpServer(side, connection, first)


class TcpArrival:
    """A connection that is carried as it is, on the client's side.

    Args:
        original: None at a gateway.
    """

    def __init__(
        self,
        plane: Plane,
        proxy: Proxy,
        connection: Connection,
        original: Address | None,
        server_name: str = "",
    ) -> None:
        self._plane, self._proxy, self._connection = plane, proxy, connection
        self._original, self._server_name = original, server_name
        self._passed_on = False

    def route(self, routes: tuple[TcpRoute, ...], first: bytes) -> None:
        """Take the one of `routes` that fits the connection best."""
        address = self._original[0] if self._original else ""
        route = best_route(routes, self._server_name, address)
        if route is not None:
            self.take(route, first)
            return
        session = TcpSession(self._plane, self._connection, self._record(None, None, None), _NO_LIMITS)
        session.fail("NR", details="filter_chain_not_found")

    def take(self, route: TcpRoute, first: bytes) -> None:
        """Go to one of a route's destinations."""
        self._passed_on = route.mesh_only
        self.to(pick_destination(route.destinations, self._plane.draw()).cluster, first, route)

    def to(self, name: str, first: bytes, route: TcpRoute | None = None) -> None:
        """Go to a cluster."""
        plane, proxy = self._plane, self._proxy
        cluster = proxy.outbound.clusters.get(name)
        if cluster is None or name == BLACK_HOLE:
            session = TcpSession(plane, self._connection, self._record(cluster, None, route), _NO_LIMITS)
            if cluster is None:
                session.fail("NC", details="cluster_not_found")
            else:
                session.fail("UH", reset=True)
            return
        state = plane.state(proxy.instance.id).cluster(name)
        if state.used is not cluster:
            state.use(cluster)
        if self._passed_on:  # mutual TLS that goes on as it is (Istio: the clusters of SNI-DNAT)
            cluster = replace(cluster, name=self._server_name, tls=_AS_IT_IS)
        endpoint: Endpoint | None
        if cluster.kind is ClusterKind.ORIGINAL_DST:
            original = self._original
            endpoint = (
                original_endpoint(cluster, original, plane.feed.current, plane.draw()) if original else None
            )
        else:
            if state.balancing.needs_tables(cluster):
                held = Held(self._connection, partial(self.to, name, first, route))
                if not state.prepare_tables(cluster, held.go_on):
                    return
            key = self._hash(cluster)
            endpoint = pick(cluster, state.balancing, plane.draw(), key=key, now=plane.reactor.now())
        if endpoint is None and cluster.kind is ClusterKind.DYNAMIC and self._server_name:
            endpoint = Endpoint(self._server_name, cluster.port)  # Envoy: sni_dynamic_forward_proxy
        record = self._record(cluster, endpoint, route)
        if endpoint is None:
            state.stats.upstream_cx_none_healthy += 1
            TcpSession(plane, self._connection, record, _NO_LIMITS).fail("UH", details="no_healthy_upstream")
            return
        if state.connections >= cluster.limits.max_connections:
            state.stats.upstream_cx_overflow += 1
            TcpSession(plane, self._connection, record, _NO_LIMITS).fail("UO", details="overflow")
            return
        limits, through = cluster.limits, cluster.tunnel
        session = TcpSession(plane, self._connection, record, limits, state, endpoint, first, through)
        self._connect(session, cluster, endpoint)

    def _hash(self, cluster: Cluster) -> int | None:
        """Istio: of all that can be hashed only the source's address is there for TCP."""
        hashes = cluster.hashing is not None and cluster.hashing.source_ip
        return hashed(self._connection.remote[0]) if hashes else None

    def _connect(self, session: TcpSession, cluster: Cluster, endpoint: Endpoint) -> None:
        caller = dialing.Caller(self._plane, self._proxy.instance, http=False)

        variant = SHARED
        if cluster.proxy_protocol:
            meant = self._original or self._connection.local
            variant = Variant(addresses=(self._connection.remote, meant))
        origination, tls = self._plane.origination, cluster.tls
        if tls.files is not None and origination.settings(tls, caller.instance.id) is None:
            again = partial(self._connect, session, cluster, endpoint)
            origination.read(tls, caller.instance.id, again)
            return

        def begin(address: str) -> None:
            def dial(owner: Owner) -> Connection:
                return dialing.connect(caller, owner, cluster, endpoint, address, variant)

            session.connect(dial)

        if not dialing.is_name(endpoint.address):
            begin(endpoint.address)
            return

        def resolved() -> None:
            found = self._plane.resolved(endpoint.address)
            if found:
                begin(found)
            else:
                session.fail("UH", f"the name {endpoint.address} has no address", "no_healthy_upstream")

        if self._plane.resolved(endpoint.address) is None:
            self._plane.resolve(endpoint.address, resolved)
        else:
            resolved()

    def _record(self, cluster: Cluster | None, endpoint: Endpoint | None, route: TcpRoute | None) -> Record:
        instance, plane = self._proxy.instance, self._plane
        record = Record(
            "source",
            instance.id,
            instance.workload,
            endpoint.workload if endpoint else None,
            cluster.service if cluster else None,
            plane.reactor.time(),
            protocol="tcp",
        )
        record.downstream_remote = text_of(self._connection.remote)
        record.downstream_local = text_of(self._original or self._connection.local)
        record.server_name = self._server_name
        record.upstream_cluster = cluster.name if cluster else ""
        if endpoint is not None:
            record.upstream_host = text_of(endpoint.key)
            if cluster is not None and dialing.is_mesh_tls(cluster, endpoint):
                record.mtls = True
                record.source_principal = str(instance.identity)
                record.destination_principal = str(endpoint.identity or "")
        record.origin = route.origin if route else None
        return record


Then = Callable[[Connection], None]


class Terminated(Owner):
    """Waits for a TLS handshake, then hands the connection on."""

    __slots__ = ("_connection", "_deadline", "_then")

    def __init__(self, plane: Plane, then: Then) -> None:
        self._then = then
        self._connection: Connection | None = None
        self._deadline = plane.reactor.deadline(_HANDSHAKE_TIMEOUT, partial(self.lost, "too slow"))

    def of(self, connection: Connection) -> None:
        self._connection = connection

    def connected(self) -> None:
        self._deadline.cancel()
        assert self._connection is not None
        self._then(self._connection)

    def lost(self, reason: str) -> None:
        self._deadline.cancel()
        if self._connection is not None:
            self._connection.close()


_HANDSHAKE_TIMEOUT = 15.0  # seconds (Envoy: transport_socket_connect_timeout)
