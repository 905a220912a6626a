"""Which defaults, checks and rules for names belong to which kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from devmesh.config import kinds
from devmesh.config.defaulting import configuration, pods, services, workloads
from devmesh.config.inert_kinds import WORKLOAD_GROUP
from devmesh.config.kinds import Kind
from devmesh.config.problems import Cause
from devmesh.config.validation import destinationrule, gateway, names, serviceentry, sidecar, virtualservice
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
    kinds.SERVICE_ENTRY: serviceentry.service_entry,
    kinds.WORKLOAD_ENTRY: serviceentry.workload_entry,
    kinds.SIDECAR: sidecar.sidecar,
    kinds.PEER_AUTHENTICATION: sidecar.peer_authentication,
    WORKLOAD_GROUP: serviceentry.workload_group,
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
