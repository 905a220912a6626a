"""The server's side: requests that arrive at a workload go to its application."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from devmesh.model.identity import Identity
from devmesh.model.port import Protocol
from devmesh.model.workload import Workload
from devmesh.proxy import limiting, tracing
from devmesh.proxy.dialing import connect_to_application
from devmesh.proxy.http1 import Malformed, Request
from devmesh.proxy.plane import Plane
from devmesh.proxy.planning import MAX_DERIVED
from devmesh.proxy.pools import Pool
from devmesh.proxy.reactor import Address, Connection, Owner
from devmesh.proxy.side import HOP_BY_HOP, Named, Side, framing, group_of, sent_on
from devmesh.proxy.sockets import text_of
from devmesh.snapshot.cluster import (
    NO_LIMITS,
    Cluster,
    ClusterKind,
    Endpoint,
    Limits,
    ServiceRef,
    TlsMode,
    UpstreamTls,
)
from devmesh.snapshot.proxy import InboundPort, MtlsMode, Proxy
from devmesh.snapshot.rate_limits import Limiting
from devmesh.snapshot.route import Retry, Route
from devmesh.snapshot.snapshot import Snapshot
from devmesh.telemetry.record import Record
from devmesh.traffic.grpc import timeout_of

if TYPE_CHECKING:
    from devmesh.proxy.exchange import Exchange

_DROPPED = (
    HOP_BY_HOP
    | tracing.NAMES
    | {
        "host",
        "x-request-id",
        "x-forwarded-proto",
        "x-forwarded-client-cert",
        "x-envoy-decorator-operation",
        "x-envoy-peer-metadata",
        "x-envoy-peer-metadata-id",
        "x-envoy-expected-rq-timeout-ms",
    }
)
# Istio: inbound routes try again where nothing of the request can have arrived.
_RETRY = Retry(attempts=2, on=frozenset({"reset-before-request"}))
PASSTHROUGH = "InboundPassthroughCluster"
_NO_TLS = UpstreamTls(TlsMode.DISABLE)
_UNNAMED = ServiceRef("", PASSTHROUGH, "unknown")


@dataclass(frozen=True, slots=True)
class Peer:
    """Who has connected, as far as it is proved; `workload` is what telemetry may say.

    `certificate_hash` is the SHA-256 of the certificate, in hexadecimal.
    """

    mtls: bool = False
    identity: Identity | None = None
    certificate_hash: str = ""
    workload: Workload | None = None
    server_name: str = ""


class _Plan(NamedTuple):
    """What is sent on of a head: `before` what is new each time, and `after`.

    `is_named`: the caller has told what the call is named. `certificate` is what it was made for.
    """

    before: str
    after: str
    is_named: bool
    certificate: str


class ServerSide(Side):
    """Serves one connection to a port of a workload."""

    server_name = "istio-envoy"
    may_refuse = True
    by_original = True

    def __init__(
        self, plane: Plane, proxy: Proxy, connection: Connection, original: Address, peer: Peer
    ) -> None:
        super().__init__(plane, proxy.instance.id, connection, f"inbound_0.0.0.0_{original[1]}")
        self._original = original
        self._peer = peer
        self._snapshot: Snapshot | None = None
        self._source_principal = str(peer.identity) if peer.identity is not None else ""
        self.local_text = text_of(original)
        self.limit_place = f"{original[1]} {'tls' if peer.mtls else 'plain'}"  # Istio: a filter chain each
        self.group = group_of(proxy.instance.workload)
        self._limiting: Limiting | None = None
        self._use(plane.feed.current)
        self._certificate = self._client_certificate()
        # Envoy tells a caller without a proxy what the call is named, as that proxy would have told us.
        operation = self._route.operation
        self._operation = f"x-envoy-decorator-operation: {operation}\r\n".encode() if operation else b""

    def _use(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._sampling = snapshot.mesh.sampling_percent
        proxy = snapshot.proxies.get(self.instance)
        if proxy is None:
            return
        port = self._original[1]
        found = proxy.inbound.ports.get(port)
        self._mode = proxy.inbound.mode(port)
        self._route, self._cluster = _served(self.instance, found, self._original)
        self._endpoint = self._cluster.endpoints[0]
        self._limiting = found.limiting if found is not None else None
        self.workload = proxy.instance.workload
        self._identity = str(proxy.instance.identity)

    def refuses(self) -> bool:
        """STRICT may have come into force after the connection began."""
        snapshot = self.plane.feed.current
        if snapshot is not self._snapshot:
            self._use(snapshot)
        return self._mode is MtlsMode.STRICT and not self._peer.mtls

    def decide(self, exchange: Exchange) -> None:
        request, plane = exchange.request, self.plane
        if (not request.minor or request.upgrade) and not self.speaks(exchange):
            return
        trace = exchange.trace = tracing.follow(request.ids, plane.bits, plane.draw, self._sampling)
        request_id = exchange.request_id = trace.request_id
        route = exchange.route = self._route
        exchange.cluster = self._cluster
        plan: _Plan | None = request.derived.get(id(self._certificate))
        if plan is None:
            plan = self._plan(request)
        self.last_fields = b"" if plan.is_named else self._operation
        upgrade = framing(request, exchange.upgrade) if exchange.upgrade else ""
        exchange.head = f"{plan.before}x-request-id: {request_id}\r\n{trace.text}{upgrade or plan.after}\r\n"
        if request.is_grpc and (seconds := timeout_of(request.headers.get("grpc-timeout", ""))):
            exchange.last(seconds)
        if self._limiting is not None:
            limiting.check(self, exchange, self._limiting, self._admitted, first=None)
        else:
            exchange.forward(route)

    def _admitted(self, exchange: Exchange) -> None:
        if exchange.request_fields:
            lines = "".join([f"{name}: {value}\r\n" for name, value in exchange.request_fields])
            exchange.head = f"{exchange.head[:-2]}{lines}\r\n"
        exchange.forward(self._route)

    def _plan(self, request: Request) -> _Plan:
        """Render what is sent on of a head that comes from this peer, and keep that with the head."""
        named = request.headers
        proto, certificate = named.get("x-forwarded-proto"), self._certificate
        lines = f"x-forwarded-proto: {proto if proto in ('http', 'https') else 'http'}\r\n"
        if certificate:
            lines += self._forwarded_certificate(named.get("x-forwarded-client-cert"))
        before = (
            f"{request.method} {request.path} HTTP/1.1\r\nhost: {request.authority}\r\n"
            f"{sent_on(request, _DROPPED)}{lines}"
        )
        is_named = "x-envoy-decorator-operation" in named
        plan = _Plan(before, framing(request, ""), is_named, certificate)
        if len(request.derived) > MAX_DERIVED:  # of peers that are gone
            request.derived.clear()
        request.derived[id(certificate)] = plan
        return plan

    def is_operation_told(self, exchange: Exchange) -> bool:
        return bool(self._operation) and "x-envoy-decorator-operation" not in exchange.request.headers

    def delayed(self, exchange: Exchange) -> None:
        raise AssertionError("faults are injected on the client's side")

    def request_head(self, exchange: Exchange) -> str:
        return exchange.head

    def connect(
        self, cluster: Cluster, pool: Pool, owner: Owner, named: Named, *, http2: bool = False
    ) -> Connection | None:
        endpoint = pool.endpoint
        address, port = endpoint.key
        return connect_to_application(self.plane, owner, endpoint.instance, address, port)

    def original_endpoint(self, cluster: Cluster) -> Endpoint | None:
        return self._endpoint

    def record(self, exchange: Exchange) -> Record | None:
        request, peer, cluster, trace = exchange.request, self._peer, exchange.cluster, exchange.trace
        named, reactor = request.headers, self.plane.reactor
        body, response_body, pool = exchange.body, exchange.response_body, exchange.pool
        duration = reactor.now() - exchange.began
        secure = peer.mtls
        return Record(
            "destination",
            self.instance,
            peer.workload,
            self.workload,
            self._cluster.service,
            reactor.time() - duration,
            "grpc" if request.is_grpc else "http",
            request.version,
            request.method,
            request.path,
            "",
            request.authority,
            exchange.status,
            exchange.grpc_status,
            exchange.flags,
            exchange.details,
            "",
            exchange.transport_failure,
            duration,
            exchange.upstream_time,
            body.size if body is not None else exchange.upload_size,
            response_body.size if response_body is not None else exchange.download_size,
            secure,
            self._source_principal if secure else "",
            self._identity if secure else "",
            named.get("user-agent", ""),
            named.get("x-forwarded-for", ""),
            exchange.request_id,
            trace.trace_id if trace is not None else "",
            trace.span_id if trace is not None else "",
            trace.parent_id if trace is not None else "",
            trace is not None and trace.sampled,
            pool.host if pool is not None else self.local_text,
            cluster.name or self._cluster.name,
            exchange.upstream_local,
            self.local_text,
            self.remote_text,
            peer.server_name,
            "default",
            named.get("x-envoy-decorator-operation") or self._route.operation,
            exchange.attempts,
        )

    def refused(self, error: Malformed, sent: int) -> Record | None:
        now, peer = self.plane.reactor.time(), self._peer
        record = Record(
            "destination", self.instance, peer.workload, self.workload, self._cluster.service, now
        )
        record.status, record.details, record.bytes_sent = error.status, error.details, sent
        record.flags = "" if error.details == "missing_host_header" else "DPE"
        record.mtls = peer.mtls
        record.source_principal = self._source_principal
        record.downstream_local, record.downstream_remote = self.local_text, self.remote_text
        return record

    def _client_certificate(self) -> str:
        peer = self._peer
        if not peer.mtls:
            return ""
        return _certificate(self._identity, peer.certificate_hash, self._source_principal)

    def _forwarded_certificate(self, given: str | None) -> str:
        """Envoy, APPEND_FORWARD: what a verified client forwards stays in front; a plain one's is dropped."""
        return f"x-forwarded-client-cert: {given + ',' if given else ''}{self._certificate}\r\n"


