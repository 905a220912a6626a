"""EnvoyFilters in force: which proxies have which rate limits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from devmesh.config import kinds
from devmesh.config.documents.envoyfilter import EnvoyFilterSpec
from devmesh.config.store import Store, Stored
from devmesh.model.port import Protocol
from devmesh.model.workload import Instance
from devmesh.pilot.envoy_filters import patches
from devmesh.pilot.envoy_filters.patches import Patches, RoutePatch
from devmesh.pilot.envoy_filters.quotas import quotas_in
from devmesh.pilot.memo import Memo
from devmesh.pilot.problems import Problems
from devmesh.pilot.registry import Entry, Registry
from devmesh.pilot.resources import Loaded
from devmesh.pilot.visibility import selects
from devmesh.snapshot.proxy import GatewayListener, Inbound, InboundPort
from devmesh.snapshot.rate_limits import GlobalLimit, Limiting, LocalLimit, Quota, RouteLimits, Rule
from devmesh.snapshot.route import Route, RouteTable, VirtualHost

UNKNOWN, OWN, UNREACHABLE = "DM0304", "DM0330", "DM0331"
EMBEDDED = "devmesh.dev/rate-limits"
"""An annotation of a Service: with the value ``embedded`` devmesh answers in its place."""


class EnvoyFilters:
    """All EnvoyFilters of a mesh.

    Istio: those of the root namespace are for all workloads and come first, then those of the workload's
    own namespace; in each by priority, then the oldest first. Labels select among the workloads.
    """

    def __init__(
        self,
        loaded: Sequence[Loaded[EnvoyFilterSpec]],
        registry: Registry,
        store: Store,
        root: str,
        memo: Memo,
        problems: Problems,
    ) -> None:
        self._registry, self._store, self._root = registry, store, root
        self._memo, self._problems = memo, problems
        ordered = sorted(loaded, key=lambda each: (each.spec.priority, each.order))
        self._all = [self._read(each) for each in ordered]
        self._clusters = {name: to for each in self._all for name, to in each.clusters.items()}
        self._services: dict[tuple[str, str], Quota | None] = {}
        self._found: dict[tuple[object, ...], Sequence[Patches]] = {}

    def _read(self, loaded: Loaded[EnvoyFilterSpec]) -> Patches:
        found = Patches(loaded)
        with self._problems.contained(loaded.stored):
            found = self._memo.get(("envoy filter", loaded.stored.key), (loaded,), patches.read, loaded)
        for path, message in found.complaints:
            self._problems.add(UNKNOWN, "warning", loaded.stored, f"spec.{path}", message)
        return found

    def of(self, instance: Instance) -> Sequence[Patches]:
        """Return what is in force for an instance."""
        key = (instance.namespace, *sorted(instance.labels.items()))
        if key not in self._found:
            self._found[key] = [*self._selected(instance, self._root)]
            if instance.namespace != self._root:
                self._found[key] = [*self._found[key], *self._selected(instance, instance.namespace)]
        return self._found[key]

    def _selected(self, instance: Instance, namespace: str) -> Iterator[Patches]:
        for each in self._all:
            selector = each.loaded.spec.workload_selector
            if each.loaded.namespace == namespace and selects(
                selector.labels if selector is not None else {}, instance.labels
            ):
                yield each

    # -- workloads --

    def inbound(self, instance: Instance, inbound: Inbound) -> Inbound:
        """Return the inbound side of an instance with its rate limits."""
        found = self.of(instance)
        if not found:
            return inbound
        ports = {number: self._port(found, port) for number, port in inbound.ports.items()}
        if ports == inbound.ports:
            return inbound
        return self._memo.same(("limited inbound", instance.id), replace(inbound, ports=ports))

    def _port(self, found: Sequence[Patches], port: InboundPort) -> InboundPort:
        if not (port.protocol.is_http or port.protocol is Protocol.AUTO):
            return port
        limiting = self._limiting(found, "SIDECAR_INBOUND", (port.port, 15006))
        if limiting is None:
            return port
        name = f"inbound|http|{port.port}"
        added = [
            patch
            for patch in self._routes(found, "SIDECAR_INBOUND")
            if patch.virtual_host in ("", name)
            and patch.route in ("", "default")
            and patch.action in ("ANY", "ROUTE")
            and patch.port in (0, port.port)
            and patch.table in ("", f"inbound|{port.port}||")
        ]
        return replace(port, limiting=replace(limiting, otherwise=_merged(added)))

    # -- gateways --

    def gateway(
        self, instance: Instance, listeners: tuple[GatewayListener, ...]
    ) -> tuple[GatewayListener, ...]:
        """Return the listeners of a gateway with its rate limits."""
        found = self.of(instance)
        if not found:
            return listeners
        made = tuple(self._listener(instance, found, listener) for listener in listeners)
        return listeners if made == listeners else self._memo.same(("limited gateway", instance.id), made)

    def _listener(
        self, instance: Instance, found: Sequence[Patches], listener: GatewayListener
    ) -> GatewayListener:
        limiting = self._limiting(found, "GATEWAY", (listener.port, listener.target_port))
        if limiting is None or not (listener.routes or any(tls.routes for tls in listener.tls)):
            return listener
        added = [*self._routes(found, "GATEWAY")]

        def limited(table: RouteTable | None) -> RouteTable | None:
            if table is None or not added:
                return table
            parts = (table, *(each.loaded for each in found))
            key = ("limited table", instance.id, listener.target_port, table.name)
            return self._memo.get(key, parts, _limited, table, added, listener)

        tls = tuple(replace(each, routes=limited(each.routes)) for each in listener.tls)
        return replace(listener, routes=limited(listener.routes), tls=tls, limiting=limiting)

    # --

    def _limiting(self, found: Sequence[Patches], context: str, ports: tuple[int, ...]) -> Limiting | None:
        local: list[LocalLimit] = []
        shared: list[GlobalLimit] = []
        for each in found:
            for patch in each.filters:
                if patch.context not in ("ANY", context) or patch.port not in (0, *ports):
                    continue
                if isinstance(patch.limit, LocalLimit):
                    local.append(patch.limit)
                else:
                    shared.append(self._served(patch.limit, each))
        return Limiting(tuple(local), tuple(shared)) if local or shared else None

    def _routes(self, found: Sequence[Patches], context: str) -> Iterator[RoutePatch]:
        for each in found:
            yield from (patch for patch in each.routes if patch.context in ("ANY", context))

    def _served(self, limit: GlobalLimit, owner: Patches) -> GlobalLimit:
        """Return a global limit with the service that is asked, or devmesh's own quota in its place."""
        name = self._clusters.get(limit.cluster, limit.cluster)
        entry = self._service(name)
        stored, path = owner.loaded.stored, limit.origin.path if limit.origin is not None else ""
        if entry is not None and not self._is_embedded(entry):
            return replace(limit, cluster=name)
        quota = self._quota(limit.domain, name)
        said = f"the rate-limit service {name!r} is " + ("devmesh's own" if entry else "not there")
        if quota is None:
            self._problems.add(
                UNREACHABLE,
                "warning",
                stored,
                path,
                f"{said}, and no ConfigMap has the domain {limit.domain!r}: requests "
                + (f"get {limit.error_status}" if limit.denies else "are not limited"),
            )
        else:
            self._problems.add(
                OWN, "info", stored, path, f"{said}: devmesh itself keeps the limits of {quota.origin}"
            )
        return replace(limit, cluster=name, quota=quota)

    def _service(self, cluster: str) -> Entry | None:
        parts = cluster.split("|")
        return self._registry.find(parts[3]) if len(parts) == 4 else None

    def _is_embedded(self, entry: Entry) -> bool:
        namespace, name = entry.service.namespace, entry.host.partition(".")[0]
        stored = self._store.get(kinds.SERVICE, namespace, name)
        return stored is not None and _annotations(stored.raw).get(EMBEDDED) == "embedded"

    def _quota(self, domain: str, cluster: str) -> Quota | None:
        """Find the quota of a domain: in the service's own namespace, else anywhere."""
        host = cluster.rpartition("|")[2].split(".")
        namespace = host[1] if len(host) > 1 else ""
        key = (domain, namespace)
        if key not in self._services:
            maps = sorted(self._store.list(kinds.CONFIG_MAP), key=lambda each: each.namespace != namespace)
            self._services[key] = None
            for stored in maps:
                for found in self._memo.get(("quotas", stored.key), (stored,), _all_quotas, stored):
                    if isinstance(found, str):
                        path, _, message = found.partition(": ")
                        self._problems.add(UNKNOWN, "warning", stored, path, message)
                    elif found.domain == domain and self._services[key] is None:
                        self._services[key] = found
        return self._services[key]


