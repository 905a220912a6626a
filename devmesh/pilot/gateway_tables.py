"""Route tables of gateways: the hosts of servers and of the VirtualServices that are bound to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from devmesh.config.documents.gateway import GatewaySpec, Server
from devmesh.model.host import matches
from devmesh.pilot.memo import Memo
from devmesh.pilot.problems import Problems
from devmesh.pilot.resources import Loaded
from devmesh.pilot.routes import Compiling, Place, routes_of, takes_all
from devmesh.pilot.virtual_services import VirtualService, VirtualServices
from devmesh.pilot.visibility import View
from devmesh.snapshot.match import Exact
from devmesh.snapshot.route import Match, Redirect, Route, RouteTable, VirtualHost

Kind = Literal["http", "tls", "tcp"]

_PASSED_ON = ("PASSTHROUGH", "AUTO_PASSTHROUGH")
_PLAIN = Match(scheme=Exact("http"))
_HTTP = ("HTTP", "HTTP2", "GRPC", "GRPC-WEB")


@dataclass(frozen=True, slots=True)
class BoundServer:
    """One server of a Gateway."""

    gateway: Loaded[GatewaySpec]
    server: Server
    index: int

    @property
    def number(self) -> int:
        return self.server.port.number if self.server.port else 0

    @property
    def protocol(self) -> str:
        return self.server.port.protocol.upper() if self.server.port else ""

    @property
    def name(self) -> str:
        """The Gateway, as VirtualServices name it in full."""
        return f"{self.gateway.namespace}/{self.gateway.name}"

    @property
    def terminates(self) -> bool:
        """Whether TLS ends here."""
        tls = self.server.tls
        return tls is not None and tls.mode not in (None, *_PASSED_ON)

    @property
    def kind(self) -> Kind:
        """What the port carries, as far as it decides who can share it."""
        if self.protocol in _HTTP:
            return "http"
        return "tls" if self.protocol in ("HTTPS", "TLS") else "tcp"

    @property
    def speaks_http(self) -> bool:
        """Whether requests are read here."""
        return self.kind == "http" or (self.protocol == "HTTPS" and self.terminates)

    @property
    def table(self) -> str:
        """The name of an HTTPS server's own route table (Istio's)."""
        port = self.server.port.name if self.server.port else ""
        return f"https.{self.number}.{port}.{self.gateway.name}.{self.gateway.namespace}"

    @property
    def redirects(self) -> bool:
        return self.server.tls is not None and self.server.tls.https_redirect

    @property
    def hosts(self) -> tuple[tuple[str, str], ...]:
        """The hosts, each with the namespace (``*``: any) that its VirtualServices have to be of."""
        return tuple(self._host(text) for text in self.server.hosts)

    def _host(self, text: str) -> tuple[str, str]:
        where, slash, host = text.partition("/")
        if not slash:
            return "*", text.lower()
        return (self.gateway.namespace if where == "." else where), host.lower()


class Context(Protocol):
    """What the tables of one gateway's view are made with."""

    @property
    def view(self) -> View: ...
    @property
    def virtual_services(self) -> VirtualServices: ...
    @property
    def compiling(self) -> Compiling: ...
    @property
    def memo(self) -> Memo: ...
    @property
    def problems(self) -> Problems: ...


def gateway_table(name: str, target: int, servers: Sequence[BoundServer], context: Context) -> RouteTable:
    """Return the table of a port. A host that no VirtualService serves there has none: 404."""
    bound = [
        (server, tuple(context.virtual_services.of_gateway(server.name, context.view))) for server in servers
    ]
    parts: list[object] = [context.compiling.registry.shape, context.compiling.settings]
    for server, found in bound:
        parts.extend((server.gateway, *found))
    key = ("gateway table", context.view, name, target, tuple(s.index for s in servers))
    return context.memo.get(key, tuple(parts), _build, bound, name, context)


def _build(
    bound: Sequence[tuple[BoundServer, Sequence[VirtualService]]], name: str, context: Context
) -> RouteTable:
    hosts: dict[str, _Host] = {}
    for server, virtual_services in bound:
        for vs in virtual_services:
            with context.problems.contained(vs.loaded.stored):
                _add(hosts, server, vs, context)
        for _, host in server.hosts if server.redirects else ():
            hosts.setdefault(host, _Host(server.number)).redirect = _to_https(server)
    return RouteTable.of(name, tuple(found.virtual_host(host) for host, found in hosts.items()))


@dataclass(slots=True)
class _Host:
    """What is served under one host; `number` is the port of the first server that has it."""

    number: int
    routes: list[Route] = field(default_factory=list)
    redirect: Route | None = None

    def virtual_host(self, host: str) -> VirtualHost:
        """Istio: httpsRedirect sends all of plain HTTP to https, whatever the routes say; what a trusted
        proxy before the gateway got by https is not redirected."""
        first = (self.redirect,) if self.redirect else ()
        return VirtualHost(f"{host}:{self.number}", (host,), (*first, *_ordered(self.routes)))


def _to_https(server: BoundServer) -> Route:
    origin = server.gateway.origin(f"spec.servers[{server.index}].tls.httpsRedirect")
    return Route(matches=(_PLAIN,), redirect=Redirect(scheme="https"), origin=origin)


def _add(hosts: dict[str, _Host], server: BoundServer, vs: VirtualService, context: Context) -> None:
    common = list(common_hosts(server, vs))
    if not common:
        return
    place = Place(server.number, context.view, server.name, server.server.tls is not None)
    routes = routes_of(vs, place, context.compiling)
    for host in common:
        known = hosts.setdefault(host, _Host(server.number))
        known.routes.extend(route for route in routes if route not in known.routes)
        if server.redirects:
            known.redirect = _to_https(server)


def common_hosts(server: BoundServer, vs: VirtualService) -> Iterator[str]:
    """Yield the hosts that both the server and the VirtualService mean; of two the narrower one."""
    found: dict[str, None] = {}
    for namespace, pattern in server.hosts:
        if namespace not in ("*", vs.namespace):
            continue
        for host in vs.hosts:
            if matches(pattern, host):
                found[host] = None
            elif matches(host, pattern):
                found[pattern] = None
    yield from found


def _ordered(routes: Sequence[Route]) -> Iterator[Route]:
    """Istio: routes of several VirtualServices follow each other, the oldest's first; those that take
    everything go to the end, so that they hide none of another VirtualService's."""
    yield from (route for route in routes if not takes_all(route))
    yield from (route for route in routes if takes_all(route))
