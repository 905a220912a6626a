"""A VirtualService's HTTP routes as seen from one port of one kind of proxy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from devmesh.config.documents.virtualservice import (
    Destination,
    Headers,
    HTTPMatchRequest,
    HTTPRoute,
    HTTPRouteDestination,
)
from devmesh.model.host import qualify
from devmesh.pilot import actions
from devmesh.pilot.clusters import cluster_name
from devmesh.pilot.delegates import Written
from devmesh.pilot.gateway_names import MESH, gateway_name
from devmesh.pilot.registry import Entry, Registry
from devmesh.pilot.settings import Settings
from devmesh.pilot.string_matches import string_match, value_match, value_matches
from devmesh.pilot.virtual_services import VirtualService
from devmesh.pilot.visibility import View, selector
from devmesh.snapshot.match import Exact, PathPrefix, Prefix, Regex
from devmesh.snapshot.origin import Origin
from devmesh.snapshot.route import NO_OPS, HeaderOps, Match, Mirror, Route, Weighted


@dataclass(frozen=True, slots=True)
class Place:
    """Where routes are compiled for: a listener's port, on sidecars (``mesh``) or on a gateway."""

    port: int
    view: View
    gateway: str = MESH  # namespace/name
    tls: bool = False  # TLS ends at the listener


@dataclass(frozen=True, slots=True)
class Compiling:
    """What translating a route needs beside the route."""

    registry: Registry
    settings: Settings


def routes_of(vs: VirtualService, place: Place, compiling: Compiling) -> tuple[Route, ...]:
    """Return the routes of a VirtualService at a place, one for each match block (as Istio has them).

    Blocks for other ports, gateways or callers are left out, and so is all that follows a route that
    takes everything.
    """
    found: list[Route] = []
    for written in vs.http:
        for route in _routes(vs, written, place, compiling):
            found.append(route)
            if takes_all(route):
                return tuple(found)
    return tuple(found)


def _routes(vs: VirtualService, written: Written, place: Place, compiling: Compiling) -> Iterator[Route]:
    blocks: Sequence[HTTPMatchRequest | None] = written.route.match or (None,)
    for index, block in enumerate(blocks):
        if block is None or _applies(block, vs.namespace, place):
            path = written.path or f"spec.http[{written.index}]" + (f".match[{index}]" if block else "")
            yield _route(vs, written, block, place, compiling, written.source.origin(path))


def _applies(block: HTTPMatchRequest, namespace: str, place: Place) -> bool:
    """Istio: a block that names gateways does not look at the caller's labels and namespace."""
    if block.port and block.port != place.port:
        return False
    if block.gateways:
        return place.gateway in {gateway_name(name, namespace) for name in block.gateways}
    return is_caller(block.source_labels, block.source_namespace, place.view)


def is_caller(labels: dict[str, str], namespace: str, view: View) -> bool:
    """Tell whether the proxies of a view have these labels and are of this namespace (empty: any)."""
    if labels and selector(labels) not in view.matched:
        return False
    return namespace in ("", view.namespace)


def _route(
    vs: VirtualService,
    written: Written,
    block: HTTPMatchRequest | None,
    place: Place,
    compiling: Compiling,
    origin: Origin,
) -> Route:
    rule = written.route
    by_segment = bool(written.path) and written.by_segment
    match = _match(block, by_segment=by_segment)
    matches = (match,) if match else ()
    name = f"{rule.name}.{block.name}" if block and block.name else rule.name
    cors = actions.cors(rule.cors_policy)
    fault = actions.fault(rule.fault)
    request, response = _ops(rule.headers)
    if rule.redirect is not None:
        answer = actions.redirect(rule.redirect, block, place.port, tls=place.tls)
        return Route(
            name,
            matches,
            redirect=answer,
            fault=fault,
            cors=cors,
            response_headers=response,
            operation=_operation(vs, match, (), place),
            origin=origin,
        )
    if rule.direct_response is not None:
        direct = actions.direct_response(rule.direct_response)
        return Route(
            name,
            matches,
            direct=direct,
            fault=fault,
            cors=cors,
            response_headers=response,
            operation=_operation(vs, match, (), place),
            origin=origin,
        )
    namespace = written.source.namespace
    destinations = _destinations(rule, namespace, place, compiling)
    host = actions.authority(rule.headers.request if rule.headers else None)
    if len(rule.route) == 1:
        only = destinations[0]
        host = host or only.authority
        request, response = (
            actions.both(request, only.request_headers),
            actions.both(response, only.response_headers),
        )
        destinations = (Weighted(only.cluster),)
    return Route(
        name=name,
        matches=matches,
        destinations=destinations,
        rewrite=actions.rewrite(rule.rewrite, block, host, by_segment=by_segment),
        timeout=float(rule.timeout) if rule.timeout else None,
        retry=actions.retry(rule.retries, compiling.settings.retry),
        fault=fault,
        mirrors=tuple(_mirrors(rule, namespace, place, compiling)),
        cors=cors,
        request_headers=request,
        response_headers=response,
        operation=_operation(vs, match, destinations, place),
        origin=origin,
        not_found=500 if written.path and written.strict else 503,
    )


