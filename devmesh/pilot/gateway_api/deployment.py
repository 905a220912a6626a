"""What Istio makes for a Gateway: a Deployment of a proxy, its Service and ServiceAccount."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from devmesh.config import kinds
from devmesh.config.kinds import Kind
from devmesh.pilot.gateway_api.listeners import Port, deployment_name, is_managed
from devmesh.pilot.gateway_api.resources import Gateway

Raw = dict[str, Any]

_NAME, _CLASS = "gateway.networking.k8s.io/gateway-name", "gateway.networking.k8s.io/gateway-class-name"
_MANAGED = "gateway.istio.io/managed"
_SERVICE_TYPE = "networking.istio.io/service-type"
_ACCOUNT = "gateway.istio.io/service-account"
_KEPT_BACK = ("kubectl.kubernetes.io/last-applied-configuration", "gateway.istio.io/name-override", _ACCOUNT)
_LONGEST = 63


@dataclass(frozen=True, slots=True)
class Wanted:
    """An object that is to be there, for as long as its owner is."""

    kind: Kind
    raw: Raw


def objects(gateway: Gateway, ports: Sequence[Port]) -> Iterator[Wanted]:
    """Yield what a Gateway with these listeners needs; nothing where it names a Service as its address."""
    if not is_managed(gateway):
        return
    name, metadata = deployment_name(gateway), _metadata(gateway)
    account = gateway.stored.annotations.get(_ACCOUNT, name)
    if account == name:
        yield Wanted(kinds.SERVICE_ACCOUNT, {"metadata": {**metadata, "name": name}})
    labels = {**metadata["labels"], _NAME: gateway.stored.name}
    template = {
        "metadata": {
            "labels": {
                **labels,
                "service.istio.io/canonical-name": name,
                "service.istio.io/canonical-revision": "latest",
                "sidecar.istio.io/inject": "true",
            },
            "annotations": {**metadata.get("annotations", {}), "inject.istio.io/templates": "gateway"},
        },
        "spec": {"serviceAccountName": account, "containers": [{"name": "istio-proxy", "image": "auto"}]},
    }
    yield Wanted(
        kinds.DEPLOYMENT,
        {
            "metadata": {**metadata, "name": name},
            "spec": {"selector": {"matchLabels": {_NAME: gateway.stored.name}}, "template": template},
        },
    )
    yield Wanted(
        kinds.SERVICE,
        {
            "metadata": {**metadata, "name": name},
            "spec": {
                "type": gateway.stored.annotations.get(_SERVICE_TYPE, "LoadBalancer"),
                "selector": {_NAME: gateway.stored.name},
                "ports": list(_ports(ports)),
            },
        },
    )


def _metadata(gateway: Gateway) -> Raw:
    """Istio: labels and annotations of `infrastructure`, or else the Gateway's own."""
    stored, infrastructure = gateway.stored, gateway.spec.infrastructure
    labels, annotations = dict(stored.labels), dict(stored.annotations)
    if infrastructure is not None:
        labels, annotations = infrastructure.labels, infrastructure.annotations
    return {
        "namespace": gateway.namespace,
        "labels": {
            **labels,
            _MANAGED: "istio.io-gateway-controller",
            _NAME: stored.name,
            _CLASS: gateway.spec.gateway_class_name,
        },
        "annotations": {key: value for key, value in annotations.items() if key not in _KEPT_BACK},
        "ownerReferences": [
            {
                "apiVersion": "gateway.networking.k8s.io/v1",
                "kind": "Gateway",
                "name": stored.name,
                "uid": stored.uid,
            }
        ],
    }


def _ports(ports: Sequence[Port]) -> Iterator[Raw]:
    yield {"name": "status-port", "port": 15021, "protocol": "TCP", "appProtocol": "tcp"}
    names, numbers = {"status-port"}, {15021}
    for port in ports:
        if port.number in numbers or not port.number:
            continue
        numbers.add(port.number)
        name = port.listener.name.replace(".", "-")[:_LONGEST]
        if name in names:
            name = f"{name[: _LONGEST - 6]}-{port.number}"
        names.add(name)
        protocol = port.listener.protocol.lower()
        yield {"name": name, "port": port.number, "protocol": "TCP", "appProtocol": protocol}
