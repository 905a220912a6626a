"""What is told of Istio's annotations on pods."""

from __future__ import annotations

from typing import Any

import pytest

from devmesh.config.effects import without_effect
from devmesh.config.kinds import DEPLOYMENT, POD

WHERE = "spec.template.metadata.annotations"


def told(annotations: dict[str, str]) -> list[str]:
    raw: dict[str, Any] = {
        "metadata": {"name": "a"},
        "spec": {"template": {"metadata": {"annotations": annotations}, "spec": {"containers": []}}},
    }
    return [f"{cause.field} {cause.message}" for cause in without_effect(DEPLOYMENT, raw)]


@pytest.mark.parametrize(
    "annotations",
    [
        {},
        {"sidecar.istio.io/inject": "false"},
        {"traffic.sidecar.istio.io/includeInboundPorts": "*"},
        {"traffic.sidecar.istio.io/excludeOutboundIPRanges": "10.0.0.0/8"},
        {"sidecar.istio.io/userVolume": "{}", "sidecar.istio.io/userVolumeMount": "{}"},
        {"sidecar.istio.io/rewriteAppHTTPProbers": "true"},
        {"sidecar.istio.io/interceptionMode": "REDIRECT"},
        {"proxy.istio.io/config": "holdApplicationUntilProxyStarts: true"},
        {"proxy.istio.io/config": "gatewayTopology: {numTrustedProxies: 1}"},
        {"proxy.istio.io/config": "proxyMetadata: {ISTIO_META_DNS_CAPTURE: 'true'}"},
        {"prometheus.io/scrape": "true", "example.com/own": "x"},
    ],
)
def test_nothing_is_told_of_what_has_an_effect_or_is_so_anyway(annotations: dict[str, str]) -> None:
    assert told(annotations) == []


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("traffic.sidecar.istio.io/excludeInterfaces", "eth1", "one interface"),
        ("sidecar.istio.io/proxyCPU", "100m", "no container of its own"),
        ("sidecar.istio.io/interceptionMode", "TPROXY", "traffic is redirected"),
        ("sidecar.istio.io/rewriteAppHTTPProbers", "false", "probes never pass"),
        ("proxy.istio.io/overrides", "{}", "no container of its own"),
        ("proxy.istio.io/config", "concurrency: 2", "concurrency has no effect"),
        ("proxy.istio.io/config", "proxyMetadata: {OTHER: x}", "proxyMetadata has no effect"),
        ("proxy.istio.io/config", "x", "is no ProxyConfig"),
        ("proxy.istio.io/config", "a: [", "is no YAML"),
        (
            "traffic.sidecar.istio.io/includeInboundPort",
            "80",
            "did you mean traffic.sidecar.istio.io/includeIn",
        ),
    ],
)
def test_what_does_nothing_is_told(name: str, value: str, says: str) -> None:
    [message] = told({name: value})
    assert says in message
    assert WHERE in message


def test_a_bare_pod_has_its_own_annotations() -> None:
    raw = {"metadata": {"annotations": {"proxy.istio.io/overrides": "[]"}}, "spec": {"containers": []}}
    [cause] = without_effect(POD, raw)
    assert cause.field == "metadata.annotations[proxy.istio.io/overrides]"
