"""The client's side: requests of an application, or of the world at a gateway, find their destination."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from devmesh.proxy import dialing, limiting, tracing
from devmesh.proxy.expansion import expander
from devmesh.proxy.forwarded import certificate_header, is_internal, trusted_address
from devmesh.proxy.http1 import Fields, Malformed, Request, Response
from devmesh.proxy.mirror import mirrored
from devmesh.proxy.plane import Plane
from devmesh.proxy.planning import (
    AT_GATEWAY,
    DROPPED,
    MAX_DERIVED,
    REWRITTEN,
    Plan,
    asks_ids,
    is_simple,
    said_by,
)
from devmesh.proxy.pools import Pool, Variant
from devmesh.proxy.reactor import Address, Connection, Owner
from devmesh.proxy.side import Named, Side, framing, group_of, kept, sent_on
from devmesh.proxy.sockets import text_of
from devmesh.snapshot.cluster import Cluster, Endpoint, TlsMode
from devmesh.snapshot.proxy import Proxy
from devmesh.snapshot.rate_limits import Limiting
from devmesh.snapshot.route import NO_OPS, Route, RouteTable
from devmesh.snapshot.snapshot import Snapshot
from devmesh.telemetry.record import Record
from devmesh.traffic import cors, fault, headers, rewriting
from devmesh.traffic.grpc import timeout_of, timeout_text
from devmesh.traffic.routing import RequestHead, find_route, find_virtual_host, pick_destination, without_port

if TYPE_CHECKING:
    from devmesh.proxy.exchange import Exchange

_GRPC = {dropped: dropped | {"grpc-timeout"} for dropped in (DROPPED, REWRITTEN, AT_GATEWAY)}


class ClientSide(Side):
    """Routes each request.

    Args:
        original: Where the connection was meant to go; None at a gateway.
        table: Finds the routes of this connection in a proxy's configuration. `limits`: its rate limits.
        gateway: The proxy is a gateway's: it stands at the edge, and requests come from the world.
        xfcc: What a gateway that verified its client says of it.
        stat_prefix: What clients' connections and requests are counted under.
    """

    def __init__(
        self,
        plane: Plane,
        proxy: Proxy,
        connection: Connection,
        table: Callable[[Proxy], RouteTable | None],
        *,
        original: Address | None = None,
        gateway: bool = False,
        scheme: str = "http",
        server_name: str = "",
        xfcc: str = "",
        stat_prefix: str = "outbound",
        limits: Callable[[Proxy], Limiting | None] = lambda proxy: None,
    ) -> None:
        if gateway:
            self.server_name = "istio-envoy"
        super().__init__(plane, proxy.instance.id, connection, stat_prefix)
        self._find_table = table
        self._find_limits = limits
        self._limiting: Limiting | None = None
        self.limit_place = stat_prefix
        self.group = group_of(proxy.instance.workload)
        self._original = original
        self._local = connection.local
        self._gateway = gateway
        self.scheme = scheme
        self._requested_name = server_name
        self._xfcc = xfcc
        self._snapshot: Snapshot | None = None
        self._caller = dialing.Caller(plane, proxy.instance)
        self._principal = str(proxy.instance.identity)
        self.local_text = text_of(original or connection.local)
        self._use(plane.feed.current)

    def _use(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._sampling = snapshot.mesh.sampling_percent
        proxy = snapshot.proxies.get(self.instance)
        if proxy is not None:  # else the instance is going: what it last knew serves its last requests
            self._proxy = proxy
            self._table = self._find_table(proxy)
            self._table_id = id(self._table)
            self._limiting = self._find_limits(proxy)
            self._clusters = proxy.outbound.clusters
            self.workload = proxy.instance.workload

    def decide(self, exchange: Exchange) -> None:
        snapshot = self.plane.feed.current
        if snapshot is not self._snapshot:
            self._use(snapshot)
        request, plane = exchange.request, self.plane
        plan: Plan | None = request.derived.get(self._table_id)
        if plan is None or (plan.asks_ids and request.ids):
            plan = self._plan(request)
        route = plan.route
        trace = exchange.trace = tracing.follow(request.ids, plane.bits, plane.draw, self._sampling)
        request_id = exchange.request_id = trace.request_id
        if route is None:
            if self.speaks(exchange):
                exchange.reply(404, b"", "NR", "route_not_found")
            return
        exchange.route = route
        destinations = route.destinations
        if destinations:
            chosen = exchange.weighted = (
                destinations[0] if len(destinations) == 1 else pick_destination(destinations, plane.draw())
            )
            cluster = self._clusters.get(chosen.cluster)
            if cluster is not None:
                exchange.cluster = cluster
                if plan.is_simple:
                    exchange.head = f"{plan.before}x-request-id: {request_id}\r\n{trace.text}{plan.after}"
                    exchange.forward(route)
                    return
        self._decide_at_length(exchange, route)

    def _decide_at_length(self, exchange: Exchange, route: Route) -> None:
        if not self.speaks(exchange):
            return
        if self._limiting is not None:
            limiting.check(self, exchange, self._limiting, self._admitted, first=True)
        else:
            self._admitted(exchange)

    def _admitted(self, exchange: Exchange) -> None:
        route = exchange.route
        assert route is not None
        if route.fault is not None:
            seconds = fault.delay_for(route.fault, self.plane.draw())
            if seconds > 0:
                exchange.delay(seconds)
                return
        self.delayed(exchange)

    def delayed(self, exchange: Exchange) -> None:
        route = exchange.route
        assert route is not None
        if route.fault is not None:
            aborted = fault.abort_for(route.fault, self.plane.draw())
            if aborted is not None:
                self._abort(exchange, *aborted)
                return
        # Envoy: after faults, and only where a route leads on.
        if route.cors is not None and route.destinations:
            answer = cors.preflight(route.cors, exchange.request)
            if answer is not None:
                exchange.reply(200, b"", "", cors.DETAILS, answer)
                return
        if self._limiting is not None:
            limiting.check(self, exchange, self._limiting, self._routed, first=False)
        else:
            self._routed(exchange)

    def _routed(self, exchange: Exchange) -> None:
        route = exchange.route
        assert route is not None
        if route.redirect is not None:
            where = rewriting.location(route.redirect, exchange.request)
            exchange.reply(route.redirect.status, b"", "", "direct_response", [("location", where)])
        elif route.direct is not None:
            exchange.reply(route.direct.status, route.direct.body, "", "direct_response")
        elif not exchange.cluster.name:
            exchange.reply(route.not_found, b"", "NC", "cluster_not_found")
        else:
            self._forward(exchange, route)

    def _abort(self, exchange: Exchange, status: int, grpc_status: int | None) -> None:
        told = grpc_status is not None and exchange.request.is_grpc  # Envoy: nobody else hears of it
        fields = [("grpc-status", str(grpc_status))] if told else []
        exchange.reply(status, fault.ABORT_BODY, "FI", fault.DETAILS, fields)

    def _plan(self, request: Request) -> Plan:
        """Work out what becomes of a head under the table in force, and keep that with the head."""
        table = self._table
        host = find_virtual_host(table, request.authority) if table is not None else None
        route = find_route(host, self._as_meant(request)) if host is not None else None
        plan = Plan(table, route)
        plan.asks_ids = host is not None and asks_ids(host)
        if route is not None and not self._gateway and is_simple(route, request):
            plan.is_simple = True
            plan.before = (
                f"{request.method} {request.path} HTTP/1.1\r\nhost: {request.authority}\r\n"
                f"{sent_on(request, DROPPED)}"
            )
            plan.after = f"x-forwarded-proto: {self._proto(request)}\r\n{said_by(route, route.timeout)}"
            plan.after += framing(request, "")
        if plan.asks_ids and request.ids:
            return plan  # of this request alone
        if len(request.derived) > MAX_DERIVED:  # of tables that are gone
            request.derived.clear()
        request.derived[self._table_id] = plan
        return plan

    def _as_meant(self, request: Request) -> RequestHead:
        """Envoy: a trusted proxy's x-forwarded-proto is what the client itself spoke."""
        if not self._gateway or self._proto(request) == request.scheme:
            return request
        named = request.headers
        meant = RequestHead(request.method, request.path, request.authority, self._proto(request), named)
        meant.repeated = request.repeated
        return meant

    def _forward(self, exchange: Exchange, route: Route) -> None:
        request = exchange.request
        if route.rewrite is not None:
            exchange.path = rewriting.path(route.rewrite, request.path)
            if route.rewrite.path is not None or route.rewrite.regex is not None:
                exchange.original_path = request.path
            exchange.authority = route.rewrite.authority or request.authority
        # Envoy: a destination's own counts where the route has none.
        if (named := exchange.weighted.authority) and (route.rewrite is None or not route.rewrite.authority):
            exchange.authority = named
        if request.is_grpc:
            exchange.timeout = _grpc_timeout(request, route)
        exchange.head = self._head(exchange, request, route)
        if "x-envoy-upstream-rq-timeout-ms" in request.headers and self._is_internal(request):
            exchange.timeout = _milliseconds(request.headers["x-envoy-upstream-rq-timeout-ms"])
        if route.mirrors:
            self._mirror(exchange, route)
        exchange.forward(route)

    def _head(self, exchange: Exchange, request: Request, route: Route) -> str:
        if self._gateway:
            dropped = AT_GATEWAY
        elif exchange.original_path or exchange.authority is not request.authority:
            dropped = REWRITTEN
        else:
            dropped = DROPPED
        if request.is_grpc:  # what time is left is said anew
            dropped = _GRPC[dropped]
        if route.request_headers is NO_OPS and exchange.weighted.request_headers is NO_OPS:
            lines = sent_on(request, dropped)
        else:
            fields = self._change(exchange, route, kept(request, dropped))
            lines = "".join([f"{name}: {value}\r\n" for name, value in fields])
        trace = exchange.trace
        timeout = exchange.timeout if exchange.timeout is not None else route.timeout
        more = self._edge(request) if self._gateway else f"x-forwarded-proto: {self._proto(request)}\r\n"
        if exchange.original_path:
            more += f"x-envoy-original-path: {exchange.original_path}\r\n"
        if route.rewrite is not None and route.rewrite.authority:
            more += f"x-envoy-original-host: {request.authority}\r\n"
        if timeout and request.is_grpc:  # Envoy: the next one hears what is in force
            more += f"grpc-timeout: {timeout_text(timeout)}\r\n"
        more += said_by(route, timeout)
        if exchange.request_fields:
            more += "".join([f"{name}: {value}\r\n" for name, value in exchange.request_fields])
        return (
            f"{request.method} {exchange.path} HTTP/1.1\r\nhost: {exchange.authority}\r\n{lines}"
            f"x-request-id: {exchange.request_id}\r\n{trace.text if trace else ''}{more}"
            f"{framing(request, exchange.upgrade)}"
        )

    def _proto(self, request: Request) -> str:
        if self._gateway and not self._proxy.topology.trusted_hops:
            return self.scheme
        given = request.headers.get("x-forwarded-proto")
        return given if given in ("http", "https") else self.scheme

    def _change(self, exchange: Exchange, route: Route, fields: Fields) -> Fields:
        expand = expander(exchange, None, rewritten=False)
        for ops in (exchange.weighted.request_headers, route.request_headers):
            if ops is not NO_OPS:
                authority = headers.apply(ops, fields, expand)
                if authority is not None:
                    exchange.authority = authority
        return fields

    def _edge(self, request: Request) -> str:
        """Return what a gateway says of the client (Envoy: use_remote_address)."""
        topology = self._proxy.topology
        lines = f"x-forwarded-for: {self._chain(request)}\r\nx-forwarded-proto: {self._proto(request)}\r\n"
        if self._is_internal(request):
            lines += "x-envoy-internal: true\r\n"
        else:
            lines += f"x-envoy-external-address: {self.client_of(request)[0]}\r\n"
        proved = certificate_header(topology, request.headers.get("x-forwarded-client-cert"), self._xfcc)
        return lines + (f"x-forwarded-client-cert: {proved}\r\n" if proved else "")

    def _chain(self, request: Request) -> str:
        """Return x-forwarded-for as a gateway sends it on."""
        before = request.headers.get("x-forwarded-for")
        return f"{before},{self.remote[0]}" if before else self.remote[0]

    def client_of(self, request: Request) -> Address:
        """Envoy: what trusted proxies tell has no port."""
        hops = self._proxy.topology.trusted_hops
        told = trusted_address(hops, request.headers.get("x-forwarded-for")) if hops else None
        return (told, 0) if told else self.remote

    def _is_internal(self, request: Request) -> bool:
        """Tell whether the request came from inside, as Envoy reckons: one private address alone."""
        before = request.headers.get("x-forwarded-for")
        if self._gateway:
            return before is None and is_internal(self.remote[0])
        try:
            return before is not None and is_internal(before.strip())
        except ValueError:
            return False

    def _mirror(self, exchange: Exchange, route: Route) -> None:
        found = []
        for mirror in route.mirrors:
            cluster = self._proxy.outbound.clusters.get(mirror.cluster)
            if cluster is not None and self.plane.draw() * 100 < mirror.percent:
                found.append(mirrored(self, exchange, cluster))
        if found:
            exchange.shadow(tuple(found))
            for each in found:
                each.forward(each.route or route)

    def request_head(self, exchange: Exchange) -> str:
        return f"{exchange.head}x-envoy-attempt-count: {exchange.attempts}\r\n\r\n"

    def connect(
        self, cluster: Cluster, pool: Pool, owner: Owner, named: Named, *, http2: bool = False
    ) -> Connection | None:
        return dialing.reach(self._caller, cluster, pool, owner, named, http2=http2)

    def variant(self, exchange: Exchange) -> Variant:
        cluster = exchange.cluster
        name = without_port(exchange.authority).strip("[]") if cluster.tls.names_host else ""
        addresses = (self.remote, self._original or self._local) if cluster.proxy_protocol else None
        return Variant(name, addresses)

    def original_endpoint(self, cluster: Cluster) -> Endpoint | None:
        if self._original is None:
            return None
        return original_endpoint(cluster, self._original, self.plane.feed.current, self.plane.draw())

    def named_endpoint(self, exchange: Exchange) -> Endpoint | None:
        """Return the host that was asked for, at its port or the scheme's own (dynamic_forward_proxy)."""
        authority = exchange.request.authority
        name = without_port(authority)
        port = authority[len(name) + 1 :]
        originates = exchange.cluster.tls.mode in (TlsMode.SIMPLE, TlsMode.MUTUAL)
        number = int(port) if port.isdigit() else 443 if originates else 80
        return Endpoint(name.strip("[]").lower(), number) if name else None

    def change_response(self, exchange: Exchange, response: Response) -> Fields:
        route = exchange.route
        if route is None:
            return response.fields
        ops = (exchange.weighted.response_headers, route.response_headers)
        if route.cors is None and ops == (NO_OPS, NO_OPS) and not exchange.set_cookie:
            return response.fields
        fields = list(response.fields)
        if exchange.set_cookie:
            fields.append(("set-cookie", exchange.set_cookie))
        expand = expander(exchange, response)
        for each in ops:
            if each is not NO_OPS:
                headers.apply(each, fields, expand)
        if route.cors is not None:
            fields += cors.response(route.cors, exchange.request.headers.get("origin"))
        return fields

    def present(self, cluster: Cluster) -> Cluster:
        proxy = self.plane.feed.current.proxies.get(self.instance)
        return proxy.outbound.clusters.get(cluster.name, cluster) if proxy is not None else cluster

    def reply_fields(self, exchange: Exchange, fields: Fields) -> Fields:
        route = exchange.route
        if route is None or exchange.details == cors.DETAILS:
            return fields
        changed = list(fields)
        expand = expander(exchange, None)
        for ops in (exchange.weighted.response_headers, route.response_headers):
            if ops is not NO_OPS:
                headers.apply(ops, changed, expand)
        if route.cors is not None and route.destinations and exchange.details != fault.DETAILS:
            changed += cors.response(route.cors, exchange.request.headers.get("origin"))
        return changed

    def record(self, exchange: Exchange) -> Record | None:
        request, endpoint, cluster = exchange.request, exchange.endpoint, exchange.cluster
        named, trace, route, reactor = request.headers, exchange.trace, exchange.route, self.plane.reactor
        body, response_body, pool = exchange.body, exchange.response_body, exchange.pool
        duration = reactor.now() - exchange.began
        secure = pool is not None and pool.is_mesh_tls
        return Record(
            "source",
            self.instance,
            self.workload,
            endpoint.workload if endpoint is not None else None,
            cluster.service if cluster.name else None,
            reactor.time() - duration,
            "grpc" if request.is_grpc else "http",
            request.version,
            request.method,
            exchange.path,
            exchange.original_path,
            exchange.authority,
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
            self._principal if secure else "",
            pool.identity if secure and pool is not None else "",
            named.get("user-agent", ""),
            self._chain(request) if self._gateway else named.get("x-forwarded-for", ""),
            exchange.request_id,
            trace.trace_id if trace is not None else "",
            trace.span_id if trace is not None else "",
            trace.parent_id if trace is not None else "",
            trace is not None and trace.sampled,
            pool.host if pool is not None else "",
            cluster.name,
            exchange.upstream_local,
            self.local_text,
            text_of(self.client_of(request)) if self._gateway else self.remote_text,
            self._requested_name,
            route.name if route is not None else "",
            route.operation if route is not None else "",
            exchange.attempts,
            route.origin if route is not None else None,
        )

    def refused(self, error: Malformed, sent: int) -> Record | None:
        """Return the record of bytes that were no request."""
        now = self.plane.reactor.time()
        record = Record("source", self.instance, self.workload, None, None, now)
        record.status, record.details, record.bytes_sent = error.status, error.details, sent
        record.flags = "" if error.details == "missing_host_header" else "DPE"
        record.downstream_local, record.downstream_remote = self.local_text, self.remote_text
        return record