def _match(block: HTTPMatchRequest | None, *, by_segment: bool = False) -> Match | None:
    """Compile a block; None where it accepts everything."""
    if block is None:
        return None
    path = string_match(block.uri, ignore_case=block.ignore_uri_case) if block.uri else None
    if by_segment and isinstance(path, Prefix) and path.value != "/":
        path = PathPrefix(path.value.rstrip("/"))
    match = Match(
        path=path,
        method=string_match(block.method) if block.method else None,
        scheme=string_match(block.scheme) if block.scheme else None,
        authority=string_match(block.authority) if block.authority else None,
        headers=value_matches(block.headers),
        without=value_matches(block.without_headers),
        query=tuple((name, value_match(test)) for name, test in block.query_params.items()),
        name=block.name,
    )
    return None if match == Match(name=block.name) else match


def takes_all(route: Route) -> bool:
    """Tell whether no request gets past a route (Istio: isCatchAllRoute)."""
    return not route.matches or any(_takes_all(match) for match in route.matches)


def _takes_all(match: Match) -> bool:
    if any((match.method, match.scheme, match.authority, match.headers, match.without, match.query)):
        return False
    path = match.path
    if isinstance(path, Prefix):
        return path.value == "/"
    return path is None or (isinstance(path, Regex) and path.source == ".*")


def destination_cluster(
    destination: Destination, namespace: str, port: int, compiling: Compiling, *, by_listener: bool = False
) -> str:
    """Return the name of the cluster that a destination means; it need not be there (503 NC).

    Istio: without a port the only one of the service, else the listener's. HTTP routes of sidecars see
    of each service the listener's port alone, and so take that one in any case (`by_listener`).
    """
    host = qualify(destination.host, namespace, compiling.settings.domain)
    entry = compiling.registry.find(host)
    number = port
    if destination.port is not None and destination.port.number:
        number = destination.port.number
    elif entry is not None and len(entry.service.ports) == 1 and not by_listener:
        number = entry.service.ports[0].number
    return cluster_name(number, destination.subset, (entry and entry.alias_of) or host)


def _destinations(
    rule: HTTPRoute, namespace: str, place: Place, compiling: Compiling
) -> tuple[Weighted, ...]:
    """Istio: weight 0 gets nothing, and a single destination everything."""
    written = [d for d in rule.route if d.weight] if len(rule.route) > 1 else rule.route
    return tuple(_weighted(found, namespace, place, compiling) for found in written or rule.route[:1])


def _weighted(written: HTTPRouteDestination, namespace: str, place: Place, compiling: Compiling) -> Weighted:
    request, response = _ops(written.headers)
    target = written.destination or Destination()
    cluster = _cluster(target, namespace, place, compiling)
    host = actions.authority(written.headers.request if written.headers else None)
    return Weighted(cluster, written.weight or 1, request, response, host)


def _cluster(target: Destination, namespace: str, place: Place, compiling: Compiling) -> str:
    in_sidecar = place.gateway == MESH
    return destination_cluster(target, namespace, place.port, compiling, by_listener=in_sidecar)


def _ops(headers: Headers | None) -> tuple[HeaderOps, HeaderOps]:
    if headers is None:
        return NO_OPS, NO_OPS
    return actions.header_ops(headers.request), actions.header_ops(headers.response)


def _mirrors(rule: HTTPRoute, namespace: str, place: Place, compiling: Compiling) -> Iterator[Mirror]:
    found = [(policy.destination, actions.percent(policy.percentage, None)) for policy in rule.mirrors]
    if rule.mirror is not None:
        found.append((rule.mirror, actions.percent(rule.mirror_percentage, rule.mirror_percent)))
    for destination, share in found:
        if destination is not None and share > 0:
            yield Mirror(_cluster(destination, namespace, place, compiling), share)


def _operation(
    vs: VirtualService, match: Match | None, destinations: Sequence[Weighted], place: Place
) -> str:
    """Istio: the destination's host and port where there is one, else the VirtualService's name."""
    path = _path_pattern(match)
    if len(destinations) == 1:
        _, port, _, host = destinations[0].cluster.split("|")
        return f"{host}:{port}{path}"
    return f"{vs.loaded.name}:{place.port}{path}"


def _path_pattern(match: Match | None) -> str:
    path = match.path if match else None
    if isinstance(path, Exact):
        return path.value
    if isinstance(path, Prefix):
        return path.value + "*"
    if isinstance(path, PathPrefix):
        return path.value + "/*"
    return path.source if isinstance(path, Regex) else "/*"


def default_route(entry: Entry, port: int, settings: Settings) -> Route:
    """Return the route of a service that no VirtualService steers."""
    return Route(
        destinations=(Weighted(cluster_name(port, "", entry.host)),),
        retry=settings.retry,
        operation=f"{entry.host}:{port}/*",
        origin=entry.origin,
    )
