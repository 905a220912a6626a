"""WorkloadGroup: what WorkloadEntries of one kind have in common."""

from __future__ import annotations

from msgspec import field

from devmesh.config.documents.message import Message
from devmesh.config.documents.meta import ObjectMeta
from devmesh.config.documents.scalars import Int32, UInt32
from devmesh.config.documents.selectors import IstioStatus
from devmesh.config.documents.serviceentry import WorkloadEntrySpec


class WorkloadGroupMeta(Message, frozen=True, kw_only=True):
    """Labels and annotations that the entries get."""

    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)


class ProbeHeader(Message, frozen=True, kw_only=True):
    """A header of the probe's request."""

    name: str = ""
    value: str = ""


class HTTPHealthCheckConfig(Message, frozen=True, kw_only=True):
    """Ask by HTTP."""

    path: str = ""
    port: UInt32 = 0
    host: str = ""
    scheme: str = ""
    http_headers: tuple[ProbeHeader, ...] = ()


class TCPHealthCheckConfig(Message, frozen=True, kw_only=True):
    """Connect."""

    host: str = ""
    port: UInt32 = 0


class ExecHealthCheckConfig(Message, frozen=True, kw_only=True):
    """Run a command."""

    command: tuple[str, ...] = ()


class GrpcHealthCheckConfig(Message, frozen=True, kw_only=True):
    """Ask the gRPC health service."""

    port: UInt32 = 0
    service: str = ""


class WorkloadProbe(Message, frozen=True, kw_only=True):
    """How an entry's health is found out."""

    initial_delay_seconds: Int32 = 0
    timeout_seconds: Int32 = 0
    period_seconds: Int32 = 0
    success_threshold: Int32 = 0
    failure_threshold: Int32 = 0
    http_get: HTTPHealthCheckConfig | None = None
    tcp_socket: TCPHealthCheckConfig | None = None
    exec: ExecHealthCheckConfig | None = None
    grpc: GrpcHealthCheckConfig | None = None


class WorkloadGroupSpec(Message, frozen=True, kw_only=True):
    """The template of the entries, and how their health is found out."""

    metadata: WorkloadGroupMeta | None = None
    template: WorkloadEntrySpec | None = None
    probe: WorkloadProbe | None = None


class WorkloadGroup(Message, frozen=True, kw_only=True):
    """What WorkloadEntries of one kind have in common."""

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: WorkloadGroupSpec = field(default_factory=WorkloadGroupSpec)
    status: IstioStatus | None = None
