"""Which of an EnvoyFilter's patches are rate limits, and what is to be said of the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from devmesh.config.documents.envoyfilter import (
    EnvoyConfigObjectMatch,
    EnvoyConfigObjectPatch,
    EnvoyFilterSpec,
    ListenerMatch,
    RouteConfigurationMatch,
)
from devmesh.pilot.envoy_filters.fields import Fields, Misread, unpacked
from devmesh.pilot.envoy_filters.limits import GLOBAL, LOCAL, global_limit, local_limit
from devmesh.pilot.envoy_filters.rules import rules
from devmesh.pilot.resources import Loaded
from devmesh.snapshot.rate_limits import GlobalLimit, LocalLimit, RouteLimits, Rule

LOCAL_FILTER, GLOBAL_FILTER = "envoy.filters.http.local_ratelimit", "envoy.filters.http.ratelimit"
_ROUTER = "envoy.filters.http.router"
_MANAGER = "envoy.filters.network.http_connection_manager"
_INSERTS = ("INSERT_BEFORE", "INSERT_FIRST", "INSERT_AFTER")
_ROUTES = ("ROUTE_CONFIGURATION", "VIRTUAL_HOST", "HTTP_ROUTE")

Complaint = tuple[str, str]
"""A path below ``spec``, and what is to be said of it."""


@dataclass(frozen=True, slots=True)
class FilterPatch:
    """A filter that is put into the listeners of a context; `port` 0 is any."""

    context: str
    limit: LocalLimit | GlobalLimit
    port: int = 0


@dataclass(frozen=True, slots=True)
class RoutePatch:
    """What routes get. Empty names are any; `level` is Istio's word for what the patch is merged into."""

    context: str
    level: str
    limits: RouteLimits
    table: str = ""
    port: int = 0
    virtual_host: str = ""
    domain: str = ""
    route: str = ""
    action: str = "ANY"


@dataclass(frozen=True, slots=True, eq=False)
class Patches:
    """What was recognised in one EnvoyFilter. `clusters` are names of rate-limit services' clusters, each
    with the cluster of the mesh that they stand for."""

    loaded: Loaded[EnvoyFilterSpec]
    filters: tuple[FilterPatch, ...] = ()
    routes: tuple[RoutePatch, ...] = ()
    clusters: Mapping[str, str] = field(default_factory=dict)
    complaints: tuple[Complaint, ...] = ()


def read(loaded: Loaded[EnvoyFilterSpec]) -> Patches:
    """Read all patches; what isn't recognised is complained of."""
    reader = _Reader(loaded)
    spec = loaded.spec
    if spec.target_refs:
        reader.complain("targetRefs", "has no effect in devmesh: use workloadSelector")
    for index, patch in enumerate(spec.config_patches):
        where = f"configPatches[{index}]"
        try:
            reader.patch(patch, where)
        except Misread as error:
            reader.complain(error.path, f"has no effect: {error}")
    return Patches(
        loaded, tuple(reader.filters), tuple(reader.routes), reader.clusters, tuple(reader.complaints)
    )


