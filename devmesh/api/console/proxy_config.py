"""What a proxy was told, as rows: the columns of ``istioctl proxy-config``, and a little more for JSON."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec

from devmesh.model.port import Protocol
from devmesh.security.contexts import SecretInfo
from devmesh.snapshot.cluster import Cluster, ClusterKind
from devmesh.snapshot.match import Exact, Prefix, Present, Regex, StringMatch, Suffix
from devmesh.snapshot.network import INBOUND_PORT, OUTBOUND_PORT
from devmesh.snapshot.origin import Origin
from devmesh.snapshot.proxy import MtlsMode, Proxy, Target, TcpRoute
from devmesh.snapshot.route import Match, Route, RouteTable, Weighted

_HTTP = "Trans: raw_buffer; App: http/1.1,h2c"
_SPECIAL = ("BlackHoleCluster", "PassthroughCluster", "InboundPassthroughCluster")


class ClusterRow(msgspec.Struct, frozen=True, kw_only=True):
    """``istioctl proxy-config clusters``; `name` is the whole name, `endpoints` how many it has."""

    service_fqdn: str
    port: str
    subset: str
    direction: str
    type: str
    destination_rule: str
    name: str
    endpoints: int
    balancing: str


class ListenerRow(msgspec.Struct, frozen=True, kw_only=True):
    """``istioctl proxy-config listeners``."""

    addresses: str
    port: int
    match: str
    destination: str


class RouteRow(msgspec.Struct, frozen=True, kw_only=True):
    """``istioctl proxy-config routes``: one row a route, in the order in which they are tried.

    `conditions` are what else than the path has to hold; `actions` tell what happens to the request.
    """

    name: str
    vhost_name: str
    domains: tuple[str, ...]
    match: str
    virtual_service: str
    route: str
    conditions: tuple[str, ...]
    destinations: dict[str, int]
    actions: tuple[str, ...]
    origin: str


class EndpointRow(msgspec.Struct, frozen=True, kw_only=True):
    """``istioctl proxy-config endpoints``."""

    endpoint: str
    status: str
    outlier_check: str
    cluster: str
    workload: str
    identity: str
    mtls: bool


class SecretRow(msgspec.Struct, frozen=True, kw_only=True):
    """``istioctl proxy-config secret``; `pem` is the chain, never a key."""

    resource_name: str
    type: str
    status: str
    valid_cert: bool
    serial_number: str
    not_after: str
    not_before: str
    identity: str
    pem: str


def clusters(proxy: Proxy) -> list[ClusterRow]:
    """Return the proxy's clusters by name, those of its own ports too."""
    rows = [_cluster_row(cluster) for cluster in proxy.outbound.clusters.values()]
    rows += [_inbound_row(proxy, port) for port in proxy.inbound.ports]
    return sorted(rows, key=lambda row: (row.service_fqdn, row.port, row.subset))


def _cluster_row(cluster: Cluster) -> ClusterRow:
    special = cluster.name in _SPECIAL
    return ClusterRow(
        service_fqdn=cluster.name if special else cluster.service.host or cluster.name,
        port="-" if special else str(cluster.port),
        subset=cluster.subset or "-",
        direction="-" if special else cluster.name.partition("|")[0],
        type=cluster.kind.value,
        destination_rule=_resource(cluster.origin, "DestinationRule"),
        name=cluster.name,
        endpoints=len(cluster.endpoints),
        balancing=cluster.balancing.value,
    )


def _inbound_row(proxy: Proxy, port: int) -> ClusterRow:
    return ClusterRow(
        service_fqdn="",
        port=str(port),
        subset="-",
        direction="inbound",
        type=ClusterKind.ORIGINAL_DST.value,
        destination_rule="",
        name=proxy.inbound.ports[port].cluster,
        endpoints=1,
        balancing="",
    )