@functools.lru_cache(maxsize=2048)  # one object for all connections of a peer: plans are found by its id
def _certificate(own: str, fingerprint: str, principal: str) -> str:
    by = f"By={own};" if own else ""
    return f'{by}Hash={fingerprint};Subject="";URI={principal}'


@functools.lru_cache(maxsize=2048)
def _inbound_cluster(
    name: str,
    service: ServiceRef,
    port: int,
    instance: str | None,
    address: Address,
    limits: Limits = NO_LIMITS,
    protocol: Protocol = Protocol.AUTO,
) -> tuple[Route, Cluster]:
    operation = f"{service.host}:{port}/*" if service.host else ""
    endpoints = (Endpoint(*address, instance),)
    cluster = Cluster(
        name,
        service,
        port,
        kind=ClusterKind.STATIC,
        endpoints=endpoints,
        tls=_NO_TLS,
        limits=limits,
        http2=protocol.is_http2,
        by_client=protocol is Protocol.AUTO,
    )
    return Route(retry=_RETRY, operation=operation), cluster


def _served(instance: str, port: InboundPort | None, original: Address) -> tuple[Route, Cluster]:
    """Return the route and the cluster of what comes to an instance; its endpoint is the application."""
    if port is None:
        return _inbound_cluster(PASSTHROUGH, _UNNAMED, original[1], instance, original)
    where, address = last_hop(instance, port, original)
    service = port.service or _UNNAMED
    return _inbound_cluster(port.cluster, service, original[1], where, address, port.limits, port.protocol)


def last_hop(instance: str, port: InboundPort | None, original: Address) -> tuple[str | None, Address]:
    """Return in whose namespace (None: devmesh's own), and at what address, the application is."""
    last = port.last_hop if port is not None else None
    if last is None:
        return instance, original
    return None if last.outside else instance, (last.address, last.port)
