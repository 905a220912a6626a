"""What stands before a gateway: MeshConfig's defaultConfig, and the pod's annotation over it."""

from __future__ import annotations

from dataclasses import replace

import yaml

from devmesh.config import kinds
from devmesh.config.decode import check
from devmesh.config.meshconfig import ProxyConfig
from devmesh.config.store import Store
from devmesh.config.typed import convert
from devmesh.model.workload import Instance
from devmesh.pilot.problems import Problems
from devmesh.snapshot.proxy import Topology

ANNOTATION = "proxy.istio.io/config"
_NOTHING = Topology()


def topology(config: ProxyConfig | None, base: Topology = _NOTHING) -> Topology:
    """Return `base` with what a ProxyConfig's gatewayTopology says."""
    found = config.gateway_topology if config else None
    if found is None:
        return base
    details = found.forward_client_cert_details
    return replace(
        base,
        trusted_hops=found.num_trusted_proxies or base.trusted_hops,
        client_cert=base.client_cert if details in (None, "UNDEFINED") else details,
        proxy_protocol=base.proxy_protocol or found.proxy_protocol is not None,
    )


def topology_of(instance: Instance, default: Topology, store: Store, problems: Problems) -> Topology:
    """Return what stands before one gateway; the mesh's where its pod says nothing, or nonsense."""
    if not instance.proxy_config:
        return default
    try:
        values = yaml.safe_load(instance.proxy_config) or {}
        clean, causes = check(values, ProxyConfig, snake_case=True)
        if not causes:
            return topology(convert(clean, ProxyConfig), default)
        why = "; ".join(f"{cause.path}: {cause.message}" for cause in causes)
    except (yaml.YAMLError, ValueError, TypeError) as error:
        why = " ".join(str(error).split())
    pod = store.get(kinds.POD, instance.namespace, instance.pod)
    if pod is not None:
        message = f"it cannot be read ({why}); MeshConfig's defaultConfig is in force"
        problems.add("DM0302", "error", pod, f"metadata.annotations.{ANNOTATION}", message)
    return default