def endpoints(proxy: Proxy) -> list[EndpointRow]:
    """Return where each cluster can send to."""
    rows = [
        EndpointRow(
            endpoint=f"{endpoint.address}:{endpoint.port}",
            status="HEALTHY",
            outlier_check="OK",
            cluster=cluster.name,
            workload=f"{w.namespace}/{w.name}" if (w := endpoint.workload) else "",
            identity=str(endpoint.identity) if endpoint.identity else "",
            mtls=endpoint.mtls,
        )
        for cluster in proxy.outbound.clusters.values()
        for endpoint in cluster.endpoints
    ]
    rows += [
        EndpointRow(
            endpoint=f"127.0.0.1:{port}",
            status="HEALTHY",
            outlier_check="OK",
            cluster=inbound.cluster,
            workload=f"{proxy.instance.namespace}/{proxy.instance.workload.name}",
            identity="",
            mtls=False,
        )
        for port, inbound in proxy.inbound.ports.items()
    ]
    return sorted(rows, key=lambda row: (row.endpoint, row.cluster))


def listeners(proxy: Proxy) -> list[ListenerRow]:
    """Return what is done with connections by where they go, a gateway's servers first."""
    rows = list(_gateway_rows(proxy))
    if proxy.instance.gateway:
        return rows
    for (address, port), target in sorted(proxy.outbound.by_address.items(), key=lambda item: item[0]):
        rows += _target_rows(address, port, target)
    for port, target in sorted(proxy.outbound.by_port.items()):
        rows += _target_rows("0.0.0.0", port, target)
    fallback = "PassthroughCluster" if proxy.outbound.allow_any else "BlackHoleCluster"
    rows.append(ListenerRow(addresses="0.0.0.0", port=OUTBOUND_PORT, match="ALL", destination=fallback))
    for port, inbound in sorted(proxy.inbound.ports.items()):
        rows += _inbound_rows(f"*:{port}", inbound.mtls, f"Cluster: {inbound.cluster}")
    rows += _inbound_rows("*", proxy.inbound.mtls, "InboundPassthroughCluster")
    return rows


def _gateway_rows(proxy: Proxy) -> Iterator[ListenerRow]:
    for server in proxy.gateway:
        for tls in server.tls:
            hosts = ",".join(tls.hosts)
            where = f"Route: {server.routes.name}" if server.routes else _tcp_destination(server.tcp)
            yield ListenerRow(
                addresses="0.0.0.0", port=server.target_port, match=f"SNI: {hosts}", destination=where
            )
        if not server.tls:
            yield from _target_rows(
                "0.0.0.0", server.target_port, Target(server.protocol, server.routes, server.tcp)
            )


def _target_rows(address: str, port: int, target: Target) -> Iterator[ListenerRow]:
    if target.routes is not None and target.protocol in (Protocol.AUTO, *_http_protocols()):
        yield ListenerRow(
            addresses=address, port=port, match=_HTTP, destination=f"Route: {target.routes.name}"
        )
    if target.tcp or target.routes is None:
        for route in target.tcp or (TcpRoute(()),):
            match = f"SNI: {','.join(route.sni)}" if route.sni else "ALL"
            yield ListenerRow(
                addresses=address, port=port, match=match, destination=_tcp_destination((route,))
            )


def _http_protocols() -> tuple[Protocol, ...]:
    return tuple(protocol for protocol in Protocol if protocol.is_http)


def _inbound_rows(address: str, mode: MtlsMode, destination: str) -> Iterator[ListenerRow]:
    if mode is not MtlsMode.DISABLE:
        match = f"Trans: tls; App: istio; Addr: {address}"
        yield ListenerRow(addresses="0.0.0.0", port=INBOUND_PORT, match=match, destination=destination)
    if mode is not MtlsMode.STRICT:
        match = f"Trans: raw_buffer; Addr: {address}"
        yield ListenerRow(addresses="0.0.0.0", port=INBOUND_PORT, match=match, destination=destination)


def _tcp_destination(routes: tuple[TcpRoute, ...]) -> str:
    names = [weighted.cluster for route in routes for weighted in route.destinations]
    return f"Cluster: {', '.join(names)}" if names else "BlackHoleCluster"


