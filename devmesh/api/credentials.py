"""What clients need to trust and be trusted: the API's own CA and certificate, and the token.

They lie in the mesh's state folder, readable by its owner alone, apart from the workloads' CA, and
are used again at the next start, so that a kubeconfig that was saved goes on working.
"""

from __future__ import annotations

import base64
import json
import secrets
import ssl
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from devmesh.config.statedir import StateDir

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

LIFETIME = timedelta(days=3650)
RENEW = timedelta(days=30)
BACKDATED = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Credentials:
    """Where the API's secrets are, and the ports that it had.

    `port` and `tls_port` are those of the last start; 0 where there was none.
    """

    folder: Path
    token: str
    port: int = 0
    tls_port: int = 0

    @property
    def token_file(self) -> Path:
        return self.folder / "api-token"

    @property
    def ca_file(self) -> Path:
        return self.folder / "api-ca.crt"

    @property
    def certificate_file(self) -> Path:
        return self.folder / "api-server.crt"

    @property
    def key_file(self) -> Path:
        return self.folder / "api-server.key"

    @property
    def ca_key_file(self) -> Path:
        return self.folder / "api-ca.key"

    @property
    def ports_file(self) -> Path:
        return self.folder / "api-ports.json"

    def with_ports(self, port: int, tls_port: int) -> Credentials:
        """Remember the ports for the next start."""
        StateDir.write_private(self.ports_file, json.dumps({"port": port, "tls_port": tls_port}).encode())
        return replace(self, port=port, tls_port=tls_port)

    def server_context(self) -> ssl.SSLContext:
        """Return the context of the TLS port: HTTP/1.1 alone, since kubectl's WebSockets need it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.certificate_file, self.key_file)
        context.set_alpn_protocols(["http/1.1"])
        return context


def load_credentials(folder: Path) -> Credentials:
    """Return what is in `folder`, which has to exist; what is missing, broken or ending is made anew."""
    found = Credentials(folder, "")
    try:
        token = found.token_file.read_text().strip()
    except OSError:
        token = ""
    if len(token) < 32:
        token = secrets.token_urlsafe(32)
        StateDir.write_private(found.token_file, token.encode())
    if not _is_usable(found):
        _make_certificates(found)
    port, tls_port = _ports(found.ports_file)
    return replace(found, token=token, port=port, tls_port=tls_port)


def kubeconfig(mesh: str, credentials: Credentials, tls_port: int, host: str = "127.0.0.1") -> str:
    """Return the text of a kubeconfig (YAML; JSON is YAML) with one context, ``devmesh-<mesh>``."""
    name = f"devmesh-{mesh}"
    ca = base64.b64encode(credentials.ca_file.read_bytes()).decode()
    address = f"[{host}]" if ":" in host else host
    lines = [
        "apiVersion: v1",
        "kind: Config",
        "clusters:",
        f"- name: {name}",
        "  cluster:",
        f"    server: https://{address}:{tls_port}",
        f"    certificate-authority-data: {ca}",
        "users:",
        f"- name: {name}",
        "  user:",
        f"    token: {credentials.token}",
        "contexts:",
        f"- name: {name}",
        "  context:",
        f"    cluster: {name}",
        f"    user: {name}",
        "    namespace: default",
        f"current-context: {name}",
    ]
    return "\n".join(lines) + "\n"


def sign_token(credentials: Credentials, claims: dict[str, Any]) -> str:
    """Return a JWT (ES256) with `claims`, signed by the API's CA: a service account's token.

    It proves nothing to the API itself, which takes `Credentials.token` alone.
    """
    from cryptography.hazmat.primitives.asymmetric import ec, utils
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key = load_pem_private_key(credentials.ca_key_file.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    head = _base64url(json.dumps({"alg": "ES256", "typ": "JWT", "kid": "devmesh-api"}).encode())
    signed = f"{head}.{_base64url(json.dumps(claims).encode())}"
    r, s = utils.decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(SHA256())))
    return f"{signed}.{_base64url(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _ports(path: Path) -> tuple[int, int]:
    try:
        found = json.loads(path.read_text())
        return int(found["port"]), int(found["tls_port"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0, 0


def _is_usable(credentials: Credentials) -> bool:
    """Tell whether the certificates are there, belong together and last a while; without cryptography."""
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(credentials.certificate_file, credentials.key_file)
        context.load_verify_locations(credentials.ca_file)
        ends = [ssl.cert_time_to_seconds(str(ca["notAfter"])) for ca in context.get_ca_certs()]
        return bool(ends) and min(ends) > (datetime.now(UTC) + RENEW).timestamp()
    except (OSError, ssl.SSLError, ValueError):
        return False


def _make_certificates(credentials: Credentials) -> None:
    from ipaddress import ip_address

    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = _name(f"devmesh API CA {secrets.token_hex(4)}")
    ca = (
        _builder(ca_name, ca_name, ca_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False)
        .add_extension(_usage(signing=True), critical=True)
        .sign(ca_key, _sha256())
    )
    names: list[x509.GeneralName] = [x509.DNSName("localhost")]
    names += [x509.IPAddress(ip_address(address)) for address in ("127.0.0.1", "::1")]
    server = (
        _builder(_name("devmesh API"), ca_name, key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
        )
        .add_extension(_usage(signing=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(ca_key, _sha256())
    )
    for path, content in (
        (credentials.ca_key_file, _key_pem(ca_key)),
        (credentials.ca_file, _pem(ca)),
        (credentials.key_file, _key_pem(key)),
        (credentials.certificate_file, _pem(server)),
    ):
        StateDir.write_private(path, content)


def _name(text: str) -> x509.Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    from cryptography import x509

    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + LIFETIME)
    )


def _usage(*, signing: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signing,
        crl_sign=signing,
        encipher_only=False,
        decipher_only=False,
    )


def _sha256() -> Any:
    from cryptography.hazmat.primitives.hashes import SHA256

    return SHA256()


def _pem(certificate: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
