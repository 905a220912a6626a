"""TLS contexts from a user's own certificates: gateways' servers, and TLS that a client side begins.

Each takes about a millisecond to build: keep it for as long as its `ServerTls` or `UpstreamTls` is in force.
"""

from __future__ import annotations

import os
import ssl
from typing import Any

from devmesh.security.contexts import load_chain
from devmesh.snapshot.cluster import TlsMode, UpstreamTls
from devmesh.snapshot.proxy import ServerTls

_VERIFY = {
    "MUTUAL": ssl.CERT_REQUIRED,
    "OPTIONAL_MUTUAL": ssl.CERT_OPTIONAL,
}


class BadCertificate(ValueError):
    """A certificate, key or CA that a user gave cannot be used; the message says which and why."""


def server_context(tls: ServerTls, protocols: tuple[str, ...] = ("http/1.1",)) -> ssl.SSLContext:
    """Build the context of a Gateway's server: SIMPLE asks the client for nothing, MUTUAL for a certificate.

    Raises:
        BadCertificate: The PEM is malformed, or the key is another certificate's.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load(context, tls.certificate_pem, tls.key_pem, f"the server for {', '.join(tls.hosts)}")
    if tls.mode in _VERIFY:
        _trust(context, tls.ca_pem, f"the server for {', '.join(tls.hosts)}")
        context.verify_mode = _VERIFY[tls.mode]
    context.set_alpn_protocols(protocols)
    return context


def client_context(tls: UpstreamTls, protocols: tuple[str, ...] = ("http/1.1",)) -> ssl.SSLContext:
    """Build the context for SIMPLE and MUTUAL origination.

    Without a CA of its own the system's are trusted. With `sans` the caller asks `has_name` after the
    handshake; without them the certificate has to be for the host name that the connection is made with,
    unless `sni` names another: then, as in Istio, any that the CA signed will do. `insecure` verifies
    nothing.

    Raises:
        BadCertificate: The PEM is malformed, or the key is another certificate's.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    what = f"TLS to {tls.sni or 'the upstream'}"
    context.check_hostname = not (tls.insecure or tls.sans or tls.sni)
    if tls.insecure:
        context.verify_mode = ssl.CERT_NONE
    elif tls.ca_pem:
        _trust(context, tls.ca_pem, what)
    else:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    if tls.mode is TlsMode.MUTUAL:
        _load(context, tls.certificate_pem, tls.key_pem, what)
    if tls.crl_pem and not tls.insecure:
        _revoke(context, tls.crl_pem, what)
    if protocols:
        context.set_alpn_protocols(protocols)
    return context


def has_name(session: ssl.SSLObject | ssl.SSLSocket, names: tuple[str, ...]) -> bool:
    """Tell whether the peer's certificate has one of `names` as DNS name, URI or address."""
    found: Any = (session.getpeercert() or {}).get("subjectAltName", ())
    return any(value in names for _, value in found)


def _load(context: ssl.SSLContext, certificate_pem: str, key_pem: str, what: str) -> None:
    try:
        load_chain(context, f"{certificate_pem.strip()}\n{key_pem.strip()}\n")
    except ssl.SSLError as error:
        reason = error.reason or "the PEM is malformed"
        raise BadCertificate(f"{what}: certificate and key cannot be used: {reason}") from error


def _revoke(context: ssl.SSLContext, crl_pem: str, what: str) -> None:
    """Envoy: with a list of what is revoked, every certificate of the chain is looked up."""
    held = os.memfd_create("crl", os.MFD_CLOEXEC)  # the library takes such lists from files alone
    try:
        os.write(held, crl_pem.encode())
        context.load_verify_locations(cafile=f"/proc/self/fd/{held}")
    except (ssl.SSLError, OSError) as error:
        raise BadCertificate(f"{what}: the revocation list cannot be used: {error}") from error
    finally:
        os.close(held)
    context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN


def _trust(context: ssl.SSLContext, ca_pem: str, what: str) -> None:
    try:
        context.load_verify_locations(cadata=ca_pem)
    except (ssl.SSLError, ValueError) as error:
        raise BadCertificate(f"{what}: the CA cannot be used: {error}") from error
