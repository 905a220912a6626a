"""Which defaults, checks and rules for names belong to which kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from devmesh.config import gateway_kinds, kinds
from devmesh.config.defaulting import configuration, gateway_api, pods, services, workloads
from devmesh.config.kinds import Kind
from devmesh.config.problems import Cause
from devmesh.config.validation import (
    destinationrule,
    gateway,
    gateway_httproute,
    ingress,
    names,
    serviceentry,
    sidecar,
    virtualservice,
)
from devmesh.config.validation import gateway_api as routes
from devmesh.config.validation import services as core
from devmesh.config.validation import workloads as apps


def _pod(raw: dict[str, Any]) -> None:
    pods.pod_spec(raw["spec"])
    pods.scheduled_pod(raw["spec"])
    raw.setdefault("status", {}).setdefault("phase", "Pending")


DEFAULTS: Mapping[Kind, Callable[[dict[str, Any]], None]] = {
    kinds.NAMESPACE: configuration.namespace,
    kinds.SERVICE: services.service,
    kinds.SECRET: configuration.secret,
    kinds.PERSISTENT_VOLUME_CLAIM: configuration.claim,
    kinds.POD: _pod,
    kinds.ENDPOINTS: services.endpoints,
    kinds.ENDPOINT_SLICE: services.endpoint_slice,
    kinds.DEPLOYMENT: workloads.deployment,
    kinds.REPLICA_SET: workloads.replica_set,
    kinds.STATEFUL_SET: workloads.stateful_set,
    kinds.DAEMON_SET: workloads.daemon_set,
    kinds.JOB: workloads.job,
    gateway_kinds.KUBERNETES_GATEWAY: gateway_api.gateway,
    gateway_kinds.LISTENER_SET: gateway_api.listener_set,
    gateway_kinds.HTTP_ROUTE: gateway_api.http_route,
    gateway_kinds.GRPC_ROUTE: gateway_api.grpc_route,
    gateway_kinds.TLS_ROUTE: gateway_api.connection_route,
    gateway_kinds.TCP_ROUTE: gateway_api.connection_route,
}

VALIDATION: Mapping[Kind, Callable[[Any], Iterator[Cause]]] = {
    kinds.SERVICE: core.service,
    kinds.CONFIG_MAP: core.config_map,
    kinds.SECRET: core.secret,
    kinds.PERSISTENT_VOLUME_CLAIM: core.claim,
    kinds.POD: apps.pod,
    kinds.DEPLOYMENT: apps.deployment,
    kinds.REPLICA_SET: apps.replica_set,
    kinds.STATEFUL_SET: apps.stateful_set,
    kinds.DAEMON_SET: apps.daemon_set,
    kinds.JOB: apps.job,
    kinds.VIRTUAL_SERVICE: virtualservice.virtual_service,
    kinds.DESTINATION_RULE: destinationrule.destination_rule,
    kinds.GATEWAY: gateway.gateway,
    kinds.INGRESS: ingress.ingress,
    kinds.INGRESS_CLASS: ingress.ingress_class,
    kinds.SERVICE_ENTRY: serviceentry.service_entry,
    kinds.WORKLOAD_ENTRY: serviceentry.workload_entry,
    kinds.SIDECAR: sidecar.sidecar,
    kinds.PEER_AUTHENTICATION: sidecar.peer_authentication,
    kinds.WORKLOAD_GROUP: serviceentry.workload_group,
    gateway_kinds.KUBERNETES_GATEWAY: routes.gateway,
    gateway_kinds.LISTENER_SET: routes.listener_set,
    gateway_kinds.REFERENCE_GRANT: routes.reference_grant,
    gateway_kinds.BACKEND_TLS_POLICY: routes.backend_tls_policy,
    gateway_kinds.HTTP_ROUTE: gateway_httproute.http_route,
    gateway_kinds.GRPC_ROUTE: routes.grpc_route,
    gateway_kinds.TLS_ROUTE: routes.tls_route,
    gateway_kinds.TCP_ROUTE: routes.tcp_route,
}


def name_rule(kind: Kind) -> Callable[[str], str]:
    """Return what tells whether a name fits the kind."""
    if kind is kinds.SERVICE:
        return names.dns_1035_label
    if kind is kinds.NAMESPACE:
        return names.dns_label
    if kind.group == "rbac.authorization.k8s.io":
        return names.path_segment
    return names.dns_subdomain
