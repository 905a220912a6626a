"""Gateway: what listens at the edge of the mesh."""

from __future__ import annotations

from typing import Literal

from msgspec import field

from devmesh.config.documents.message import Message
from devmesh.config.documents.meta import ObjectMeta
from devmesh.config.documents.scalars import UInt32
from devmesh.config.documents.selectors import IstioStatus

ServerTLSMode = Literal[
    "PASSTHROUGH", "SIMPLE", "MUTUAL", "AUTO_PASSTHROUGH", "ISTIO_MUTUAL", "OPTIONAL_MUTUAL"
]


class ServerPort(Message, frozen=True, kw_only=True):
    """Number, protocol and name of a gateway's port."""

    number: UInt32 = 0
    protocol: str = ""
    name: str = ""
    target_port: UInt32 = 0


class TLSCertificate(Message, frozen=True, kw_only=True):
    """Files of one certificate."""

    server_certificate: str = ""
    private_key: str = ""
    ca_certificates: str = ""


class ServerTLSSettings(Message, frozen=True, kw_only=True):
    """TLS towards the client."""

    https_redirect: bool = False
    mode: ServerTLSMode | None = None
    server_certificate: str = ""
    private_key: str = ""
    ca_certificates: str = ""
    ca_crl: str = ""
    credential_name: str = ""
    credential_names: tuple[str, ...] = ()
    ca_cert_credential_name: str = ""
    tls_certificates: tuple[TLSCertificate, ...] = ()
    subject_alt_names: tuple[str, ...] = ()
    verify_certificate_spki: tuple[str, ...] = ()
    verify_certificate_hash: tuple[str, ...] = ()
    min_protocol_version: Literal["TLS_AUTO", "TLSV1_0", "TLSV1_1", "TLSV1_2", "TLSV1_3"] | None = None
    max_protocol_version: Literal["TLS_AUTO", "TLSV1_0", "TLSV1_1", "TLSV1_2", "TLSV1_3"] | None = None
    cipher_suites: tuple[str, ...] = ()
    insecure_skip_verify: bool | None = None


class Server(Message, frozen=True, kw_only=True):
    """One port of a gateway, and the hosts it serves."""

    port: ServerPort | None = None
    bind: str = ""
    hosts: tuple[str, ...] = ()
    tls: ServerTLSSettings | None = None
    default_endpoint: str = ""
    name: str = ""


class GatewaySpec(Message, frozen=True, kw_only=True):
    """Which gateway workloads, and which servers they open."""

    servers: tuple[Server, ...] = ()
    selector: dict[str, str] = field(default_factory=dict)


class Gateway(Message, frozen=True, kw_only=True):
    """What listens at the edge of the mesh."""

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: GatewaySpec = field(default_factory=GatewaySpec)
    status: IstioStatus | None = None
