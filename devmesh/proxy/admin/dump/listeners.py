"""Listeners as Envoy has them: one of devmesh's stands for many of Istio's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from devmesh.model.port import Protocol
from devmesh.proxy.admin.dump.routes import http_ports, inbound_routes
from devmesh.proxy.admin.dump.values import ADS, Json, address, given, typed
from devmesh.snapshot.network import INBOUND_PORT, OUTBOUND_PORT
from devmesh.snapshot.proxy import GatewayListener, MtlsMode, Proxy, ServerTls, Target, TcpRoute
from devmesh.snapshot.route import RouteTable

_MANAGER = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_TCP = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
_ROUTER = {
    "name": "envoy.filters.http.router",
    "typed_config": typed("envoy.extensions.filters.http.router.v3.Router"),
}
_FILTERS = (
    ("envoy.filters.http.fault", "envoy.extensions.filters.http.fault.v3.HTTPFault"),
    ("envoy.filters.http.cors", "envoy.extensions.filters.http.cors.v3.Cors"),
)
_DOWNSTREAM_TLS = "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
_ISTIO = ["istio", "istio-peer-exchange", "istio-http/1.0", "istio-http/1.1", "istio-h2"]


def listeners(proxy: Proxy) -> Iterator[Json]:
    """Yield every ``envoy.config.listener.v3.Listener`` of a proxy."""
    if proxy.instance.gateway or proxy.gateway:
        for found in proxy.gateway:
            yield _gateway(found)
        return
    outbound = proxy.outbound
    for (host, port), target in sorted(outbound.by_address.items(), key=lambda item: item[0]):
        yield _listener(
            f"{host}_{port}", host, port, "OUTBOUND", list(_chains(f"outbound_{host}_{port}", target))
        )
    for port, target in sorted(outbound.by_port.items()):
        name = f"0.0.0.0_{port}"
        yield _listener(name, "0.0.0.0", port, "OUTBOUND", list(_chains(f"outbound_{name}", target)))
    unknown = "PassthroughCluster" if outbound.allow_any else "BlackHoleCluster"
    chain = {"name": "virtualOutbound-catchall-tcp", "filters": [_tcp(unknown, [unknown])]}
    yield _listener("virtualOutbound", "0.0.0.0", OUTBOUND_PORT, "OUTBOUND", [chain], original=True)
    yield _listener("virtualInbound", "0.0.0.0", INBOUND_PORT, "INBOUND", list(_inbound(proxy)))


def _listener(
    name: str, host: str, port: int, direction: str, chains: list[Json], *, original: bool = False
) -> Json:
    captured = direction == "OUTBOUND" and not original
    return typed(
        "envoy.config.listener.v3.Listener",
        name=name,
        address=address(host, port),
        filter_chains=chains,
        traffic_direction=direction,
        bind_to_port=False if captured else None,
        use_original_dst=True if original else None,
    )


def _chains(prefix: str, target: Target) -> Iterator[Json]:
    """Yield the filter chains for what is dialled; which of them is taken may have to be sniffed."""
    if target.protocol is Protocol.AUTO and target.routes is not None:
        yield {
            "filter_chain_match": {
                "transport_protocol": "raw_buffer",
                "application_protocols": ["http/1.1", "h2c"],
            },
            "filters": [_http(prefix, target.routes)],
        }
    elif target.routes is not None and target.protocol.is_http:
        yield {"filters": [_http(prefix, target.routes)]}
        return
    yield from _tcp_chains(target.tcp)


def _tcp_chains(routes: Iterable[TcpRoute]) -> Iterator[Json]:
    for route in routes:
        names = [each.cluster for each in route.destinations]
        weights = {each.cluster: each.weight for each in route.destinations}
        match = given(server_names=list(route.sni))
        yield given(filter_chain_match=match, filters=[_tcp(names[0] if names else "", names, weights)])


def _http(prefix: str, table: RouteTable) -> Json:
    filters = [{"name": name, "typed_config": typed(kind)} for name, kind in _FILTERS]
    return {
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": typed(
            _MANAGER,
            stat_prefix=prefix,
            rds={"config_source": ADS, "route_config_name": table.name},
            http_filters=[*filters, _ROUTER],
        ),
    }


def _tcp(prefix: str, names: list[str], weights: dict[str, int] | None = None) -> Json:
    if len(names) == 1:
        where: Json = {"cluster": names[0]}
    else:
        clusters = [{"name": name, "weight": (weights or {}).get(name, 1)} for name in names]
        where = {"weighted_clusters": {"clusters": clusters}}
    return {
        "name": "envoy.filters.network.tcp_proxy",
        "typed_config": typed(_TCP, stat_prefix=prefix or "none", **where),
    }


def _inbound(proxy: Proxy) -> Iterator[Json]:
    """Yield the chains of what arrives: each port with mutual TLS, in plain text, or both."""
    speaking = http_ports(proxy)
    for port, found in sorted(proxy.inbound.ports.items()):
        name = f"0.0.0.0_{port}"
        if port in speaking:
            filters = [
                {
                    "name": "envoy.filters.network.http_connection_manager",
                    "typed_config": typed(
                        _MANAGER,
                        stat_prefix=f"inbound_{name}",
                        route_config=_untyped(inbound_routes(proxy, port)),
                        http_filters=[_ROUTER],
                    ),
                }
            ]
        else:
            filters = [_tcp(found.cluster, [found.cluster])]
        yield from _secured(name, found.mtls, filters, port)
    passing = [_tcp("InboundPassthroughCluster", ["InboundPassthroughCluster"])]
    yield from _secured("virtualInbound", proxy.inbound.mtls, passing)


def _untyped(message: Json) -> Json:
    return {name: value for name, value in message.items() if name != "@type"}


def _secured(name: str, mode: MtlsMode, filters: list[Json], port: int = 0) -> Iterator[Json]:
    where = given(destination_port=port or None)
    if mode is not MtlsMode.DISABLE:
        match = {**where, "transport_protocol": "tls"}
        if mode is MtlsMode.PERMISSIVE:
            match["application_protocols"] = _ISTIO
        yield {"name": name, "filter_chain_match": match, "filters": filters, "transport_socket": _mesh_tls()}
    if mode is not MtlsMode.STRICT:
        match = {**where, "transport_protocol": "raw_buffer"}
        yield {"name": name, "filter_chain_match": match, "filters": filters}


def _mesh_tls() -> Json:
    context = {
        "tls_certificate_sds_secret_configs": [{"name": "default", "sds_config": ADS}],
        "combined_validation_context": {
            "default_validation_context": {},
            "validation_context_sds_secret_config": {"name": "ROOTCA", "sds_config": ADS},
        },
        "alpn_protocols": ["istio-peer-exchange", "h2", "http/1.1"],
    }
    config = typed(_DOWNSTREAM_TLS, common_tls_context=context, require_client_certificate=True)
    return {"name": "envoy.transport_sockets.tls", "typed_config": config}


def _gateway(found: GatewayListener) -> Json:
    host = found.bind or "0.0.0.0"
    name = f"{host}_{found.target_port}"
    prefix = f"outbound_{name}"
    chains = [chain for tls in found.tls for chain in _server(prefix, found, tls)]
    if found.routes is not None and not found.tls:
        chains.append({"filters": [_http(prefix, found.routes)]})
    chains += _tcp_chains(found.tcp)
    return _listener(name, host, found.target_port, "OUTBOUND", chains, original=False) | {
        "bind_to_port": True
    }


def _server(prefix: str, found: GatewayListener, tls: ServerTls) -> Iterator[Json]:
    names = [host for host in (each.rpartition("/")[2] for each in tls.hosts) if host != "*"]
    socket = _mesh_tls() if tls.mode == "ISTIO_MUTUAL" else _server_tls(tls)
    match = given(server_names=names)
    table = tls.routes or found.routes
    if table is not None:
        yield given(filter_chain_match=match, filters=[_http(prefix, table)], transport_socket=socket)
        return
    for chain in _tcp_chains(tls.tcp):
        yield {**chain, "transport_socket": socket}


def _server_tls(tls: ServerTls) -> Json:
    context = given(
        tls_certificates=[
            {
                "certificate_chain": {"inline_string": tls.certificate_pem},
                "private_key": {"inline_string": "[redacted]"},
            }
        ]
        if tls.certificate_pem
        else None,
        validation_context={"trusted_ca": {"inline_string": tls.ca_pem}} if tls.ca_pem else None,
        alpn_protocols=["h2", "http/1.1"],
    )
    config = typed(
        _DOWNSTREAM_TLS,
        common_tls_context=context,
        require_client_certificate=True if tls.mode == "MUTUAL" else None,
    )
    return {"name": "envoy.transport_sockets.tls", "typed_config": config}
