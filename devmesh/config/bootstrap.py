"""What is there from the start, as in Istio's demo profile."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Any

from devmesh.config import meshconfig
from devmesh.config.admission import admit
from devmesh.config.gateway_kinds import GATEWAY_API, GATEWAY_CLASS, GATEWAY_CLASSES
from devmesh.config.kinds import (
    CONFIG_MAP,
    CUSTOM_RESOURCE_DEFINITION,
    DEPLOYMENT,
    NAMESPACE,
    NODE,
    SERVICE,
    SERVICE_ACCOUNT,
    Kind,
)
from devmesh.config.store import Event, Key, Raw, Store

SYSTEM = meshconfig.ROOT_NAMESPACE
INGRESS, EGRESS = "istio-ingressgateway", "istio-egressgateway"
NODE_NAME = "devmesh"
_DIGEST = "devmesh.dev/mesh-config"
_HTTP, _HTTPS = 8080, 8443  # where gateways listen inside their namespaces


def bootstrap(
    store: Store,
    *,
    http_port: int,
    https_port: int,
    more_ports: Mapping[str, tuple[int, int]] | None = None,
    mesh_config: Mapping[str, Any] | None = None,
) -> None:
    """Put into the store what every mesh has; what is there already stays as users left it.

    From then on each new namespace gets its ServiceAccount ``default``. The ingress Service
    shows the ports of this run. The ConfigMap ``istio`` is written anew when `mesh_config` is
    another than it was the last time.

    Args:
        http_port, https_port: Where the ingress gateway listens on 127.0.0.1.
        more_ports: By name, other ports of its Service: that of 127.0.0.1, and that inside its namespace.
        mesh_config: The mesh file's ``spec.meshConfig``.
    """
    for kind, raw in _objects():
        _ensure(store, kind, raw)
    for namespace in store.list(NAMESPACE):
        if namespace.deleting:
            continue
        _ensure(store, SERVICE_ACCOUNT, _named("default", namespace.name))
    store.subscribe(lambda event: _default_account(store, event))
    write_mesh_config(store, mesh_config or {})
    ports = {"http2": (http_port, _HTTP), "https": (https_port, _HTTPS)}
    _ingress_service(store, ports | dict(more_ports or {}))
    _node_status(store)


def _objects() -> Iterator[tuple[Kind, Raw]]:
    yield NAMESPACE, {"metadata": {"name": "default", "labels": {"istio-injection": "enabled"}}}
    yield NAMESPACE, {"metadata": {"name": "kube-system"}}
    yield NAMESPACE, {"metadata": {"name": SYSTEM}}
    yield NODE, {"metadata": {"name": NODE_NAME, "labels": _node_labels()}, "spec": {}}
    yield SERVICE, _service("kubernetes", "default", [("https", 443, 443)], labels={"component": "apiserver"})
    for name, role in ((INGRESS, "ingressgateway"), (EGRESS, "egressgateway")):
        yield SERVICE_ACCOUNT, _named(f"{name}-service-account", SYSTEM, _gateway_labels(name, role))
        yield DEPLOYMENT, _gateway(name, role)
    for kind in GATEWAY_API:
        yield CUSTOM_RESOURCE_DEFINITION, _definition(kind)
    for name, controller in GATEWAY_CLASSES.items():
        yield GATEWAY_CLASS, {"metadata": {"name": name}, "spec": {"controllerName": controller}}
    ports = [("http2", 80, _HTTP), ("https", 443, _HTTPS)]
    labels = _gateway_labels(EGRESS, "egressgateway")
    yield SERVICE, _service(EGRESS, SYSTEM, ports, labels=labels, selector=labels)
    zipkin = ("http-zipkin", 9411, 9411)
    otlp = [("grpc-otel", 4317, 4317), ("http-otel", 4318, 4318)]
    for name, listed in (
        ("zipkin", [zipkin]),
        ("jaeger-collector", [*otlp, zipkin]),
        ("opentelemetry-collector", otlp),
    ):
        yield SERVICE, _service(name, SYSTEM, listed, labels={"app": name, "devmesh.dev/collector": "true"})


def _definition(kind: Kind) -> Raw:
    """Return the definition of a kind that is known anyway: people's scripts ask whether it is there.

    Istio: ``kubectl get crd gateways.gateway.networking.k8s.io || kubectl apply ...``
    """
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    names = {
        "kind": kind.kind,
        "listKind": f"{kind.kind}List",
        "plural": kind.plural,
        "singular": kind.singular,
        "shortNames": list(kind.short_names),
        "categories": list(kind.categories),
    }
    versions = [
        {"name": version, "served": True, "storage": version == kind.version, "schema": schema}
        for version in kind.versions
    ]
    return {
        "metadata": {"name": kind.resource},
        "spec": {
            "group": kind.group,
            "names": {key: value for key, value in names.items() if value},
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "versions": versions,
        },
    }


def _named(name: str, namespace: str, labels: Mapping[str, str] | None = None) -> Raw:
    metadata: Raw = {"name": name, "namespace": namespace}
    return {"metadata": {**metadata, "labels": dict(labels)} if labels else metadata}


def _gateway_labels(name: str, role: str) -> dict[str, str]:
    return {"app": name, "istio": role}


def _service(
    name: str,
    namespace: str,
    ports: list[tuple[str, int, int]],
    *,
    labels: Mapping[str, str] | None = None,
    selector: Mapping[str, str] | None = None,
) -> Raw:
    spec: Raw = {"ports": [{"name": n, "port": port, "targetPort": target} for n, port, target in ports]}
    if selector:
        spec["selector"] = dict(selector)
    return {**_named(name, namespace, labels), "spec": spec}


def _gateway(name: str, role: str) -> Raw:
    """Return a gateway's Deployment: a proxy alone, which injection fills in (Istio's gateway template)."""
    labels = _gateway_labels(name, role)
    template = {
        "metadata": {
            "labels": {
                **labels,
                "service.istio.io/canonical-name": name,
                "service.istio.io/canonical-revision": "latest",
                "sidecar.istio.io/inject": "true",
            },
            "annotations": {"inject.istio.io/templates": "gateway"},
        },
        "spec": {
            "serviceAccountName": f"{name}-service-account",
            "containers": [{"name": "istio-proxy", "image": "auto"}],
        },
    }
    spec = {"selector": {"matchLabels": labels}, "template": template}
    return {**_named(name, SYSTEM, labels), "spec": spec}


def _ensure(store: Store, kind: Kind, raw: Raw) -> None:
    metadata = raw["metadata"]
    if store.get(kind, metadata.get("namespace", ""), metadata["name"]) is None:
        stored = store.create(kind, admit(kind, raw, store=store).raw)
        if kind is CUSTOM_RESOURCE_DEFINITION:
            store.patch_status(stored.key, {"conditions": _established(store.timestamp())})


def _established(now: str) -> list[Raw]:
    return [
        {
            "type": type_,
            "status": "True",
            "reason": "InitialNamesAccepted",
            "message": "the kind is part of devmesh",
            "lastTransitionTime": now,
        }
        for type_ in ("NamesAccepted", "Established")
    ]


def _default_account(store: Store, event: Event) -> None:
    if event.type == "ADDED" and event.object.key.kind is NAMESPACE and not event.object.deleting:
        _ensure(store, SERVICE_ACCOUNT, _named("default", event.object.name))


def write_mesh_config(store: Store, given: Mapping[str, Any]) -> None:
    """Write the ConfigMap ``istio`` anew where the mesh file's ``spec.meshConfig`` is not the last one."""
    digest = hashlib.sha256(json.dumps(given, sort_keys=True).encode()).hexdigest()[:16]
    before = store.get(CONFIG_MAP, SYSTEM, "istio")
    if before is not None and before.annotations.get(_DIGEST) == digest:
        return
    raw = _named("istio", SYSTEM, {"istio.io/rev": "default"})
    raw["metadata"]["annotations"] = {_DIGEST: digest}
    raw["data"] = {
        "mesh": meshconfig.written(meshconfig.effective(given)),
        "meshNetworks": "networks: {}\n",
    }
    if before is None:
        store.create(CONFIG_MAP, raw)
    else:
        store.update(CONFIG_MAP, raw)


