"""What kube-proxy does: a Service's address leads to one of its ready endpoints, by rules alone."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from devmesh.runtime.network import nftables
from devmesh.runtime.network.netlink import Message
from devmesh.runtime.network.rules import TABLE, map_of

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Targets = tuple[tuple[str, int], ...]
Table = Mapping[tuple[str, int], Targets]
"""The endpoints behind each virtual address and port, of one protocol."""


class Frontend(NamedTuple):
    """A virtual address and port. `protocol` is the IP protocol's number."""

    address: str
    port: int
    protocol: int = nftables.TCP


Backends = Mapping[Frontend, Targets]


def of_both(tcp: Table, udp: Table) -> Backends:
    """Return the endpoints of TCP and of UDP together."""
    found = {Frontend(address, port): targets for (address, port), targets in tcp.items()}
    for (address, port), targets in udp.items():
        found[Frontend(address, port, nftables.UDP)] = targets
    return found


def steps(old: Backends, new: Backends, size: int = 200) -> Iterator[Backends]:
    """Yield tables that lead from `old` to `new`, none with more than `size` changes to the one before it.

    A batch has to fit into a socket's buffer (208 KiB by default), and the kernel stops the namespace's
    traffic while it carries one out.
    """
    new = {frontend: targets for frontend, targets in new.items() if _parse(frontend.address) is not None}
    different = [frontend for frontend in {**old, **new} if old.get(frontend) != new.get(frontend)]
    for start in range(0, len(different), size):
        table = dict(old)
        for frontend in different[start : start + size]:
            if frontend in new:
                table[frontend] = new[frontend]
            else:
                del table[frontend]
        old = table
        yield table


def changes(old: Backends, new: Backends) -> list[Message]:
    """Return the messages (of one batch) that make a table that stands for `old` stand for `new`.

    What is the same costs nothing. A Service without a ready endpoint refuses connections, as with
    kube-proxy; endpoints of the other IP version, or without an IP address, are passed over.
    """
    messages: list[Message] = []
    for frontend in old.keys() - new.keys():
        messages += _remove(frontend)
    for frontend, targets in new.items():
        if frontend not in old:
            messages += [_chain(frontend), *_send(frontend, targets, len(messages)), _enter(frontend)]
        elif old[frontend] != targets:
            flush = nftables.flush_chain(TABLE, _name(frontend))
            messages += [flush, *_send(frontend, targets, len(messages))]
    return messages


def _name(frontend: Frontend) -> str:
    protocol = "/udp" if frontend.protocol == nftables.UDP else ""
    return f"{frontend.address}/{frontend.port}{protocol}"


def _chain(frontend: Frontend) -> Message:
    return nftables.add_chain(TABLE, _name(frontend))


def _enter(frontend: Frontend) -> Message:
    address = ipaddress.ip_address(frontend.address)
    known = map_of(frontend.protocol, address.version)
    return nftables.add_target(TABLE, known, address, frontend.port, _name(frontend))


def _send(frontend: Frontend, targets: tuple[tuple[str, int], ...], position: int) -> list[Message]:
    version = ipaddress.ip_address(frontend.address).version
    parsed = [(_parse(address), port) for address, port in targets]
    usable = [(address, port) for address, port in parsed if address and address.version == version]
    if not usable:
        return [nftables.add_rule(TABLE, _name(frontend), nftables.refuse())]
    return nftables.send_to_one_of(TABLE, _name(frontend), usable, set_id=position + 1)


def _parse(address: str) -> Address | None:
    """Read an address; None where it is a name: whoever wrote the Endpoints is told of that elsewhere."""
    try:
        return ipaddress.ip_address(address)
    except ValueError:
        return None


def _remove(frontend: Frontend) -> list[Message]:
    address = ipaddress.ip_address(frontend.address)
    return [
        nftables.delete_target(TABLE, map_of(frontend.protocol, address.version), address, frontend.port),
        nftables.flush_chain(TABLE, _name(frontend)),
        nftables.delete_chain(TABLE, _name(frontend)),
    ]
