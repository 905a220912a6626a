"""Where the host reaches a gateway's Services: by their node ports, and by a load balancer's address."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_address

from devmesh.config import kinds
from devmesh.config.store import Store, Stored
from devmesh.pilot.registry import Backend, Entry

HOST = "127.0.0.1"


def places(services: Iterable[tuple[Entry, Backend]], store: Store) -> dict[int, tuple[tuple[str, int], ...]]:
    """Return the addresses and ports of the host, all of them loopback, for each port of a gateway's pod.

    Kubernetes: a Service of type NodePort or LoadBalancer has a port on the node, one of type LoadBalancer
    its own ports at the address in its status.
    """
    found: dict[int, list[tuple[str, int]]] = {}
    for entry, backend in services:
        for port in entry.service.ports:
            target = backend.port_of(port)
            if target is not None:
                for place in _places(entry, port.number, store):
                    found.setdefault(target, []).append(place)
    return {target: tuple(dict.fromkeys(at)) for target, at in found.items()}


def _places(entry: Entry, number: int, store: Store) -> Iterator[tuple[str, int]]:
    stored = store.get(kinds.SERVICE, entry.service.namespace, entry.service.name)
    spec = (stored.raw.get("spec") or {}) if stored else {}
    if stored is None or spec.get("type") not in ("NodePort", "LoadBalancer"):
        return
    for port in spec.get("ports") or ():
        if port.get("port") == number and port.get("nodePort"):
            yield HOST, int(port["nodePort"])
    yield from ((ip, number) for ip in external(stored) if ip != HOST)


def external(service: Stored) -> list[str]:
    """Return the loopback addresses of a Service, where it is of type LoadBalancer."""
    if (service.raw.get("spec") or {}).get("type") != "LoadBalancer":
        return []
    balancer = (service.raw.get("status") or {}).get("loadBalancer") or {}
    found = (str(item.get("ip") or "") for item in balancer.get("ingress") or ())
    return [ip for ip in found if ip and ip_address(ip).is_loopback]
