"""networking.istio.io, gathered from the modules that define its kinds."""

from devmesh.config.documents.destinationrule import DestinationRule, TrafficPolicy
from devmesh.config.documents.gateway import Gateway
from devmesh.config.documents.serviceentry import ServiceEntry, WorkloadEntry
from devmesh.config.documents.sidecar import Sidecar
from devmesh.config.documents.virtualservice import HTTPRoute, VirtualService
from devmesh.config.documents.workloadgroup import WorkloadGroup

__all__ = [
    "DestinationRule",
    "Gateway",
    "HTTPRoute",
    "ServiceEntry",
    "Sidecar",
    "TrafficPolicy",
    "VirtualService",
    "WorkloadEntry",
    "WorkloadGroup",
]