class _Reader:
    def __init__(self, loaded: Loaded[EnvoyFilterSpec]) -> None:
        self._loaded = loaded
        self.filters: list[FilterPatch] = []
        self.routes: list[RoutePatch] = []
        self.clusters: dict[str, str] = {}
        self.complaints: list[Complaint] = []

    def complain(self, path: str, message: str) -> None:
        self.complaints.append((path, message))

    def patch(self, patch: EnvoyConfigObjectPatch, where: str) -> None:
        """Read one patch.

        Raises:
            Misread: It means a rate limit, but has a value that can't be used.
        """
        if patch.patch is None or patch.apply_to is None:
            return
        value = Fields(patch.patch.value, f"{where}.patch.value", self.complain)
        match = patch.match or EnvoyConfigObjectMatch()
        for context in self._contexts(match, where):
            operation = patch.patch.operation or "MERGE"
            if patch.apply_to == "HTTP_FILTER":
                self._filter(match, value, operation, context, where)
            elif patch.apply_to in _ROUTES and operation == "MERGE":
                self._route(patch.apply_to, match, value, context, where)
            elif patch.apply_to == "CLUSTER" and operation == "ADD":
                self._cluster(value, where)
            else:
                what = f"{operation} of a {patch.apply_to}"
                self.complain(where, f"has no effect in devmesh: {what} is no part of a rate limit")
            return

    def _contexts(self, match: EnvoyConfigObjectMatch, where: str) -> Iterator[str]:
        if match.proxy is not None:
            self.complain(f"{where}.match.proxy", "has no effect in devmesh: all proxies are of one version")
        context = match.context or "ANY"
        if context in ("ANY", "SIDECAR_INBOUND", "GATEWAY"):
            yield context
            return
        self.complain(
            f"{where}.match.context",
            f"{context} has no effect in devmesh: rates are limited where requests arrive, that is at "
            "SIDECAR_INBOUND and at GATEWAY",
        )

    def _filter(
        self, match: EnvoyConfigObjectMatch, value: Fields, operation: str, context: str, where: str
    ) -> None:
        name = value.text("name")
        config = value.message("typed_config")
        type_url, content = unpacked(config) if config is not None else ("", None)
        value.end()
        if operation not in _INSERTS or content is None or type_url not in (LOCAL, GLOBAL):
            self.complain(
                where,
                f"has no effect in devmesh: {operation} of the HTTP filter {name or type_url!r} is not "
                f"carried out; the filters it has are {LOCAL_FILTER} and {GLOBAL_FILTER}",
            )
            return
        listener = match.listener or ListenerMatch()
        chain = listener.filter_chain
        if chain is not None and chain.filter is not None and chain.filter.name not in ("", _MANAGER):
            self.complain(f"{where}.match.listener", "matches nothing: it means another filter than HTTP's")
            return
        first = _comes_first(listener, operation)
        origin = self._loaded.origin(f"spec.{where}")
        read = local_limit if type_url == LOCAL else global_limit
        made: LocalLimit | GlobalLimit = read(content, origin, first=first)
        port = listener.port_number or (chain.destination_port if chain is not None else 0)
        self.filters.append(FilterPatch(context, made, port))

    def _route(
        self, level: str, match: EnvoyConfigObjectMatch, value: Fields, context: str, where: str
    ) -> None:
        found: tuple[Rule, ...] = ()
        if level == "HTTP_ROUTE":
            if (inner := value.message("route")) is not None:
                found = rules(inner)
                inner.end("only rate_limits of a route are merged")
        else:
            found = rules(value)
        local = self._override(value, where)
        value.end("only rate limits of a route are merged")
        if not found and local is None:
            return
        configuration = match.route_configuration or RouteConfigurationMatch()
        host = configuration.vhost
        route = host.route if host is not None else None
        if configuration.gateway:
            self.complain(f"{where}.match.routeConfiguration.gateway", "has no effect in devmesh")
        self.routes.append(
            RoutePatch(
                context,
                level,
                RouteLimits(found, local),
                table=configuration.name,
                port=configuration.port_number,
                virtual_host=host.name if host is not None else "",
                domain=host.domain_name if host is not None else "",
                route=route.name if route is not None else "",
                action=(route.action if route is not None else None) or "ANY",
            )
        )

    def _override(self, value: Fields, where: str) -> LocalLimit | None:
        """Take a route's own local limit out of ``typed_per_filter_config``."""
        configs = value.message("typed_per_filter_config")
        if configs is None:
            return None
        made = None
        if (config := configs.message(LOCAL_FILTER)) is not None:
            type_url, content = unpacked(config)
            if type_url == LOCAL:
                made = local_limit(content, self._loaded.origin(f"spec.{where}"), first=False)
        configs.end("of filters' own settings only the local rate limit's are known")
        return made

    def _cluster(self, value: Fields, where: str) -> None:
        """Istio's older task adds a cluster for the service: it stands for the Service that it leads to."""
        name = value.text("name")
        endpoint = _endpoint(value)
        if endpoint is None:
            self.complain(where, "has no effect in devmesh: clusters are added for rate-limit services alone")
            return
        host, port = endpoint
        self.clusters[name] = f"outbound|{port}||{host}"


def _endpoint(cluster: Fields) -> tuple[str, int] | None:
    assignment = cluster.message("load_assignment")
    for locality in assignment.messages("endpoints") if assignment is not None else ():
        for each in locality.messages("lb_endpoints"):
            found: Fields | None = each
            for name in ("endpoint", "address", "socket_address"):
                found = found.message(name) if found is not None else None
            if found is not None:
                return found.text("address"), found.number("port_value")
    return None


def _comes_first(listener: ListenerMatch, operation: str) -> bool:
    """Tell whether a filter is before faults and CORS, or just before the router."""
    chain = listener.filter_chain
    inner = chain.filter.sub_filter if chain is not None and chain.filter is not None else None
    if operation == "INSERT_AFTER":
        return False
    return operation == "INSERT_FIRST" or inner is None or inner.name != _ROUTER
