"""TLS with a user's own certificates, as a Gateway or a DestinationRule asks for it."""

from __future__ import annotations

import ssl
import time
from contextlib import suppress

import pytest

from devmesh.model.identity import Identity
from devmesh.security.ca import Certificate, CertificateAuthority
from devmesh.security.pem import BadCertificate, client_context, has_name, server_context
from devmesh.snapshot.cluster import TlsMode, UpstreamTls
from devmesh.snapshot.proxy import ServerTls

NAME = "spiffe://cluster.local/ns/default/sa/httpbin"


@pytest.fixture(scope="module")
def authority() -> CertificateAuthority:
    return CertificateAuthority("cluster.local", time.time())


@pytest.fixture(scope="module")
def pair(authority: CertificateAuthority) -> Certificate:
    return authority.issue(Identity.parse(NAME), time.time())


def handshake(client: ssl.SSLContext, server: ssl.SSLContext, host: str = "httpbin.org") -> ssl.SSLObject:
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = (
        client.wrap_bio(down, up, server_hostname=host),
        server.wrap_bio(up, down, server_side=True),
    )
    for _ in range(5):
        for side in sides:
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
    assert sides[1].version()
    return sides[0]


def simple(authority: CertificateAuthority, **changed: object) -> UpstreamTls:
    given = {"mode": TlsMode.SIMPLE, "sans": (NAME,), "ca_pem": authority.roots_pem}
    return UpstreamTls(**given | changed)  # type: ignore[arg-type]


def of(pair: Certificate, mode: str = "SIMPLE", ca_pem: str = "") -> ServerTls:
    return ServerTls(mode, ("httpbin.org",), pair.certificate_pem, pair.key_pem, ca_pem)


def test_simple_tls_with_names_that_the_caller_checks(
    authority: CertificateAuthority, pair: Certificate
) -> None:
    session = handshake(client_context(simple(authority)), server_context(of(pair)))
    assert session.selected_alpn_protocol() == "http/1.1"
    assert has_name(session, (NAME,))
    assert not has_name(session, ("other.org",))


def test_without_names_the_host_has_to_be_in_the_certificate(
    authority: CertificateAuthority, pair: Certificate
) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(client_context(simple(authority, sans=())), server_context(of(pair)))


def test_an_unknown_ca_is_refused_unless_insecure(authority: CertificateAuthority, pair: Certificate) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(client_context(simple(authority, ca_pem="")), server_context(of(pair)))
    assert handshake(client_context(simple(authority, ca_pem="", insecure=True)), server_context(of(pair)))


def test_mutual_asks_the_client_for_a_certificate(authority: CertificateAuthority, pair: Certificate) -> None:
    server = server_context(of(pair, "MUTUAL", authority.roots_pem))
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        handshake(client_context(simple(authority)), server)
    mutual = simple(
        authority, mode=TlsMode.MUTUAL, certificate_pem=pair.certificate_pem, key_pem=pair.key_pem
    )
    assert handshake(client_context(mutual), server)


def test_optional_mutual_takes_a_client_without(authority: CertificateAuthority, pair: Certificate) -> None:
    server = server_context(of(pair, "OPTIONAL_MUTUAL", authority.roots_pem))
    assert handshake(client_context(simple(authority)), server)


def test_what_cannot_be_used_says_why(authority: CertificateAuthority, pair: Certificate) -> None:
    other = authority.issue(Identity.parse(NAME), time.time())
    with pytest.raises(BadCertificate, match=r"httpbin\.org: .* KEY_VALUES_MISMATCH"):
        server_context(ServerTls("SIMPLE", ("httpbin.org",), pair.certificate_pem, other.key_pem))
    with pytest.raises(BadCertificate, match="certificate and key cannot be used"):
        server_context(ServerTls("SIMPLE", ("httpbin.org",), "nonsense", "nonsense"))
    with pytest.raises(BadCertificate, match="the CA cannot be used"):
        server_context(of(pair, "MUTUAL", "nonsense"))
