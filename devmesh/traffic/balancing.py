"""Which endpoint of a cluster takes a request (Envoy's load balancers)."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Sequence

from devmesh.snapshot.cluster import Balancing, Cluster, Endpoint
from devmesh.traffic import hashing
from devmesh.traffic.levels import Level, Turn, choose, levels

Key = tuple[str, int]
NOWHERE = hashing.Table((), array("I"))
_MOST_ATTEMPTS = 64  # along a ring, past endpoints that are left out


class State:
    """What one proxy remembers of one cluster: whose turn it is, and what is under way.

    It outlives snapshots: endpoints are known by address and port (`Endpoint.key`).

    Attributes:
        ejected: By outlier detection; call `changed` after changing it.
        panics: How often an ejected endpoint was allowed, since too few are healthy.
    """

    __slots__ = (
        "_born", "_levels", "_of", "_tables", "_tables_of",
        "active", "by_key", "credit", "ejected", "panics", "position",
    )  # fmt: skip

    def __init__(self) -> None:
        self.position = 0
        self.active: dict[Key, int] = {}
        self.credit: dict[Key, float] = {}
        self.ejected: set[Key] = set()
        self.panics = 0
        self._of: Cluster | None = None
        self._levels: tuple[Level, ...] = ()
        self._tables: hashing.Tables | None = None
        self._tables_of: Cluster | None = None
        self.by_key: dict[Key, Endpoint] = {}  # while there are tables
        self._born: dict[Key, float] = {}

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

    def changed(self) -> None:
        """Work out anew what depends on which endpoints are left out."""
        self._of = None

    def levels(self, cluster: Cluster) -> tuple[Level, ...]:
        if cluster is not self._of:
            self._of = cluster
            self._levels = levels(cluster, self.ejected)
        return self._levels

    # -- hashing --

    def needs_tables(self, cluster: Cluster) -> bool:
        """Tell whether tables for `cluster` have to be made aside: it takes long.

        Until `keep` brings them those there are serve on; a first request has to wait.
        """
        if cluster.hashing is None or cluster is self._tables_of or hashing.is_quick(cluster):
            return False
        if self._tables is not None and self._tables.signature == hashing.signature(cluster):
            self._use_tables(self._tables, cluster)
            return False
        return True

    @property
    def has_tables(self) -> bool:
        return self._tables is not None

    def keep(self, tables: hashing.Tables) -> None:
        """Use `tables`, which were made aside, from now on."""
        self._tables, self._tables_of = tables, None

    def tables(self, cluster: Cluster) -> tuple[hashing.Table, ...]:
        """Return the tables for `cluster`; made at once, where none are there or it is quick."""
        if cluster is not self._tables_of:
            tables = self._tables
            if tables is None or (
                hashing.is_quick(cluster) and tables.signature != hashing.signature(cluster)
            ):
                tables = hashing.tables(cluster)
            self._use_tables(tables, cluster)
        assert self._tables is not None
        return self._tables.of

    def _use_tables(self, tables: hashing.Tables, cluster: Cluster) -> None:
        self._tables, self._tables_of = tables, cluster
        self.by_key = {endpoint.key: endpoint for endpoint in cluster.endpoints}

    # -- warm-up --

    def meet(self, cluster: Cluster, now: float) -> None:
        """Note when each endpoint was first seen: its warm-up begins then."""
        born = self._born
        self._born = {e.key: born.get(e.key, now) for e in cluster.endpoints}

    def warmth(self, cluster: Cluster, now: float) -> Callable[[Endpoint], float] | None:
        """Return the share of its weight that each endpoint has already; None: all have the whole."""
        warm_up, born = cluster.warm_up, self._born
        if warm_up is None or not born or now - max(born.values()) >= warm_up.duration:
            return None
        duration, least, power = warm_up.duration, warm_up.minimum, 1.0 / warm_up.aggression

        def share(endpoint: Endpoint) -> float:
            age = now - born.get(endpoint.key, now)
            if age >= duration:
                return 1.0
            grown: float = (max(age, 0.001) / duration) ** power  # Envoy reckons in milliseconds
            return max(least, grown)

        return share


def pick(
    cluster: Cluster,
    state: State,
    draw: float,
    *,
    exclude: Collection[Endpoint] = (),
    key: int | None = None,
    now: float = 0.0,
) -> Endpoint | None:
    """Choose an endpoint; None is "no healthy upstream" (503 UH).

    Args:
        draw: Uniform in [0, 1).
        exclude: Endpoints that this request has tried already; one of them is taken all the same
            where there is no other (Envoy: previous_hosts).
        key: The request's hash, for clusters that hash; None: it has none.
        now: Seconds; matters to warm-up alone.
    """
    endpoints: Sequence[Endpoint] = cluster.endpoints
    if cluster.plain and not state.ejected:
        turn: State | Turn = state
    elif cluster.hashing is not None:
        return _by_hash(cluster, state, int(draw * 2**64) if key is None else key, exclude)
    else:
        endpoints, draw, turn = _at_level(cluster, state, draw)
    if exclude:
        endpoints = [e for e in endpoints if e not in exclude] or endpoints
    if len(endpoints) <= 1:
        return endpoints[0] if endpoints else None
    warmth = state.warmth(cluster, now) if cluster.warm_up is not None else None
    if not cluster.weighted and warmth is None:
        return _equal(cluster.balancing, endpoints, state, draw, turn)
    return _weighted(cluster.balancing, endpoints, state, draw, warmth or _whole)


def _at_level(cluster: Cluster, state: State, draw: float) -> tuple[Sequence[Endpoint], float, Turn]:
    """Return the endpoints of one priority, or of one locality there, what is left of `draw`, and their
    turn."""
    every = state.levels(cluster)
    level = every[0]
    if len(every) > 1:
        draw *= 100
        level = choose(every, int(draw) + 1)
        draw %= 1
    if level.panic:
        state.panics += 1
    if not level.places:
        return level.endpoints, draw, level.turn
    place = level.places[_in_credit(level.credit, [place.weight for place in level.places])]
    return place.endpoints, draw, place.turn


def _by_hash(cluster: Cluster, state: State, value: int, exclude: Collection[Endpoint]) -> Endpoint | None:
    """Envoy: the priority, too, follows from the hash. Who is left out passes its keys to those that come
    next on the ring; the keys of the others stay. A retry goes on along the ring in the same way."""
    tables, every = state.tables(cluster), state.levels(cluster)
    number = 0
    if len(every) > 1:
        number = every.index(choose(every, value % 100 + 1))
    level = every[number]
    if not level.endpoints:
        return None
    if level.panic:
        state.panics += 1
    ejected: Collection[Key] = () if level.panic else state.ejected
    table, known = tables[min(number, len(tables) - 1)] if tables else NOWHERE, state.by_key
    again: Endpoint | None = None
    for attempt in range(_MOST_ATTEMPTS):
        found = table.find(value, attempt)
        if found is None:
            break
        if found.key not in ejected and found.key in known:
            endpoint = known[found.key]
            if endpoint not in exclude:
                return endpoint
            again = again or endpoint
    return again or level.endpoints[value % len(level.endpoints)]


def _equal(
    balancing: Balancing, endpoints: Sequence[Endpoint], state: State, draw: float, turn: State | Turn
) -> Endpoint:
    count = len(endpoints)
    if balancing is Balancing.ROUND_ROBIN:
        turn.position = (turn.position + 1) % count
        return endpoints[turn.position]
    place = draw * count
    first = endpoints[int(place)]
    if balancing is Balancing.RANDOM:
        return first
    # Power of two choices; as in Envoy the second may be the first again, and a tie goes to the first.
    second = endpoints[int((place % 1) * count)]
    active = state.active
    return second if active.get(second.key, 0) < active.get(first.key, 0) else first


def _weighted(
    balancing: Balancing,
    endpoints: Sequence[Endpoint],
    state: State,
    draw: float,
    warmth: Callable[[Endpoint], float],
) -> Endpoint:
    weights: list[float]
    if balancing is Balancing.ROUND_ROBIN:
        return _in_turn(endpoints, state, [e.weight * warmth(e) for e in endpoints])
    if balancing is Balancing.RANDOM:
        weights = [e.weight for e in endpoints]
    else:
        # Envoy, least request with weights: each weight is divided by what is under way.
        weights = [e.weight * warmth(e) / (1 + state.active.get(e.key, 0)) for e in endpoints]
    mark = draw * sum(weights)
    for endpoint, weight in zip(endpoints, weights, strict=True):
        mark -= weight
        if mark < 0:
            return endpoint
    return endpoints[-1]  # rounding


def _in_turn(endpoints: Sequence[Endpoint], state: State, weights: Sequence[float]) -> Endpoint:
    """Smooth weighted round robin: a weight of 5, 1, 1 gives a a b a c a a."""
    known = state.credit
    credit = [known.get(endpoint.key, 0.0) for endpoint in endpoints]
    best = _in_credit(credit, weights)
    for endpoint, value in zip(endpoints, credit, strict=True):
        known[endpoint.key] = value
    return endpoints[best]


def _in_credit(credit: list[float], weights: Sequence[float]) -> int:
    """Give to each what its weight is, and take the whole from who has most: its turn."""
    best = 0
    for place, weight in enumerate(weights):
        credit[place] += weight
        if credit[place] > credit[best]:
            best = place
    credit[best] -= sum(weights)
    return best


def _whole(endpoint: Endpoint) -> float:
    return 1.0
