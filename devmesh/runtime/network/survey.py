"""What a namespace that somebody else made looks like, and what it lacks."""

from __future__ import annotations

import errno
import ipaddress
from collections.abc import Sequence

from devmesh.runtime.network import links
from devmesh.runtime.network.hub import INBOUND_SOURCE_V6, has_ipv6, open_links, wait_for_address
from devmesh.runtime.network.namespaces import Namespaces
from devmesh.runtime.network.netlink import Message, Netlink
from devmesh.runtime.network.selection import Network


def survey(
    namespaces: Namespaces, netns: int, virtual: Sequence[Network], *, meshed: bool
) -> tuple[str, ...]:
    """Return the addresses of a container, IPv4 first, and add what is needed there.

    That is the address that last hops come from by IPv6, and a route to `virtual`: a connection has to
    find one before the rules see it (Docker's ``internal`` networks have no default route), and takes its
    segment size from it. Outside the mesh, where it is really taken after translation, a default does.

    Raises:
        OSError: The namespace is gone.
    """
    with open_links(namespaces, netns) as inside:
        own = [
            (index, address)
            for index, address in links.link_addresses(inside.request([links.list_addresses()]))
            if index != links.LOOPBACK and not ipaddress.ip_address(address).is_link_local
        ]
        if has_ipv6(namespaces, netns):
            _add(inside, links.add_address(links.LOOPBACK, INBOUND_SOURCE_V6))
            wait_for_address(inside, str(INBOUND_SOURCE_V6.ip))
        for network in virtual:
            version = network.version
            outward = [index for index, address in own if ipaddress.ip_address(address).version == version]
            if outward and meshed:
                _add(inside, links.add_route(network, outward[0], is_virtual=True))
            elif outward:
                _ensure_route(inside, network, outward[0])
    return tuple(sorted((address for _, address in own), key=lambda address: ":" in address))


def _ensure_route(inside: Netlink, network: Network, index: int) -> None:
    try:
        inside.request([links.get_route(str(network[1]))])
    except OSError as error:
        if error.errno not in (errno.ENETUNREACH, errno.EHOSTUNREACH):
            raise
        _add(inside, links.add_route(network, index))


def _add(inside: Netlink, message: Message) -> None:
    """Have something added, unless it is there."""
    try:
        inside.request([message])
    except OSError as error:
        if error.errno != errno.EEXIST:
            raise
