"""What a workload's proxy accepts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from devmesh.config.documents.serviceentry import WorkloadEntrySpec
from devmesh.model.port import Port, Protocol
from devmesh.model.workload import Instance
from devmesh.pilot import sidecar_ingress, traffic_policies
from devmesh.pilot.memo import Memo
from devmesh.pilot.peer_authentication import Modes
from devmesh.pilot.registry import Backend, Entry
from devmesh.pilot.resources import Loaded
from devmesh.pilot.settings import Settings
from devmesh.pilot.swaps import last_hop
from devmesh.snapshot.cluster import NO_LIMITS, Limits
from devmesh.snapshot.proxy import Inbound, InboundPort, LastHop


def services_of(entries: Iterable[Entry]) -> Mapping[str, list[tuple[Entry, Backend]]]:
    """Return, by instance, the services that it is behind."""
    found: dict[str, list[tuple[Entry, Backend]]] = {}
    for entry in entries:
        for backend in entry.members:
            if backend.instance is not None:
                found.setdefault(backend.instance.id, []).append((entry, backend))
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Serving:
    """What the inbound side of an instance is made of, beside the instance.

    Attributes:
        rules: Returns the limits that DestinationRules have for a service's port, as the workload's own
            namespace has them.
        sidecar: The Sidecar in force.
        swap: What has the workload's place.
    """

    services: list[tuple[Entry, Backend]]
    modes: Modes
    settings: Settings
    rules: Callable[[Entry, int], Limits]
    tls: sidecar_ingress.ReadTls
    sidecar: sidecar_ingress.Sidecar | None = None
    swap: Loaded[WorkloadEntrySpec] | None = None

    def limits(self, number: int, entry: Entry | None, port: int) -> Limits:
        """Return the limits of a port of the workload, called `port` by a service.

        Istio: those of the Sidecar's listener, else of the Sidecar, else of the service's DestinationRule: a
        circuit breaker is set on the receiving side, too.
        """
        spec = self.sidecar.spec if self.sidecar is not None else None
        if spec is not None:
            for listener in spec.ingress:
                if listener.port and listener.port.number == number and listener.connection_pool:
                    return traffic_policies.limits(listener.connection_pool, None, self.settings)
            if spec.inbound_connection_pool:
                return traffic_policies.limits(spec.inbound_connection_pool, None, self.settings)
        return self.rules(entry, port) if entry is not None else NO_LIMITS

    def limits_of_listener(self, number: int) -> Limits:
        """Return the limits of a Sidecar's own port: the service that has it as its target counts."""
        for entry, backend in self.services:
            for port in entry.service.ports:
                if backend.port_of(port) == number:
                    return self.limits(number, entry, number)
        return self.limits(number, None, number)


def inbound(instance: Instance, serving: Serving, memo: Memo) -> Inbound:
    """Return the inbound side of an instance, shared among replicas that differ in nothing.

    Istio: a port of the workload belongs to the oldest Service that has it as its target, save where a
    Sidecar lists the ports.
    """
    modes, sidecar = serving.modes, serving.sidecar
    ports: dict[int, InboundPort] = {}
    if sidecar is not None and sidecar.spec.ingress:
        for made in sidecar_ingress.ports(sidecar, instance, modes, serving.limits_of_listener, serving.tls):
            ports[made.port] = replace(made, last_hop=_swapped(made, serving.swap)) if serving.swap else made
        return _shared(instance, ports, modes, memo)
    swap = serving.swap
    for entry, backend in serving.services:
        for port in entry.service.ports:
            number = backend.port_of(port)
            if number is None or number in ports or port.protocol is Protocol.UDP:
                continue
            ports[number] = InboundPort(
                number,
                port.protocol,
                modes.on(number),
                entry.ref,
                f"inbound|{number}||",
                modes.origin,
                last_hop(swap, port, number) if swap else None,
                serving.limits(number, entry, port.number),
            )
    return _shared(instance, ports, modes, memo)


def _swapped(made: InboundPort, swap: Loaded[WorkloadEntrySpec]) -> LastHop | None:
    inside = made.last_hop.port if made.last_hop is not None else made.port
    return last_hop(swap, Port("", made.port, made.protocol, inside), inside) or made.last_hop


def _shared(instance: Instance, ports: dict[int, InboundPort], modes: Modes, memo: Memo) -> Inbound:
    unnamed = {port: mode for port, mode in modes.ports.items() if port not in ports}
    made = Inbound(ports, modes.mode, unnamed, modes.origin)
    workload = instance.workload
    return memo.same(("inbound", workload.namespace, workload.name, tuple(ports)), made)
