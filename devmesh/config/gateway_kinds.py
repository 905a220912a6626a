"""The kinds of the Gateway API that have an effect. They are known without their definitions."""

from __future__ import annotations

from devmesh.config.kind import Kind

GROUP = "gateway.networking.k8s.io"


def _kind(
    kind: str,
    plural: str,
    versions: tuple[str, ...],
    *short_names: str,
    namespaced: bool = True,
    status: bool = True,
) -> Kind:
    return Kind(
        GROUP,
        kind,
        plural,
        versions,
        short_names,
        namespaced=namespaced,
        categories=("gateway-api",),
        subresources=("status",) if status else (),
    )


GATEWAY_CLASS = _kind("GatewayClass", "gatewayclasses", ("v1", "v1beta1"), "gc", namespaced=False)
KUBERNETES_GATEWAY = _kind("Gateway", "gateways", ("v1", "v1beta1"), "gtw")
LISTENER_SET = _kind("ListenerSet", "listenersets", ("v1",), "lset")
HTTP_ROUTE = _kind("HTTPRoute", "httproutes", ("v1", "v1beta1"))
GRPC_ROUTE = _kind("GRPCRoute", "grpcroutes", ("v1",))
TLS_ROUTE = _kind("TLSRoute", "tlsroutes", ("v1", "v1alpha3", "v1alpha2"))
TCP_ROUTE = _kind("TCPRoute", "tcproutes", ("v1", "v1alpha2"))
BACKEND_TLS_POLICY = _kind("BackendTLSPolicy", "backendtlspolicies", ("v1", "v1alpha3"), "btlspolicy")
REFERENCE_GRANT = _kind("ReferenceGrant", "referencegrants", ("v1", "v1beta1"), "refgrant", status=False)

GATEWAY_CLASSES = {
    "istio": "istio.io/gateway-controller",
    "istio-remote": "istio.io/unmanaged-gateway",
    "istio-waypoint": "istio.io/mesh-controller",
}
"""The classes that Istio makes, and their controllers."""

ROUTES = (HTTP_ROUTE, GRPC_ROUTE, TLS_ROUTE, TCP_ROUTE)
GATEWAY_API = (GATEWAY_CLASS, KUBERNETES_GATEWAY, LISTENER_SET, *ROUTES, REFERENCE_GRANT, BACKEND_TLS_POLICY)
