"""What a Gateway's server asks of its clients, by OpenSSL on both sides."""

from __future__ import annotations

import base64
import hashlib
import ssl
import warnings
from contextlib import suppress

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from devmesh.security.contexts import load_chain
from devmesh.security.pem import BadCertificate, complaint, server_context
from devmesh.snapshot.proxy import ServerTls, TlsRules
from tests.security.certificates import Made, authority, issue, revoke

CA = authority()
SERVER = issue(CA, "site.example")
CLIENT = issue(CA, "client.example")


def server(mode: str = "SIMPLE", **rules: object) -> ssl.SSLContext:
    return server_context(of(mode, **rules))


def of(mode: str = "SIMPLE", **rules: object) -> ServerTls:
    made = TlsRules(**rules)  # type: ignore[arg-type]
    return ServerTls(mode, ("site.example",), SERVER.pem, SERVER.key_pem, CA.pem, rules=made)


def client(
    certificate: Made | None = None, version: ssl.TLSVersion | None = None, ciphers: str = ""
) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=CA.pem)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        if version is not None:
            context.minimum_version = context.maximum_version = version
    if ciphers:
        context.set_ciphers(ciphers)
    if certificate is not None:
        load_chain(context, certificate.both)
    return context


def handshake(client: ssl.SSLContext, server: ssl.SSLContext) -> ssl.SSLObject:
    """Return the server's side of a handshake.

    Raises:
        ssl.SSLError: It failed on either side.
    """
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = server.wrap_bio(up, down, server_side=True)
    theirs = client.wrap_bio(down, up, server_hostname="site.example")
    for _ in range(5):
        for side in (theirs, ours):
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
    assert ours.version()
    return ours


@pytest.mark.parametrize(
    ("minimum", "maximum", "version", "agreed"),
    [
        ("TLSV1_2", "TLSV1_3", ssl.TLSVersion.TLSv1_2, True),
        ("TLSV1_2", "TLSV1_3", ssl.TLSVersion.TLSv1_3, True),
        ("TLSV1_3", "TLSV1_3", ssl.TLSVersion.TLSv1_2, False),
        ("TLSV1_2", "TLSV1_2", ssl.TLSVersion.TLSv1_3, False),
        ("TLSV1_2", "TLSV1_3", ssl.TLSVersion.TLSv1_1, False),
        ("TLSV1_1", "TLSV1_3", ssl.TLSVersion.TLSv1_1, True),
        ("TLSV1_0", "TLSV1_0", ssl.TLSVersion.TLSv1, True),
    ],
)
def test_versions_outside_the_range_are_refused(
    minimum: str, maximum: str, version: ssl.TLSVersion, agreed: bool
) -> None:
    ciphers = "DEFAULT:@SECLEVEL=0" if version < ssl.TLSVersion.TLSv1_2 else ""
    caller = client(version=version, ciphers=ciphers)
    context = server(minimum=minimum, maximum=maximum)
    if agreed:
        assert handshake(caller, context)
    else:
        with pytest.raises(ssl.SSLError):
            handshake(caller, context)


def test_only_the_listed_ciphers_are_spoken() -> None:
    context = server(ciphers=("ECDHE-ECDSA-AES256-GCM-SHA384",), maximum="TLSV1_2")
    session = handshake(client(), context)
    assert (session.cipher() or ("",))[0] == "ECDHE-ECDSA-AES256-GCM-SHA384"
    with pytest.raises(ssl.SSLError):
        handshake(client(ciphers="ECDHE-ECDSA-AES128-GCM-SHA256"), context)


def test_a_certificate_for_each_algorithm() -> None:
    other = issue(CA, "site.example", use_rsa=True)
    tls = ServerTls("SIMPLE", ("site.example",), SERVER.pem, SERVER.key_pem, more_pems=(other.both,))
    for algorithm in ("ECDSA", "RSA"):
        caller = client(version=ssl.TLSVersion.TLSv1_2, ciphers=f"ECDHE-{algorithm}-AES128-GCM-SHA256")
        assert handshake(caller, server_context(tls))


def test_mutual_wants_a_certificate_and_optional_takes_none() -> None:
    assert handshake(client(CLIENT), server("MUTUAL")).getpeercert()
    with pytest.raises(ssl.SSLError):
        handshake(client(), server("MUTUAL"))
    assert not handshake(client(), server("OPTIONAL_MUTUAL")).getpeercert()
    stranger = issue(authority("other"), "client.example")
    with pytest.raises(ssl.SSLError):
        handshake(client(stranger), server("OPTIONAL_MUTUAL"))


def test_a_revoked_certificate_is_refused() -> None:
    with pytest.raises(ssl.SSLError, match="revoked"):
        handshake(client(CLIENT), server("MUTUAL", crl_pem=revoke(CA, CLIENT)))
    assert handshake(client(CLIENT), server("MUTUAL", crl_pem=revoke(CA, SERVER)))


def test_a_revocation_list_that_is_none_is_told() -> None:
    with pytest.raises(BadCertificate, match="revocation list"):
        server("MUTUAL", crl_pem="nonsense")


DER = CLIENT.certificate.public_bytes(Encoding.DER)
HASH = hashlib.sha256(DER).hexdigest()
INFO = CLIENT.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
SPKI = base64.b64encode(hashlib.sha256(INFO).digest()).decode()


@pytest.mark.parametrize(
    ("rules", "complains"),
    [
        ({}, ""),
        ({"sans": ("client.example", "x")}, ""),
        ({"sans": ("x",)}, "verify SAN list"),
        ({"hashes": (HASH,)}, ""),
        ({"hashes": (":".join(HASH[i : i + 2] for i in range(0, 64, 2)).upper(),)}, ""),
        ({"hashes": ("0" * 64,)}, "verify certificate hash"),
        ({"spkis": (SPKI,)}, ""),
        ({"spkis": ("x",)}, "verify certificate hash"),
        ({"spkis": ("x",), "hashes": (HASH,)}, ""),
    ],
)
def test_names_and_pins_of_the_client(rules: dict[str, tuple[str, ...]], complains: str) -> None:
    session = handshake(client(CLIENT), server("MUTUAL"))
    assert complaint(TlsRules(**rules), session) == complains  # type: ignore[arg-type]


def test_who_may_come_without_a_certificate_is_not_asked_for_its_name() -> None:
    session = handshake(client(), server("OPTIONAL_MUTUAL"))
    assert complaint(TlsRules(sans=("x",)), session) == ""


def test_without_a_certificate_there_is_no_context() -> None:
    with pytest.raises(BadCertificate, match="no certificate"):
        server_context(ServerTls("SIMPLE", ("site.example",)))
