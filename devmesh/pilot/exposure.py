"""Where the host reaches a gateway's Services: by their node ports, and by a load balancer's address."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_address

from devmesh.config import kinds
from devmesh.config.store import Store
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
    if spec.get("type") == "LoadBalancer":
        yield from ((ip, number) for ip in external(stored.raw.get("status") or {}) if ip != HOST)


def external(status: dict[str, object]) -> list[str]:
    """Return a load balancer's loopback addresses."""
    balancer = status.get("loadBalancer")
    ingress = balancer.get("ingress") or () if isinstance(balancer, dict) else ()
    found = (str(item.get("ip") or "") for item in ingress)
    return [ip for ip in found if ip and ip_address(ip).is_loopback]
