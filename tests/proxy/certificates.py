"""Certificates for servers with DNS names, and for clients, of an authority of their own."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_NOW = datetime.datetime.now(datetime.UTC)
_DAY = datetime.timedelta(days=1)


@dataclass
class Authority:
    """Signs certificates, and lists those that it revokes."""

    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    serials: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        builder = self._builder(self._name, self.key).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        identifier = x509.SubjectKeyIdentifier.from_public_key(self.key.public_key())
        builder = builder.add_extension(usage, critical=True).add_extension(identifier, critical=False)
        self.pem = _pem(builder.sign(self.key, hashes.SHA256()))

    def issue(self, *names: str) -> tuple[str, str]:
        """Return a certificate for DNS names, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        builder = self._builder(subject, key).add_extension(alternatives, critical=False)
        made = builder.add_extension(issuer, critical=False).sign(self.key, hashes.SHA256())
        self.serials[names[0]] = made.serial_number
        secret = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return _pem(made), secret.decode()

    def revoked(self, *names: str) -> str:
        """Return the list of what is revoked."""
        builder = x509.CertificateRevocationListBuilder(self._name, _NOW - _DAY, _NOW + _DAY)
        for name in names:
            entry = x509.RevokedCertificateBuilder(self.serials[name], _NOW - _DAY)
            builder = builder.add_revoked_certificate(entry.build())
        made = builder.sign(self.key, hashes.SHA256())
        return made.public_bytes(serialization.Encoding.PEM).decode()

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        return x509.CertificateBuilder(
            self._name,
            subject,
            key.public_key(),
            x509.random_serial_number(),
            _NOW - _DAY,
            _NOW + _DAY,
        )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
