"""Pod and its template (v1)."""

from __future__ import annotations

from msgspec import field

from devmesh.config.documents.containers import (
    AppArmorProfile,
    Container,
    EphemeralContainer,
    ResourceRequirements,
    SeccompProfile,
    SELinuxOptions,
    WindowsSecurityContextOptions,
)
from devmesh.config.documents.message import Message
from devmesh.config.documents.meta import LocalObjectReference, ObjectMeta
from devmesh.config.documents.podstatus import PodStatus
from devmesh.config.documents.scalars import Quantity
from devmesh.config.documents.scheduling import Affinity, Toleration, TopologySpreadConstraint
from devmesh.config.documents.volumes import Volume


class PodDNSConfigOption(Message, frozen=True, kw_only=True):
    """One option of resolv.conf."""

    name: str | None = None
    value: str | None = None


class PodDNSConfig(Message, frozen=True, kw_only=True):
    """The pod's own DNS settings."""

    nameservers: tuple[str, ...] = ()
    options: tuple[PodDNSConfigOption, ...] = ()
    searches: tuple[str, ...] = ()


class EvictionResponder(Message, frozen=True, kw_only=True):
    """Eviction Responder, as in Kubernetes; without effect here."""

    name: str
    priority: int


class HostAlias(Message, frozen=True, kw_only=True):
    """Lines for the pod's /etc/hosts."""

    ip: str
    hostnames: tuple[str, ...] = ()


class PodOS(Message, frozen=True, kw_only=True):
    """Pod OS, as in Kubernetes; without effect here."""

    name: str


class PodReadinessGate(Message, frozen=True, kw_only=True):
    """Pod Readiness Gate, as in Kubernetes; without effect here."""

    condition_type: str


class PodResourceClaim(Message, frozen=True, kw_only=True):
    """Pod Resource Claim, as in Kubernetes; without effect here."""

    name: str
    resource_claim_name: str | None = None
    resource_claim_template_name: str | None = None


class PodSchedulingGate(Message, frozen=True, kw_only=True):
    """Pod Scheduling Gate, as in Kubernetes; without effect here."""

    name: str


class PodSchedulingGroup(Message, frozen=True, kw_only=True):
    """Pod Scheduling Group, as in Kubernetes; without effect here."""

    pod_group_name: str | None = None


class Sysctl(Message, frozen=True, kw_only=True):
    """A kernel parameter of the pod."""

    name: str
    value: str


class PodSecurityContext(Message, frozen=True, kw_only=True):
    """User, groups and other rights of all containers of a pod."""

    app_armor_profile: AppArmorProfile | None = None
    fs_group: int | None = None
    fs_group_change_policy: str | None = None
    run_as_group: int | None = None
    run_as_non_root: bool | None = None
    run_as_user: int | None = None
    se_linux_change_policy: str | None = None
    se_linux_options: SELinuxOptions | None = None
    seccomp_profile: SeccompProfile | None = None
    supplemental_groups: tuple[int, ...] = ()
    supplemental_groups_policy: str | None = None
    sysctls: tuple[Sysctl, ...] = ()
    windows_options: WindowsSecurityContextOptions | None = None


class PodSpec(Message, frozen=True, kw_only=True):
    """What runs in a pod and how."""

    containers: tuple[Container, ...]
    active_deadline_seconds: int | None = None
    affinity: Affinity | None = None
    automount_service_account_token: bool | None = None
    dns_config: PodDNSConfig | None = None
    dns_policy: str | None = None
    enable_service_links: bool | None = None
    ephemeral_containers: tuple[EphemeralContainer, ...] = ()
    eviction_responders: tuple[EvictionResponder, ...] = ()
    host_aliases: tuple[HostAlias, ...] = ()
    host_ipc: bool | None = field(default=None, name="hostIPC")
    host_network: bool | None = None
    host_pid: bool | None = field(default=None, name="hostPID")
    host_users: bool | None = None
    hostname: str | None = None
    hostname_override: str | None = None
    image_pull_secrets: tuple[LocalObjectReference, ...] = ()
    init_containers: tuple[Container, ...] = ()
    node_name: str | None = None
    node_selector: dict[str, str] = field(default_factory=dict)
    os: PodOS | None = None
    overhead: dict[str, Quantity] = field(default_factory=dict)
    preemption_policy: str | None = None
    priority: int | None = None
    priority_class_name: str | None = None
    readiness_gates: tuple[PodReadinessGate, ...] = ()
    resource_claims: tuple[PodResourceClaim, ...] = ()
    resources: ResourceRequirements | None = None
    restart_policy: str | None = None
    runtime_class_name: str | None = None
    scheduler_name: str | None = None
    scheduling_gates: tuple[PodSchedulingGate, ...] = ()
    scheduling_group: PodSchedulingGroup | None = None
    security_context: PodSecurityContext | None = None
    service_account: str | None = None
    service_account_name: str | None = None
    set_hostname_as_fqdn: bool | None = field(default=None, name="setHostnameAsFQDN")
    share_process_namespace: bool | None = None
    subdomain: str | None = None
    termination_grace_period_seconds: int | None = None
    tolerations: tuple[Toleration, ...] = ()
    topology_spread_constraints: tuple[TopologySpreadConstraint, ...] = ()
    volumes: tuple[Volume, ...] = ()


class Pod(Message, frozen=True, kw_only=True):
    """Containers that run together, with one address."""

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: PodSpec
    status: PodStatus = field(default_factory=PodStatus)
