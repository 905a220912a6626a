"""What a pod and its containers are doing."""

from __future__ import annotations

from msgspec import field

from devmesh.config.documents.containers import ResourceRequirements
from devmesh.config.documents.message import Message
from devmesh.config.documents.scalars import Quantity, Timestamp


class PodCondition(Message, frozen=True, kw_only=True):
    """A stage that a pod has passed or not (PodScheduled, Initialized, ContainersReady, Ready)."""

    status: str = ""
    type: str = ""
    last_probe_time: Timestamp | None = None
    last_transition_time: Timestamp | None = None
    message: str | None = None
    observed_generation: int | None = None
    reason: str | None = None


class ResourceHealth(Message, frozen=True, kw_only=True):
    """Resource Health, as in Kubernetes; without effect here."""

    resource_id: str = field(default="", name="resourceID")
    health: str | None = None
    message: str | None = None


class ResourceStatus(Message, frozen=True, kw_only=True):
    """Resource Status, as in Kubernetes; without effect here."""

    name: str = ""
    resources: tuple[ResourceHealth, ...] = ()


class ContainerStateRunning(Message, frozen=True, kw_only=True):
    """Since when a container runs."""

    started_at: Timestamp | None = None


class ContainerStateTerminated(Message, frozen=True, kw_only=True):
    """How a container has ended."""

    exit_code: int = 0
    container_id: str | None = field(default=None, name="containerID")
    finished_at: Timestamp | None = None
    message: str | None = None
    reason: str | None = None
    signal: int | None = None
    started_at: Timestamp | None = None


class ContainerStateWaiting(Message, frozen=True, kw_only=True):
    """Why a container does not run yet."""

    message: str | None = None
    reason: str | None = None


class ContainerState(Message, frozen=True, kw_only=True):
    """Waiting, running or terminated: one of them."""

    running: ContainerStateRunning | None = None
    terminated: ContainerStateTerminated | None = None
    waiting: ContainerStateWaiting | None = None


class LinuxContainerUser(Message, frozen=True, kw_only=True):
    """Linux Container User, as in Kubernetes; without effect here."""

    gid: int
    uid: int
    supplemental_groups: tuple[int, ...] = ()


class ContainerUser(Message, frozen=True, kw_only=True):
    """Container User, as in Kubernetes; without effect here."""

    linux: LinuxContainerUser | None = None


class ImageVolumeStatus(Message, frozen=True, kw_only=True):
    """Image Volume Status, as in Kubernetes; without effect here."""

    image_ref: str = ""


class VolumeStatus(Message, frozen=True, kw_only=True):
    """Volume Status, as in Kubernetes; without effect here."""

    image: ImageVolumeStatus | None = None


class VolumeMountStatus(Message, frozen=True, kw_only=True):
    """Volume Mount Status, as in Kubernetes; without effect here."""

    mount_path: str = ""
    name: str = ""
    read_only: bool | None = None
    recursive_read_only: str | None = None
    volume_status: VolumeStatus | None = None


class ContainerStatus(Message, frozen=True, kw_only=True):
    """What one container is doing now."""

    image: str = ""
    image_id: str = field(default="", name="imageID")
    name: str = ""
    ready: bool = False
    restart_count: int = 0
    allocated_resources: dict[str, Quantity] = field(default_factory=dict)
    allocated_resources_status: tuple[ResourceStatus, ...] = ()
    container_id: str | None = field(default=None, name="containerID")
    last_state: ContainerState | None = None
    resources: ResourceRequirements | None = None
    started: bool | None = None
    state: ContainerState | None = None
    stop_signal: str | None = None
    user: ContainerUser | None = None
    volume_mounts: tuple[VolumeMountStatus, ...] = ()


class ContainerExtendedResourceRequest(Message, frozen=True, kw_only=True):
    """Container Extended Resource Request, as in Kubernetes; without effect here."""

    container_name: str
    request_name: str
    resource_name: str


class PodExtendedResourceClaimStatus(Message, frozen=True, kw_only=True):
    """Pod Extended Resource Claim Status, as in Kubernetes; without effect here."""

    request_mappings: tuple[ContainerExtendedResourceRequest, ...] = ()
    resource_claim_name: str = ""


class HostIP(Message, frozen=True, kw_only=True):
    """One address of the pod's node."""

    ip: str = ""


class NodeAllocatableMappedResources(Message, frozen=True, kw_only=True):
    """Node Allocatable Mapped Resources, as in Kubernetes; without effect here."""

    name: str
    quantity: Quantity


class NodeAllocatableOverheadResources(Message, frozen=True, kw_only=True):
    """Node Allocatable Overhead Resources, as in Kubernetes; without effect here."""

    name: str
    per_container: Quantity | None = None
    per_pod: Quantity | None = None


class NodeAllocatableResourceClaimStatus(Message, frozen=True, kw_only=True):
    """Node Allocatable Resource Claim Status, as in Kubernetes; without effect here."""

    resource_claim_name: str = ""
    containers: tuple[str, ...] = ()
    mapping: tuple[NodeAllocatableMappedResources, ...] = ()
    overhead: tuple[NodeAllocatableOverheadResources, ...] = ()


class PodIP(Message, frozen=True, kw_only=True):
    """One address of a pod."""

    ip: str = ""


class PodResourceClaimStatus(Message, frozen=True, kw_only=True):
    """Pod Resource Claim Status, as in Kubernetes; without effect here."""

    name: str = ""
    resource_claim_name: str | None = None


class VolumeHealthCondition(Message, frozen=True, kw_only=True):
    """Volume Health Condition, as in Kubernetes; without effect here."""

    reason: str = ""
    status: str = ""
    message: str | None = None


class PodVolumeHealth(Message, frozen=True, kw_only=True):
    """Pod Volume Health, as in Kubernetes; without effect here."""

    name: str = ""
    health_conditions: tuple[VolumeHealthCondition, ...] = ()
    last_transition_time: Timestamp | None = None


class PodStatus(Message, frozen=True, kw_only=True):
    """What a pod is doing now."""

    allocated_resources: dict[str, Quantity] = field(default_factory=dict)
    conditions: tuple[PodCondition, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()
    ephemeral_container_statuses: tuple[ContainerStatus, ...] = ()
    extended_resource_claim_status: PodExtendedResourceClaimStatus | None = None
    host_ip: str | None = field(default=None, name="hostIP")
    host_ips: tuple[HostIP, ...] = field(default=(), name="hostIPs")
    init_container_statuses: tuple[ContainerStatus, ...] = ()
    message: str | None = None
    node_allocatable_resource_claim_statuses: tuple[NodeAllocatableResourceClaimStatus, ...] = ()
    nominated_node_name: str | None = None
    observed_generation: int | None = None
    phase: str | None = None
    pod_ip: str | None = field(default=None, name="podIP")
    pod_ips: tuple[PodIP, ...] = field(default=(), name="podIPs")
    qos_class: str | None = None
    reason: str | None = None
    resize: str | None = None
    resource_claim_statuses: tuple[PodResourceClaimStatus, ...] = ()
    resources: ResourceRequirements | None = None
    start_time: Timestamp | None = None
    volume_health: tuple[PodVolumeHealth, ...] = ()
