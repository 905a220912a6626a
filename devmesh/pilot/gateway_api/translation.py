"""From Gateways and routes to Istio's Gateways and VirtualServices."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from devmesh.config.documents.gateway import GatewaySpec
from devmesh.config.documents.gateway_routes import GRPCRouteSpec, HTTPRouteSpec
from devmesh.config.documents.serviceentry import ServiceEntrySpec
from devmesh.config.documents.virtualservice import HTTPMatchRequest, VirtualServiceSpec
from devmesh.config.store import Store
from devmesh.model.host import matches
from devmesh.pilot.delegates import Written
from devmesh.pilot.gateway_api import connection_rules
from devmesh.pilot.gateway_api.certificates import Secrets
from devmesh.pilot.gateway_api.conditions import Problem
from devmesh.pilot.gateway_api.derived import Derived
from devmesh.pilot.gateway_api.http_rules import HttpRules
from devmesh.pilot.gateway_api.listeners import CONTROLLER, Port, class_controller, from_namespaces, ports_of
from devmesh.pilot.gateway_api.matches import by_precedence
from devmesh.pilot.gateway_api.parents import Attachment, Parents, hosts_at, is_isolated
from devmesh.pilot.gateway_api.references import References
from devmesh.pilot.gateway_api.resources import (
    GRPC,
    HTTP,
    TCP,
    TLS,
    AnyRoute,
    Gateway,
    GatewayResources,
    ListenerSet,
)
from devmesh.pilot.gateway_names import MESH
from devmesh.pilot.memo import Memo
from devmesh.pilot.problems import Problems
from devmesh.pilot.resources import Loaded
from devmesh.pilot.virtual_services import VirtualService


@dataclass(frozen=True, slots=True, eq=False)
class Attached:
    """A route, and what came of it at its parents; `problem` is the first reference that does not resolve."""

    route: AnyRoute
    attachments: tuple[Attachment, ...]
    mesh_problem: Problem | None = None
    gateway_problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class Translated:
    """What the Gateway API's resources come to."""

    gateways: tuple[Derived[GatewaySpec], ...] = ()
    virtual_services: tuple[VirtualService, ...] = ()
    ports: tuple[Port, ...] = ()
    routes: tuple[Attached, ...] = ()
    refused: tuple[ListenerSet, ...] = ()  # that their Gateway does not let in


@dataclass(slots=True)
class _Group:
    """What one host has at one parent, the oldest route first."""

    host: str
    gateway: str
    namespace: str
    export_to: tuple[str, ...]
    source: AnyRoute
    http: list[Written] = field(default_factory=list)


