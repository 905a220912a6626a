"""What is accepted and has no effect here, so that it can be said when it is applied.

A part that gives a field its effect takes it out of the table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from devmesh.config.effects_annotations import of_annotations
from devmesh.config.effects_pods import POD_FIELDS, Inert
from devmesh.config.kinds import Kind
from devmesh.config.problems import NO_EFFECT, Cause, Path

_LOUD: Mapping[tuple[str, str], str] = {
    (
        "security.istio.io",
        "AuthorizationPolicy",
    ): "it is NOT ENFORCED yet: nothing is denied or allowed by it",
    ("security.istio.io", "RequestAuthentication"): "it is NOT ENFORCED yet: tokens are not checked",
    ("networking.k8s.io", "NetworkPolicy"): "it is NOT ENFORCED: all workloads can reach each other",
    ("authentication.istio.io", "Policy"): "it is NOT ENFORCED yet: use PeerAuthentication",
    ("authentication.istio.io", "MeshPolicy"): "it is NOT ENFORCED yet: use PeerAuthentication",
    ("extensions.istio.io", "WasmPlugin"): "devmesh runs no WebAssembly in its data plane",
    ("extensions.istio.io", "TrafficExtension"): "devmesh runs no WebAssembly and no Lua in its data plane",
    ("rbac.istio.io", "ServiceRole"): "it is NOT ENFORCED yet: nothing is denied or allowed by it",
    ("rbac.istio.io", "ServiceRoleBinding"): "it is NOT ENFORCED yet: nothing is denied or allowed by it",
    ("rbac.istio.io", "RbacConfig"): "it is NOT ENFORCED yet: nothing is denied or allowed by it",
    ("rbac.istio.io", "ClusterRbacConfig"): "it is NOT ENFORCED yet: nothing is denied or allowed by it",
}
_FOR_PODS = "there is one node, which runs all pods"
_LIMITS = {"cpu", "memory"}
_POLICY = ("tunnel", "proxyProtocol", "retryBudget.budgetInterval", "loadBalancer.zoneAwareLbSetting")
_POOL = ("connectionPool.http.http2KeepAlive",)

# Paths are dotted; [] is every item of a list or of a map.
FIELDS: Mapping[tuple[str, str], Mapping[str, str | Inert]] = {
    ("networking.istio.io", "VirtualService"): {
        "spec.http[].retries.retryRemoteLocalities": "a retry goes to another host, in whatever locality",
        "spec.http[].match[].statPrefix": "there are no statistics per route",
        "spec.http[].fault.delay.exponentialDelay": "as in Istio, which does not implement it",
        "spec.http[].fault.abort.http2Error": "as in Istio, which does not implement it",
        "spec.tls[].match[].sourceSubnet": "as in Istio",
        "spec.tcp[].match[].sourceSubnet": "as in Istio",
    },
    ("networking.istio.io", "DestinationRule"): {
        f"spec.{prefix}trafficPolicy.{port}{field}": ""
        for prefix in ("", "subsets[].")
        for port in ("", "portLevelSettings[].")
        for field in (*_POLICY, *_POOL, "tls.caCrl", "loadBalancer.consistentHash.httpCookie.attributes")
    },
    ("networking.istio.io", "Gateway"): {
        "spec.servers[].defaultEndpoint": "as in Istio, which does not implement it",
        "spec.servers[].port.targetPort": "it is deprecated in Istio",
        "spec.servers[].tls.insecureSkipVerify": "",
    },
    ("networking.istio.io", "ServiceEntry"): {"spec.endpoints[].network": "there is one network"},
    ("networking.istio.io", "WorkloadEntry"): {"spec.network": "there is one network"},
    ("networking.istio.io", "WorkloadGroup"): {
        "spec.metadata.annotations": "",
        "spec.template.network": "there is one network",
        "spec.probe.exec": "nothing can be run where the workload is: use httpGet, tcpSocket or grpc",
    },
    ("networking.istio.io", "Sidecar"): {
        "spec.ingress[].captureMode": "all traffic is captured",
        "spec.ingress[].bind": "all traffic is captured",
        "spec.egress[].bind": "all traffic is captured",
        "spec.egress[].captureMode": "all traffic is captured",
    },
    ("gateway.networking.k8s.io", "GatewayClass"): {"spec.parametersRef": "as in Istio"},
    ("gateway.networking.k8s.io", "Gateway"): {
        "spec.infrastructure.parametersRef": "",
        "spec.tls.backend": "",
        "spec.defaultScope": "as in Istio",
    },
    ("gateway.networking.k8s.io", "BackendTLSPolicy"): {"spec.options": "as in Istio"},
    ("gateway.networking.k8s.io", "HTTPRoute"): {
        "spec.useDefaultGateways": "as in Istio",
        "spec.rules[].sessionPersistence": "as in Istio",
    },
    ("gateway.networking.k8s.io", "GRPCRoute"): {
        "spec.useDefaultGateways": "as in Istio",
        "spec.rules[].sessionPersistence": "as in Istio",
    },
    ("gateway.networking.k8s.io", "TLSRoute"): {"spec.useDefaultGateways": "as in Istio"},
    ("gateway.networking.k8s.io", "TCPRoute"): {"spec.useDefaultGateways": "as in Istio"},
    ("", "Node"): {"spec.taints": _FOR_PODS, "spec.unschedulable": _FOR_PODS},
    ("", "PersistentVolumeClaim"): {
        "spec.dataSource": "volumes begin empty",
        "spec.dataSourceRef": "volumes begin empty",
    },
    ("", "ServiceAccount"): {"imagePullSecrets": "images are pulled as you: docker login"},
    ("apps", "StatefulSet"): {
        f"spec.persistentVolumeClaimRetentionPolicy.{when}": Inert(
            "claims stay until they are deleted", ("Retain",)
        )
        for when in ("whenDeleted", "whenScaled")
    },
    ("batch", "Job"): {
        f"spec.{field}": ""
        for field in (
            "backoffLimitPerIndex",
            "maxFailedIndexes",
            "podFailurePolicy",
            "successPolicy",
            "managedBy",
            "scheduling",
        )
    },
    ("", "Service"): {
        "spec.loadBalancerClass": "there are no load balancers but the ingress gateway's",
        "spec.loadBalancerIP": "",
        "spec.loadBalancerSourceRanges": "",
        "spec.externalIPs": "",
        "spec.healthCheckNodePort": "",
    },
}
_POD_AT: Mapping[tuple[str, str], str] = {
    ("", "Pod"): "spec",
    ("apps", "Deployment"): "spec.template.spec",
    ("apps", "ReplicaSet"): "spec.template.spec",
    ("apps", "StatefulSet"): "spec.template.spec",
    ("apps", "DaemonSet"): "spec.template.spec",
    ("batch", "Job"): "spec.template.spec",
}


def without_effect(kind: Kind, raw: Mapping[str, Any]) -> Iterator[Cause]:
    """Find what in a document has no effect in devmesh."""
    if not kind.effect:
        why = _LOUD.get((kind.group, kind.kind), "it is stored, and nothing acts on it")
        yield Cause((), NO_EFFECT, f"{kind.kind} has no effect in devmesh: {why}")
        return
    key = (kind.group, kind.kind)
    for pattern, inert in FIELDS.get(key, {}).items():
        yield from _at(raw, pattern, inert if isinstance(inert, Inert) else Inert(inert, ()))
    if key == ("", "Service") and (raw.get("spec") or {}).get("sessionAffinity") == "ClientIP":
        why = "as in Istio: its proxies balance each request; write a DestinationRule with consistentHash"
        yield Cause(("spec", "sessionAffinity"), NO_EFFECT, f"has no effect in devmesh: {why}")
    if key in _POD_AT:
        yield from _of_pod(raw, _POD_AT[key])


def _of_pod(raw: Mapping[str, Any], where: str) -> Iterator[Cause]:
    template = raw
    at: Path = ()
    for step in where.split(".")[:-1]:
        template, at = template.get(step) or {}, (*at, step)
    annotations = (template.get("metadata") or {}).get("annotations") or {}
    yield from of_annotations(annotations, (*at, "metadata", "annotations"))
    for field, inert in POD_FIELDS.items():
        yield from _at(raw, f"{where}.{field}", inert)
    for kind in ("containers", "initContainers"):
        for path in _find(raw, _steps(f"{where}.{kind}[].resources.limits"), ()):
            for resource in _value(raw, path).keys() - _LIMITS:
                yield Cause(
                    (*path, resource), NO_EFFECT, "has no effect in devmesh: cpu and memory are limited"
                )


def _at(raw: Mapping[str, Any], pattern: str, inert: Inert) -> Iterator[Cause]:
    for path in _find(raw, _steps(pattern), ()):
        if _value(raw, path) not in inert.harmless:
            why = f": {inert.why}" if inert.why else ""
            yield Cause(path, NO_EFFECT, f"has no effect in devmesh{why}")


def _steps(pattern: str) -> tuple[str, ...]:
    return tuple(pattern.replace("[]", ".[]").split("."))


def _value(raw: Any, path: Path) -> Any:
    for step in path:
        raw = raw[step]
    return raw


def _find(value: Any, pattern: tuple[str, ...], path: Path) -> Iterator[Path]:
    if not pattern:
        yield path
        return
    first, rest = pattern[0], pattern[1:]
    if first == "[]":
        for n, item in enumerate(value if isinstance(value, list) else ()):
            yield from _find(item, rest, (*path, n))
    elif isinstance(value, dict) and value.get(first) is not None:
        yield from _find(value[first], rest, (*path, first))
