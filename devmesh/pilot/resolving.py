"""Names behind services that DNS finds: which have to be looked up, and what was found for them.

Looking up is somebody else's (``runtime/dns/watching.py``): a compile says what it wants to know, and takes
what is known by then. A name of which nothing is known yet stays a name; whoever connects looks it up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from ipaddress import ip_address

from devmesh.model.service import Resolution
from devmesh.pilot.registry import Backend, Entry

Resolved = Mapping[str, tuple[str, ...]]
"""Addresses by name; none where a name has none."""

_BY_DNS = (Resolution.DNS, Resolution.DNS_ROUND_ROBIN)
# Names of this machine, which it does not know itself, or which mean the pod's own loopback.
_OURS = ("localhost", "host.docker.internal", "host.containers.internal")


def wanted(entries: Iterable[Entry], domain: str) -> frozenset[str]:
    """Return the names whose addresses a compile wants to know; the mesh's own are not among them."""
    return frozenset(
        backend.address
        for entry in entries
        if entry.service.resolution in _BY_DNS
        for backend in entry.members
        if _is_looked_up(backend.address, domain)
    )


def expanded(entry: Entry, resolved: Resolved) -> Entry:
    """Return `entry` with one backend for each address of a name.

    Envoy: STRICT_DNS balances over all addresses, LOGICAL_DNS (DNS_ROUND_ROBIN) connects to the first.
    """
    if entry.service.resolution not in _BY_DNS or not any(b.address in resolved for b in entry.backends):
        return entry
    first_alone = entry.service.resolution is Resolution.DNS_ROUND_ROBIN
    return replace(entry, backends=tuple(_expanded(entry.backends, resolved, first_alone)))


def _expanded(backends: Iterable[Backend], resolved: Resolved, first_alone: bool) -> Iterator[Backend]:
    for backend in backends:
        found = resolved.get(backend.address)
        if found is None:
            yield backend
            continue
        for address in found[:1] if first_alone else found:
            yield replace(backend, address=address, name=backend.address)


def _is_looked_up(address: str, domain: str) -> bool:
    if "/" in address or address in _OURS or address.endswith((".localhost", f".svc.{domain}")):
        return False
    try:
        ip_address(address)
    except ValueError:
        return True
    return False
