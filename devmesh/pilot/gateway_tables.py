"""Route tables of gateways: the hosts of servers and of the VirtualServices that are bound to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from devmesh.config.documents.gateway import GatewaySpec, Server
from devmesh.model.host import matches
from devmesh.pilot.memo import Memo
from devmesh.pilot.problems import Problems
from devmesh.pilot.resources import Loaded
from devmesh.pilot.routes import Compiling, Place, routes_of, takes_all
from devmesh.pilot.virtual_services import VirtualService, VirtualServices
from devmesh.pilot.visibility import View
from devmesh.snapshot.route import Redirect, Route, RouteTable, VirtualHost

Kind = Literal["http", "https", "tls", "tcp"]

_PASSED_ON = ("PASSTHROUGH", "AUTO_PASSTHROUGH")
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
        """What the port carries; https is terminated here."""
        if self.protocol in _HTTP:
            return "http"
        if self.protocol == "HTTPS":
            return "https" if self.terminates else "tls"
        return "tls" if self.protocol == "TLS" else "tcp"

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
    return context.memo.get(key, tuple(parts), _build, name, bound, context)


def _build(
    name: str, bound: Sequence[tuple[BoundServer, Sequence[VirtualService]]], context: Context
) -> RouteTable:
    hosts: dict[str, list[Route]] = {}
    redirected: dict[str, Route] = {}
    for server, virtual_services in bound:
        for vs in virtual_services:
            with context.problems.contained(vs.loaded.stored):
                _add(hosts, server, vs, context)
        if server.redirects:
            answer = Route(
                redirect=Redirect(scheme="https"),
                origin=server.gateway.origin(f"spec.servers[{server.index}].tls.httpsRedirect"),
            )
            redirected.update({host: answer for _, host in server.hosts})
    made = [
        VirtualHost(f"{host}:{name.partition('.')[2]}", (host,), tuple(_ordered(routes)))
        for host, routes in hosts.items()
    ]
    return RouteTable.of(name, tuple(_with_redirects(made, redirected, name)))


def _add(hosts: dict[str, list[Route]], server: BoundServer, vs: VirtualService, context: Context) -> None:
    common = list(_common_hosts(server, vs))
    if not common:
        return
    routes = routes_of(vs, Place(server.number, context.view, server.name), context.compiling)
    for host in common:
        known = hosts.setdefault(host, [])
        known.extend(route for route in routes if route not in known)


def _common_hosts(server: BoundServer, vs: VirtualService) -> Iterator[str]:
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


def _with_redirects(
    made: Sequence[VirtualHost], redirected: dict[str, Route], name: str
) -> Iterator[VirtualHost]:
    """Istio: a server with httpsRedirect sends everything to https, whatever the routes say."""
    left = dict(redirected)
    for host in made:
        domain = host.domains[0]
        answer = next((r for pattern, r in redirected.items() if matches(pattern, domain)), None)
        left.pop(domain, None)
        yield VirtualHost(host.name, host.domains, (answer,)) if answer else host
    for domain, answer in left.items():
        yield VirtualHost(f"{domain}:{name.partition('.')[2]}", (domain,), (answer,))
