"""EnvoyFilter: patches of Envoy's own configuration."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import field

from devmesh.config.documents.message import Message
from devmesh.config.documents.meta import ObjectMeta
from devmesh.config.documents.scalars import UInt32
from devmesh.config.documents.selectors import IstioStatus, PolicyTargetReference, WorkloadSelector

ApplyTo = Literal[
    "INVALID",
    "LISTENER",
    "FILTER_CHAIN",
    "NETWORK_FILTER",
    "HTTP_FILTER",
    "ROUTE_CONFIGURATION",
    "VIRTUAL_HOST",
    "HTTP_ROUTE",
    "CLUSTER",
    "EXTENSION_CONFIG",
    "BOOTSTRAP",
    "LISTENER_FILTER",
]


class ProxyMatch(Message, frozen=True, kw_only=True):
    """Proxies by version and metadata."""

    proxy_version: str = ""
    metadata: dict[str, str] = field(default_factory=dict)


class NameMatch(Message, frozen=True, kw_only=True):
    """Something by its name."""

    name: str = ""


class FilterMatch(Message, frozen=True, kw_only=True):
    """A network filter, and a filter inside it."""

    name: str = ""
    sub_filter: NameMatch | None = None


class FilterChainMatch(Message, frozen=True, kw_only=True):
    """Filter chains of a listener."""

    name: str = ""
    sni: str = ""
    transport_protocol: str = ""
    application_protocols: str = ""
    filter: FilterMatch | None = None
    destination_port: UInt32 = 0


class ListenerMatch(Message, frozen=True, kw_only=True):
    """Listeners, and what is in them."""

    port_number: UInt32 = 0
    port_name: str = ""
    filter_chain: FilterChainMatch | None = None
    listener_filter: str = ""
    name: str = ""


class RouteMatch(Message, frozen=True, kw_only=True):
    """Routes by name and by what they do."""

    name: str = ""
    action: Literal["ANY", "ROUTE", "REDIRECT", "DIRECT_RESPONSE"] | None = None


class VirtualHostMatch(Message, frozen=True, kw_only=True):
    """Virtual hosts by name and domain."""

    name: str = ""
    domain_name: str = ""
    route: RouteMatch | None = None


class RouteConfigurationMatch(Message, frozen=True, kw_only=True):
    """Route tables, and what is in them."""

    port_number: UInt32 = 0
    port_name: str = ""
    gateway: str = ""
    vhost: VirtualHostMatch | None = None
    name: str = ""


class ClusterMatch(Message, frozen=True, kw_only=True):
    """Clusters by service, subset, port or name."""

    port_number: UInt32 = 0
    service: str = ""
    subset: str = ""
    name: str = ""


class WaypointFilter(Message, frozen=True, kw_only=True):
    """A filter of a waypoint."""

    name: str = ""
    sub_filter: NameMatch | None = None


class WaypointMatch(Message, frozen=True, kw_only=True):
    """What a patch means in a waypoint."""

    filter: WaypointFilter | None = None
    port_number: UInt32 = 0
    route: NameMatch | None = None


class EnvoyConfigObjectMatch(Message, frozen=True, kw_only=True):
    """Where a patch applies."""

    context: Literal["ANY", "SIDECAR_INBOUND", "SIDECAR_OUTBOUND", "GATEWAY", "WAYPOINT"] | None = None
    proxy: ProxyMatch | None = None
    listener: ListenerMatch | None = None
    route_configuration: RouteConfigurationMatch | None = None
    cluster: ClusterMatch | None = None
    waypoint: WaypointMatch | None = None


class Patch(Message, frozen=True, kw_only=True):
    """What is done, with a part of Envoy's configuration."""

    operation: (
        Literal[
            "INVALID", "MERGE", "ADD", "REMOVE", "INSERT_BEFORE", "INSERT_AFTER", "INSERT_FIRST", "REPLACE"
        ]
        | None
    ) = None
    value: dict[str, Any] = field(default_factory=dict)
    filter_class: Literal["UNSPECIFIED", "AUTHN", "AUTHZ", "STATS"] | None = None


class EnvoyConfigObjectPatch(Message, frozen=True, kw_only=True):
    """One patch."""

    apply_to: ApplyTo | None = None
    match: EnvoyConfigObjectMatch | None = None
    patch: Patch | None = None


class EnvoyFilterSpec(Message, frozen=True, kw_only=True):
    """The patches, and whose proxies they are for."""

    workload_selector: WorkloadSelector | None = None
    target_refs: tuple[PolicyTargetReference, ...] = ()
    config_patches: tuple[EnvoyConfigObjectPatch, ...] = ()
    priority: int = 0


class EnvoyFilter(Message, frozen=True, kw_only=True):
    """Patches of the proxies' configuration; devmesh carries out those that limit rates."""

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: EnvoyFilterSpec = field(default_factory=EnvoyFilterSpec)
    status: IstioStatus | None = None
