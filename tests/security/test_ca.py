"""What the certificate authority signs, as X.509 says it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store

from devmesh.model.identity import Identity
from devmesh.security.ca import CertificateAuthority

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC).timestamp()
REVIEWS = Identity("cluster.local", "default", "bookinfo-reviews")


@pytest.fixture(scope="module")
def authority() -> CertificateAuthority:
    return CertificateAuthority("cluster.local", NOW)


def issued(authority: CertificateAuthority) -> x509.Certificate:
    return x509.load_pem_x509_certificate(authority.issue(REVIEWS, NOW).certificate_pem.encode())


def test_a_certificate_names_its_identity_in_one_critical_uri(authority: CertificateAuthority) -> None:
    names = issued(authority).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names.critical
    assert [name.value for name in names.value] == ["spiffe://cluster.local/ns/default/sa/bookinfo-reviews"]
    assert not list(issued(authority).subject)


def test_a_certificate_lives_a_day_and_is_backdated_two_minutes(authority: CertificateAuthority) -> None:
    certificate = issued(authority)
    assert certificate.not_valid_before_utc.timestamp() == NOW - 120
    assert certificate.not_valid_after_utc.timestamp() == NOW + 24 * 3600


def test_a_certificate_serves_both_sides_of_a_hop(authority: CertificateAuthority) -> None:
    extensions = issued(authority).extensions
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.digital_signature
    assert usage.value.key_encipherment
    assert not usage.value.key_cert_sign
    assert set(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == {
        ExtendedKeyUsageOID.SERVER_AUTH,
        ExtendedKeyUsageOID.CLIENT_AUTH,
    }
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_keys_are_p256_and_never_twice_the_same(authority: CertificateAuthority) -> None:
    first, second = issued(authority), issued(authority)
    assert isinstance(key := first.public_key(), ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"
    assert first.public_key() != second.public_key()
    assert first.serial_number != second.serial_number


def test_the_private_key_is_not_in_the_repr(authority: CertificateAuthority) -> None:
    assert "PRIVATE" not in repr(authority.issue(REVIEWS, NOW))


def test_a_second_verifier_accepts_the_chain(authority: CertificateAuthority) -> None:
    roots = x509.load_pem_x509_certificates(authority.roots_pem.encode())
    verifier = (
        PolicyBuilder()
        .store(Store(roots))
        .time(datetime.fromtimestamp(NOW + 3600, UTC).replace(tzinfo=None))
        .build_client_verifier()
    )
    assert verifier.verify(issued(authority), []).subjects


def test_a_new_root_signs_while_the_old_one_stays_trusted() -> None:
    authority = CertificateAuthority("cluster.local", NOW)
    (old,) = x509.load_pem_x509_certificates(authority.roots_pem.encode())
    authority.add_root(NOW)
    new, kept = x509.load_pem_x509_certificates(authority.roots_pem.encode())
    assert kept == old
    issued(authority).verify_directly_issued_by(new)
    authority.forget_old_roots()
    assert x509.load_pem_x509_certificates(authority.roots_pem.encode()) == [new]
