"""Defaults of Services and of what lies behind them."""

from __future__ import annotations

from typing import Any

Raw = dict[str, Any]

_AFFINITY_SECONDS = 10_800


def service(raw: Raw) -> None:
    """Fill in all but the addresses and node ports, which the store's other Services decide."""
    spec = raw["spec"]
    type_ = spec.setdefault("type", "ClusterIP")
    if spec.setdefault("sessionAffinity", "None") == "ClientIP":
        config = spec.setdefault("sessionAffinityConfig", {})
        config.setdefault("clientIP", {}).setdefault("timeoutSeconds", _AFFINITY_SECONDS)
    for port in spec.get("ports", ()):
        port.setdefault("protocol", "TCP")
        if "port" in port and port.get("targetPort") in (None, 0, ""):
            port["targetPort"] = port["port"]
    if type_ != "ExternalName":
        spec.setdefault("internalTrafficPolicy", "Cluster")
        spec.setdefault("ipFamilyPolicy", "SingleStack")
        spec.setdefault("ipFamilies", ["IPv4"])
    if type_ in ("NodePort", "LoadBalancer"):
        spec.setdefault("externalTrafficPolicy", "Cluster")
    if type_ == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)
    raw.setdefault("status", {}).setdefault("loadBalancer", {})


def endpoints(raw: Raw) -> None:
    for subset in raw.get("subsets", ()):
        for port in subset.get("ports", ()):
            port.setdefault("protocol", "TCP")


def endpoint_slice(raw: Raw) -> None:
    for port in raw.get("ports", ()):
        port.setdefault("name", "")
        port.setdefault("protocol", "TCP")
