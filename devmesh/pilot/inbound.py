"""What a workload's proxy accepts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from devmesh.config.documents.serviceentry import WorkloadEntrySpec
from devmesh.model.port import Protocol
from devmesh.model.workload import Instance
from devmesh.pilot.memo import Memo
from devmesh.pilot.peer_authentication import Modes
from devmesh.pilot.registry import Backend, Entry
from devmesh.pilot.resources import Loaded
from devmesh.pilot.swaps import last_hop
from devmesh.snapshot.cluster import Limits
from devmesh.snapshot.proxy import Inbound, InboundPort


def services_of(entries: Iterable[Entry]) -> Mapping[str, list[tuple[Entry, Backend]]]:
    """Return, by instance, the services that it is behind."""
    found: dict[str, list[tuple[Entry, Backend]]] = {}
    for entry in entries:
        for backend in entry.members:
            if backend.instance is not None:
                found.setdefault(backend.instance.id, []).append((entry, backend))
    return found


LimitsOf = Callable[[Entry, int], Limits]


def inbound(
    instance: Instance,
    services: list[tuple[Entry, Backend]],
    modes: Modes,
    limits: LimitsOf,
    memo: Memo,
    swap: Loaded[WorkloadEntrySpec] | None = None,
) -> Inbound:
    """Return the inbound side of an instance, shared among replicas that differ in nothing.

    Istio: a port of the workload belongs to the oldest Service that has it as its target.

    Args:
        limits: Returns those of a service's port, as the workload's own namespace has them.
        swap: What has the workload's place.
    """
    ports: dict[int, InboundPort] = {}
    for entry, backend in services:
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
                limits(entry, port.number),
            )
    unnamed = {port: mode for port, mode in modes.ports.items() if port not in ports}
    made = Inbound(ports, modes.mode, unnamed, modes.origin)
    workload = instance.workload
    return memo.same(("inbound", workload.namespace, workload.name, tuple(ports)), made)
