"""The compiled mesh, whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from devmesh.model.service import Service
from devmesh.model.workload import Instance
from devmesh.snapshot.proxy import Proxy


class PathNormalization(Enum):
    """How far paths are made canonical, in Istio's words."""

    NONE = "NONE"
    BASE = "BASE"
    MERGE_SLASHES = "MERGE_SLASHES"
    DECODE_AND_MERGE_SLASHES = "DECODE_AND_MERGE_SLASHES"


@dataclass(frozen=True, slots=True)
class MeshSettings:
    """MeshConfig in force, as far as the lower layers read it."""

    trust_domain: str = "cluster.local"
    domain: str = "cluster.local"
    root_namespace: str = "istio-system"
    access_log: str = "/dev/stdout"  # "" is off
    access_log_json: bool = False
    access_log_format: str = ""
    sampling_percent: float = 100.0
    drain_duration: float = 45.0  # seconds from telling clients to go until the listeners close
    dns_refresh: float = 60.0  # seconds after which a name without a time to live is looked up again
    path_normalization: PathNormalization = PathNormalization.BASE
    sniff_timeout: float = 0.1  # seconds to wait for a client's first bytes on an AUTO port; 0: for ever


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything the data plane decides by. A request takes the current one once and keeps to it.

    Attributes:
        version: Grows by one with each publication.
        proxies: By instance id; instances without a proxy are not in it.
        instances: All instances, by id, meshed or not, ready or not.
        by_address: The instance that owns a pod address.
        services: By fully qualified host.
        names: What DNS answers: fully qualified host (or ``*.suffix``) to addresses, virtual ones
            or, for headless services, those of the ready instances. Empty: a name without address.
        aliases: What DNS answers with a CNAME: the host of an ExternalName Service to its external name.
        backends: What kube-proxy knows: (virtual address, port) to the ready (address, port)s behind it.
            For callers without a proxy, and for what a proxy passes through to such an address (a
            Service that a Sidecar hides, say).
        datagrams: The same for UDP, which no proxy takes over.
    """

    version: int = 0
    proxies: Mapping[str, Proxy] = field(default_factory=dict)
    instances: Mapping[str, Instance] = field(default_factory=dict)
    by_address: Mapping[str, str] = field(default_factory=dict)
    services: Mapping[str, Service] = field(default_factory=dict)
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    backends: Mapping[tuple[str, int], tuple[tuple[str, int], ...]] = field(default_factory=dict)
    mesh: MeshSettings = MeshSettings()
    aliases: Mapping[str, str] = field(default_factory=dict)
    datagrams: Mapping[tuple[str, int], tuple[tuple[str, int], ...]] = field(default_factory=dict)
