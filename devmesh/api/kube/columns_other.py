"""The columns of Istio's kinds, of the Gateway API's, and of Kubernetes' kinds without effect here."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from devmesh.api.kube.columns import AGE, CREATED_AT, NAME, Column, at, count, field, selector
from devmesh.api.kube.duration import age

Raw = Mapping[str, Any]


def _listed(name: str, path: str, *, wide: bool = False) -> Column:
    """Return a column of a list, as custom resources show one: as JSON."""

    def value(raw: Raw) -> str:
        found = at(raw, path)
        return "" if found is None else json.dumps(found, separators=(",", ":"), ensure_ascii=False)

    return Column(name, value, wide=wide)


def _condition(type_: str) -> Callable[[Raw], str]:
    def value(raw: Raw) -> str:
        found = (c.get("status", "") for c in at(raw, "status.conditions", ()) if c.get("type") == type_)
        return next(found, "")

    return value


_ISTIO = "networking.istio.io"
_SECURITY = "security.istio.io"
_GATEWAY_API = "gateway.networking.k8s.io"
_RBAC = "rbac.authorization.k8s.io"


def _rules(raw: Raw) -> str:
    hosts = [r.get("host") or "*" for r in at(raw, "spec.rules", ())]
    return ",".join(hosts) or "*"


def _load_balancer(raw: Raw) -> str:
    ingress = at(raw, "status.loadBalancer.ingress", ())
    return ",".join(i.get("ip") or i.get("hostname") or "" for i in ingress)


def _references(raw: Raw) -> str:
    target = at(raw, "spec.scaleTargetRef", {})
    return f"{target.get('kind', '')}/{target.get('name', '')}"


def _role(raw: Raw) -> str:
    return f"{at(raw, 'roleRef.kind', '')}/{at(raw, 'roleRef.name', '')}"


BY_NAME: Mapping[tuple[str, str], tuple[Column, ...]] = {
    (_ISTIO, "VirtualService"): (
        NAME,
        _listed("Gateways", "spec.gateways"),
        _listed("Hosts", "spec.hosts"),
        AGE,
    ),
    (_ISTIO, "DestinationRule"): (NAME, field("Host", "spec.host", ""), AGE),
    (_ISTIO, "ServiceEntry"): (
        NAME,
        _listed("Hosts", "spec.hosts"),
        field("Location", "spec.location", ""),
        field("Resolution", "spec.resolution", ""),
        AGE,
    ),
    (_ISTIO, "WorkloadEntry"): (NAME, AGE, field("Address", "spec.address", "")),
    (_SECURITY, "PeerAuthentication"): (NAME, field("Mode", "spec.mtls.mode", ""), AGE),
    (_SECURITY, "AuthorizationPolicy"): (NAME, field("Action", "spec.action", ""), AGE),
    (_GATEWAY_API, "GatewayClass"): (
        NAME,
        field("Controller", "spec.controllerName", ""),
        Column("Accepted", _condition("Accepted")),
        AGE,
        field("Description", "spec.description", "", wide=True),
    ),
    (_GATEWAY_API, "Gateway"): (
        NAME,
        field("Class", "spec.gatewayClassName", ""),
        Column("Address", lambda r: next((a.get("value", "") for a in at(r, "status.addresses", ())), "")),
        Column("Programmed", _condition("Programmed")),
        AGE,
    ),
    (_GATEWAY_API, "HTTPRoute"): (NAME, _listed("Hostnames", "spec.hostnames"), AGE),
    (_GATEWAY_API, "GRPCRoute"): (NAME, _listed("Hostnames", "spec.hostnames"), AGE),
    ("apiextensions.k8s.io", "CustomResourceDefinition"): (NAME, CREATED_AT),
    ("networking.k8s.io", "Ingress"): (
        NAME,
        field("Class", "spec.ingressClassName"),
        Column("Hosts", _rules),
        Column("Address", _load_balancer),
        Column("Ports", lambda r: "80, 443" if at(r, "spec.tls") else "80"),
        AGE,
    ),
    ("networking.k8s.io", "NetworkPolicy"): (
        NAME,
        Column("Pod-Selector", lambda r: selector(at(r, "spec.podSelector"))),
        AGE,
    ),
    ("networking.k8s.io", "IngressClass"): (NAME, field("Controller", "spec.controller", ""), AGE),
    ("autoscaling", "HorizontalPodAutoscaler"): (
        NAME,
        Column("Reference", _references),
        Column("Targets", lambda r: "<unknown>"),
        field("MinPods", "spec.minReplicas", "<unset>"),
        count("MaxPods", "spec.maxReplicas"),
        count("Replicas", "status.currentReplicas"),
        AGE,
    ),
    ("policy", "PodDisruptionBudget"): (
        NAME,
        field("Min Available", "spec.minAvailable", "N/A"),
        field("Max Unavailable", "spec.maxUnavailable", "N/A"),
        count("Allowed Disruptions", "status.disruptionsAllowed"),
        AGE,
    ),
    ("batch", "CronJob"): (
        NAME,
        field("Schedule", "spec.schedule", ""),
        field("Timezone", "spec.timeZone"),
        Column("Suspend", lambda r: str(bool(at(r, "spec.suspend", False)))),
        Column("Active", lambda r: len(at(r, "status.active", ())), "integer"),
        Column(
            "Last Schedule",
            lambda r: age(t) if (t := at(r, "status.lastScheduleTime")) else "<none>",
        ),
        AGE,
    ),
    (_RBAC, "Role"): (NAME, CREATED_AT),
    (_RBAC, "ClusterRole"): (NAME, CREATED_AT),
    (_RBAC, "RoleBinding"): (NAME, Column("Role", _role), AGE),
    (_RBAC, "ClusterRoleBinding"): (NAME, Column("Role", _role), AGE),
    ("storage.k8s.io", "StorageClass"): (NAME, field("Provisioner", "provisioner", ""), AGE),
    ("scheduling.k8s.io", "PriorityClass"): (NAME, count("Value", "value"), AGE),
}
