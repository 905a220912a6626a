"""Rules of TCPRoutes and TLSRoutes as a VirtualService's routes for connections."""

from __future__ import annotations

from collections.abc import Sequence

from devmesh.config.documents.gateway_routes import ConnectionRouteRule
from devmesh.config.documents.virtualservice import (
    L4MatchAttributes,
    RouteDestination,
    TCPRoute,
    TLSMatchAttributes,
    TLSRoute,
)
from devmesh.pilot.gateway_api.conditions import Problem
from devmesh.pilot.gateway_api.references import NOWHERE, References
from devmesh.pilot.gateway_api.resources import TCP, TLS

Destinations = tuple[RouteDestination, ...]


def destinations(
    route: TCP | TLS, references: References, *, in_mesh: bool
) -> tuple[tuple[Destinations, ...], Problem | None]:
    """Return where each rule leads, and the first reference that does not resolve; no rules where one of
    them spoils the route."""
    found: list[Destinations] = []
    problem: Problem | None = None
    for rule in route.spec.rules:
        made, wrong = _of_rule(rule, route, references, in_mesh)
        if wrong is not None and wrong.hard:
            return (), wrong
        problem = problem or wrong
        found.append(made)
    return tuple(found), problem


def _of_rule(
    rule: ConnectionRouteRule, route: TCP | TLS, references: References, in_mesh: bool
) -> tuple[Destinations, Problem | None]:
    found: list[RouteDestination] = []
    problem: Problem | None = None
    kind = route.stored.key.kind.kind
    for ref in rule.backend_refs:
        weight = 1 if ref.weight is None else ref.weight
        if weight:
            target, wrong = references.backend(ref, kind, route.namespace, in_mesh=in_mesh)
            if wrong is not None and wrong.hard:
                return (), wrong
            problem = problem or wrong
            found.append(RouteDestination(destination=target, weight=weight))
    return tuple(found) or (RouteDestination(destination=NOWHERE),), problem


def tcp(rules: Sequence[Destinations], port: int | None) -> tuple[TCPRoute, ...]:
    """Return routes for any connection, or those of one port of a Service."""
    match = (L4MatchAttributes(port=port),) if port else ()
    return tuple(TCPRoute(match=match, route=route) for route in rules)


def tls(rules: Sequence[Destinations], port: int | None, names: Sequence[str]) -> tuple[TLSRoute, ...]:
    """Return routes for the connections that ask for one of `names`."""
    match = TLSMatchAttributes(sni_hosts=tuple(names), port=port or 0)
    return tuple(TLSRoute(match=(match,), route=route) for route in rules)
