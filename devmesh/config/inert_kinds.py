"""Kinds that are served and stored, and reported as without effect."""

from __future__ import annotations

from devmesh.config.kind import Kind


def _inert(
    group: str,
    kind: str,
    plural: str,
    versions: tuple[str, ...] = ("v1",),
    short_names: tuple[str, ...] = (),
    *,
    namespaced: bool = True,
    status: bool = True,
    categories: tuple[str, ...] = (),
) -> Kind:
    return Kind(
        group,
        kind,
        plural,
        versions,
        short_names,
        namespaced=namespaced,
        categories=categories,
        subresources=("status",) if status else (),
        effect=False,
    )


def _istio(group: str, kind: str, plural: str, versions: tuple[str, ...], *short_names: str) -> Kind:
    return _inert(group, kind, plural, versions, short_names, categories=("istio-io",))


_RBAC = "rbac.authorization.k8s.io"
_ADMISSION = "admissionregistration.k8s.io"
_GATEWAY_API = "gateway.networking.k8s.io"

CUSTOM_RESOURCE_DEFINITION = _inert(
    "apiextensions.k8s.io",
    "CustomResourceDefinition",
    "customresourcedefinitions",
    short_names=("crd", "crds"),
    namespaced=False,
)
REQUEST_AUTHENTICATION = _istio(
    "security.istio.io", "RequestAuthentication", "requestauthentications", ("v1", "v1beta1"), "ra"
)
AUTHORIZATION_POLICY = _istio(
    "security.istio.io", "AuthorizationPolicy", "authorizationpolicies", ("v1", "v1beta1"), "ap"
)

_KUBERNETES = (
    CUSTOM_RESOURCE_DEFINITION,
    _inert("", "PersistentVolume", "persistentvolumes", short_names=("pv",), namespaced=False),
    _inert("", "ReplicationController", "replicationcontrollers", short_names=("rc",), categories=("all",)),
    _inert("", "ResourceQuota", "resourcequotas", short_names=("quota",)),
    _inert("", "LimitRange", "limitranges", short_names=("limits",), status=False),
    _inert("", "PodTemplate", "podtemplates", status=False),
    _inert("batch", "CronJob", "cronjobs", short_names=("cj",), categories=("all",)),
    _inert(
        "autoscaling",
        "HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
        ("v2", "v1"),
        ("hpa",),
        categories=("all",),
    ),
    _inert("policy", "PodDisruptionBudget", "poddisruptionbudgets", short_names=("pdb",)),
    _inert("networking.k8s.io", "NetworkPolicy", "networkpolicies", short_names=("netpol",), status=False),
    _inert(_RBAC, "Role", "roles", status=False),
    _inert(_RBAC, "RoleBinding", "rolebindings", status=False),
    _inert(_RBAC, "ClusterRole", "clusterroles", namespaced=False, status=False),
    _inert(_RBAC, "ClusterRoleBinding", "clusterrolebindings", namespaced=False, status=False),
    _inert("coordination.k8s.io", "Lease", "leases", status=False),
    _inert(
        "scheduling.k8s.io",
        "PriorityClass",
        "priorityclasses",
        short_names=("pc",),
        namespaced=False,
        status=False,
    ),
    _inert(
        "storage.k8s.io",
        "StorageClass",
        "storageclasses",
        short_names=("sc",),
        namespaced=False,
        status=False,
    ),
    _inert("storage.k8s.io", "CSIDriver", "csidrivers", namespaced=False, status=False),
    _inert("storage.k8s.io", "VolumeAttachment", "volumeattachments", namespaced=False),
    _inert("node.k8s.io", "RuntimeClass", "runtimeclasses", namespaced=False, status=False),
    _inert(
        "certificates.k8s.io",
        "CertificateSigningRequest",
        "certificatesigningrequests",
        short_names=("csr",),
        namespaced=False,
    ),
    _inert("apiregistration.k8s.io", "APIService", "apiservices", namespaced=False),
    _inert(
        _ADMISSION,
        "MutatingWebhookConfiguration",
        "mutatingwebhookconfigurations",
        namespaced=False,
        status=False,
    ),
    _inert(
        _ADMISSION,
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
        namespaced=False,
        status=False,
    ),
    _inert(_ADMISSION, "ValidatingAdmissionPolicy", "validatingadmissionpolicies", namespaced=False),
    _inert(
        _ADMISSION,
        "ValidatingAdmissionPolicyBinding",
        "validatingadmissionpolicybindings",
        namespaced=False,
        status=False,
    ),
)
_ISTIO = (
    REQUEST_AUTHENTICATION,
    AUTHORIZATION_POLICY,
    _istio("telemetry.istio.io", "Telemetry", "telemetries", ("v1", "v1alpha1"), "telemetry"),
    _istio("extensions.istio.io", "WasmPlugin", "wasmplugins", ("v1alpha1",)),
    _istio("extensions.istio.io", "TrafficExtension", "trafficextensions", ("v1alpha1",)),
    _istio("networking.istio.io", "ProxyConfig", "proxyconfigs", ("v1beta1",)),
)
_ISTIO_1_4 = (
    _istio("authentication.istio.io", "Policy", "policies", ("v1alpha1",)),
    _inert(
        "authentication.istio.io",
        "MeshPolicy",
        "meshpolicies",
        ("v1alpha1",),
        namespaced=False,
        categories=("istio-io",),
    ),
    _istio("rbac.istio.io", "ServiceRole", "serviceroles", ("v1alpha1",)),
    _istio("rbac.istio.io", "ServiceRoleBinding", "servicerolebindings", ("v1alpha1",)),
    _istio("rbac.istio.io", "RbacConfig", "rbacconfigs", ("v1alpha1",)),
    _inert(
        "rbac.istio.io",
        "ClusterRbacConfig",
        "clusterrbacconfigs",
        ("v1alpha1",),
        namespaced=False,
        categories=("istio-io",),
    ),
)
_GATEWAYS = (_inert(_GATEWAY_API, "UDPRoute", "udproutes", ("v1", "v1alpha2")),)

WITHOUT_EFFECT: tuple[Kind, ...] = (*_KUBERNETES, *_ISTIO, *_ISTIO_1_4, *_GATEWAYS)