class Translation:
    """Translates everything once.

    Args:
        targets: Stands for all that references can lead to: another object where any of that changed.
    """

    def __init__(
        self,
        resources: GatewayResources,
        references: References,
        targets: object,
        entries: Sequence[Loaded[ServiceEntrySpec]],
        store: Store,
        secrets: Secrets,
        memo: Memo,
        problems: Problems,
    ) -> None:
        self._resources, self._references, self._targets = resources, references, targets
        self._secrets, self._memo, self._problems = secrets, memo, problems
        self._refused: list[ListenerSet] = []
        self._ports: dict[tuple[str, str, str], list[Port]] = {}
        for gateway in resources.gateways:
            with problems.contained(gateway.stored):
                self._add_gateway(gateway)
        self._parents = Parents(self._ports, entries, store, references.domain)
        self._groups: dict[tuple[str, str, str], _Group] = {}
        self._connections: list[VirtualService] = []

    def translate(self) -> Translated:
        routes = []
        requests: list[HTTP | GRPC] = [*self._resources.http, *self._resources.grpc]
        http = sorted(requests, key=lambda r: (r.created, r.namespace, r.name))
        every: tuple[AnyRoute, ...] = (*http, *self._resources.tls, *self._resources.tcp)
        for route in every:
            with self._problems.contained(route.stored):
                routes.append(self._attach(route))
        made = tuple(self._virtual_service(group) for group in self._groups.values())
        ports = tuple(port for found in self._ports.values() for port in found)
        return Translated(
            tuple(port.server for port in ports if port.server is not None),
            (*made, *self._connections),
            ports,
            tuple(routes),
            tuple(self._refused),
        )

    def _add_gateway(self, gateway: Gateway) -> None:
        resources = self._resources
        if class_controller(gateway.spec.gateway_class_name, resources) != CONTROLLER:
            return
        sets = tuple(self._sets_of(gateway))
        key = gateway.stored.key
        self._ports["Gateway", key.namespace, key.name] = []
        for owner in sets:
            self._ports["ListenerSet", owner.namespace, owner.name] = []
        for port in ports_of(gateway, sets, resources, self._references, self._secrets):
            owner_key = port.owner.stored.key
            self._ports[owner_key.kind.kind, owner_key.namespace, owner_key.name].append(port)

    def _sets_of(self, gateway: Gateway) -> Iterable[ListenerSet]:
        allowed = gateway.spec.allowed_listeners
        namespaces = from_namespaces(
            allowed.namespaces if allowed else None,
            gateway.namespace,
            self._resources.namespaces,
            default="None",
        )
        for found in self._resources.listener_sets:
            parent = found.spec.parent_ref
            if (parent.namespace or found.namespace, parent.name) != (gateway.namespace, gateway.name):
                continue
            if namespaces is None or found.namespace in namespaces:
                yield found
            else:
                self._refused.append(found)

    # Routes

    def _attach(self, route: AnyRoute) -> Attached:
        attachments = self._parents.of(route)
        taken = [a for a in attachments if a.problem is None and not a.foreign]
        problems: dict[bool, Problem | None] = {}
        for in_mesh in {a.in_mesh for a in taken}:
            chosen = [a for a in taken if a.in_mesh is in_mesh]
            problems[in_mesh] = (
                self._add_http(route, chosen, in_mesh)
                if isinstance(route.spec, HTTPRouteSpec | GRPCRouteSpec)
                else self._add_connections(route, chosen, in_mesh)
            )
        return Attached(route, attachments, problems.get(True), problems.get(False))

    def _add_http(self, route: HTTP | GRPC, chosen: Sequence[Attachment], in_mesh: bool) -> Problem | None:
        key = ("rules", route.stored.key, in_mesh)
        written, problem = self._memo.get(key, (route, self._targets), self._rules, route, in_mesh)
        for attachment in chosen if written else ():
            for host in attachment.hosts:
                consumer = attachment.owner != route.namespace
                group = self._group(MESH, host, route, (".",) if consumer else ("*",), route.namespace)
                group.http.extend(_on_port(written, attachment.ref.port))
            for port in attachment.ports:
                siblings = self._siblings(port)
                for host in dict.fromkeys(hosts_at(route, port)):
                    if not is_isolated(host, port, siblings):
                        self._group(port.name, host, route, ("*",), "").http.extend(written)
        return problem

    def _rules(self, route: HTTP | GRPC, in_mesh: bool) -> tuple[tuple[Written, ...], Problem | None]:
        rules = HttpRules(route, self._references, in_mesh=in_mesh)
        return rules.all(), rules.problem

    def _group(
        self, gateway: str, host: str, route: AnyRoute, export_to: tuple[str, ...], namespace: str
    ) -> _Group:
        key = (gateway, host, namespace)
        found = self._groups.get(key)
        if found is None:
            found = self._groups[key] = _Group(host, gateway, route.namespace, export_to, route)
        return found

    def _siblings(self, port: Port) -> list[Port]:
        return [p for found in self._ports.values() for p in found if p.gateway is port.gateway]

    def _add_connections(
        self, route: TLS | TCP, chosen: Sequence[Attachment], in_mesh: bool
    ) -> Problem | None:
        rules, problem = connection_rules.destinations(route, self._references, in_mesh=in_mesh)
        for attachment in chosen if rules else ():
            for host in attachment.hosts:
                names: Sequence[str] = (host,)
                if own := getattr(route.spec, "hostnames", ()):
                    names = own if len(own) == 1 else tuple(n for n in own if matches(n, host))
                exported = ("*",) if attachment.owner == route.namespace else (".",)
                if names:
                    self._add_connection(route, rules, MESH, host, exported, names, attachment.ref.port)
            for port in attachment.ports:
                hosts = tuple(dict.fromkeys(hosts_at(route, port)))
                names = () if _terminates(port) else hosts  # Istio: what TLS held is plain TCP from here on
                self._add_connection(route, rules, port.name, hosts[0], ("*",), names, None)
        return problem

    def _add_connection(
        self,
        route: TLS | TCP,
        rules: Sequence[connection_rules.Destinations],
        gateway: str,
        host: str,
        export_to: tuple[str, ...],
        names: Sequence[str],
        port: int | None,
    ) -> None:
        is_tls = route.stored.key.kind.kind == "TLSRoute" and bool(names)
        spec = VirtualServiceSpec(
            hosts=(host,),
            gateways=(gateway,),
            tls=connection_rules.tls(rules, port, names) if is_tls else (),
            tcp=() if is_tls else connection_rules.tcp(rules, port),
            export_to=export_to,
        )
        key = ("route to connections", route.stored.key, gateway, host, port)
        self._connections.append(self._made(key, route, spec, (host,), ()))

    def _virtual_service(self, group: _Group) -> VirtualService:
        http = by_precedence(group.http)
        spec = VirtualServiceSpec(hosts=(group.host,), gateways=(group.gateway,), export_to=group.export_to)
        key = ("routes of", group.gateway, group.host, group.namespace if group.gateway == MESH else "")
        return self._made(key, group.source, spec, (group.host,), http)

    def _made(
        self,
        key: tuple[object, ...],
        source: AnyRoute,
        spec: VirtualServiceSpec,
        hosts: tuple[str, ...],
        http: tuple[Written, ...],
    ) -> VirtualService:
        """Return the VirtualService of before, where it says the same."""
        said = self._memo.same(("said", *key), (spec, http))
        return self._memo.get(("derived", *key), (said, source), _build, source, spec, hosts, http)


def _terminates(port: Port) -> bool:
    tls = port.listener.tls
    return tls is not None and tls.mode != "Passthrough"


def _build(
    source: Loaded[Any], spec: VirtualServiceSpec, hosts: tuple[str, ...], http: tuple[Written, ...]
) -> VirtualService:
    written = "spec.tls" if spec.tls else "spec.tcp"
    loaded = Derived(source.stored, spec, source.created, "", (written, "spec.rules"))
    return VirtualService(
        loaded,
        hosts,
        frozenset(spec.gateways),
        spec.export_to,
        http,
        frozenset(),
        by_namespace=False,
        gateway_api=True,
    )


def _on_port(written: Sequence[Written], port: int | None) -> Iterable[Written]:
    """Bind routes to one port of a Service."""
    if port is None:
        yield from written
        return
    for found in written:
        blocks = found.route.match or (HTTPMatchRequest(),)
        match = tuple(msgspec.structs.replace(block, port=port) for block in blocks)
        yield Written(
            msgspec.structs.replace(found.route, match=match), found.source, found.index, found.path
        )
