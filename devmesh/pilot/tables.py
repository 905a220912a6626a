"""Route tables of sidecars: a virtual host for each service of a port, with Istio's domains."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence, Set

from devmesh.model.host import matches
from devmesh.model.port import Port, Protocol
from devmesh.pilot import clusters
from devmesh.pilot.memo import Memo
from devmesh.pilot.problems import Problems
from devmesh.pilot.registry import Entry
from devmesh.pilot.routes import Compiling, Place, default_route, routes_of
from devmesh.pilot.virtual_services import VirtualService, VirtualServices
from devmesh.pilot.visibility import View
from devmesh.snapshot.route import DirectResponse, Route, RouteTable, VirtualHost, Weighted


@functools.lru_cache(maxsize=256)
def allow_any(cluster: str) -> VirtualHost:
    """Return what takes the requests whose host nobody knows, under ALLOW_ANY; always the same object."""
    return VirtualHost("allow_any", ("*",), (Route("allow_any", destinations=(Weighted(cluster),)),))


BY_NAME = VirtualHost(
    "allow_any_dynamic_dns",
    ("*",),
    (Route("allow_any_dynamic_dns", destinations=(Weighted(clusters.BY_NAME.name),)),),
)
"""Takes them under ALLOW_ANY_DYNAMIC_DNS."""
BLOCK_ALL = VirtualHost("block_all", ("*",), (Route("block_all", direct=DirectResponse(502)),))
"""Takes them under REGISTRY_ONLY."""


class Tables:
    """Compiles the tables of one view."""

    def __init__(
        self,
        view: View,
        entries: Mapping[str, Entry],
        virtual_services: VirtualServices,
        compiling: Compiling,
        memo: Memo,
        problems: Problems,
    ) -> None:
        self._view = view
        self._entries = entries
        self._virtual_services = virtual_services
        self._compiling = compiling
        self._memo = memo
        self._problems = problems
        self._default = allow_any(view.unknown) if view.allow_any else BLOCK_ALL
        if view.by_name:
            self._default = BY_NAME
        self._aliases: dict[str, list[str]] = {}
        for entry in entries.values():
            if entry.alias_of:
                self._aliases.setdefault(entry.alias_of, []).append(entry.host)

    def of_port(self, number: int, entries: Sequence[Entry]) -> RouteTable:
        """Return the table of Istio's listener 0.0.0.0_PORT: all HTTP services on that port."""
        # Of equal names a full one wins over a short one: those with short ones come last.
        ordered = sorted(entries, key=lambda entry: entry.kubernetes)
        hosts = [self.virtual_host(entry, number) for entry in ordered]
        hosts.extend(self._without_service(number, {entry.host for entry in entries}))
        hosts.append(self._default)
        key = ("table", self._view, number)
        return self._memo.get(key, tuple(hosts), RouteTable.of, str(number), tuple(hosts))

    def of_service(self, entry: Entry, number: int) -> RouteTable:
        """Return the table of a service's own address, where what is spoken was sniffed: whatever the
        Host header says, it is that service (Istio)."""
        host = self.virtual_host(entry, number)
        key = ("sniffed table", self._view, host.name)
        return self._memo.get(key, (host,), RouteTable, host.name, {}, (), host)

    def virtual_host(self, entry: Entry, number: int) -> VirtualHost:
        """Return a service's virtual host on one of its ports."""
        view = self._view
        vs = self._virtual_services.owner(entry.host, view)
        aliases = tuple(self._aliases.get(entry.host, ()))
        own = entry.service.namespace == view.namespace
        key = ("virtual host", entry.host, entry.service.namespace, number, own, aliases, *_caller(vs, view))
        settings = self._compiling.settings
        registry = self._compiling.registry.shape if vs else None
        parts = (entry.service, vs, registry, settings)
        return self._memo.get(key, parts, self._build, entry, number, vs, aliases)

    def _build(
        self, entry: Entry, number: int, vs: VirtualService | None, aliases: Sequence[str]
    ) -> VirtualHost:
        routes: tuple[Route, ...] = ()
        if vs is not None:
            with self._problems.contained(vs.loaded.stored):
                routes = routes_of(vs, Place(number, self._view), self._compiling)
        # Istio: a VirtualService that has no route for this port or caller leaves the service as it was.
        routes = routes or (default_route(entry, number, self._compiling.settings),)
        domain = self._compiling.settings.domain
        names = list(domains(entry, self._view.namespace, domain))
        for alias in aliases:
            names.extend(_names(alias, self._view.namespace, domain))
        return VirtualHost(
            f"{entry.host}:{number}",
            tuple(dict.fromkeys((*names, *(_on_port(name, number) for name in names)))),
            routes,
        )

    def _without_service(self, number: int, served: Set[str]) -> Iterator[VirtualHost]:
        """Yield the virtual hosts of VirtualServices' hosts that are no service of this port.

        Istio: they are on port 80, and on those ports where another host of the same VirtualService is
        a service.
        """
        view = self._view
        for host, vs in self._virtual_services.mesh_hosts(view, several=number != 80):
            if _covers(host, served):
                continue
            if number != 80 and not any(_covers(other, served) for other in vs.hosts):
                continue
            key = ("virtual host without service", host, number, *_caller(vs, view))
            parts = (vs, self._compiling.registry.shape, self._compiling.settings)
            made = self._memo.get(key, parts, self._build_without_service, host, number, vs)
            if made.routes:
                yield made

    def _build_without_service(self, host: str, number: int, vs: VirtualService) -> VirtualHost:
        routes: tuple[Route, ...] = ()
        with self._problems.contained(vs.loaded.stored):
            routes = routes_of(vs, Place(number, self._view), self._compiling)
        return VirtualHost(f"{host}:{number}", (host,), routes)


def _covers(pattern: str, hosts: Set[str]) -> bool:
    if pattern.startswith("*"):
        return any(matches(pattern, host) for host in hosts)
    return pattern in hosts


def _caller(vs: VirtualService | None, view: View) -> tuple[object, ...]:
    """Return that of a view which makes a difference to a VirtualService's routes."""
    if vs is None:
        return (None,)
    namespace = view.namespace if vs.by_namespace else ""
    return (vs.loaded.stored.key, vs.sources & view.matched, namespace)


def speaks_http(port: Port) -> bool:
    """Tell whether requests may come on a port."""
    return port.protocol.is_http or port.protocol is Protocol.AUTO


def domains(entry: Entry, namespace: str, domain: str) -> Iterator[str]:
    """Yield the names by which callers of a namespace know a service.

    Istio: ``reviews`` in its own namespace, ``reviews.ns``, ``reviews.ns.svc``, the full name (with a
    dot at its end, too), the virtual addresses; for a headless Service also what lies below each name
    (its pods).
    """
    names = [*_names(entry.host, namespace, domain), f"{entry.host}."]
    yield from names
    if entry.headless:
        yield from (f"*.{name}" for name in names)
    yield from (f"[{address}]" if ":" in address else address for address in entry.service.addresses)


def _names(host: str, namespace: str, domain: str) -> Iterator[str]:
    yield host
    short, _, rest = host.partition(".")
    owner, _, suffix = rest.partition(".")
    if suffix == f"svc.{domain}":
        if owner == namespace:
            yield short
        yield f"{short}.{owner}"
        yield f"{short}.{owner}.svc"


def _on_port(name: str, number: int) -> str:
    return f"{name}:{number}"
