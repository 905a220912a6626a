"""Istio's annotations of pods: which of them do nothing here, and which are no annotations at all."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from devmesh.config.problems import NO_EFFECT, Cause, MapKey, Path, warning

_TRAFFIC = "traffic.sidecar.istio.io/"
_CONFIG = "proxy.istio.io/config"
_NO_CONTAINER = "the proxy is no container of its own"
_INTERFACES = "a pod has one interface, and what passes it is taken over"
_RANGES = frozenset(
    f"{_TRAFFIC}{name}"
    for name in (
        "includeInboundPorts",
        "excludeInboundPorts",
        "includeOutboundIPRanges",
        "excludeOutboundIPRanges",
        "includeOutboundPorts",
        "excludeOutboundPorts",
    )
)
_IN_FORCE = _RANGES | {
    "sidecar.istio.io/inject",
    "sidecar.istio.io/status",
    "sidecar.istio.io/userVolume",
    "sidecar.istio.io/userVolumeMount",
    _CONFIG,
}
# What is as the annotation would have it, in any case.
_ALWAYS_SO: Mapping[str, tuple[str, ...]] = {
    "sidecar.istio.io/rewriteAppHTTPProbers": ("true",),
    "sidecar.istio.io/nativeSidecar": ("true",),
    "sidecar.istio.io/interceptionMode": ("REDIRECT",),
}
_INERT: Mapping[str, str] = {
    f"{_TRAFFIC}excludeInterfaces": _INTERFACES,
    f"{_TRAFFIC}kubevirtInterfaces": _INTERFACES,
    "istio.io/reroute-virtual-interfaces": _INTERFACES,
    "sidecar.istio.io/rewriteAppHTTPProbers": "probes never pass the proxy",
    "sidecar.istio.io/interceptionMode": "traffic is redirected",
    "proxy.istio.io/overrides": _NO_CONTAINER,
    "sidecar.istio.io/bootstrapOverride": "the proxy is no Envoy",
}
# Of ProxyConfig: fields with an effect, and those that ask for what is so in any case.
_CONFIG_IN_FORCE = {"gatewayTopology", "holdApplicationUntilProxyStarts"}
_DNS = {"ISTIO_META_DNS_CAPTURE", "ISTIO_META_DNS_AUTO_ALLOCATE"}


def of_annotations(annotations: Mapping[str, Any], path: Path) -> Iterator[Cause]:
    """Yield what is to be told of a pod's annotations; `path` leads to them."""
    for name, value in annotations.items():
        if name in _IN_FORCE or str(value) in _ALWAYS_SO.get(name, ()):
            continue
        at: Path = (*path, MapKey(name))
        if name in _INERT:
            yield _inert(at, _INERT[name])
        elif name.startswith(_TRAFFIC):
            near = difflib.get_close_matches(name, _RANGES, 1, 0.7)
            hint = f" (did you mean {near[0]}?)" if near else ""
            yield warning(at, f"is no annotation of Istio's{hint}")
        elif name.startswith("sidecar.istio.io/"):
            yield _inert(at, _NO_CONTAINER)
    if text := annotations.get(_CONFIG):
        yield from _of_config(str(text), (*path, MapKey(_CONFIG)))


def _of_config(text: str, path: Path) -> Iterator[Cause]:
    try:
        config = yaml.safe_load(text)
    except yaml.YAMLError as error:
        yield warning(path, f"is no YAML: {' '.join(str(error).split())}")
        return
    if not isinstance(config, dict):
        yield warning(path, "is no ProxyConfig: write a mapping, such as gatewayTopology: {...}")
        return
    for field, value in config.items():
        if field == "proxyMetadata" and isinstance(value, dict) and value.keys() <= _DNS:
            continue
        if field not in _CONFIG_IN_FORCE:
            yield Cause(path, NO_EFFECT, f"{field} has no effect in devmesh for a single pod")


def _inert(path: Path, why: str) -> Cause:
    return Cause(path, NO_EFFECT, f"has no effect in devmesh: {why}")
