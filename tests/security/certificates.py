"""Certificates as users make them with openssl: an authority, servers, clients, a revocation list."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

_DAY = datetime.timedelta(days=1)
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class Made:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: Key

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode()

    @property
    def key_pem(self) -> str:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

    @property
    def both(self) -> str:
        return f"{self.pem}{self.key_pem}"


def authority(name: str = "example authority") -> Made:
    return _make(name, (), None, authority=True)


def issue(ca: Made, *names: str, use_rsa: bool = False) -> Made:
    """Make a certificate for DNS names, the first also its common name."""
    return _make(names[0], names, ca, use_rsa=use_rsa)


def revoke(ca: Made, *gone: Made) -> str:
    """Return a revocation list (PEM)."""
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateRevocationListBuilder().issuer_name(ca.certificate.subject)
    builder = builder.last_update(now - _DAY).next_update(now + _DAY)
    for each in gone:
        serial = each.certificate.serial_number
        revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now - _DAY).build()
        builder = builder.add_revoked_certificate(revoked)
    return builder.sign(ca.key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def _make(
    common: str, names: tuple[str, ...], ca: Made | None, *, authority: bool = False, use_rsa: bool = False
) -> Made:
    key: Key = rsa.generate_private_key(65537, 2048) if use_rsa else ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "example, Inc."),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(ca.certificate.subject if ca else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + _DAY)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    if names:
        found = [x509.DNSName(name) for name in names]
        builder = builder.add_extension(x509.SubjectAlternativeName(found), critical=False)
    signer = ca.key if ca else key
    return Made(builder.sign(signer, hashes.SHA256()), key)
