"""What a Pod gets when it is created: defaults, and its place in the mesh."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

from devmesh.config.defaulting.pods import pod_spec, scheduled_pod
from devmesh.config.kinds import NAMESPACE
from devmesh.config.store import Raw, Store
from devmesh.model.workload import Workload

PROXY = "istio-proxy"
NODE_NAME = "devmesh"
STATUS_ANNOTATION = "sidecar.istio.io/status"
INJECT = "sidecar.istio.io/inject"
TEMPLATES = "inject.istio.io/templates"
PROXY_IMAGE = "docker.io/istio/proxyv2:devmesh"
_NEVER_INJECTED = {"kube-system", "kube-public", "kube-node-lease", "local-path-storage"}


def admit(store: Store, raw: Raw, *, inject_all: bool = False) -> Raw:
    """Return a Pod as it is stored: with defaults and, where Istio's rule says so, with its proxy.

    A pod that has been through this comes back unchanged.
    """
    if raw["spec"].get("nodeName") == NODE_NAME:
        return raw
    raw = {**raw, "spec": {**raw["spec"], "nodeName": NODE_NAME}}
    namespace = store.get(NAMESPACE, "", raw["metadata"].get("namespace") or "default")
    if is_injected(raw, dict(namespace.labels) if namespace else {}, inject_all=inject_all):
        raw = _with_proxy(raw)
    # Last, so that the proxy's container has its defaults too: a later write then changes nothing by them.
    spec = copy.deepcopy(raw["spec"])
    pod_spec(spec)
    scheduled_pod(spec)
    return {**raw, "spec": spec}


def is_injected(pod: Raw, namespace_labels: Mapping[str, str], *, inject_all: bool = False) -> bool:
    """Tell whether a pod gets a proxy.

    Istio: the namespace's label ``istio-injection`` (or ``istio.io/rev``), and the pod's
    ``sidecar.istio.io/inject``, label or (older) annotation: "false" keeps a pod out. Where the namespace
    doesn't say, the label "true" takes one in, or ``istio.io/rev`` on the pod. Pods in the host's network,
    and Kubernetes' own, never.

    Args:
        inject_all: The mesh file's ``injection: all``: where nothing says no, yes.
    """
    metadata = pod["metadata"]
    if pod["spec"].get("hostNetwork") or metadata.get("namespace") in _NEVER_INJECTED:
        return False
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    wish = str(labels.get(INJECT, annotations.get(INJECT, ""))).lower()
    if wish in ("false", "no", "n", "off"):
        return False
    says = namespace_labels.get("istio-injection")
    if says == "disabled":
        return False
    return (
        says == "enabled"
        or "istio.io/rev" in namespace_labels
        or str(labels.get(INJECT, "")).lower() in ("true", "yes", "y", "on")
        or "istio.io/rev" in labels
        or inject_all
    )


def is_meshed(pod: Raw) -> bool:
    """Tell whether a stored pod has a proxy."""
    return STATUS_ANNOTATION in (pod["metadata"].get("annotations") or {})


def is_gateway(pod: Raw) -> bool:
    """Tell whether a stored pod is a proxy alone: Istio's gateway template, or its router arguments."""
    if not is_meshed(pod):
        return False
    templates = str((pod["metadata"].get("annotations") or {}).get(TEMPLATES, ""))
    proxy: Raw = next((c for c in pod["spec"]["containers"] if c["name"] == PROXY), {})
    return "gateway" in templates.split(",") or "router" in (proxy.get("args") or ())


def app_containers(pod: Raw) -> list[Raw]:
    """Return the containers that are run: all but the proxy."""
    meshed = is_meshed(pod)
    return [c for c in pod["spec"]["containers"] if not (meshed and c["name"] == PROXY)]


def _with_proxy(raw: Raw) -> Raw:
    metadata, spec = raw["metadata"], raw["spec"]
    containers: list[Raw] = spec["containers"]
    kind = "router" if "gateway" in str((metadata.get("annotations") or {}).get(TEMPLATES, "")) else "sidecar"
    own = next((c for c in containers if c["name"] == PROXY), {"name": PROXY})
    proxy = _proxy_container(own, kind)
    others = [c for c in containers if c is not own]
    containers = [*others, proxy]
    annotations: dict[str, Any] = {
        STATUS_ANNOTATION: json.dumps({"containers": [PROXY], "revision": "default"}),
        **(metadata.get("annotations") or {}),
    }
    first = next((c["name"] for c in containers if c["name"] != PROXY), PROXY)
    annotations.setdefault("kubectl.kubernetes.io/default-container", first)
    annotations.setdefault("kubectl.kubernetes.io/default-logs-container", first)
    labels = _mesh_labels(metadata) | (metadata.get("labels") or {})
    return {
        **raw,
        "metadata": {**metadata, "annotations": annotations, "labels": labels},
        "spec": {**spec, "containers": containers},
    }


def _mesh_labels(metadata: Raw) -> dict[str, str]:
    name = metadata.get("name") or str(metadata.get("generateName", "")).rstrip("-")
    workload = Workload(name, "", labels=metadata.get("labels") or {})
    return {
        "security.istio.io/tlsMode": "istio",
        "service.istio.io/canonical-name": workload.canonical_service,
        "service.istio.io/canonical-revision": workload.canonical_revision,
    }


def _proxy_container(own: Raw, kind: str) -> Raw:
    """Return the container as it is shown; no process stands behind it, devmesh is the proxy."""
    image = own.get("image")
    return {
        "args": ["proxy", kind, "--domain", "$(POD_NAMESPACE).svc.cluster.local"],
        "ports": [{"name": "http-envoy-prom", "containerPort": 15090, "protocol": "TCP"}],
        "readinessProbe": {
            "httpGet": {"path": "/healthz/ready", "port": 15021, "scheme": "HTTP"},
            "periodSeconds": 15,
            "timeoutSeconds": 3,
            "failureThreshold": 4,
            "successThreshold": 1,
        },
        **own,
        "image": PROXY_IMAGE if image in (None, "auto") else image,
    }
