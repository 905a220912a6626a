"""EndpointSlice (discovery.k8s.io/v1)."""

from __future__ import annotations

from msgspec import field

from devmesh.config.documents.message import Message
from devmesh.config.documents.meta import ObjectMeta, ObjectReference


class EndpointConditions(Message, frozen=True, kw_only=True):
    """Whether a backend is ready, serving, terminating."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class ForNode(Message, frozen=True, kw_only=True):
    """A node that should use a backend."""

    name: str


class ForZone(Message, frozen=True, kw_only=True):
    """A zone that should use a backend."""

    name: str


class EndpointHints(Message, frozen=True, kw_only=True):
    """Which zones and nodes should use a backend."""

    for_nodes: tuple[ForNode, ...] = ()
    for_zones: tuple[ForZone, ...] = ()


class Endpoint(Message, frozen=True, kw_only=True):
    """One backend with its addresses and condition."""

    addresses: tuple[str, ...]
    conditions: EndpointConditions | None = None
    deprecated_topology: dict[str, str] = field(default_factory=dict)
    hints: EndpointHints | None = None
    hostname: str | None = None
    node_name: str | None = None
    target_ref: ObjectReference | None = None
    zone: str | None = None


class EndpointPort(Message, frozen=True, kw_only=True):
    """One port of these addresses."""

    app_protocol: str | None = None
    name: str | None = None
    port: int | None = None
    protocol: str | None = None


class EndpointSlice(Message, frozen=True, kw_only=True):
    """Some of the addresses behind a Service."""

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    address_type: str
    endpoints: tuple[Endpoint, ...] = ()
    ports: tuple[EndpointPort, ...] = ()