def _all_quotas(stored: Stored) -> tuple[Quota | str, ...]:
    return tuple(quotas_in(stored))


def _annotations(raw: Mapping[str, object]) -> Mapping[str, object]:
    metadata = raw.get("metadata")
    found = metadata.get("annotations") if isinstance(metadata, dict) else None
    return found if isinstance(found, dict) else {}


def _merged(added: Sequence[RoutePatch]) -> RouteLimits:
    """Envoy: a route's own rules come in place of its virtual host's; a setting of a narrower level in place
    of a wider one's. Patches of one level add up, and the last setting counts."""
    rules: tuple[Rule, ...] = ()
    local = None
    for level in ("ROUTE_CONFIGURATION", "VIRTUAL_HOST", "HTTP_ROUTE"):
        of_level = [patch.limits for patch in added if patch.level == level]
        if own := tuple(rule for limits in of_level for rule in limits.rules):
            rules = own
        for limits in of_level:
            local = limits.local or local
    return RouteLimits(rules, local)


def _limited(table: RouteTable, added: Sequence[RoutePatch], listener: GatewayListener) -> RouteTable:
    """Return a gateway's table whose routes have their limits."""
    hosts = []
    for host in table.virtual_hosts:
        wanted = [patch for patch in added if _is_of(patch, table, host, listener)]
        hosts.append(replace(host, routes=tuple(_with_limits(route, wanted) for route in host.routes)))
    return RouteTable.of(table.name, tuple(hosts))


def _is_of(patch: RoutePatch, table: RouteTable, host: VirtualHost, listener: GatewayListener) -> bool:
    """Istio: a gateway's virtual hosts are named after the host and the server's port."""
    names = {host.name}
    for domain in host.domains:
        names |= {f"{domain}:{listener.port}", f"{domain}:{listener.target_port}"}
    return (
        patch.virtual_host in ("", *names)
        and patch.domain in ("", *host.domains)
        and patch.port in (0, listener.port, listener.target_port)
        and patch.table in ("", table.name, f"http.{listener.port}")
    )


def _with_limits(route: Route, wanted: Sequence[RoutePatch]) -> Route:
    kind = "REDIRECT" if route.redirect else "DIRECT_RESPONSE" if route.direct else "ROUTE"
    found = [
        patch
        for patch in wanted
        if patch.level != "HTTP_ROUTE" or (patch.route in ("", route.name) and patch.action in ("ANY", kind))
    ]
    if not found:
        return route
    limits = _merged(found)
    if limits.local is not None:  # each route has buckets of its own
        limits = replace(limits, local=replace(limits.local, place=f"{route.name} {route.origin}"))
    return replace(route, limits=limits)
