"""ServiceEntry and WorkloadEntry: what is in the registry beside Kubernetes' Services."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import field

from devmesh.config.documents.message import Message
from devmesh.config.documents.meta import ObjectMeta
from devmesh.config.documents.scalars import UInt32
from devmesh.config.documents.selectors import IstioCondition, IstioStatus, WorkloadSelector


class ServicePort(Message, frozen=True, kw_only=True):
    """A port of a ServiceEntry."""

    number: UInt32 = 0
    protocol: str = ""
    name: str = ""
    target_port: UInt32 = 0


class WorkloadEntrySpec(Message, frozen=True, kw_only=True):
    """Address, ports, labels and identity of an endpoint."""

    address: str = ""
    ports: dict[str, UInt32] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    network: str = ""
    locality: str = ""
    weight: UInt32 = 0
    service_account: str = ""


class WorkloadEntry(Message, frozen=True, kw_only=True):
    """One endpoint that is not a pod."""

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: WorkloadEntrySpec = field(default_factory=WorkloadEntrySpec)
    status: IstioStatus | None = None


class ServiceEntrySpec(Message, frozen=True, kw_only=True):
    """Hosts, their ports, and where their endpoints are found."""

    hosts: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    ports: tuple[ServicePort, ...] = ()
    location: Literal["MESH_EXTERNAL", "MESH_INTERNAL"] | None = None
    resolution: Literal["NONE", "STATIC", "DNS", "DNS_ROUND_ROBIN", "DYNAMIC_DNS"] | None = None
    endpoints: tuple[WorkloadEntrySpec, ...] = ()
    workload_selector: WorkloadSelector | None = None
    export_to: tuple[str, ...] = ()
    subject_alt_names: tuple[str, ...] = ()


class ServiceEntry(Message, frozen=True, kw_only=True):
    """Hosts that are not Services of Kubernetes."""

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: ServiceEntrySpec = field(default_factory=ServiceEntrySpec)
    status: ServiceEntryStatus | None = None


class ServiceEntryAddress(Message, frozen=True, kw_only=True):
    """The virtual address of one host."""

    value: str = ""
    host: str = ""


class ServiceEntryStatus(Message, frozen=True, kw_only=True):
    """What is observed; `addresses` are the virtual ones that devmesh gave out."""

    conditions: tuple[IstioCondition, ...] = ()
    validation_messages: tuple[dict[str, Any], ...] = ()
    observed_generation: int = 0
    addresses: tuple[ServiceEntryAddress, ...] = ()
