"""Which endpoint of a cluster takes a request (Envoy's load balancers)."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from devmesh.snapshot.cluster import Balancing, Cluster, Endpoint

Key = tuple[str, int]


class State:
    """What one proxy remembers of one cluster: whose turn it is, and what is under way.

    It outlives snapshots: endpoints are known by address and port (`Endpoint.key`).
    """

    __slots__ = ("active", "credit", "ejected", "position")

    def __init__(self) -> None:
        self.position = 0
        self.active: dict[Key, int] = {}
        self.credit: dict[Key, float] = {}
        self.ejected: set[Key] = set()  # by outlier detection

    def begin(self, endpoint: Endpoint) -> None:
        """Count a request, or a connection of TCP, that `endpoint` now has."""
        key = endpoint.key
        self.active[key] = self.active.get(key, 0) + 1

    def end(self, endpoint: Endpoint) -> None:
        """Take back one `begin`."""
        key = endpoint.key
        left = self.active.get(key, 0) - 1
        if left > 0:
            self.active[key] = left
        else:
            self.active.pop(key, None)


def pick(
    cluster: Cluster, state: State, draw: float, *, exclude: Collection[Endpoint] = ()
) -> Endpoint | None:
    """Choose an endpoint; None is "no healthy upstream" (503 UH).

    Args:
        draw: Uniform in [0, 1).
        exclude: Endpoints that this request has tried already; one of them is taken all the same
            where there is no other (Envoy: previous_hosts).
    """
    endpoints: Sequence[Endpoint] = cluster.endpoints
    if state.ejected:
        endpoints = [e for e in endpoints if e.key not in state.ejected]
    if exclude:
        endpoints = [e for e in endpoints if e not in exclude] or endpoints
    if len(endpoints) <= 1:
        return endpoints[0] if endpoints else None
    if not cluster.weighted:
        return _equal(cluster.balancing, endpoints, state, draw)
    return _weighted(cluster.balancing, endpoints, state, draw)


def _equal(balancing: Balancing, endpoints: Sequence[Endpoint], state: State, draw: float) -> Endpoint:
    count = len(endpoints)
    if balancing is Balancing.ROUND_ROBIN:
        state.position = (state.position + 1) % count
        return endpoints[state.position]
    place = draw * count
    first = endpoints[int(place)]
    if balancing is Balancing.RANDOM:
        return first
    # Power of two choices; as in Envoy the second may be the first again, and a tie goes to the first.
    second = endpoints[int((place % 1) * count)]
    active = state.active
    return second if active.get(second.key, 0) < active.get(first.key, 0) else first


def _weighted(balancing: Balancing, endpoints: Sequence[Endpoint], state: State, draw: float) -> Endpoint:
    if balancing is Balancing.ROUND_ROBIN:
        return _in_turn(endpoints, state)
    if balancing is Balancing.RANDOM:
        weights: list[float] = [e.weight for e in endpoints]
    else:
        # Envoy, least request with weights: each weight is divided by what is under way.
        weights = [e.weight / (1 + state.active.get(e.key, 0)) for e in endpoints]
    mark = draw * sum(weights)
    for endpoint, weight in zip(endpoints, weights, strict=True):
        mark -= weight
        if mark < 0:
            return endpoint
    return endpoints[-1]  # rounding


def _in_turn(endpoints: Sequence[Endpoint], state: State) -> Endpoint:
    """Smooth weighted round robin: a weight of 5, 1, 1 gives a a b a c a a."""
    credit = state.credit
    best, total = endpoints[0], 0
    for endpoint in endpoints:
        total += endpoint.weight
        credit[endpoint.key] = credit.get(endpoint.key, 0.0) + endpoint.weight
        if credit[endpoint.key] > credit[best.key]:
            best = endpoint
    credit[best.key] -= total
    return best
