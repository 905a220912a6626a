"""Node (v1)."""

from __future__ import annotations

from msgspec import field

from devmesh.config.documents.message import Message
from devmesh.config.documents.meta import ObjectMeta
from devmesh.config.documents.scalars import Quantity, Timestamp


class ConfigMapNodeConfigSource(Message, frozen=True, kw_only=True):
    """Config Map Node Config Source, as in Kubernetes; without effect here."""

    kubelet_config_key: str = ""
    name: str = ""
    namespace: str = ""
    resource_version: str | None = None
    uid: str | None = None


class NodeConfigSource(Message, frozen=True, kw_only=True):
    """Node Config Source, as in Kubernetes; without effect here."""

    config_map: ConfigMapNodeConfigSource | None = None


class NodePodPreemptionPolicy(Message, frozen=True, kw_only=True):
    """Node Pod Preemption Policy, as in Kubernetes; without effect here."""

    disable_resize_preemption: tuple[str, ...] = ()


class Taint(Message, frozen=True, kw_only=True):
    """Keeps pods without a matching toleration away."""

    effect: str = ""
    key: str = ""
    time_added: Timestamp | None = None
    value: str | None = None


class NodeSpec(Message, frozen=True, kw_only=True):
    """What is wanted of a node."""

    config_source: NodeConfigSource | None = None
    external_id: str | None = field(default=None, name="externalID")
    pod_cidr: str | None = field(default=None, name="podCIDR")
    pod_cidrs: tuple[str, ...] = field(default=(), name="podCIDRs")
    pod_preemption_policy: NodePodPreemptionPolicy | None = None
    provider_id: str | None = field(default=None, name="providerID")
    taints: tuple[Taint, ...] = ()
    unschedulable: bool | None = None


class NodeAddress(Message, frozen=True, kw_only=True):
    """One address or name of a node."""

    address: str = ""
    type: str = ""


class NodeCondition(Message, frozen=True, kw_only=True):
    """One observed fact about a node."""

    status: str = ""
    type: str = ""
    last_heartbeat_time: Timestamp | None = None
    last_transition_time: Timestamp | None = None
    message: str | None = None
    reason: str | None = None


class NodeConfigStatus(Message, frozen=True, kw_only=True):
    """Node Config Status, as in Kubernetes; without effect here."""

    active: NodeConfigSource | None = None
    assigned: NodeConfigSource | None = None
    error: str | None = None
    last_known_good: NodeConfigSource | None = None


class DaemonEndpoint(Message, frozen=True, kw_only=True):
    """Daemon Endpoint, as in Kubernetes; without effect here."""

    port: int = field(default=0, name="Port")


class NodeDaemonEndpoints(Message, frozen=True, kw_only=True):
    """Node Daemon Endpoints, as in Kubernetes; without effect here."""

    kubelet_endpoint: DaemonEndpoint | None = None


class NodeFeatures(Message, frozen=True, kw_only=True):
    """Node Features, as in Kubernetes; without effect here."""

    supplemental_groups_policy: bool | None = None


class ContainerImage(Message, frozen=True, kw_only=True):
    """An image that the node has."""

    names: tuple[str, ...] = ()
    size_bytes: int | None = None


class NodeSwapStatus(Message, frozen=True, kw_only=True):
    """Node Swap Status, as in Kubernetes; without effect here."""

    capacity: int | None = None


class NodeSystemInfo(Message, frozen=True, kw_only=True):
    """The node's operating system and versions."""

    architecture: str = ""
    boot_id: str = field(default="", name="bootID")
    container_runtime_version: str = ""
    kernel_version: str = ""
    kube_proxy_version: str = ""
    kubelet_version: str = ""
    machine_id: str = field(default="", name="machineID")
    operating_system: str = ""
    os_image: str = ""
    system_uuid: str = field(default="", name="systemUUID")
    running_in_user_namespace: bool | None = None
    swap: NodeSwapStatus | None = None


class NodeRuntimeHandlerFeatures(Message, frozen=True, kw_only=True):
    """Node Runtime Handler Features, as in Kubernetes; without effect here."""

    recursive_read_only_mounts: bool | None = None
    user_namespaces: bool | None = None


class NodeRuntimeHandler(Message, frozen=True, kw_only=True):
    """Node Runtime Handler, as in Kubernetes; without effect here."""

    features: NodeRuntimeHandlerFeatures | None = None
    name: str | None = None


class AttachedVolume(Message, frozen=True, kw_only=True):
    """Attached Volume, as in Kubernetes; without effect here."""

    device_path: str = ""
    name: str = ""


class NodeStatus(Message, frozen=True, kw_only=True):
    """What a node has and how it is."""

    addresses: tuple[NodeAddress, ...] = ()
    allocatable: dict[str, Quantity] = field(default_factory=dict)
    capacity: dict[str, Quantity] = field(default_factory=dict)
    conditions: tuple[NodeCondition, ...] = ()
    config: NodeConfigStatus | None = None
    daemon_endpoints: NodeDaemonEndpoints | None = None
    declared_features: tuple[str, ...] = ()
    features: NodeFeatures | None = None
    images: tuple[ContainerImage, ...] = ()
    node_info: NodeSystemInfo | None = None
    phase: str | None = None
    runtime_handlers: tuple[NodeRuntimeHandler, ...] = ()
    volumes_attached: tuple[AttachedVolume, ...] = ()
    volumes_in_use: tuple[str, ...] = ()


class Node(Message, frozen=True, kw_only=True):
    """A machine that runs pods; here there is one."""

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: NodeSpec = field(default_factory=NodeSpec)
    status: NodeStatus = field(default_factory=NodeStatus)
