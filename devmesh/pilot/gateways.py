"""What a gateway's proxy listens for: its Gateways' servers, merged by port."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from devmesh.config.documents.gateway import GatewaySpec
from devmesh.model.port import Protocol
from devmesh.model.workload import Instance
from devmesh.pilot.credentials import Credentials
from devmesh.pilot.exposure import places
from devmesh.pilot.gateway_api.derived import Derived
from devmesh.pilot.gateway_tables import BoundServer, common_hosts, gateway_table
from devmesh.pilot.memo import Memo
from devmesh.pilot.problems import Problems
from devmesh.pilot.registry import Backend, Entry
from devmesh.pilot.resources import Loaded
from devmesh.pilot.routes import Compiling, Place
from devmesh.pilot.settings import GATEWAY_TARGETS, INGRESS_LABEL, LocalPorts
from devmesh.pilot.tcp_routes import tcp_routes, tls_routes
from devmesh.pilot.virtual_services import VirtualServices
from devmesh.pilot.visibility import View, selects
from devmesh.snapshot.proxy import GatewayListener, ServerTls, TcpRoute

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
        self, instance: Instance, services: Iterable[tuple[Entry, Backend]]
    ) -> tuple[GatewayListener, ...]:
        """Return the listeners of a gateway's instance.

        Istio: servers of all Gateways that select it are merged by port; on one port the first decides
        what is spoken there, and servers of another kind are left out.
        """
        services = tuple(services)
        behind = frozenset(entry.host for entry, _ in services)
        targets = dict(_targets(services))
        ingress = INGRESS_LABEL in instance.labels.items()
        by_target: dict[int, list[BoundServer]] = {}
        for gateway in self.loaded:
            if not _serves(gateway, instance, behind):
                continue
            for index, server in enumerate(gateway.spec.servers):
                if server.port is None:
                    continue
                number = server.port.number
                target = targets.get(number, GATEWAY_TARGETS.get(number, number))
                known = number in targets or (ingress and number in GATEWAY_TARGETS)
                if isinstance(gateway, Derived) and not known:
                    continue  # Gateway API: a port that the Service lacks is served nowhere
                self._place(by_target.setdefault(target, []), BoundServer(gateway, server, index))
        shown = {} if ingress else places(services, self.credentials.store)
        found = []
        for target, servers in by_target.items():
            local = self.ports.of(target) if ingress else 0
            made = self._listener(target, local, servers)
            if target in shown:
                made = replace(made, shown=shown[target])
            found.append(self.memo.same(("listener", instance.id, target), made))
        return self.memo.get(("listeners", instance.id), tuple(found), tuple, found)

    def _place(self, servers: list[BoundServer], server: BoundServer) -> None:
        """Add a server to those of its port.

        Istio: plain HTTP goes with plain HTTP, TLS of any kind with TLS, and opaque TCP is alone.
        """
        if not servers or (server.kind == servers[0].kind and server.kind != "tcp"):
            servers.append(server)
            return
        first = servers[0]
        self.problems.add(
            "KIA0301",
            "warning",
            server.gateway.stored,
            server.gateway.origin(f"spec.servers[{server.index}].port").path,
            f"Gateway {first.gateway.namespace}/{first.gateway.name} has port {first.number} as "
            f"{first.protocol} already; this server is left out",
        )

    def _listener(self, target: int, local: int, servers: Sequence[BoundServer]) -> GatewayListener:
        first = servers[0]
        if first.kind == "http":
            shared = gateway_table(f"http.{target}", target, servers, self)
            return GatewayListener(first.number, target, Protocol.HTTP, shared, local_port=local)
        routes = tuple(self._opaque(servers))
        if first.kind == "tcp":
            protocol = _OPAQUE.get(first.protocol, Protocol.TCP)
            return GatewayListener(first.number, target, protocol, None, routes, (), local)
        tls = tuple(self._tls(bound, target) for bound in servers if bound.terminates)
        speaking = [bound for bound in servers if bound.speaks_http]
        table = gateway_table(f"https.{target}", target, speaking, self) if speaking else None
        protocol = Protocol.HTTPS if speaking else Protocol.TLS
        return GatewayListener(first.number, target, protocol, table, routes, tls, local)

    def _opaque(self, servers: Sequence[BoundServer]) -> Iterator[TcpRoute]:
        for bound in servers:
            if bound.speaks_http:
                continue
            place = Place(bound.number, self.view, bound.name, bound.terminates)
            for vs in self.virtual_services.of_gateway(bound.name, self.view):
                if not any(common_hosts(bound, vs)):
                    continue
                with self.problems.contained(vs.loaded.stored):
                    if bound.kind == "tls" and not bound.terminates:
                        yield from tls_routes(vs, place, (), self.compiling)
                    elif found := tcp_routes(vs, place, (), self.compiling):
                        yield from found
                        break

    def _tls(self, bound: BoundServer, target: int) -> ServerTls:
        tls = bound.server.tls
        assert tls is not None
        hosts = tuple(host for _, host in bound.hosts)
        mode = tls.mode or "SIMPLE"
        table = gateway_table(bound.table, target, (bound,), self) if bound.speaks_http else None
        if not tls.credential_name:
            return ServerTls(mode, hosts, routes=table)
        pem = self.credentials.find(self.view.namespace, tls.credential_name)
        if pem is None:
            self.problems.add(
                "DM0301",
                "warning",
                bound.gateway.stored,
                f"spec.servers[{bound.index}].tls.credentialName",
                f"there is no Secret {tls.credential_name!r} with a certificate in namespace "
                f"{self.view.namespace!r}, the gateway workload's: TLS handshakes fail until it is created",
            )
            return ServerTls(mode, hosts, routes=table)
        ca = pem.ca
        if tls.ca_cert_credential_name:
            ca = self.credentials.authority(self.view.namespace, tls.ca_cert_credential_name)
        return ServerTls(mode, hosts, pem.certificate, pem.key, ca, table)


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
