"""MeshConfig as the compile needs it, and where the gateways' ports are on the host."""

from __future__ import annotations

from dataclasses import dataclass, field

from devmesh.config.documents.destinationrule import (
    ConnectionPoolSettings,
    LocalityLoadBalancerSetting,
    OutlierDetection,
)
from devmesh.snapshot.cluster import Keepalive
from devmesh.snapshot.proxy import Topology
from devmesh.snapshot.route import Retry
from devmesh.snapshot.snapshot import MeshSettings
from devmesh.traffic.retry import DEFAULT

INGRESS_LABEL = ("istio", "ingressgateway")
GATEWAY_TARGETS = {80: 8080, 443: 8443}
"""Where Istio's own gateways listen for the ports that everybody means; their Services show the host's."""

LOCALITY = LocalityLoadBalancerSetting(enabled=True)
"""Istio's default: with outlier detection, who is near is asked first."""


@dataclass(frozen=True, slots=True)
class LocalPorts:
    """Where the ingress gateway listens on 127.0.0.1. `other` maps ports such as 31400 that got another
    number there, since theirs was taken."""

    http: int = 8080
    https: int = 8443
    other: tuple[tuple[int, int], ...] = ()

    def of(self, target: int) -> int:
        """Return the host's port for a port inside the gateway's namespace."""
        if target == 8080:
            return self.http
        return self.https if target == 8443 else dict(self.other).get(target, target)


@dataclass(frozen=True, slots=True)
class Settings:
    """MeshConfig in force. Times are seconds."""

    mesh: MeshSettings = field(default_factory=MeshSettings)
    allow_any: bool = True
    by_name: bool = False  # ALLOW_ANY_DYNAMIC_DNS
    auto_mtls: bool = True
    connect_timeout: float = 10.0
    h2_upgrade: bool = False
    retry: Retry | None = DEFAULT
    locality: LocalityLoadBalancerSetting | None = LOCALITY
    keepalive: Keepalive | None = None
    pool: ConnectionPoolSettings | None = None  # where no rule has one
    outlier: OutlierDetection | None = None  # likewise
    topology: Topology = field(default_factory=Topology)
    ingress_class: str = "istio"
    ingress_selector: str = "ingressgateway"
    ingress_mode: str = "STRICT"  # which Ingresses without a class are served: none; DEFAULT: all
    service_export_to: tuple[str, ...] = ("*",)
    virtual_service_export_to: tuple[str, ...] = ("*",)
    destination_rule_export_to: tuple[str, ...] = ("*",)

    @property
    def domain(self) -> str:
        return self.mesh.domain

    @property
    def root(self) -> str:
        return self.mesh.root_namespace
