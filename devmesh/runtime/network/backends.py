"""What kube-proxy does: a Service's address leads to one of its ready endpoints, by rules alone."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping

from devmesh.runtime.network import nftables
from devmesh.runtime.network.netlink import Message
from devmesh.runtime.network.rules import SERVICES_V4, SERVICES_V6, TABLE

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Frontend = tuple[str, int]
Backends = Mapping[Frontend, tuple[tuple[str, int], ...]]


def steps(old: Backends, new: Backends, size: int = 200) -> Iterator[Backends]:
    """Yield tables that lead from `old` to `new`, none with more than `size` changes to the one before it.

    A batch has to fit into a socket's buffer (208 KiB by default), and the kernel stops the namespace's
    traffic while it carries one out.
    """
    new = {frontend: targets for frontend, targets in new.items() if _parse(frontend[0]) is not None}
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
    return f"{frontend[0]}/{frontend[1]}"


def _map(address: Address) -> str:
    return SERVICES_V4 if address.version == 4 else SERVICES_V6


def _chain(frontend: Frontend) -> Message:
    return nftables.add_chain(TABLE, _name(frontend))


def _enter(frontend: Frontend) -> Message:
    address = ipaddress.ip_address(frontend[0])
    return nftables.add_target(TABLE, _map(address), address, frontend[1], _name(frontend))


def _send(frontend: Frontend, targets: tuple[tuple[str, int], ...], position: int) -> list[Message]:
    version = ipaddress.ip_address(frontend[0]).version
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
    address = ipaddress.ip_address(frontend[0])
    return [
        nftables.delete_target(TABLE, _map(address), address, frontend[1]),
        nftables.flush_chain(TABLE, _name(frontend)),
        nftables.delete_chain(TABLE, _name(frontend)),
    ]
