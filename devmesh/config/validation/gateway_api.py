"""The Gateway API's kinds (the rules of its CustomResourceDefinitions)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from devmesh.config.documents.gateway_api import (
    BackendTLSPolicy,
    GatewayResource,
    Listener,
    ListenerEntry,
    ListenerSet,
    ReferenceGrant,
)
from devmesh.config.documents.gateway_routes import (
    BackendRef,
    GRPCBackendRef,
    GRPCRouteResource,
    HTTPBackendRef,
    ParentReference,
    TCPRouteResource,
    TLSRouteResource,
)
from devmesh.config.problems import Cause, Path, duplicate, forbidden, invalid, required
from devmesh.config.validation import istio, names

_MOST = 64


def gateway(resource: GatewayResource) -> Iterator[Cause]:
    spec = resource.spec
    path: Path = ("spec", "listeners")
    if not spec.listeners:
        yield required(path, "a Gateway has at least one listener")
    yield from _listeners(spec.listeners, path)


def listener_set(resource: ListenerSet) -> Iterator[Cause]:
    path: Path = ("spec", "listeners")
    if not resource.spec.listeners:
        yield required(path, "a ListenerSet has at least one listener")
    yield from _listeners(resource.spec.listeners, path)


def _listeners(listeners: Sequence[Listener | ListenerEntry], path: Path) -> Iterator[Cause]:
    if len(listeners) > _MOST:
        yield invalid(path, len(listeners), f"at most {_MOST} listeners")
    seen: set[str] = set()
    for n, listener in enumerate(listeners):
        at = (*path, n)
        if listener.name in seen:
            yield duplicate((*at, "name"), listener.name)
        seen.add(listener.name)
        if why := names.dns_subdomain(listener.name):
            yield invalid((*at, "name"), listener.name, why)
        if listener.hostname:
            yield from _hostname(listener.hostname, (*at, "hostname"))
            if listener.protocol in ("TCP", "UDP"):
                yield forbidden((*at, "hostname"), f"not for protocol {listener.protocol}")
        yield from _listener_tls(listener, at)


def _listener_tls(listener: Listener | ListenerEntry, at: Path) -> Iterator[Cause]:
    tls = listener.tls
    if listener.protocol in ("HTTP", "TCP", "UDP"):
        if tls is not None:
            yield forbidden((*at, "tls"), f"not for protocol {listener.protocol}: use HTTPS or TLS")
        return
    if listener.protocol == "HTTPS" and tls is not None and tls.mode not in (None, "Terminate"):
        yield invalid((*at, "tls", "mode"), tls.mode, "must be Terminate for protocol HTTPS")
    if tls is not None and tls.mode in (None, "Terminate") and not tls.certificate_refs and not tls.options:
        yield required(
            (*at, "tls", "certificateRefs"),
            "or options must be given for mode Terminate",
        )


def backend_tls_policy(resource: BackendTLSPolicy) -> Iterator[Cause]:
    spec, path = resource.spec, ("spec", "validation")
    if not spec.target_refs:
        yield required(("spec", "targetRefs"), "the Services that TLS is spoken with")
    validation = spec.validation
    if bool(validation.ca_certificate_refs) == bool(validation.well_known_ca_certificates):
        yield invalid(
            path, None, "exactly one of caCertificateRefs and wellKnownCACertificates must be given"
        )
    for n, san in enumerate(validation.subject_alt_names):
        field = "hostname" if san.type == "Hostname" else "uri"
        if not getattr(san, field):
            yield required((*path, "subjectAltNames", n, field), f"must be given for type {san.type}")


def reference_grant(resource: ReferenceGrant) -> Iterator[Cause]:
    if not resource.spec.from_:
        yield required(("spec", "from"), "who may refer: group, kind, namespace")
    if not resource.spec.to:
        yield required(("spec", "to"), "to what: group, kind")


def grpc_route(resource: GRPCRouteResource) -> Iterator[Cause]:
    spec = resource.spec
    yield from parents(spec.parent_refs)
    yield from hostnames(spec.hostnames)
    for n, rule in enumerate(spec.rules):
        path: Path = ("spec", "rules", n)
        for m, match in enumerate(rule.matches):
            at = (*path, "matches", m, "method")
            method = match.method
            if method is None:
                continue
            if not method.service and not method.method:
                yield required(at, "one or both of service or method must be given")
            if method.type == "RegularExpression":
                for name, value in (("service", method.service), ("method", method.method)):
                    if value:
                        yield from istio.regex(value, (*at, name))
        yield from backends(rule.backend_refs, path)


def tls_route(resource: TLSRouteResource) -> Iterator[Cause]:
    yield from parents(resource.spec.parent_refs)
    yield from hostnames(resource.spec.hostnames)
    yield from _connection_rules(resource)


def tcp_route(resource: TCPRouteResource) -> Iterator[Cause]:
    yield from parents(resource.spec.parent_refs)
    yield from _connection_rules(resource)


def _connection_rules(resource: TLSRouteResource | TCPRouteResource) -> Iterator[Cause]:
    rules = resource.spec.rules
    if not rules:
        yield required(("spec", "rules"), "a route has at least one rule")
    for n, rule in enumerate(rules):
        if not rule.backend_refs:
            yield required(("spec", "rules", n, "backendRefs"), "a rule has at least one backend")
        yield from backends(rule.backend_refs, ("spec", "rules", n))


def parents(refs: Sequence[ParentReference]) -> Iterator[Cause]:
    seen: set[tuple[object, ...]] = set()
    for n, ref in enumerate(refs):
        key = (ref.group, ref.kind, ref.namespace, ref.name, ref.section_name, ref.port)
        if key in seen:
            yield duplicate(("spec", "parentRefs", n), ref.name)
        seen.add(key)


def hostnames(written: Sequence[str]) -> Iterator[Cause]:
    for n, host in enumerate(written):
        yield from _hostname(host, ("spec", "hostnames", n))


def _hostname(host: str, path: Path) -> Iterator[Cause]:
    bare = host.removeprefix("*.")
    if names.ip_address(bare):
        yield invalid(path, host, "a host name, no IP address")
    elif why := names.dns_subdomain(bare):
        yield invalid(path, host, f"{why}, with or without a wildcard label before it (*.example.com)")


def backends(refs: Sequence[BackendRef | HTTPBackendRef | GRPCBackendRef], path: Path) -> Iterator[Cause]:
    for n, ref in enumerate(refs):
        if (ref.group or "", ref.kind or "Service") == ("", "Service") and ref.port is None:
            yield required((*path, "backendRefs", n, "port"), "must have a port for a Service")
