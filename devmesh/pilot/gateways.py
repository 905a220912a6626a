"""What a gateway's proxy listens for: its Gateways' servers, merged by port."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from devmesh.config.documents.gateway import GatewaySpec, Server
from devmesh.model.host import matches
from devmesh.model.port import Protocol
from devmesh.model.workload import Instance
from devmesh.pilot.clusters import server_name
from devmesh.pilot.credentials import Credentials
from devmesh.pilot.exposure import places
from devmesh.pilot.gateway_api.derived import Derived
from devmesh.pilot.gateway_servers import Merged
from devmesh.pilot.gateway_tables import BoundServer, common_hosts, gateway_table
from devmesh.pilot.gateway_tls import GatewayTls
from devmesh.pilot.memo import Memo
from devmesh.pilot.problems import Problems
from devmesh.pilot.registry import Backend, Entry
from devmesh.pilot.resources import Loaded
from devmesh.pilot.routes import Compiling, Place
from devmesh.pilot.settings import GATEWAY_TARGETS, INGRESS_LABEL, LocalPorts
from devmesh.pilot.tcp_routes import tcp_routes, tls_routes
from devmesh.pilot.virtual_services import VirtualService, VirtualServices
from devmesh.pilot.visibility import View, selects
from devmesh.snapshot.cluster import Cluster
from devmesh.snapshot.proxy import GatewayListener, ServerTls, TcpRoute
from devmesh.snapshot.route import Weighted

_OPAQUE = {"TCP": Protocol.TCP, "MONGO": Protocol.MONGO, "MYSQL": Protocol.MYSQL, "REDIS": Protocol.REDIS}


@dataclass(frozen=True, slots=True)
class Gateways:
    """Compiles the listeners of one gateway's view."""

    view: View
    loaded: Sequence[Loaded[GatewaySpec]]
    virtual_services: VirtualServices
    compiling: Compiling
    credentials: Credentials
    ports: LocalPorts
    memo: Memo
    problems: Problems

    def listeners(
        self,
        instance: Instance,
        services: Iterable[tuple[Entry, Backend]],
        clusters: Mapping[str, Cluster],
    ) -> tuple[GatewayListener, ...]:
        """Return the listeners of a gateway's instance.

        Istio: servers of all Gateways that select it are merged by port; on one port the first decides
        what is spoken there, and servers of another kind are left out.

        Args:
            services: Those that lead to the instance: their ports' targets are where it listens.
            clusters: What it can lead to.
        """
        services = tuple(services)
        behind = frozenset(entry.host for entry, _ in services)
        targets = dict(_targets(services))
        ingress = INGRESS_LABEL in instance.labels.items()
        merged = Merged(self.problems)
        for gateway in self.loaded:
            if not _serves(gateway, instance, behind):
                continue
            for index, server in enumerate(gateway.spec.servers):
                if server.port is None or not self._can_bind(gateway, index, server):
                    continue
                number = server.port.number
                target = targets.get(number, GATEWAY_TARGETS.get(number, number))
                known = number in targets or (ingress and number in GATEWAY_TARGETS)
                if isinstance(gateway, Derived) and not known:
                    continue  # Gateway API: a port that the Service lacks is served nowhere
                merged.add(target, BoundServer(gateway, server, index))
        shown = {} if ingress else places(services, self.credentials.store)
        tls = GatewayTls(instance, self.credentials, self.problems)
        found = []
        for (target, bind), servers in merged:
            made = self._listener(target, servers, tls, clusters)
            if bind:
                made = replace(made, bind=bind)
            else:
                local = self.ports.of(target) if ingress else 0
                made = replace(made, local_port=local, shown=shown.get(target, ()))
            found.append(self.memo.same(("listener", instance.id, target, bind), made))
        return self.memo.get(("listeners", instance.id), tuple(found), tuple, found)

    def _can_bind(self, gateway: Loaded[GatewaySpec], index: int, server: Server) -> bool:
        if not server.bind.startswith("unix://"):
            return True
        message = "unix sockets are not served in devmesh: this server has no effect"
        self.problems.add("DM0304", "warning", gateway.stored, f"spec.servers[{index}].bind", message)
        return False

    def _listener(
        self, target: int, servers: Sequence[BoundServer], tls: GatewayTls, clusters: Mapping[str, Cluster]
    ) -> GatewayListener:
        first = servers[0]
        if first.kind == "http":
            shared = gateway_table(f"http.{target}", target, servers, self)
            return GatewayListener(first.number, target, Protocol.HTTP, shared)
        if first.kind == "tcp":
            protocol = _OPAQUE.get(first.protocol, Protocol.TCP)
            return GatewayListener(first.number, target, protocol, None, tuple(self._tcp(first)))
        passed = tuple(self._passed_on(servers, clusters))
        ended = tuple(self._ended(bound, target, tls) for bound in servers if bound.terminates)
        speaking = any(bound.speaks_http for bound in servers)
        protocol = Protocol.HTTPS if speaking else Protocol.TLS
        return GatewayListener(first.number, target, protocol, None, passed, ended)

    def _ended(self, bound: BoundServer, target: int, tls: GatewayTls) -> ServerTls:
        if bound.speaks_http:
            return tls.of(bound, gateway_table(bound.table, target, (bound,), self))
        return tls.of(bound, None, tuple(self._tcp(bound)))

    def _bound(self, bound: BoundServer) -> Iterator[VirtualService]:
        for vs in self.virtual_services.of_gateway(bound.name, self.view):
            if any(common_hosts(bound, vs)):
                yield vs

    def _tcp(self, bound: BoundServer) -> Iterator[TcpRoute]:
        """Yield the route of a server that carries bytes: of the oldest VirtualService that has one."""
        place = Place(bound.number, self.view, bound.name, bound.terminates)
        for vs in self._bound(bound):
            with self.problems.contained(vs.loaded.stored):
                found = list(tcp_routes(vs, place, self.compiling))
                if found:
                    yield found[0]
                    return

    def _passed_on(
        self, servers: Sequence[BoundServer], clusters: Mapping[str, Cluster]
    ) -> Iterator[TcpRoute]:
        """Yield the routes by server name of what is not decrypted here. Istio: of two for one name the
        oldest stays, and a match with such a name is left out whole."""
        taken: set[str] = set()
        for bound in servers:
            if bound.terminates:
                continue
            if bound.server.tls is not None and bound.server.tls.mode == "AUTO_PASSTHROUGH":
                yield from self._by_cluster(bound, clusters)
                continue
            place = Place(bound.number, self.view, bound.name, tls=False)
            for vs in self._bound(bound):
                with self.problems.contained(vs.loaded.stored):
                    for route in tls_routes(vs, place, self.compiling):
                        if taken.isdisjoint(route.sni):
                            taken.update(route.sni)
                            yield route
                        else:
                            self._say_taken(vs, route, taken)

    def _say_taken(self, vs: VirtualService, route: TcpRoute, taken: set[str]) -> None:
        path = route.origin.path if route.origin else ""
        names = ", ".join(name for name in route.sni if name in taken)
        message = f"{names} is routed already on this port of the gateway: this match is left out"
        self.problems.add("KIA1106", "warning", vs.loaded.stored, path, message)

    def _by_cluster(self, bound: BoundServer, clusters: Mapping[str, Cluster]) -> Iterator[TcpRoute]:
        """Istio: AUTO_PASSTHROUGH leads mutual TLS of the mesh to the cluster that its server name tells."""
        patterns = [host for _, host in bound.hosts]
        registry = self.compiling.registry
        origin = bound.gateway.origin(f"spec.servers[{bound.index}]")
        for name, cluster in clusters.items():
            host = cluster.service.host
            if not host or not any(matches(pattern, host) for pattern in patterns):
                continue
            entry = registry.find(host)
            if entry is None or entry.service.external:
                continue
            sni = server_name(cluster.port, cluster.subset, host)
            yield TcpRoute((Weighted(name),), (sni,), origin, mesh_only=True)


def _serves(gateway: Loaded[GatewaySpec], instance: Instance, services: frozenset[str]) -> bool:
    """Istio: labels choose the workloads of its own Gateways, Services those of the Gateway API's."""
    if isinstance(gateway, Derived):
        return not services.isdisjoint(gateway.services)
    return selects(gateway.spec.selector, instance.labels)


def _targets(services: Iterable[tuple[Entry, Backend]]) -> Iterator[tuple[int, int]]:
    """Istio: a server's port is a port of the gateway's Service, and listens on its target."""
    for entry, backend in services:
        for port in entry.service.ports:
            number = backend.port_of(port)
            if number is not None:
                yield port.number, number