def _ingress_service(store: Store, local: Mapping[str, tuple[int, int]]) -> None:
    """Show the local ports: Istio's documented commands read ``nodePort`` and the load balancer's address."""
    labels = _gateway_labels(INGRESS, "ingressgateway")
    ports = [
        {"name": name, "port": port, "nodePort": port, "targetPort": target, "protocol": "TCP"}
        for name, (port, target) in local.items()
    ]
    before = store.get(SERVICE, SYSTEM, INGRESS)
    if before is None:
        raw = _named(INGRESS, SYSTEM, labels)
        raw["spec"] = {"type": "LoadBalancer", "selector": labels, "ports": ports}
        store.create(SERVICE, admit(SERVICE, raw, store=store).raw)
    else:
        taken = {port for port, _ in local.values()}
        others = [
            port
            for port in before.raw["spec"].get("ports") or ()
            if port.get("name") not in local and port["port"] not in taken
        ]
        store.update(SERVICE, {**before.raw, "spec": {**before.raw["spec"], "ports": [*ports, *others]}})
    status = {"loadBalancer": {"ingress": [{"ip": "127.0.0.1", "ipMode": "VIP"}]}}
    store.patch_status(Key(SERVICE, SYSTEM, INGRESS), status)


def _node_labels() -> dict[str, str]:
    return {
        "kubernetes.io/hostname": NODE_NAME,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": _architecture(),
        "node-role.kubernetes.io/control-plane": "",
    }


def _architecture() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def _node_status(store: Store) -> None:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1024
    capacity = {"cpu": str(os.cpu_count() or 1), "memory": f"{memory}Ki", "pods": "1000"}
    now = store.timestamp()
    status = {
        "capacity": capacity,
        "allocatable": capacity,
        "addresses": [
            {"type": "InternalIP", "address": "127.0.0.1"},
            {"type": "Hostname", "address": NODE_NAME},
        ],
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "reason": "DevmeshReady",
                "message": "devmesh is running",
                "lastHeartbeatTime": now,
                "lastTransitionTime": now,
            }
        ],
        "nodeInfo": {
            "architecture": _architecture(),
            "operatingSystem": "linux",
            "kernelVersion": platform.release(),
            "osImage": platform.system(),
            "containerRuntimeVersion": f"devmesh://{version('devmesh')}",
            "kubeletVersion": f"v1.37.0-devmesh.{version('devmesh')}",
            "kubeProxyVersion": "",
            "machineID": "",
            "systemUUID": "",
            "bootID": "",
        },
    }
    store.patch_status(Key(NODE, "", NODE_NAME), status)
