"""Sidecar: what a workload's proxy accepts and can reach."""

from __future__ import annotations

from typing import Literal

from msgspec import field

from devmesh.config.documents.destinationrule import ConnectionPoolSettings
from devmesh.config.documents.gateway import ServerTLSSettings
from devmesh.config.documents.message import Message
from devmesh.config.documents.meta import ObjectMeta
from devmesh.config.documents.scalars import UInt32
from devmesh.config.documents.selectors import IstioStatus, WorkloadSelector
from devmesh.config.documents.virtualservice import Destination


class SidecarPort(Message, frozen=True, kw_only=True):
    """Number, protocol and name of a Sidecar's port."""

    number: UInt32 = 0
    protocol: str = ""
    name: str = ""
    target_port: UInt32 = 0


class IstioIngressListener(Message, frozen=True, kw_only=True):
    """A port on which the proxy accepts calls for the workload."""

    port: SidecarPort | None = None
    bind: str = ""
    capture_mode: Literal["DEFAULT", "IPTABLES", "NONE"] | None = None
    default_endpoint: str = ""
    tls: ServerTLSSettings | None = None
    connection_pool: ConnectionPoolSettings | None = None


class IstioEgressListener(Message, frozen=True, kw_only=True):
    """Hosts that the workload can reach, for one port or all."""

    port: SidecarPort | None = None
    bind: str = ""
    capture_mode: Literal["DEFAULT", "IPTABLES", "NONE"] | None = None
    hosts: tuple[str, ...] = ()


class OutboundTrafficPolicy(Message, frozen=True, kw_only=True):
    """What becomes of calls to unknown hosts."""

    mode: Literal["REGISTRY_ONLY", "ALLOW_ANY", "ALLOW_ANY_DYNAMIC_DNS"] | None = None
    egress_proxy: Destination | None = None


class SidecarSpec(Message, frozen=True, kw_only=True):
    """Listeners, visible hosts, and what becomes of calls to others."""

    workload_selector: WorkloadSelector | None = None
    ingress: tuple[IstioIngressListener, ...] = ()
    egress: tuple[IstioEgressListener, ...] = ()
    inbound_connection_pool: ConnectionPoolSettings | None = None
    outbound_traffic_policy: OutboundTrafficPolicy | None = None


class Sidecar(Message, frozen=True, kw_only=True):
    """What a workload's proxy accepts, and what it can reach."""

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: SidecarSpec = field(default_factory=SidecarSpec)
    status: IstioStatus | None = None
