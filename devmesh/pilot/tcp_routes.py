"""Where whole connections go: VirtualService's tcp and tls routes, and the default ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import ip_address, ip_network

from devmesh.config.documents.virtualservice import (
    Destination,
    L4MatchAttributes,
    RouteDestination,
    TLSMatchAttributes,
)
from devmesh.pilot.clusters import cluster_name
from devmesh.pilot.registry import Entry
from devmesh.pilot.routes import Compiling, Place, destination_cluster, is_caller
from devmesh.pilot.virtual_services import VirtualService, gateway_name
from devmesh.snapshot.proxy import TcpRoute
from devmesh.snapshot.route import Weighted


def tcp_routes(
    vs: VirtualService, place: Place, addresses: Sequence[str], compiling: Compiling
) -> tuple[TcpRoute, ...]:
    """Return a VirtualService's first ``tcp`` route that applies at a place; none where none does."""
    for index, rule in enumerate(vs.loaded.spec.tcp):
        blocks: Sequence[L4MatchAttributes | None] = rule.match or (None,)
        if any(block is None or _applies(block, vs, place, addresses) for block in blocks):
            origin = vs.loaded.origin(f"spec.tcp[{index}]")
            return (TcpRoute(_weighted(rule.route, vs, place, compiling), origin=origin),)
    return ()


def tls_routes(
    vs: VirtualService, place: Place, addresses: Sequence[str], compiling: Compiling
) -> Iterator[TcpRoute]:
    """Yield a VirtualService's ``tls`` routes at a place, each with the server names that it takes."""
    for index, rule in enumerate(vs.loaded.spec.tls):
        names = tuple(
            name.lower()
            for block in rule.match
            if _applies(block, vs, place, addresses)
            for name in block.sni_hosts
        )
        if names:
            origin = vs.loaded.origin(f"spec.tls[{index}]")
            yield TcpRoute(_weighted(rule.route, vs, place, compiling), names, origin)


def default_tcp_route(entry: Entry, port: int, sni: tuple[str, ...] = ()) -> TcpRoute:
    """Return the route of a service that no VirtualService steers."""
    return TcpRoute((Weighted(cluster_name(port, "", entry.host)),), sni, entry.origin)


def _applies(
    block: L4MatchAttributes | TLSMatchAttributes,
    vs: VirtualService,
    place: Place,
    addresses: Sequence[str],
) -> bool:
    if block.port and block.port != place.port:
        return False
    if block.destination_subnets and not _inside(block.destination_subnets, addresses):
        return False
    gateways = {gateway_name(name, vs.namespace) for name in block.gateways}
    if gateways and place.gateway not in gateways:
        return False
    return is_caller(block.source_labels, block.source_namespace, place.view)


def _inside(subnets: Sequence[str], addresses: Sequence[str]) -> bool:
    networks = [ip_network(subnet, strict=False) for subnet in subnets]
    return any(ip_address(address) in network for address in addresses for network in networks)


def _weighted(
    written: Sequence[RouteDestination], vs: VirtualService, place: Place, compiling: Compiling
) -> tuple[Weighted, ...]:
    with_weight = [found for found in written if found.weight] if len(written) > 1 else written
    return tuple(
        Weighted(
            destination_cluster(found.destination or Destination(), vs.namespace, place.port, compiling),
            found.weight or 1,
        )
        for found in with_weight or written[:1]
    )
