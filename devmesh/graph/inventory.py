"""What the snapshot says of workloads and services: the nodes that are there before any traffic."""

from __future__ import annotations

from dataclasses import dataclass

from devmesh.graph.topology import NodeKind
from devmesh.model.workload import UNKNOWN, Workload
from devmesh.snapshot.snapshot import Snapshot

Name = tuple[str, str]  # (namespace, workload)


@dataclass(slots=True)
class Kept:
    """One workload of the snapshot."""

    workload: Workload
    kind: NodeKind
    service: str | None
    ready: int = 0
    replicas: int = 0
    meshed: bool = False


@dataclass(frozen=True, slots=True)
class Inventory:
    """Workloads by name, and which hosts are Services inside the mesh (`hosts`) or outside (`external`)."""

    version: int
    workloads: dict[Name, Kept]
    hosts: frozenset[str]
    external: frozenset[str]

    @classmethod
    def of(cls, snapshot: Snapshot) -> Inventory:
        workloads: dict[Name, Kept] = {}
        for instance in snapshot.instances.values():
            workload = instance.workload
            kept = workloads.get((workload.namespace, workload.name))
            if kept is None:
                kind: NodeKind = "gateway" if instance.gateway else "workload"
                kept = Kept(workload, kind, _service_of(snapshot, workload))
                workloads[workload.namespace, workload.name] = kept
            kept.replicas += 1
            kept.ready += instance.ready
            kept.meshed = kept.meshed or instance.meshed
        services = snapshot.services.values()
        return cls(
            snapshot.version,
            workloads,
            frozenset(service.host for service in services if not service.external),
            frozenset(service.host for service in services if service.external),
        )


def known(name: str) -> str:
    """Return a label's value, "" for the word that metrics print in its place."""
    return "" if name == UNKNOWN else name


def _service_of(snapshot: Snapshot, workload: Workload) -> str | None:
    """Return the name of the Service that selects `workload`; of several the first by name."""
    names = [
        service.name
        for service in snapshot.services.values()
        if service.selector
        and service.namespace == workload.namespace
        and all(workload.labels.get(key) == value for key, value in service.selector.items())
    ]
    return min(names, default=None)
