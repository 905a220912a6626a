"""What DNS answers, and what kube-proxy knows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from devmesh.model.port import Protocol
from devmesh.model.service import Service
from devmesh.pilot.registry import Entry


def names(entries: Iterable[Entry]) -> dict[str, tuple[str, ...]]:
    """Return the addresses of each full name, of wildcards (``*.suffix``) too.

    Kubernetes: a Service has its virtual addresses; a headless one those of its ready pods, and each
    pod of a StatefulSet a name below it. A ServiceEntry's host without an address is not in it, so that
    its real ones are looked up outside.
    """
    found: dict[str, tuple[str, ...]] = {}
    for entry in entries:
        if entry.service.addresses:
            found.setdefault(entry.host, entry.service.addresses)
        elif entry.headless:
            found.setdefault(entry.host, tuple(_pod_addresses(entry)))
            found.update(_pods(entry))
    return found


def aliases(entries: Iterable[Entry]) -> dict[str, str]:
    """Return what the ExternalName Services stand for (CNAME records)."""
    return {entry.host: entry.external_name for entry in entries if entry.external_name}


def _pod_addresses(entry: Entry) -> Iterator[str]:
    # One family, as of a Kubernetes Service that doesn't ask for two: many programs listen on IPv4 alone, and
    # a captured connection is accepted whatever they listen on, so that clients would not try the other.
    for backend in entry.backends:
        yield from backend.instance.addresses[:1] if backend.instance else (backend.address,)


def _pods(entry: Entry) -> Iterator[tuple[str, tuple[str, ...]]]:
    for backend in entry.backends:
        instance = backend.instance
        if instance is not None and instance.workload.kind == "StatefulSet":
            yield f"{instance.pod}.{entry.host}", instance.addresses[:1]


def backends(entries: Iterable[Entry]) -> dict[tuple[str, int], tuple[tuple[str, int], ...]]:
    """Return the ready endpoints behind each virtual address and port of Kubernetes' Services."""
    found: dict[tuple[str, int], tuple[tuple[str, int], ...]] = {}
    for entry in entries:
        if not entry.kubernetes:
            continue
        for port in entry.service.ports:
            if port.protocol is Protocol.UDP:
                continue
            behind = tuple((e.address, e.port) for e, _ in entry.endpoints.get(port.number, ()))
            for address in entry.service.addresses:
                found[address, port.number] = behind
    return found


def datagrams(entries: Iterable[Entry]) -> dict[tuple[str, int], tuple[tuple[str, int], ...]]:
    """Return the ready endpoints behind each virtual address and UDP port of Kubernetes' Services."""
    found: dict[tuple[str, int], tuple[tuple[str, int], ...]] = {}
    for entry in entries:
        for port in entry.service.ports if entry.kubernetes else ():
            if port.protocol is Protocol.UDP:
                numbers = ((backend.address, backend.port_of(port)) for backend in entry.backends)
                behind = tuple((address, number) for address, number in numbers if number is not None)
                found |= dict.fromkeys(
                    ((address, port.number) for address in entry.service.addresses), behind
                )
    return found


def services(entries: Iterable[Entry]) -> Mapping[str, Service]:
    """Return the services by host; of two with one host the registry's first."""
    found: dict[str, Service] = {}
    for entry in entries:
        found.setdefault(entry.host, entry.service)
    return found
