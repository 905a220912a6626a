"""Gateway, and TLS towards clients (Istio: the validating webhook)."""

from __future__ import annotations

from collections.abc import Iterator

from devmesh.config.documents.gateway import Gateway, Server, ServerPort, ServerTLSSettings
from devmesh.config.problems import Cause, Path, duplicate, forbidden, invalid, required, warning
from devmesh.config.validation import istio, names

_OLD = ("TLSV1_0", "TLSV1_1")


def gateway(resource: Gateway) -> Iterator[Cause]:
    name = resource.metadata.name or ""
    if name and not istio.is_label(name):
        yield invalid(("metadata", "name"), name, "a Gateway's name is a DNS label: no dots")
    yield from istio.needs(resource.spec.servers, ("spec", "servers"), "a Gateway has at least one server")
    yield from istio.label_set(resource.spec.selector, ("spec", "selector"))
    seen: set[str] = set()
    for n, server in enumerate(resource.spec.servers):
        path: Path = ("spec", "servers", n)
        yield from _server(server, path)
        if server.port is not None and server.port.name:
            if server.port.name in seen:
                yield duplicate((*path, "port", "name"), server.port.name)
            seen.add(server.port.name)


def _server(server: Server, path: Path) -> Iterator[Cause]:
    yield from istio.needs(server.hosts, (*path, "hosts"), "* is any host")
    for n, host in enumerate(server.hosts):
        yield from istio.namespaced_host(host, (*path, "hosts", n), gateway=True)
    if server.bind.startswith("unix://"):
        if server.port is not None and server.port.number:
            yield invalid((*path, "port", "number"), server.port.number, "must be 0 for a unix socket")
    elif server.bind and not names.ip_address(server.bind):
        yield invalid((*path, "bind"), server.bind, "no IP address")
    if server.tls is not None:
        yield from server_tls(server.tls, (*path, "tls"))
    if server.port is None:
        yield required((*path, "port"))
        return
    yield from _port(server.port, (*path, "port"), unix=server.bind.startswith("unix://"))
    yield from _tls_fits(server.port.protocol, server.tls, path)


def _port(port: ServerPort, path: Path, *, unix: bool) -> Iterator[Cause]:
    yield from istio.needs(port.protocol, (*path, "protocol"))
    yield from istio.protocol(port.protocol, (*path, "protocol"))
    yield from istio.needs(port.name, (*path, "name"))
    if port.number or not unix:
        yield from istio.port(port.number, (*path, "number"))
    if port.target_port:
        yield forbidden((*path, "targetPort"), "has no meaning on a Gateway")


def _tls_fits(protocol: str, tls: ServerTLSSettings | None, path: Path) -> Iterator[Cause]:
    if tls is None:
        if istio.is_tls(protocol):
            yield required((*path, "tls"), f"a server for {protocol} needs its TLS settings")
        return
    if tls.https_redirect and not istio.is_http(protocol):
        yield warning((*path, "tls", "httpsRedirect"), "is for HTTP servers only")
    if istio.is_tls(protocol):
        return
    files = tls.ca_certificates or tls.private_key or tls.server_certificate
    if not istio.is_http(protocol):
        yield forbidden((*path, "tls"), f"not on a {protocol} port: the protocol must be HTTPS or TLS")
    elif files or tls.mode not in (None, "PASSTHROUGH", "AUTO_PASSTHROUGH"):
        yield forbidden((*path, "tls"), "a plain HTTP server has httpsRedirect only; use the protocol HTTPS")


def server_tls(tls: ServerTLSSettings, path: Path) -> Iterator[Cause]:
    """Check TLS towards clients (Sidecars have it too)."""
    if tls.min_protocol_version in _OLD and not tls.cipher_suites:
        yield warning((*path, "minProtocolVersion"), "below TLSV1_2 needs cipherSuites that it can use")
    given = {
        "serverCertificate": tls.server_certificate,
        "privateKey": tls.private_key,
        "caCertificates": tls.ca_certificates,
        "tlsCertificates": tls.tls_certificates,
        "credentialName": tls.credential_name,
        "credentialNames": tls.credential_names,
    }
    if tls.mode == "ISTIO_MUTUAL":
        for field, value in given.items():
            if value:
                yield forbidden((*path, field), "not with ISTIO_MUTUAL: the mesh's own certificates are used")
        return
    if tls.mode in ("PASSTHROUGH", "AUTO_PASSTHROUGH") and (any(given.values()) or tls.ca_crl):
        yield warning(path, f"{tls.mode} uses no certificates: those given are ignored")
    files = bool(tls.server_certificate and tls.private_key)
    sources = [files, bool(tls.credential_name), bool(tls.credential_names), bool(tls.tls_certificates)]
    if sum(sources) > 1:
        detail = (
            "give one of credentialName, credentialNames, serverCertificate with privateKey, tlsCertificates"
        )
        yield forbidden(path, detail)
    if tls.mode in ("SIMPLE", "MUTUAL", "OPTIONAL_MUTUAL"):
        yield from _certificates(tls, path)


def _certificates(tls: ServerTLSSettings, path: Path) -> Iterator[Cause]:
    if tls.credential_name or tls.credential_names:
        return
    if tls.mode != "SIMPLE" and not tls.ca_certificates:
        yield required((*path, "caCertificates"), f"{tls.mode} verifies clients: give it or credentialName")
    if tls.ca_crl and tls.mode == "SIMPLE":
        yield forbidden((*path, "caCrl"), "not with SIMPLE")
    if tls.tls_certificates:
        for n, certificate in enumerate(tls.tls_certificates):
            at: Path = (*path, "tlsCertificates", n)
            yield from istio.needs(certificate.server_certificate, (*at, "serverCertificate"))
            yield from istio.needs(certificate.private_key, (*at, "privateKey"))
        return
    detail = f"{tls.mode} needs it, or credentialName"
    yield from istio.needs(tls.server_certificate, (*path, "serverCertificate"), detail)
    yield from istio.needs(tls.private_key, (*path, "privateKey"), detail)
