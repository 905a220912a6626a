"""One HTTP route of a VirtualService (Istio: the validating webhook)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from devmesh.config.documents.selectors import StringMatch
from devmesh.config.documents.virtualservice import HTTPMatchRequest, HTTPRoute, RouteDestination
from devmesh.config.documents.virtualservice import HTTPRouteDestination as HTTPDestination
from devmesh.config.problems import Cause, MapKey, Path, forbidden, invalid, required
from devmesh.config.validation import actions, istio
from devmesh.config.validation.headers import header_name, header_operations

CLAIM = "@request.auth.claims"


def http_route(route: HTTPRoute, path: Path, *, delegate: bool) -> Iterator[Cause]:
    """Check a route; `delegate` for those of a VirtualService without hosts."""
    yield from _conflicts(route, path, delegate=delegate)
    for n, match in enumerate(route.match):
        yield from _match(match, (*path, "match", n))
    yield from header_operations(route.headers, (*path, "headers"))
    yield from actions.cors(route.cors_policy, (*path, "corsPolicy"))
    yield from actions.fault(route.fault, (*path, "fault"))
    yield from actions.mirrors(route, path)
    yield from actions.redirect(route.redirect, route.match, (*path, "redirect"))
    yield from actions.direct_response(route.direct_response, (*path, "directResponse"))
    yield from actions.retries(route.retries, (*path, "retries"))
    yield from actions.rewrite(route.rewrite, (*path, "rewrite"))
    yield from actions.authority_once(route.rewrite, route.headers, path)
    yield from http_destinations(route.route, (*path, "route"))
    yield from istio.duration(route.timeout, (*path, "timeout"))


def _conflicts(route: HTTPRoute, path: Path, *, delegate: bool) -> Iterator[Cause]:
    if route.delegate is not None:
        if delegate:
            yield forbidden((*path, "delegate"), "a delegate cannot delegate again")
        for field, given in (("redirect", route.redirect), ("route", route.route)):
            if given:
                yield forbidden((*path, field), "not beside delegate: the delegate has it")
        if not delegate:
            return
    answer = "redirect" if route.redirect else "directResponse" if route.direct_response else ""
    if answer:
        for field, value in (
            ("route", route.route),
            ("fault", route.fault),
            ("rewrite", route.rewrite),
            ("directResponse", route.direct_response),
        ):
            if value and field != answer:
                yield forbidden((*path, field), f"not beside {answer}")
    elif not route.route and route.delegate is None:
        yield required((*path, "route"), "a route needs route, redirect or directResponse")
    if route.mirror is not None and route.mirrors:
        yield forbidden((*path, "mirrors"), "not beside mirror")


def _match(match: HTTPMatchRequest, path: Path) -> Iterator[Cause]:
    for field, headers in (("headers", match.headers), ("withoutHeaders", match.without_headers)):
        for name, value in headers.items():
            at: Path = (*path, field, MapKey(name))
            if wrong := header_name(name):
                yield invalid(at, name, wrong)
            yield from istio.string_match(value, at, star=True)
    yield from istio.string_match(match.uri, (*path, "uri"), empty_prefix=True)
    for field, single in (("scheme", match.scheme), ("method", match.method), ("authority", match.authority)):
        yield from istio.string_match(single, (*path, field))
    for name, value in match.query_params.items():
        yield from istio.string_match(value, (*path, "queryParams", MapKey(name)), star=True)
    if match.port:
        yield from istio.port(match.port, (*path, "port"))
    yield from istio.label_set(match.source_labels, (*path, "sourceLabels"))
    yield from istio.gateway_names(match.gateways, (*path, "gateways"))
    if match.source_namespace and not istio.is_label(match.source_namespace):
        yield invalid((*path, "sourceNamespace"), match.source_namespace, "no namespace's name")


def http_destinations(routes: Sequence[HTTPDestination], path: Path) -> Iterator[Cause]:
    yield from route_destinations(routes, path)
    for n, route in enumerate(routes):
        yield from header_operations(route.headers, (*path, n, "headers"))


def route_destinations(routes: Sequence[HTTPDestination | RouteDestination], path: Path) -> Iterator[Cause]:
    for n, route in enumerate(routes):
        if route.destination is None:
            yield required((*path, n, "destination"))
        yield from actions.destination(route.destination, (*path, n, "destination"))
        if route.weight < 0:
            yield invalid((*path, n, "weight"), route.weight, "must be 0 or more")
    if len(routes) > 1 and not any(route.weight for route in routes):
        yield invalid(path, 0, "the weights are all 0: give at least one destination a weight")


def claims_in(matches: Sequence[HTTPMatchRequest]) -> Iterator[tuple[int, str, str]]:
    """Yield the matches on claims of a token: index, field, name."""
    for n, match in enumerate(matches):
        fields: tuple[tuple[str, Mapping[str, StringMatch]], ...] = (
            ("headers", match.headers),
            ("withoutHeaders", match.without_headers),
        )
        for field, headers in fields:
            for name in headers:
                if name.startswith(CLAIM):
                    yield n, field, name
