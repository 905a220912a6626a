"""What a gateway says of the client to those behind it (Envoy: use_remote_address)."""

from __future__ import annotations

import ipaddress
import ssl
from typing import Any
from urllib.parse import quote

from devmesh.proxy.plane import Certificates
from devmesh.snapshot.proxy import Topology


def client_certificate(certificates: Certificates, session: ssl.SSLObject, own: str = "") -> str:
    """Return a client's element of x-forwarded-client-cert; "" for a client that showed no certificate.

    Istio: gateways say the certificate itself, its subject, URI and DNS names.

    Args:
        own: The URI of the certificate that the gateway showed, where it has one.
    """
    der = session.getpeercert(True)
    if not der:
        return ""
    parts = [f"By={own}"] if own else []
    parts.append(f"Hash={certificates.peer_hash(session)}")
    pem = ssl.DER_cert_to_PEM_cert(der)
    parts.append(f'Cert="{quote(pem, safe="")}"')
    certificate: dict[str, Any] = session.getpeercert() or {}
    parts.append(f'Subject="{_subject(certificate)}"')
    names = certificate.get("subjectAltName", ())
    parts += [f"URI={value}" for kind, value in names if kind == "URI"]
    parts += [f"DNS={value}" for kind, value in names if kind == "DNS"]
    return ";".join(parts)


_SHORT = {
    "commonName": "CN",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "stateOrProvinceName": "ST",
    "localityName": "L",
}


def _subject(certificate: dict[str, Any]) -> str:
    """Return the subject as RFC 2253 writes it: the most specific part first."""
    parts: tuple[tuple[tuple[str, str], ...], ...] = certificate.get("subject", ())
    found = [pair for part in parts for pair in part]
    return ",".join(f"{_SHORT.get(kind, kind)}={_escaped(value)}" for kind, value in reversed(found))


def _escaped(value: str) -> str:
    return "".join(f"\\{sign}" if sign in ',+"\\<>;' else sign for sign in value)


def certificate_header(topology: Topology, given: str | None, own: str) -> str:
    """Return the value of x-forwarded-client-cert to send on; "": none.

    Args:
        given: What the client sent.
        own: The element of the client that is connected; "" where it proved nothing.
    """
    match topology.client_cert:
        case "ALWAYS_FORWARD_ONLY":
            return given or ""
        case "FORWARD_ONLY":
            return (given or "") if own else ""
        case "APPEND_FORWARD":
            return f"{given},{own}" if given and own else own
        case "SANITIZE":
            return ""
    return own


_INTERNAL = tuple(
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.1/32", "::1/128", "fd00::/8")
)


def is_internal(address: str) -> bool:
    """Tell whether an address is of a private network, as Envoy reckons (RFC 1918, RFC 4193, loopback).

    Raises:
        ValueError: It is none.
    """
    found = ipaddress.ip_address(address)
    return any(found in network for network in _INTERNAL)


def trusted_address(hops: int, chain: str | None) -> str | None:
    """Return the client's address as the proxies before the gateway tell it; None where they don't.

    Args:
        hops: How many of those are trusted, at least 1: each has added the address that it saw.
        chain: x-forwarded-for as it arrived.
    """
    told = [part.strip() for part in chain.split(",")] if chain else []
    if len(told) < hops:
        return None
    try:
        return str(ipaddress.ip_address(told[-hops]))
    except ValueError:
        return None
