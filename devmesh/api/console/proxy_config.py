"""What a proxy was told, as rows: its clusters, endpoints, listeners, secrets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from devmesh.api.console.proxy_routes import resource_of
from devmesh.api.console.rows import ClusterRow, EndpointRow, ListenerRow, SecretRow
from devmesh.model.port import Protocol
from devmesh.security.contexts import SecretInfo
from devmesh.snapshot.cluster import Cluster, ClusterKind
from devmesh.snapshot.network import INBOUND_PORT, OUTBOUND_PORT
from devmesh.snapshot.proxy import MtlsMode, Proxy, Target, TcpRoute

_HTTP = "Trans: raw_buffer; App: http/1.1,h2c"
_SPECIAL = ("BlackHoleCluster", "PassthroughCluster", "InboundPassthroughCluster")


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
        destination_rule=resource_of(cluster.origin, "DestinationRule"),
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


def endpoints(
    proxy: Proxy, is_ejected: Callable[[str, tuple[str, int]], bool] = lambda cluster, key: False
) -> list[EndpointRow]:
    """Return where each cluster can send to, and which of these outlier detection leaves out now."""
    rows = [
        EndpointRow(
            endpoint=f"{endpoint.address}:{endpoint.port}",
            status="UNHEALTHY" if is_ejected(cluster.name, endpoint.key) else "HEALTHY",
            outlier_check="FAILED" if is_ejected(cluster.name, endpoint.key) else "OK",
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
        address = server.bind or "0.0.0.0"
        for tls in server.tls:
            hosts = ",".join(tls.hosts)
            where = f"Route: {tls.routes.name}" if tls.routes else _tcp_destination(tls.tcp)
            yield ListenerRow(
                addresses=address, port=server.target_port, match=f"SNI: {hosts}", destination=where
            )
        if server.tcp or not server.tls:
            routes = None if server.tls else server.routes
            target = Target(server.protocol, routes, server.tcp)
            yield from _target_rows(address, server.target_port, target)


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


def credentials(proxy: Proxy, now: float) -> list[SecretRow]:
    """Return what the proxy holds of users' Secrets: the certificates it shows, and whom it trusts."""
    held: dict[str, tuple[str, str]] = {}
    for cluster in proxy.outbound.clusters.values():
        if cluster.tls.credential:
            held[cluster.tls.credential] = (cluster.tls.certificate_pem, cluster.tls.ca_pem)
    for listener in proxy.gateway:
        for tls in listener.tls:
            if tls.credential:
                held[tls.credential] = (tls.certificate_pem, tls.ca_pem)
    return [
        _secret_row(name, kind, pem, now)
        for name, pems in sorted(held.items())
        for kind, pem in zip(("Cert Chain", "CA"), pems, strict=True)
        if pem
    ]


def _secret_row(name: str, kind: str, pem: str, now: float) -> SecretRow:
    from devmesh.security.pem import BadCertificate, FirstCertificate, first_certificate

    try:
        found = first_certificate(pem)
    except BadCertificate:
        found = FirstCertificate(0, 0.0, 0.0)  # the finding about it says what is wrong
    resource = name if "://" in name else f"kubernetes://{name}"
    return SecretRow(
        resource_name=resource if kind == "Cert Chain" else f"{resource}-cacert",
        type=kind,
        status="ACTIVE",
        valid_cert=found.not_before <= now < found.not_after,
        serial_number=f"{found.serial:x}",
        not_after=_instant(found.not_after),
        not_before=_instant(found.not_before),
        identity="",
        pem=pem,
    )


def _instant(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
