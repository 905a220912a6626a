"""The mesh's certificate authority: a root key that never leaves memory, and what it signs.

The certificates are shaped as Istio's (istiod's built-in CA): ECDSA P-256, no subject, the SPIFFE
identity as the one URI SAN, which is critical because the subject is empty (RFC 5280 §4.2.1.6).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from devmesh.model.identity import Identity

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

LIFETIME = 24 * 3600.0  # Istio: DEFAULT_WORKLOAD_CERT_TTL
ROOT_LIFETIME = 10 * 365 * 24 * 3600.0  # Istio: CITADEL_SELF_SIGNED_CA_CERT_TTL
BACKDATED = 120.0  # Istio: clocks of two machines may differ by two minutes


@dataclass(frozen=True, slots=True)
class Certificate:
    """A signed certificate with its key, both PEM. Times are seconds since the epoch."""

    identity: Identity
    serial: int
    not_before: float
    not_after: float
    certificate_pem: str
    key_pem: str = field(repr=False)

    @property
    def lifetime(self) -> float:
        return self.not_after - self.not_before


@dataclass(frozen=True, slots=True)
class Root:
    """One root: what signs, and what verifies."""

    certificate: x509.Certificate
    certificate_pem: str
    key: ec.EllipticCurvePrivateKey = field(repr=False)


class CertificateAuthority:
    """Issues workload certificates under the newest of its roots; all of them are trusted.

    Costs a few tens of milliseconds to build (it imports cryptography), about one per certificate.
    """

    def __init__(self, trust_domain: str, now: float) -> None:
        self.trust_domain = trust_domain
        self._roots: tuple[Root, ...] = (_new_root(trust_domain, now),)

    @property
    def root(self) -> tuple[int, float, float]:
        """The signing root's serial number, and from when until when it is valid (epoch)."""
        root = self._roots[0].certificate
        return (
            root.serial_number,
            root.not_valid_before_utc.timestamp(),
            root.not_valid_after_utc.timestamp(),
        )

    @property
    def roots_pem(self) -> str:
        """The trusted roots, newest first, one PEM after the other."""
        return "".join(root.certificate_pem for root in self._roots)

    def add_root(self, now: float) -> str:
        """Sign with a new root from now on, and go on trusting the old ones; return the new one's PEM."""
        root = _new_root(self.trust_domain, now)
        self._roots = (root, *self._roots)
        return root.certificate_pem

    def forget_old_roots(self) -> None:
        """Trust the newest root alone: when all that the others signed has been replaced."""
        self._roots = self._roots[:1]

    def issue(self, identity: Identity, now: float, lifetime: float = LIFETIME) -> Certificate:
        """Make a key and a certificate that proves `identity`, valid for `lifetime` seconds from `now`."""
        from cryptography import x509
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import ExtendedKeyUsageOID

        root = self._roots[0]
        key = ec.generate_private_key(ec.SECP256R1())
        serial = x509.random_serial_number()
        not_before, not_after = float(int(now - BACKDATED)), float(int(now + lifetime))
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(root.certificate.subject)
            .public_key(key.public_key())
            .serial_number(serial)
            .not_valid_before(_time(not_before))
            .not_valid_after(_time(not_after))
            .add_extension(_key_usage(digital_signature=True, key_encipherment=True), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(root.key.public_key()), critical=False
            )
            .add_extension(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier(str(identity))]), critical=True
            )
            .sign(root.key, _sha256())
        )
        return Certificate(identity, serial, not_before, not_after, _pem(certificate), _key_pem(key))


def _new_root(trust_domain: str, now: float) -> Root:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, trust_domain)])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_time(now - BACKDATED))
        .not_valid_after(_time(now + ROOT_LIFETIME))
        .add_extension(_key_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, _sha256())
    )
    return Root(certificate, _pem(certificate), key)


def _time(epoch: float) -> datetime:
    return datetime.fromtimestamp(int(epoch), UTC)


def _sha256() -> x509.base.AllowedSignHash:  # type: ignore[name-defined]
    from cryptography.hazmat.primitives.hashes import SHA256

    return SHA256()


def _key_usage(**used: bool) -> x509.KeyUsage:
    from cryptography import x509

    names = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{name: used.get(name, False) for name in names})


def _pem(certificate: x509.Certificate) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
