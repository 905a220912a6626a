"""TLS contexts from a user's own certificates: gateways' servers, and TLS that a client side begins.

Each takes about a millisecond to build: keep it for as long as its `ServerTls` or `UpstreamTls` is in force.
"""

from __future__ import annotations

import base64
import hashlib
import os
import ssl
import warnings
from dataclasses import dataclass
from typing import Any

from devmesh.security.contexts import load_chain
from devmesh.snapshot.cluster import TlsMode, UpstreamTls
from devmesh.snapshot.proxy import ServerTls, TlsRules

_VERIFY = {
    "MUTUAL": ssl.CERT_REQUIRED,
    "OPTIONAL_MUTUAL": ssl.CERT_OPTIONAL,
}
_OLD = ("TLSV1_0", "TLSV1_1")
_VERSIONS = {
    "TLSV1_0": ssl.TLSVersion.TLSv1,
    "TLSV1_1": ssl.TLSVersion.TLSv1_1,
    "TLSV1_2": ssl.TLSVersion.TLSv1_2,
    "TLSV1_3": ssl.TLSVersion.TLSv1_3,
}


class BadCertificate(ValueError):
    """A certificate, key or CA that a user gave cannot be used; the message says which and why."""


@dataclass(frozen=True, slots=True)
class FirstCertificate:
    """What is shown of a certificate; times are seconds since the epoch."""

    serial: int
    not_before: float
    not_after: float


def server_context(tls: ServerTls, protocols: tuple[str, ...] = ("http/1.1",)) -> ssl.SSLContext:
    """Build the context of a Gateway's server: SIMPLE asks the client for nothing, MUTUAL for a certificate.

    What `TlsRules` asks of the client beyond a trusted signature the caller checks after the handshake, with
    `complaint`.

    Raises:
        BadCertificate: The PEM is malformed, or the key is another certificate's.
    """
    what = f"the server for {', '.join(tls.hosts)}"
    if not tls.certificate_pem:
        raise BadCertificate(f"{what}: there is no certificate")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _speak(context, tls.rules)
    _load(context, tls.certificate_pem, tls.key_pem, what)
    for pem in tls.more_pems:
        _load(context, pem, "", what)
    if tls.mode in _VERIFY:
        _trust(context, tls.ca_pem, what)
        if tls.rules.crl_pem:
            _revoke(context, tls.rules.crl_pem, what)
        context.verify_mode = _VERIFY[tls.mode]
    if protocols:
        context.set_alpn_protocols(protocols)
    context.options |= ssl.OP_NO_RENEGOTIATION
    return context


def _speak(context: ssl.SSLContext, rules: TlsRules) -> None:
    """Set versions and ciphers. OpenSSL has to be told that old versions are meant."""
    old = rules.minimum in _OLD or rules.maximum in _OLD
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = _VERSIONS.get(rules.minimum, ssl.TLSVersion.TLSv1_2)
        context.maximum_version = _VERSIONS.get(rules.maximum, ssl.TLSVersion.TLSv1_3)
    if rules.ciphers or old:
        context.set_ciphers(":".join(rules.ciphers or ("DEFAULT",)) + (":@SECLEVEL=0" if old else ""))


def complaint(rules: TlsRules, session: ssl.SSLObject | ssl.SSLSocket) -> str:
    """Return what speaks against the client whose handshake is done; "" lets it in.

    Envoy: one name of its certificate has to be wanted, and one of all hashes to be its own. A client that
    may come without a certificate, and does, is not looked at.
    """
    der = session.getpeercert(True)
    if not der or not rules.look_at_client:
        return ""
    if rules.sans and not has_name(session, rules.sans):
        return "verify SAN list"
    if (rules.hashes or rules.spkis) and not _is_pinned(rules, der):
        return "verify certificate hash"
    return ""


def _is_pinned(rules: TlsRules, der: bytes) -> bool:
    if rules.hashes:
        fingerprint = hashlib.sha256(der).hexdigest()
        if any(wanted.replace(":", "").lower() == fingerprint for wanted in rules.hashes):
            return True
    return bool(rules.spkis) and _public_key_hash(der) in rules.spkis


def _public_key_hash(der: bytes) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
    from cryptography.x509 import load_der_x509_certificate

    key = load_der_x509_certificate(der).public_key()
    info = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(info).digest()).decode()


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


def first_certificate(pem: str) -> FirstCertificate:
    """Read who the first certificate of a chain is, to show it.

    Raises:
        BadCertificate: There is none.
    """
    from cryptography import x509

    try:
        found = x509.load_pem_x509_certificate(pem.encode())
    except ValueError as error:
        raise BadCertificate(f"not a certificate: {error}") from None
    return FirstCertificate(
        found.serial_number, found.not_valid_before_utc.timestamp(), found.not_valid_after_utc.timestamp()
    )
