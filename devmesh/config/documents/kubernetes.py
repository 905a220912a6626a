"""Kubernetes' own kinds, gathered from the modules that define them."""

from devmesh.config.documents.apps import (
    ControllerRevision,
    DaemonSet,
    Deployment,
    PodTemplateSpec,
    ReplicaSet,
    StatefulSet,
)
from devmesh.config.documents.claims import PersistentVolumeClaim
from devmesh.config.documents.configuration import ConfigMap, Secret, ServiceAccount
from devmesh.config.documents.containers import Container
from devmesh.config.documents.endpoints import Endpoints
from devmesh.config.documents.endpointslices import EndpointSlice
from devmesh.config.documents.events import Event
from devmesh.config.documents.jobs import Job
from devmesh.config.documents.namespaces import Namespace
from devmesh.config.documents.nodes import Node
from devmesh.config.documents.pods import Pod, PodSpec
from devmesh.config.documents.services import Service

__all__ = [
    "ConfigMap",
    "Container",
    "ControllerRevision",
    "DaemonSet",
    "Deployment",
    "EndpointSlice",
    "Endpoints",
    "Event",
    "Job",
    "Namespace",
    "Node",
    "PersistentVolumeClaim",
    "Pod",
    "PodSpec",
    "PodTemplateSpec",
    "ReplicaSet",
    "Secret",
    "Service",
    "ServiceAccount",
    "StatefulSet",
]
