"""Handshakes in memory between the contexts of two workloads, and their renewal."""

from __future__ import annotations

import hashlib
import os
import ssl
import time

import pytest
import trio
from trio.testing import MockClock

from devmesh.model.identity import Identity
from devmesh.security.ca import CertificateAuthority
from devmesh.security.contexts import (
    ALPN_HTTP1,
    ALPN_HTTP2,
    ALPN_TCP,
    Certificates,
    load_chain,
    mutual_context,
)

PRODUCTPAGE = Identity("cluster.local", "default", "bookinfo-productpage")
REVIEWS = Identity("cluster.local", "default", "bookinfo-reviews")


class Pair:
    """A TLS client and a TLS server whose bytes cross in memory."""

    def __init__(self, client: ssl.SSLContext, server: ssl.SSLContext) -> None:
        up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = client.wrap_bio(down, up, server_hostname="outbound_.9080_._.reviews")
        self.server = server.wrap_bio(up, down, server_side=True)

    def shake(self) -> Pair:
        done: set[ssl.SSLObject] = set()
        for _ in range(6):
            for side in (self.client, self.server):
                try:
                    side.do_handshake()
                    done.add(side)
                except ssl.SSLWantReadError:
                    pass
        assert len(done) == 2
        return self

    def echo(self, text: bytes) -> bytes:
        self.client.write(text)
        self.server.write(self.server.read())
        return self.client.read()


def mesh(clock: object = time.time) -> Certificates:
    return Certificates(CertificateAuthority("cluster.local", time.time()), clock)  # type: ignore[arg-type]


def test_both_sides_prove_who_they_are() -> None:
    certificates = mesh()
    pair = Pair(certificates.client(PRODUCTPAGE), certificates.server(REVIEWS)).shake()
    assert certificates.peer_identity(pair.client) == REVIEWS
    assert certificates.peer_identity(pair.server) == PRODUCTPAGE
    assert pair.server.version() == "TLSv1.3"
    assert pair.echo(b"hello") == b"hello"


def test_the_hash_is_that_of_the_peers_certificate() -> None:
    certificates = mesh()
    pair = Pair(certificates.client(PRODUCTPAGE), certificates.server(REVIEWS)).shake()
    pem = certificates.describe(PRODUCTPAGE).certificate_pem
    expected = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()
    assert certificates.peer_hash(pair.server) == expected


@pytest.mark.parametrize(
    ("offered", "agreed"),
    [(ALPN_HTTP1, "istio-http/1.1"), (ALPN_HTTP2, "istio-h2"), (ALPN_TCP, "istio-peer-exchange")],
)
def test_the_first_protocol_that_a_client_offers_is_agreed_on(offered: tuple[str, ...], agreed: str) -> None:
    certificates = mesh()
    pair = Pair(certificates.client(REVIEWS, offered), certificates.server(REVIEWS)).shake()
    assert pair.server.selected_alpn_protocol() == agreed


def test_a_client_without_a_certificate_is_refused() -> None:
    certificates = mesh()
    naked = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    naked.check_hostname = False
    naked.verify_mode = ssl.CERT_NONE
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        Pair(naked, certificates.server(REVIEWS)).shake()


def test_another_meshs_certificate_is_refused_by_either_side() -> None:
    ours, theirs = mesh(), mesh()
    with pytest.raises(ssl.SSLCertVerificationError):
        Pair(ours.client(PRODUCTPAGE), theirs.server(REVIEWS)).shake()
    trusting = theirs.client(PRODUCTPAGE)
    trusting.verify_mode = ssl.CERT_NONE
    with pytest.raises(ssl.SSLCertVerificationError):
        Pair(trusting, ours.server(REVIEWS)).shake()


def test_tls_before_1_2_is_refused() -> None:
    certificates = mesh()
    old = certificates.client(PRODUCTPAGE, ALPN_TCP)
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        old.minimum_version = ssl.TLSVersion.TLSv1
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError):
        Pair(old, certificates.server(REVIEWS)).shake()


def test_no_key_is_left_in_a_file() -> None:
    before = set(os.listdir("/proc/self/fd"))
    mesh().server(REVIEWS)
    assert len(set(os.listdir("/proc/self/fd"))) <= len(before)


def test_a_key_of_another_certificate_is_an_error() -> None:
    ca = CertificateAuthority("cluster.local", time.time())
    one, other = ca.issue(REVIEWS, time.time()), ca.issue(REVIEWS, time.time())
    context = mutual_context(True, one.certificate_pem + one.key_pem, ca.roots_pem, ALPN_TCP)
    with pytest.raises(ssl.SSLError):
        load_chain(context, one.certificate_pem + other.key_pem)


def test_a_context_is_made_once_between_renewals() -> None:
    certificates = mesh()
    assert certificates.server(REVIEWS) is certificates.server(REVIEWS)
    assert certificates.server(REVIEWS) is not certificates.client(REVIEWS)


async def test_certificates_are_renewed_before_half_of_their_life_and_connections_live_on(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    start = time.time()
    certificates = mesh(lambda: start + trio.current_time())
    old = Pair(certificates.client(PRODUCTPAGE), certificates.server(REVIEWS)).shake()
    first = certificates.describe(REVIEWS)
    nursery.start_soon(certificates.run)

    await trio.sleep(12 * 3600 - 60)

    renewed = certificates._held[REVIEWS]  # nobody has asked: it was renewed by itself
    assert f"{renewed.certificate.serial:x}" != first.serial
    assert old.echo(b"still here") == b"still here"
    nursery.cancel_scope.cancel()


def test_old_and_new_certificates_accept_each_other() -> None:
    age = 0.0
    certificates = mesh(lambda: time.time() + age - 7200)
    old_client, old_server = certificates.client(PRODUCTPAGE), certificates.server(REVIEWS)
    age = 12 * 3600.0
    certificates._clock = time.time  # the new ones must be valid by OpenSSL's own clock
    for held in certificates._held.values():
        held.renew_at = 0.0
    assert certificates.client(PRODUCTPAGE) is not old_client
    Pair(old_client, certificates.server(REVIEWS)).shake()
    Pair(certificates.client(PRODUCTPAGE), old_server).shake()


async def test_what_nobody_asks_for_is_forgotten(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    start = time.time()
    certificates = mesh(lambda: start + trio.current_time())
    certificates.server(REVIEWS)
    nursery.start_soon(certificates.run)
    await trio.sleep(24 * 3600)
    assert not certificates._held
    nursery.cancel_scope.cancel()


def test_a_new_root_drops_nobody() -> None:
    certificates = mesh()
    old_client, old_server = certificates.client(PRODUCTPAGE), certificates.server(REVIEWS)
    old = Pair(old_client, old_server).shake()
    certificates.reroot()
    Pair(old_client, certificates.server(REVIEWS)).shake()
    Pair(certificates.client(PRODUCTPAGE), old_server).shake()
    Pair(certificates.client(PRODUCTPAGE), certificates.server(REVIEWS)).shake()
    assert old.echo(b"still here") == b"still here"
    assert certificates.describe(REVIEWS).roots_pem.count("BEGIN CERTIFICATE") == 2
