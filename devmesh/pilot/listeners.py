"""What sidecars do with the connections that their applications open."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_network

from devmesh.model.port import Port, Protocol
from devmesh.pilot import clusters
from devmesh.pilot.credentials import CONFIG_MAP_SCHEME, Credentials
from devmesh.pilot.destination_rules import DestinationRules, Rule
from devmesh.pilot.memo import Memo
from devmesh.pilot.problems import Problems
from devmesh.pilot.registry import Entry
from devmesh.pilot.routes import Compiling, Place
from devmesh.pilot.tables import Tables
from devmesh.pilot.tcp_routes import default_tcp_route, tcp_routes, tls_routes
from devmesh.pilot.virtual_services import VirtualServices
from devmesh.pilot.visibility import View
from devmesh.snapshot.cluster import Cluster
from devmesh.snapshot.proxy import Network, Outbound, Target, TcpRoute
from devmesh.snapshot.route import Weighted

_TLS = (Protocol.TLS, Protocol.HTTPS)
_TO_BLACK_HOLE = TcpRoute((Weighted(clusters.BLACK_HOLE.name),))


@functools.lru_cache(maxsize=256)
def _to(cluster: str) -> TcpRoute:
    return TcpRoute((Weighted(cluster),))


_Listen = tuple[
    dict[tuple[str, int], Target], dict[int, Target], dict[int, tuple[tuple[Network, Target], ...]]
]


def _smallest_first(found: list[tuple[Network, Target]]) -> tuple[tuple[Network, Target], ...]:
    """Envoy: of the networks that an address is in, the longest prefix wins; of equal ones the first."""
    return tuple(sorted(found, key=lambda pair: -pair[0].prefixlen))


@dataclass(slots=True)
class _OnPort:
    """What shares one port on all addresses (Istio's listener 0.0.0.0_PORT)."""

    http: list[Entry] = field(default_factory=list)
    sniffed: bool = False
    tls: list[TcpRoute] = field(default_factory=list)
    tcp: list[TcpRoute] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Listeners:
    """Compiles the outbound side of one view."""

    view: View
    entries: Mapping[str, Entry]
    virtual_services: VirtualServices
    rules: DestinationRules
    compiling: Compiling
    memo: Memo
    problems: Problems
    credentials: Credentials

    def outbound(self) -> Outbound:
        """Return the view's Outbound: the one of before, where nothing in it has changed."""
        view, memo = self.view, self.memo
        registry, settings = self.compiling.registry, self.compiling.settings
        pods = (e for e in self.entries.values() if e.headless)
        parts = (registry.shape, self.virtual_services.token, settings, *pods)
        listen = memo.get(("listen", view), parts, self._listen)
        seen = memo.token(("seen", view), tuple(self.entries.values()))
        made_of = (seen, self.rules.token, settings, self._secrets())
        found = memo.get(("clusters", view), made_of, self._clusters)
        by_address, by_port, by_range = listen
        return memo.get(
            ("outbound", view),
            (listen, found),
            Outbound,
            by_address,
            by_port,
            found,
            view.allow_any,
            view.unknown if view.allow_any else clusters.BLACK_HOLE.name,
            by_range,
        )

    def _secrets(self) -> object:
        """Return what changes when a Secret does that a rule may name."""
        return self.credentials.token(self.memo) if self.rules.credentials else None

    def _clusters(self) -> dict[str, Cluster]:
        settings = self.compiling.settings
        plain = clusters.Client(self.view.router, self.view.place)
        found = {cluster.name: cluster for cluster in (clusters.PASSTHROUGH, clusters.BLACK_HOLE)}
        if self.view.by_name:
            found[clusters.BY_NAME.name] = clusters.BY_NAME
        for entry in self.entries.values():
            rule = self.rules.find(entry.host, entry.service.namespace, self.view)
            client = self._knowing(plain, rule) if rule is not None and rule.credentials else plain
            for cluster in clusters.of_entry(entry, rule, settings, self.memo, client):
                found[cluster.name] = cluster
        return found

    def _knowing(self, client: clusters.Client, rule: Rule) -> clusters.Client:
        """Return `client` with the Secrets that a rule names.

        Istio: they are those of the client's namespace; a sidecar gets them where the rule selects it, a
        gateway always.
        """
        known = {name: self.credentials.of_client(self.view.namespace, name) for name in rule.credentials}
        if not self.view.router and rule.selector is None:
            known = {name: pem for name, pem in known.items() if name.startswith(CONFIG_MAP_SCHEME)}
            return replace(client, authorities=known)
        return replace(client, secrets=known, authorities=known)

    def _listen(self) -> _Listen:
        by_address: dict[tuple[str, int], Target] = {}
        by_port: dict[int, Target] = {}
        by_range: dict[int, list[tuple[Network, Target]]] = {}
        if self.view.router:
            return by_address, by_port, {}
        tables = Tables(
            self.view, self.entries, self.virtual_services, self.compiling, self.memo, self.problems
        )
        # Istio's own services always make a listener on port 80, so that unknown hosts get their 502.
        ports: dict[int, _OnPort] = {80: _OnPort()}
        for entry in self.entries.values():
            for port in entry.service.ports:
                if port.protocol is not Protocol.UDP and self._sees(entry, port):
                    self._add(entry, port, tables, by_address, by_range, ports)
        for number, found in ports.items():
            by_port[number] = self._on_port(number, found, tables)
        return by_address, by_port, {number: _smallest_first(found) for number, found in by_range.items()}

    def _sees(self, entry: Entry, port: Port) -> bool:
        return self.view.sees(entry.service.namespace, entry.host, port.number)

    def _add(
        self,
        entry: Entry,
        port: Port,
        tables: Tables,
        by_address: dict[tuple[str, int], Target],
        by_range: dict[int, list[tuple[Network, Target]]],
        ports: dict[int, _OnPort],
    ) -> None:
        number, addresses, ranges = port.number, entry.service.addresses, entry.service.ranges
        if port.protocol.is_http:
            ports.setdefault(number, _OnPort()).http.append(entry)
        elif addresses or ranges:
            target = self._of_service(entry, port, tables)
            by_address.update({(address, number): target for address in addresses})
            if ranges:
                found = by_range.setdefault(number, [])
                found.extend((ip_network(text, strict=False), target) for text in ranges)
        elif entry.headless:
            self._add_pods(entry, port, tables, by_address)
        elif port.protocol is Protocol.AUTO:
            shared = ports.setdefault(number, _OnPort())
            shared.http.append(entry)
            shared.sniffed = True
        else:
            shared = ports.setdefault(number, _OnPort())
            routes = self._tcp(entry, port, (entry.host,) if port.protocol in _TLS else ())
            (shared.tls if port.protocol in _TLS else shared.tcp).extend(routes)

    def _add_pods(
        self, entry: Entry, port: Port, tables: Tables, by_address: dict[tuple[str, int], Target]
    ) -> None:
        """Istio: a headless Service's port listens on the address of each pod, unless it is HTTP."""
        target = self._of_service(entry, port, tables)
        for endpoint, _ in entry.endpoints.get(port.number, ()):
            by_address.setdefault((endpoint.address, endpoint.port), target)

    def _of_service(self, entry: Entry, port: Port, tables: Tables) -> Target:
        routes = self._tcp(entry, port, ())
        table = tables.of_service(entry, port.number) if port.protocol is Protocol.AUTO else None
        key = ("target", self.view, entry.host, port.number)
        parts = (table, entry.service, self.compiling.registry.shape, self.virtual_services.token)
        return self.memo.get(key, parts, Target, port.protocol, table, routes)

    def _tcp(self, entry: Entry, port: Port, sni: tuple[str, ...]) -> tuple[TcpRoute, ...]:
        """Return the routes of one service's port: the rules', or else its own."""
        place = Place(port.number, self.view)
        found: list[TcpRoute] = []
        for vs in self.virtual_services.all_for(entry.host, self.view):
            with self.problems.contained(vs.loaded.stored):
                if port.protocol in _TLS:
                    found.extend(tls_routes(vs, place, self.compiling))
                elif all(route.subnets for route in found):  # up to one that takes every connection
                    found.extend(tcp_routes(vs, place, self.compiling))
        if port.protocol in _TLS and found:
            # Istio: with tls rules nothing is left of the service's own route; other names pass through.
            return tuple(found) if sni else (*found, self._rest())
        if all(route.subnets for route in found):
            found.append(default_tcp_route(entry, port.number, sni))
        return tuple(found)

    def _rest(self) -> TcpRoute:
        return _to(self.view.unknown) if self.view.allow_any else _TO_BLACK_HOLE

    def _on_port(self, number: int, found: _OnPort, tables: Tables) -> Target:
        opaque = (*found.tls, *found.tcp)
        http = bool(found.http) or not opaque
        table = tables.of_port(number, found.http) if http else None
        if not opaque and not found.sniffed:
            return self.memo.get(("port", self.view, number), (table,), Target, Protocol.HTTP, table, ())
        protocol = Protocol.AUTO if http else (Protocol.TLS if found.tls else Protocol.TCP)
        rest = () if found.tcp else (self._rest(),)
        made = Target(protocol, table, (*opaque, *rest))
        return self.memo.same(("opaque port", self.view, number), made)
