"""The kinds of resources that are known; those here have an effect."""

from __future__ import annotations

from devmesh.config.gateway_kinds import GATEWAY_API
from devmesh.config.inert_kinds import CUSTOM_RESOURCE_DEFINITION, WITHOUT_EFFECT
from devmesh.config.kind import Kind, Kinds

__all__ = ["BUILT_IN", "CUSTOM_RESOURCE_DEFINITION", "WITHOUT_EFFECT", "Kind", "Kinds"]

_ISTIO_NETWORKING = ("v1", "v1beta1", "v1alpha3")

NAMESPACE = Kind("", "Namespace", "namespaces", ("v1",), ("ns",), namespaced=False)
NODE = Kind("", "Node", "nodes", ("v1",), ("no",), namespaced=False)
SERVICE = Kind("", "Service", "services", ("v1",), ("svc",), categories=("all",))
SERVICE_ACCOUNT = Kind("", "ServiceAccount", "serviceaccounts", ("v1",), ("sa",), subresources=("token",))
CONFIG_MAP = Kind("", "ConfigMap", "configmaps", ("v1",), ("cm",), subresources=())
SECRET = Kind("", "Secret", "secrets", ("v1",), subresources=())
POD = Kind(
    "",
    "Pod",
    "pods",
    ("v1",),
    ("po",),
    categories=("all",),
    subresources=("status", "log", "exec", "attach", "portforward", "ephemeralcontainers"),
)
ENDPOINTS = Kind("", "Endpoints", "endpoints", ("v1",), ("ep",), subresources=())
EVENT = Kind("", "Event", "events", ("v1",), ("ev",), subresources=())
PERSISTENT_VOLUME_CLAIM = Kind("", "PersistentVolumeClaim", "persistentvolumeclaims", ("v1",), ("pvc",))
DEPLOYMENT = Kind(
    "apps",
    "Deployment",
    "deployments",
    ("v1",),
    ("deploy",),
    categories=("all",),
    subresources=("status", "scale"),
)
REPLICA_SET = Kind(
    "apps",
    "ReplicaSet",
    "replicasets",
    ("v1",),
    ("rs",),
    categories=("all",),
    subresources=("status", "scale"),
)
STATEFUL_SET = Kind(
    "apps",
    "StatefulSet",
    "statefulsets",
    ("v1",),
    ("sts",),
    categories=("all",),
    subresources=("status", "scale"),
)
DAEMON_SET = Kind("apps", "DaemonSet", "daemonsets", ("v1",), ("ds",), categories=("all",))
CONTROLLER_REVISION = Kind("apps", "ControllerRevision", "controllerrevisions", ("v1",), subresources=())
JOB = Kind("batch", "Job", "jobs", ("v1",), categories=("all",))
ENDPOINT_SLICE = Kind("discovery.k8s.io", "EndpointSlice", "endpointslices", ("v1",), subresources=())
INGRESS = Kind("networking.k8s.io", "Ingress", "ingresses", ("v1",), ("ing",))
INGRESS_CLASS = Kind(
    "networking.k8s.io", "IngressClass", "ingressclasses", ("v1",), namespaced=False, subresources=()
)
VIRTUAL_SERVICE = Kind(
    "networking.istio.io",
    "VirtualService",
    "virtualservices",
    _ISTIO_NETWORKING,
    ("vs",),
    categories=("istio-io",),
)
DESTINATION_RULE = Kind(
    "networking.istio.io",
    "DestinationRule",
    "destinationrules",
    _ISTIO_NETWORKING,
    ("dr",),
    categories=("istio-io",),
)
GATEWAY = Kind(
    "networking.istio.io", "Gateway", "gateways", _ISTIO_NETWORKING, ("gw",), categories=("istio-io",)
)
SERVICE_ENTRY = Kind(
    "networking.istio.io",
    "ServiceEntry",
    "serviceentries",
    _ISTIO_NETWORKING,
    ("se",),
    categories=("istio-io",),
)
SIDECAR = Kind("networking.istio.io", "Sidecar", "sidecars", _ISTIO_NETWORKING, categories=("istio-io",))
PEER_AUTHENTICATION = Kind(
    "security.istio.io",
    "PeerAuthentication",
    "peerauthentications",
    ("v1", "v1beta1"),
    ("pa",),
    categories=("istio-io",),
)
WORKLOAD_ENTRY = Kind(
    "networking.istio.io",
    "WorkloadEntry",
    "workloadentries",
    _ISTIO_NETWORKING,
    ("we",),
    categories=("istio-io",),
)
ENVOY_FILTER = Kind(
    "networking.istio.io", "EnvoyFilter", "envoyfilters", ("v1alpha3",), categories=("istio-io",)
)
WORKLOAD_GROUP = Kind(
    "networking.istio.io",
    "WorkloadGroup",
    "workloadgroups",
    _ISTIO_NETWORKING,
    ("wg",),
    categories=("istio-io",),
)
MESH = Kind("devmesh.dev", "Mesh", "meshes", ("v1alpha1",), namespaced=False, subresources=())

BUILT_IN: tuple[Kind, ...] = (
    NAMESPACE,
    NODE,
    SERVICE,
    SERVICE_ACCOUNT,
    CONFIG_MAP,
    SECRET,
    POD,
    ENDPOINTS,
    EVENT,
    PERSISTENT_VOLUME_CLAIM,
    DEPLOYMENT,
    REPLICA_SET,
    STATEFUL_SET,
    DAEMON_SET,
    CONTROLLER_REVISION,
    JOB,
    ENDPOINT_SLICE,
    VIRTUAL_SERVICE,
    DESTINATION_RULE,
    GATEWAY,
    SERVICE_ENTRY,
    SIDECAR,
    PEER_AUTHENTICATION,
    WORKLOAD_ENTRY,
    WORKLOAD_GROUP,
    INGRESS,
    INGRESS_CLASS,
    ENVOY_FILTER,
    *GATEWAY_API,
    *WITHOUT_EFFECT,
)
