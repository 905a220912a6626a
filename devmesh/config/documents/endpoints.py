"""Endpoints, the older form of EndpointSlice (v1)."""

from __future__ import annotations

from msgspec import field

from devmesh.config.documents.message import Message
from devmesh.config.documents.meta import ObjectMeta, ObjectReference


class EndpointAddress(Message, frozen=True, kw_only=True):
    """One address behind a Service."""

    ip: str
    hostname: str | None = None
    node_name: str | None = None
    target_ref: ObjectReference | None = None


class EndpointPort(Message, frozen=True, kw_only=True):
    """One port of these addresses."""

    port: int
    app_protocol: str | None = None
    name: str | None = None
    protocol: str | None = None


class EndpointSubset(Message, frozen=True, kw_only=True):
    """Addresses that share ports."""

    addresses: tuple[EndpointAddress, ...] = ()
    not_ready_addresses: tuple[EndpointAddress, ...] = ()
    ports: tuple[EndpointPort, ...] = ()


class Endpoints(Message, frozen=True, kw_only=True):
    """The addresses behind a Service."""

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    subsets: tuple[EndpointSubset, ...] = ()
