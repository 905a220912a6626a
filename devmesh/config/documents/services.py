"""Service (v1)."""

from __future__ import annotations

from msgspec import field

from devmesh.config.documents.message import Message
from devmesh.config.documents.meta import Condition, ObjectMeta
from devmesh.config.documents.scalars import IntOrString


class ServicePort(Message, frozen=True, kw_only=True):
    """One port of a Service; its name or appProtocol says what is spoken there."""

    port: int
    app_protocol: str | None = None
    name: str | None = None
    node_port: int | None = None
    protocol: str | None = None
    target_port: IntOrString | None = None


class ClientIPConfig(Message, frozen=True, kw_only=True):
    """How long a client address keeps its pod, in seconds."""

    timeout_seconds: int | None = None


class SessionAffinityConfig(Message, frozen=True, kw_only=True):
    """How long a client keeps its pod."""

    client_ip: ClientIPConfig | None = field(default=None, name="clientIP")


class ServiceSpec(Message, frozen=True, kw_only=True):
    """What a Service selects and on which ports."""

    allocate_load_balancer_node_ports: bool | None = None
    cluster_ip: str | None = field(default=None, name="clusterIP")
    cluster_ips: tuple[str, ...] = field(default=(), name="clusterIPs")
    external_ips: tuple[str, ...] = field(default=(), name="externalIPs")
    external_name: str | None = None
    external_traffic_policy: str | None = None
    health_check_node_port: int | None = None
    internal_traffic_policy: str | None = None
    ip_families: tuple[str, ...] = ()
    ip_family_policy: str | None = None
    load_balancer_class: str | None = None
    load_balancer_ip: str | None = field(default=None, name="loadBalancerIP")
    load_balancer_source_ranges: tuple[str, ...] = ()
    ports: tuple[ServicePort, ...] = ()
    publish_not_ready_addresses: bool | None = None
    selector: dict[str, str] = field(default_factory=dict)
    session_affinity: str | None = None
    session_affinity_config: SessionAffinityConfig | None = None
    traffic_distribution: str | None = None
    type: str | None = None


class PortStatus(Message, frozen=True, kw_only=True):
    """One port of the load balancer."""

    port: int = 0
    protocol: str = ""
    error: str | None = None


class LoadBalancerIngress(Message, frozen=True, kw_only=True):
    """One address of the load balancer."""

    hostname: str | None = None
    ip: str | None = None
    ip_mode: str | None = None
    ports: tuple[PortStatus, ...] = ()


class LoadBalancerStatus(Message, frozen=True, kw_only=True):
    """The addresses of the load balancer."""

    ingress: tuple[LoadBalancerIngress, ...] = ()


class ServiceStatus(Message, frozen=True, kw_only=True):
    """Where a Service can be reached from outside."""

    conditions: tuple[Condition, ...] = ()
    load_balancer: LoadBalancerStatus | None = None


class Service(Message, frozen=True, kw_only=True):
    """A stable name and address for the pods that a selector chooses."""

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: ServiceSpec
    status: ServiceStatus = field(default_factory=ServiceStatus)
