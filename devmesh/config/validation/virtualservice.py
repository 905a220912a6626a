"""VirtualService (Istio: the validating webhook)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import msgspec

from devmesh.config.documents.message import Message
from devmesh.config.documents.scalars import to_text
from devmesh.config.documents.virtualservice import (
    HTTPRoute,
    L4MatchAttributes,
    TCPRoute,
    TLSMatchAttributes,
    TLSRoute,
    VirtualService,
    VirtualServiceSpec,
)
from devmesh.config.problems import Cause, MapKey, Path, duplicate, forbidden, invalid, required, warning
from devmesh.config.validation import istio, names
from devmesh.config.validation.httproute import claims_in, http_route, route_destinations
from devmesh.model.host import matches

_HOSTS: Path = ("spec", "hosts")


def virtual_service(resource: VirtualService) -> Iterator[Cause]:
    spec = resource.spec
    delegate = not spec.hosts
    if delegate:
        yield from _delegate(spec)
    on_gateway = any(name != "mesh" for name in spec.gateways)
    yield from istio.gateway_names(spec.gateways, ("spec", "gateways"))
    yield from _hosts(spec, on_gateway=on_gateway)
    if not (spec.http or spec.tls or spec.tcp):
        yield required(("spec",), "http, tcp or tls must be given")
    for n, http in enumerate(spec.http):
        yield from http_route(http, ("spec", "http", n), delegate=delegate)
        for m, field, claim in () if on_gateway or delegate else claims_in(http.match):
            at: Path = ("spec", "http", n, "match", m, field, MapKey(claim))
            yield forbidden(at, "routing by claims works at gateways only")
    for n, tls in enumerate(spec.tls):
        yield from _tls(tls, spec, ("spec", "tls", n))
    for n, tcp in enumerate(spec.tcp):
        yield from _tcp(tcp, ("spec", "tcp", n))
    yield from istio.export_to(spec.export_to, resource.metadata.namespace or "")
    yield from _unreachable(spec.http, "http")
    yield from _unreachable(spec.tls, "tls")
    yield from _unreachable(spec.tcp, "tcp")


def _delegate(spec: VirtualServiceSpec) -> Iterator[Cause]:
    for field, value in (("gateways", spec.gateways), ("tls", spec.tls), ("tcp", spec.tcp)):
        if value:
            detail = "a VirtualService without hosts is a delegate: it has http routes only (or give hosts)"
            yield forbidden(("spec", field), detail)


def _hosts(spec: VirtualServiceSpec, *, on_gateway: bool) -> Iterator[Cause]:
    valid: list[str] = []
    for n, host in enumerate(spec.hosts):
        generated = on_gateway and bool(spec.tls) and host.startswith("outbound_")
        wrong = "" if generated else istio.wildcard_domain(host)
        if wrong and not names.ip_address(host):
            yield invalid((*_HOSTS, n), host, wrong)
        elif host == "*" and not on_gateway:
            yield invalid((*_HOSTS, n), host, "the host * is for gateways only: name the hosts of the mesh")
        else:
            covering = next((v for v in valid if matches(v, host) or matches(host, v)), None)
            if covering is not None:
                yield duplicate((*_HOSTS, n), host if covering == host else f"{host} ({covering})")
            valid.append(host)


def _tls(route: TLSRoute, spec: VirtualServiceSpec, path: Path) -> Iterator[Cause]:
    yield from istio.needs(route.match, (*path, "match"), "a TLS route needs a match with sniHosts")
    yield from istio.needs(route.route, (*path, "route"))
    for n, match in enumerate(route.match):
        at: Path = (*path, "match", n)
        yield from istio.needs(match.sni_hosts, (*at, "sniHosts"))
        for m, host in enumerate(match.sni_hosts):
            yield from _sni_host(host, spec, (*at, "sniHosts", m))
        yield from _connection(match, at)
    yield from route_destinations(route.route, (*path, "route"))


def _sni_host(host: str, spec: VirtualServiceSpec, path: Path) -> Iterator[Cause]:
    if names.ip_address(host):
        yield warning(path, "is an address, and few clients send addresses as server name")
        return
    wrong = "" if host.startswith("outbound_") else istio.wildcard_domain(host)
    if wrong:
        yield invalid(path, host, wrong)
    elif not any(matches(covering, host) for covering in spec.hosts):
        yield invalid(path, host, f"is not among the VirtualService's hosts ({', '.join(spec.hosts)})")


def _tcp(route: TCPRoute, path: Path) -> Iterator[Cause]:
    yield from istio.needs(route.route, (*path, "route"))
    for n, match in enumerate(route.match):
        yield from _connection(match, (*path, "match", n))
    yield from route_destinations(route.route, (*path, "route"))


def _connection(match: TLSMatchAttributes | L4MatchAttributes, path: Path) -> Iterator[Cause]:
    for n, subnet in enumerate(match.destination_subnets):
        if not names.cidr(subnet):
            yield invalid((*path, "destinationSubnets", n), subnet, "no address and no CIDR block")
    if match.port:
        yield from istio.port(match.port, (*path, "port"))
    yield from istio.label_set(match.source_labels, (*path, "sourceLabels"))
    yield from istio.gateway_names(match.gateways, (*path, "gateways"))


def _unreachable(routes: Sequence[HTTPRoute | TLSRoute | TCPRoute], field: str) -> Iterator[Cause]:
    """Warn of routes and matches behind one that takes everything they could."""
    seen: dict[str, int] = {}
    all_taken = -1
    for n, route in enumerate(routes):
        path: Path = ("spec", field, n)
        if all_taken >= 0:
            yield warning(path, f"is never used: {field}[{all_taken}] has no match, and takes everything")
            continue
        if not route.match:
            all_taken = n
            continue
        for m, match in enumerate(route.match):
            key = _canonical(match)
            if key in seen:
                yield warning((*path, "match", m), f"is never used: {field}[{seen[key]}] has the same match")
            seen.setdefault(key, n)


def _canonical(match: Message) -> str:
    return json.dumps(msgspec.to_builtins(match, enc_hook=to_text), sort_keys=True)
