"""Where whole connections go: VirtualService's tcp and tls routes, and the default ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from devmesh.config.documents.virtualservice import (
    Destination,
    L4MatchAttributes,
    RouteDestination,
    TLSMatchAttributes,
)
from devmesh.pilot.clusters import cluster_name
from devmesh.pilot.gateway_names import MESH, gateway_name
from devmesh.pilot.registry import Entry
from devmesh.pilot.routes import Compiling, Place, destination_cluster, is_caller
from devmesh.pilot.virtual_services import VirtualService
from devmesh.snapshot.proxy import TcpRoute
from devmesh.snapshot.route import Weighted


def tcp_routes(vs: VirtualService, place: Place, compiling: Compiling) -> Iterator[TcpRoute]:
    """Yield a VirtualService's ``tcp`` routes that apply at a place, up to one that takes every connection.

    Istio: at a gateway the first that applies takes everything, whatever its subnets.
    """
    for index, rule in enumerate(vs.loaded.spec.tcp):
        blocks = [block for block in rule.match if _applies(block, vs, place)]
        if rule.match and not blocks:
            continue
        everything = place.gateway != MESH or not all(block.destination_subnets for block in blocks)
        subnets: dict[str, None] = {}
        for block in () if everything else blocks:
            subnets.update(dict.fromkeys(block.destination_subnets))
        origin = vs.loaded.origin(f"spec.tcp[{index}]")
        yield TcpRoute(_weighted(rule.route, vs, place, compiling), (), origin, tuple(subnets))
        if not subnets:
            return


def tls_routes(vs: VirtualService, place: Place, compiling: Compiling) -> Iterator[TcpRoute]:
    """Yield a VirtualService's ``tls`` routes at a place, one for each match block that applies."""
    for index, rule in enumerate(vs.loaded.spec.tls):
        for number, block in enumerate(rule.match):
            if not block.sni_hosts or not _applies(block, vs, place):
                continue
            yield TcpRoute(
                _weighted(rule.route, vs, place, compiling),
                tuple(name.lower() for name in block.sni_hosts),
                vs.loaded.origin(f"spec.tls[{index}].match[{number}]"),
                block.destination_subnets if place.gateway == MESH else (),
            )


def default_tcp_route(entry: Entry, port: int, sni: tuple[str, ...] = ()) -> TcpRoute:
    """Return the route of a service that no VirtualService steers."""
    return TcpRoute((Weighted(cluster_name(port, "", entry.host)),), sni, entry.origin)


def _applies(block: L4MatchAttributes | TLSMatchAttributes, vs: VirtualService, place: Place) -> bool:
    """Istio: at a gateway the port and the gateway decide alone."""
    if block.port and block.port != place.port:
        return False
    gateways = {gateway_name(name, vs.namespace) for name in block.gateways}
    if gateways and place.gateway not in gateways:
        return False
    return place.gateway != MESH or is_caller(block.source_labels, block.source_namespace, place.view)


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
