"""Which struct decodes which kind."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from devmesh.config.documents import (
    envoyfilter,
    gateway_api,
    gateway_routes,
    ingress,
    kubernetes,
    networking,
    security,
)
from devmesh.config.documents.message import Message

STRUCTS: Mapping[tuple[str, str], type[Message]] = MappingProxyType(
    {
        ("", "Namespace"): kubernetes.Namespace,
        ("", "Node"): kubernetes.Node,
        ("", "Service"): kubernetes.Service,
        ("", "ServiceAccount"): kubernetes.ServiceAccount,
        ("", "ConfigMap"): kubernetes.ConfigMap,
        ("", "Secret"): kubernetes.Secret,
        ("", "Pod"): kubernetes.Pod,
        ("", "Endpoints"): kubernetes.Endpoints,
        ("", "Event"): kubernetes.Event,
        ("", "PersistentVolumeClaim"): kubernetes.PersistentVolumeClaim,
        ("apps", "Deployment"): kubernetes.Deployment,
        ("apps", "ReplicaSet"): kubernetes.ReplicaSet,
        ("apps", "StatefulSet"): kubernetes.StatefulSet,
        ("apps", "DaemonSet"): kubernetes.DaemonSet,
        ("apps", "ControllerRevision"): kubernetes.ControllerRevision,
        ("batch", "Job"): kubernetes.Job,
        ("discovery.k8s.io", "EndpointSlice"): kubernetes.EndpointSlice,
        ("networking.istio.io", "VirtualService"): networking.VirtualService,
        ("networking.istio.io", "DestinationRule"): networking.DestinationRule,
        ("networking.istio.io", "Gateway"): networking.Gateway,
        ("networking.istio.io", "ServiceEntry"): networking.ServiceEntry,
        ("networking.istio.io", "EnvoyFilter"): envoyfilter.EnvoyFilter,
        ("networking.istio.io", "Sidecar"): networking.Sidecar,
        ("networking.istio.io", "WorkloadEntry"): networking.WorkloadEntry,
        ("networking.istio.io", "WorkloadGroup"): networking.WorkloadGroup,
        ("security.istio.io", "PeerAuthentication"): security.PeerAuthentication,
        ("security.istio.io", "RequestAuthentication"): security.RequestAuthentication,
        ("security.istio.io", "AuthorizationPolicy"): security.AuthorizationPolicy,
        ("networking.k8s.io", "Ingress"): ingress.Ingress,
        ("networking.k8s.io", "IngressClass"): ingress.IngressClass,
        ("gateway.networking.k8s.io", "GatewayClass"): gateway_api.GatewayClass,
        ("gateway.networking.k8s.io", "Gateway"): gateway_api.GatewayResource,
        ("gateway.networking.k8s.io", "ListenerSet"): gateway_api.ListenerSet,
        ("gateway.networking.k8s.io", "ReferenceGrant"): gateway_api.ReferenceGrant,
        ("gateway.networking.k8s.io", "BackendTLSPolicy"): gateway_api.BackendTLSPolicy,
        ("gateway.networking.k8s.io", "HTTPRoute"): gateway_routes.HTTPRouteResource,
        ("gateway.networking.k8s.io", "GRPCRoute"): gateway_routes.GRPCRouteResource,
        ("gateway.networking.k8s.io", "TLSRoute"): gateway_routes.TLSRouteResource,
        ("gateway.networking.k8s.io", "TCPRoute"): gateway_routes.TCPRouteResource,
    }
)
"""By group and kind. A kind without one (a custom resource, say) is stored as it is."""
