"""Which of a listener's filter chains takes a connection: by the address dialled and the name asked for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from devmesh.snapshot.proxy import ServerTls, TcpRoute

Rank = tuple[int, int]
"""How specific a match is: bits of the subnet, then characters of the name; the highest one wins."""

_EXACT = 1 << 16


def name_rank(patterns: Sequence[str], name: str) -> int | None:
    """Return how well the best of `patterns` fits a server name; None: none does.

    Envoy: an exact name beats every wildcard, the longer wildcard the shorter; ``*``, and no pattern, is
    everything, a connection that asks for no name too. Names are in lower case.
    """
    if not patterns:
        return 0
    best = None
    for pattern in patterns:
        if pattern == "*":
            rank = 0
        elif pattern == name:
            rank = _EXACT
        elif pattern.startswith("*") and len(name) > len(pattern) - 1 and name.endswith(pattern[1:]):
            rank = len(pattern)
        else:
            continue
        if best is None or rank > best:
            best = rank
    return best


def subnet_rank(subnets: Sequence[str], address: str) -> int | None:
    """Return the length of the longest of `subnets` that holds an address; None: none does.

    No subnets hold every address, and less well than any subnet.
    """
    if not subnets:
        return -1
    try:
        found = ip_address(address)
    except ValueError:  # nothing is known of it
        return None
    lengths = [net.prefixlen for net in map(_network, subnets) if found in net]
    return max(lengths, default=None)


@lru_cache(maxsize=1024)
def _network(text: str) -> IPv4Network | IPv6Network:
    return ip_network(text, strict=False)


def best_route(
    routes: tuple[TcpRoute, ...], name: str, address: str = "", *, is_mesh: bool = False
) -> TcpRoute | None:
    """Return the route that fits a connection best, of equals the first; None: none does.

    Envoy: the address is looked at before the name.

    Args:
        name: The server that TLS asks for, in lower case; "" for none.
        address: Where the client meant to go; "" where that is nothing to go by.
        is_mesh: The client offers to speak as those of the mesh do.
    """
    best: TcpRoute | None = None
    highest: Rank = (-2, -1)
    for route in routes:
        if route.mesh_only and not is_mesh:
            continue
        by_address, by_name = subnet_rank(route.subnets, address), name_rank(route.sni, name)
        if by_address is not None and by_name is not None and (by_address, by_name) > highest:
            best, highest = route, (by_address, by_name)
    return best


def best_server(servers: tuple[ServerTls, ...], name: str) -> ServerTls | None:
    """Return the server whose hosts fit the name asked for best, of equals the first; None: none does."""
    best: ServerTls | None = None
    highest = -1
    for server in servers:
        found = name_rank(server.hosts, name)
        if found is not None and found > highest:
            best, highest = server, found
    return best
