"""Defaults of pods and their containers (Kubernetes: core/v1 defaulting, and admission's)."""

from __future__ import annotations

from typing import Any

Raw = dict[str, Any]

_FILE_MODE = 0o644
_LIFE = ("livenessProbe", "readinessProbe", "startupProbe")


def pod_spec(spec: Raw) -> None:
    """Fill in a pod's spec, or a template's, in place."""
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("schedulerName", "default-scheduler")
    spec.setdefault("securityContext", {})
    for container in (*spec.get("initContainers", ()), *spec.get("containers", ())):
        _container(container, host_network=bool(spec.get("hostNetwork")))
    for volume in spec.get("volumes", ()):
        _volume(volume)


def scheduled_pod(spec: Raw) -> None:
    """Fill in what only pods get, not templates."""
    spec.setdefault("enableServiceLinks", True)
    account = spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"
    spec["serviceAccountName"] = spec["serviceAccount"] = account


def _container(container: Raw, *, host_network: bool) -> None:
    container.setdefault("imagePullPolicy", _pull_policy(container.get("image") or ""))
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    resources = container.setdefault("resources", {})
    if limits := resources.get("limits"):
        resources["requests"] = {**limits, **(resources.get("requests") or {})}
    for port in container.get("ports", ()):
        port.setdefault("protocol", "TCP")
        if host_network and "containerPort" in port:
            port.setdefault("hostPort", port["containerPort"])
    for variable in container.get("env", ()):
        field_ref = (variable.get("valueFrom") or {}).get("fieldRef")
        if field_ref is not None:
            field_ref.setdefault("apiVersion", "v1")
    for name in _LIFE:
        if name in container:
            _probe(container[name])
    for hook in (container.get("lifecycle") or {}).values():
        if isinstance(hook, dict):
            _http_get(hook)


def _probe(probe: Raw) -> None:
    probe.setdefault("timeoutSeconds", 1)
    probe.setdefault("periodSeconds", 10)
    probe.setdefault("successThreshold", 1)
    probe.setdefault("failureThreshold", 3)
    _http_get(probe)
    if "grpc" in probe:
        probe["grpc"].setdefault("service", "")


def _http_get(handler: Raw) -> None:
    if http_get := handler.get("httpGet"):
        http_get.setdefault("path", "/")
        http_get.setdefault("scheme", "HTTP")


def _pull_policy(image: str) -> str:
    """Kubernetes: Always for ``latest`` or no tag, IfNotPresent for other tags and digests."""
    last = image.rpartition("/")[2]
    if "@" in last:
        return "IfNotPresent"
    tag = last.partition(":")[2]
    return "Always" if tag in ("", "latest") else "IfNotPresent"


def _volume(volume: Raw) -> None:
    if volume.keys() <= {"name"}:
        volume["emptyDir"] = {}
    for source in ("secret", "configMap", "downwardAPI", "projected"):
        if source in volume:
            volume[source].setdefault("defaultMode", _FILE_MODE)
    if "hostPath" in volume:
        volume["hostPath"].setdefault("type", "")
    for source in (volume.get("projected") or {}).get("sources", ()):
        if token := source.get("serviceAccountToken"):
            token.setdefault("expirationSeconds", 3600)