def original_endpoint(
    cluster: Cluster, original: Address, snapshot: Snapshot, draw: float
) -> Endpoint | None:
    """Return where a connection was meant to go: one of the cluster's endpoints where that is known.

    A Service's address leads to one of its endpoints by chance, as kube-proxy takes what passes Istio's
    proxies; None where it has none.
    """
    for endpoint in cluster.endpoints:
        if endpoint.key == original:
            return endpoint
    behind = snapshot.backends.get(original)
    if behind is not None:
        if not behind:
            return None
        original = behind[int(draw * len(behind))]
    address, port = original
    instance = snapshot.instances.get(snapshot.by_address.get(address, ""))
    if instance is None:
        return Endpoint(address, port)
    return Endpoint(address, port, instance.id, instance.workload, instance.identity)


def _grpc_timeout(request: Request, route: Route) -> float:
    """Return the seconds that a gRPC call may take, 0 for no limit: what it says itself, but no longer than
    the route allows (Istio: max_grpc_timeout)."""
    asked = timeout_of(request.headers.get("grpc-timeout", "")) or 0.0
    allowed = route.timeout or 0.0
    return min(asked, allowed) if asked and allowed else asked or allowed


def _milliseconds(text: str) -> float | None:
    return int(text) / 1000 if text.isascii() and text.isdigit() else None
