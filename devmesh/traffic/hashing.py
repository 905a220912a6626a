"""Consistent hashing as Envoy does it: the same keys, the same rings and tables, the same endpoints."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import xxhash

from devmesh.snapshot.balancing import Cookie, Group, Hashing
from devmesh.snapshot.cluster import Cluster, Endpoint

_ALL_BITS = 2**64 - 1
_MAX_RING = 8 * 1024 * 1024  # Envoy: maximum_ring_size
QUICK = 8192  # points of a ring that are made in a few milliseconds


def hashed(text: str, seed: int = 0) -> int:
    """Return xxHash64 of the bytes that `text`, of a head, stands for."""
    return xxhash.xxh64_intdigest(text.encode("latin-1", "replace"), seed)


@dataclass(frozen=True, slots=True)
class Table:
    """Where hashes lead, for one priority of a cluster: places among `endpoints`.

    `points` are a ring's, in order; a Maglev table has none.
    """

    endpoints: tuple[Endpoint, ...]
    owners: array[int]
    points: array[int] | None = None

    def find(self, value: int, attempt: int = 0) -> Endpoint | None:
        """Return the endpoint of a hash; later attempts lead to others (Envoy: hostSelectionRetryCount)."""
        owners = self.owners
        if not owners:
            return None
        if self.points is None:
            mixed = value ^ (_ALL_BITS - attempt + 1) if attempt else value
            return self.endpoints[owners[mixed % len(owners)]]
        place = bisect_left(self.points, value)
        return self.endpoints[owners[(place + attempt) % len(owners)]]


@dataclass(frozen=True, slots=True)
class Tables:
    """A table for each priority of a cluster; `signature` tells what they depend on."""

    signature: object
    of: tuple[Table, ...]


def tables(cluster: Cluster) -> Tables:
    """Build the tables of a cluster that hashes."""
    hashing = cluster.hashing
    assert hashing is not None
    build = maglev if hashing.maglev else ring
    return Tables(signature(cluster), tuple(build(shares, hashing.size) for shares in _shares(cluster)))


def signature(cluster: Cluster) -> object:
    """Return what is equal for clusters whose tables are."""
    groups = cluster.groups or (Group(cluster.endpoints),)
    members = [(g.priority, g.weight, tuple((e.key, e.weight) for e in g.endpoints)) for g in groups]
    return cluster.hashing, cluster.by_locality, members


def is_quick(cluster: Cluster) -> bool:
    """Tell whether `tables` takes a few milliseconds only."""
    hashing = cluster.hashing
    return hashing is not None and not hashing.maglev and hashing.size <= QUICK


Shares = Sequence[tuple[Endpoint, float]]


def _shares(cluster: Cluster) -> list[Shares]:
    """Return the endpoints of each priority with their shares of 1: by locality first, where that counts."""
    if not cluster.groups:
        return [_divided(cluster.endpoints, 1.0)]
    found: list[Shares] = []
    for priority in sorted({group.priority for group in cluster.groups}):
        groups = [group for group in cluster.groups if group.priority == priority]
        if cluster.by_locality:
            total = sum(group.weight for group in groups) or 1
            parts = [_divided(g.endpoints, g.weight / total) for g in groups if g.weight]
            found.append([pair for part in parts for pair in part])
        else:
            found.append(_divided([e for g in groups for e in g.endpoints], 1.0))
    return found


def _divided(endpoints: Sequence[Endpoint], whole: float) -> list[tuple[Endpoint, float]]:
    total = sum(endpoint.weight for endpoint in endpoints)
    return [(endpoint, endpoint.weight * whole / total) for endpoint in endpoints]


def name_of(endpoint: Endpoint) -> str:
    """Return what stands for an endpoint in rings and tables: its address with its port."""
    address, port = endpoint.key
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def ring(shares: Shares, size: int) -> Table:
    """Build a ring of at least `size` points, so many for each that the least weight has a whole number."""
    if not shares:
        return Table((), array("I"), array("Q"))
    least = min(share for _, share in shares)
    scale = min(math.ceil(least * size) / least, float(_MAX_RING))
    points: list[tuple[int, int]] = []
    target = 0.0
    for number, (endpoint, share) in enumerate(shares):
        name, count = name_of(endpoint), 0
        target += scale * share
        while len(points) < target:
            points.append((hashed(f"{name}_{count}"), number))
            count += 1
    points.sort()
    endpoints = tuple(endpoint for endpoint, _ in shares)
    return Table(endpoints, array("I", [n for _, n in points]), array("Q", [h for h, _ in points]))


def maglev(shares: Shares, size: int) -> Table:
    """Fill a table of `size` places, a prime: in turn each takes the next free one of its own sequence."""
    if not shares:
        return Table((), array("I"))
    ordered = sorted(shares, key=lambda pair: name_of(pair[0]))
    most = max(share for _, share in ordered)
    takers = [_Taker(name_of(endpoint), size, share) for endpoint, share in ordered]
    owners, free = array("I", bytes(4 * size)), bytearray(b"\x01") * size
    left, iteration = size, 0
    while left:
        iteration += 1
        for number, taker in enumerate(takers):
            if iteration * taker.share < taker.target or not left:
                continue
            taker.target += most
            place, skip = taker.place, taker.skip
            while not free[place]:
                place += skip
                if place >= size:
                    place -= size
            owners[place] = number
            free[place] = 0
            taker.place = (place + skip) % size
            left -= 1
    return Table(tuple(endpoint for endpoint, _ in ordered), owners)


class _Taker:
    __slots__ = ("place", "share", "skip", "target")

    def __init__(self, name: str, size: int, share: float) -> None:
        self.place = hashed(name) % size
        self.skip = hashed(name, 1) % (size - 1) + 1
        self.share = share
        self.target = 0.0


# -- what is hashed --


def key_of(
    hashing: Hashing,
    headers: Mapping[str, str],
    path: str,
    source: str,
    make_cookie: Callable[[Cookie], str],
) -> int | None:
    """Return the hash of a request; None where it has nothing of what is hashed: any endpoint will do.

    Args:
        headers: By lower-case name.
        path: With its query.
        source: The client's address, without its port.
        make_cookie: Returns the value of a cookie for a request that lacks it, and sees to it that the
            client is told.
    """
    if hashing.header:
        value = headers.get(hashing.header)
        return hashed(value) if value is not None else None
    if hashing.cookie is not None:
        value = cookie_value(headers.get("cookie", ""), hashing.cookie.name)
        if not value and hashing.cookie.ttl is not None:
            value = make_cookie(hashing.cookie)
        return hashed(value) if value else None
    if hashing.query:
        value = _parameter(path, hashing.query)
        return hashed(value) if value is not None else None
    return hashed(source) if hashing.source_ip and source else None


def cookie_value(header: str, name: str) -> str:
    """Return the value of a cookie, without the quotes around it; "" where there is none."""
    for part in header.split(";"):
        key, _, value = part.strip().partition("=")
        if key == name:
            return value[1:-1] if len(value) >= 2 and value[0] == value[-1] == '"' else value
    return ""


def cookie_for(remote: str, local: str) -> str:
    """Return the value of a cookie that is made: Envoy hashes both ends of the client's connection."""
    return f"{hashed(remote + local):016x}"


def set_cookie(cookie: Cookie, value: str) -> str:
    """Return the ``set-cookie`` header that tells a client its cookie."""
    text = f'{cookie.name}="{value}"'
    if cookie.ttl:
        text += f"; Max-Age={int(cookie.ttl)}"
    if cookie.path:
        text += f"; Path={cookie.path}"
    for name, given in cookie.attributes:
        text += f"; {name}={given}" if given else f"; {name}"
    return text + "; HttpOnly"


def _parameter(path: str, name: str) -> str | None:
    """Return the first value of a query parameter, as it is written."""
    _, mark, query = path.partition("?")
    for part in query.partition("#")[0].split("&") if mark else ():
        key, _, value = part.partition("=")
        if key == name:
            return value
    return None
