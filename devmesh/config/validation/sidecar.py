"""Sidecar and PeerAuthentication (Istio: the validating webhook)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from devmesh.config.documents.security import PeerAuthentication
from devmesh.config.documents.sidecar import (
    IstioEgressListener,
    IstioIngressListener,
    OutboundTrafficPolicy,
    Sidecar,
    SidecarPort,
)
from devmesh.config.problems import Cause, MapKey, Path, duplicate, forbidden, invalid, required, warning
from devmesh.config.validation import istio, names
from devmesh.config.validation.actions import destination
from devmesh.config.validation.gateway import server_tls
from devmesh.config.validation.pools import connection_pool

_LOOPBACK = ("", "127.0.0.1", "0.0.0.0", "::1", "::")


def sidecar(resource: Sidecar) -> Iterator[Cause]:
    spec = resource.spec
    selector = spec.workload_selector
    if selector is not None:
        yield from istio.selector(selector.labels, ("spec", "workloadSelector"), given=True)
    if not (spec.egress or spec.ingress or spec.outbound_traffic_policy or spec.inbound_connection_pool):
        yield required(("spec",), "give egress, ingress, outboundTrafficPolicy or inboundConnectionPool")
    numbers: set[int] = set()
    for n, ingress in enumerate(spec.ingress):
        yield from _ingress(ingress, ("spec", "ingress", n), numbers)
    yield from connection_pool(spec.inbound_connection_pool, ("spec", "inboundConnectionPool"))
    yield from _egresses(spec.egress)
    yield from _outbound(spec.outbound_traffic_policy, ("spec", "outboundTrafficPolicy"))


def _ingress(listener: IstioIngressListener, path: Path, numbers: set[int]) -> Iterator[Cause]:
    if listener.port is None:
        yield required((*path, "port"))
        return
    yield from _port(listener.port, (*path, "port"))
    if listener.port.number in numbers:
        yield duplicate((*path, "port", "number"), listener.port.number)
    numbers.add(listener.port.number)
    if listener.bind and not names.ip_address(listener.bind):
        yield invalid((*path, "bind"), listener.bind, "no IP address")
    endpoint = listener.default_endpoint
    if endpoint and not endpoint.startswith("unix://"):
        host, _, port = endpoint.rpartition(":")
        right = host.strip("[]") in _LOOPBACK and port.isdecimal() and 1 <= int(port) <= 65535
        if not right:
            detail = "must be 127.0.0.1:PORT, 0.0.0.0:PORT, [::1]:PORT, [::]:PORT or unix://PATH"
            yield invalid((*path, "defaultEndpoint"), endpoint, detail)
    yield from connection_pool(listener.connection_pool, (*path, "connectionPool"))
    tls = listener.tls
    if tls is None:
        return
    for field, value in (
        ("subjectAltNames", tls.subject_alt_names),
        ("httpsRedirect", tls.https_redirect),
        ("credentialName", tls.credential_name),
        ("credentialNames", tls.credential_names),
        ("tlsCertificates", tls.tls_certificates),
    ):
        if value:
            yield forbidden((*path, "tls", field), "not supported in a Sidecar")
    if tls.mode in ("ISTIO_MUTUAL", "AUTO_PASSTHROUGH"):
        yield invalid((*path, "tls", "mode"), tls.mode, "not possible in a Sidecar")
    if not istio.is_tls(listener.port.protocol):
        yield forbidden((*path, "tls"), "the port's protocol must be HTTPS or TLS")
    yield from server_tls(tls, (*path, "tls"))


def _port(port: SidecarPort, path: Path) -> Iterator[Cause]:
    if port.name:
        yield from istio.port_name(port.name, (*path, "name"))
    yield from istio.protocol(port.protocol, (*path, "protocol"))
    yield from istio.port(port.number, (*path, "number"))
    if port.target_port:
        yield forbidden((*path, "targetPort"), "has no meaning in a Sidecar")


def _egresses(listeners: Sequence[IstioEgressListener]) -> Iterator[Cause]:
    numbers: set[int] = set()
    for n, listener in enumerate(listeners):
        path: Path = ("spec", "egress", n)
        if listener.port is None:
            if n != len(listeners) - 1:
                yield invalid(path, "", "the listener without a port must be the last, and the only one")
        elif listener.port.number == 0 and listener.bind.startswith("unix://"):
            yield from istio.protocol(listener.port.protocol, (*path, "port", "protocol"))
        else:
            yield from _port(listener.port, (*path, "port"))
            if listener.bind and not names.ip_address(listener.bind):
                yield invalid((*path, "bind"), listener.bind, "no IP address")
            if listener.port.number in numbers:
                yield duplicate((*path, "port", "number"), listener.port.number)
            numbers.add(listener.port.number)
        yield from istio.needs(listener.hosts, (*path, "hosts"), "./* is all of this namespace")
        seen: set[str] = set()
        for m, host in enumerate(listener.hosts):
            yield from istio.namespaced_host(host, (*path, "hosts", m), gateway=False)
            if host in seen:
                yield warning((*path, "hosts", m), f"{host} is there twice")
            seen.add(host)
        if "*/*" in seen and len(seen) > 1:
            yield warning((*path, "hosts"), "*/* is everything: the others add nothing")


def _outbound(policy: OutboundTrafficPolicy | None, path: Path) -> Iterator[Cause]:
    if policy is None:
        return
    if policy.mode == "ALLOW_ANY_DYNAMIC_DNS":
        yield invalid((*path, "mode"), policy.mode, "is for MeshConfig only")
    proxy = policy.egress_proxy
    if proxy is not None:
        if policy.mode != "ALLOW_ANY":
            yield forbidden((*path, "egressProxy"), "needs the mode ALLOW_ANY")
        if proxy.port is None:
            yield required((*path, "egressProxy", "port"))
        yield from destination(proxy, (*path, "egressProxy"))


def peer_authentication(resource: PeerAuthentication) -> Iterator[Cause]:
    spec = resource.spec
    selector = spec.selector.match_labels if spec.selector else {}
    yield from istio.selector(selector, ("spec", "selector"), given=spec.selector is not None)
    if spec.port_level_mtls and not selector:
        detail = "needs a selector: modes by port are those of a workload"
        yield forbidden(("spec", "portLevelMtls"), detail)
    for port in spec.port_level_mtls:
        if not port.isdecimal() or not 1 <= int(port) <= 65535:
            yield invalid(
                ("spec", "portLevelMtls", MapKey(port)), port, "must be between 1 and 65535, inclusive"
            )