def routes(proxy: Proxy) -> list[RouteRow]:
    """Return the routes of every table that the proxy can reach, table by table."""
    tables: dict[str, RouteTable] = {}
    targets = [*proxy.outbound.by_port.values(), *proxy.outbound.by_address.values()]
    found = [target.routes for target in targets] if not proxy.instance.gateway else []
    found += [server.routes for server in proxy.gateway]
    for table in found:
        if table is not None:
            tables.setdefault(table.name, table)
    rows = [row for _, table in sorted(tables.items()) for row in _table_rows(table)]
    rows += [
        RouteRow(
            name=inbound.cluster,
            vhost_name=f"inbound|http|{port}",
            domains=("*",),
            match="/*",
            virtual_service="",
            route="default",
            conditions=(),
            destinations={inbound.cluster: 1},
            actions=(),
            origin=str(inbound.origin) if inbound.origin else "",
        )
        for port, inbound in sorted(proxy.inbound.ports.items())
        if inbound.protocol is Protocol.AUTO or inbound.protocol.is_http
    ]
    return rows


def _table_rows(table: RouteTable) -> Iterator[RouteRow]:
    hosts = [*table.exact.values(), *(host for _, host in table.suffixes)]
    if table.default is not None:
        hosts.append(table.default)
    for host in {host.name: host for host in hosts}.values():
        for route in host.routes:
            for match in route.matches or (Match(),):
                yield RouteRow(
                    name=table.name,
                    vhost_name=host.name,
                    domains=host.domains,
                    match=_path(match.path),
                    virtual_service=_resource(route.origin, "VirtualService"),
                    route=route.name,
                    conditions=tuple(_conditions(match)),
                    destinations=_weights(route.destinations),
                    actions=tuple(_actions(route)),
                    origin=str(route.origin) if route.origin else "",
                )


def _weights(destinations: tuple[Weighted, ...]) -> dict[str, int]:
    weights: dict[str, int] = {}
    for destination in destinations:
        weights[destination.cluster] = weights.get(destination.cluster, 0) + destination.weight
    return weights


def _path(match: StringMatch | None) -> str:
    return "/*" if match is None else _said(match)


def _said(match: StringMatch) -> str:
    match match:
        case Exact(value=value):
            return value
        case Prefix(value=value):
            return f"{value}*"
        case Suffix(value=value):
            return f"*{value}"
        case Regex(source=source):
            return f"regex {source}"
        case Present():
            return "*"
    return repr(match)


def _conditions(match: Match) -> Iterator[str]:
    for what, test in (("method", match.method), ("scheme", match.scheme), ("authority", match.authority)):
        if test is not None:
            yield f"{what} {_said(test)}"
    yield from (f"header {name}: {_said(test)}" for name, test in match.headers)
    yield from (f"without header {name}: {_said(test)}" for name, test in match.without)
    yield from (f"query {name}={_said(test)}" for name, test in match.query)


def _actions(route: Route) -> Iterator[str]:
    if fault := route.fault:
        if fault.delay_percent:
            yield f"delay {fault.delay:g} s for {fault.delay_percent:g} %"
        if fault.abort_percent:
            yield f"abort {fault.abort_status} for {fault.abort_percent:g} %"
    if route.redirect:
        yield f"redirect {route.redirect.status}"
    if route.direct:
        yield f"answer {route.direct.status}"
    if route.rewrite:
        yield "rewrite"
    if route.timeout is not None:
        yield f"timeout {route.timeout:g} s"
    if route.retry:
        yield f"retries {route.retry.attempts}"
    for mirror in route.mirrors:
        yield f"mirror {mirror.percent:g} % to {mirror.cluster}"
    if route.cors:
        yield "cors"


def secrets(info: SecretInfo, now: float) -> list[SecretRow]:
    """Return the workload's certificate and the root that it trusts."""
    return [
        SecretRow(
            resource_name="default",
            type="Cert Chain",
            status="ACTIVE",
            valid_cert=info.not_before <= now < info.not_after,
            serial_number=info.serial,
            not_after=_instant(info.not_after),
            not_before=_instant(info.not_before),
            identity=info.identity,
            pem=info.certificate_pem,
        ),
        SecretRow(
            resource_name="ROOTCA",
            type="CA",
            status="ACTIVE",
            valid_cert=info.root_not_before <= now < info.root_not_after,
            serial_number=info.root_serial,
            not_after=_instant(info.root_not_after),
            not_before=_instant(info.root_not_before),
            identity="",
            pem=info.roots_pem,
        ),
    ]


def _instant(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _resource(origin: Origin | None, kind: str) -> str:
    """Return ``name.namespace`` where the value comes from a resource of `kind`, as istioctl shows it."""
    return f"{origin.name}.{origin.namespace}" if origin and origin.kind == kind else ""
