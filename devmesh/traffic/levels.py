"""How much of a cluster's load goes to each priority, and which endpoints there can take it (Envoy).

A priority takes its whole load as long as 1/1.4 of its endpoints are healthy; what it can't take spills
over to the next. Below the panic threshold its ejected endpoints are used as well.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from devmesh.snapshot.balancing import Group
from devmesh.snapshot.cluster import Cluster, Endpoint

Key = tuple[str, int]

OVERPROVISIONING = 140  # percent; Envoy: overprovisioning_factor


class Turn:
    """Whose turn it is among some endpoints."""

    __slots__ = ("position",)

    def __init__(self) -> None:
        self.position = 0


@dataclass(frozen=True, slots=True)
class Place:
    """The endpoints of a locality that can be used; `weight` falls with their health."""

    endpoints: tuple[Endpoint, ...]
    weight: float
    turn: Turn


@dataclass(frozen=True, slots=True)
class Level:
    """One priority: `load` is its percentage of the whole. Without `places` its endpoints are equal."""

    load: int
    endpoints: tuple[Endpoint, ...]
    places: tuple[Place, ...]
    credit: list[float]  # of the places, in turn by weight
    turn: Turn
    panic: bool


def levels(cluster: Cluster, ejected: Collection[Key]) -> tuple[Level, ...]:
    """Return the priorities of `cluster`, from the highest, with `ejected` left out."""
    by_priority = _groups(cluster)
    everyone = [_members(groups) for groups in by_priority]
    healthy = [tuple(e for e in members if e.key not in ejected) for members in everyone]
    threshold = cluster.outlier.min_health_percent if cluster.outlier is not None else 0
    health = [
        min(100, OVERPROVISIONING * len(well) // len(members)) if members else 0
        for well, members in zip(healthy, everyone, strict=True)
    ]
    total = min(100, sum(health))
    panics = [
        total < 100 and 100 * len(well) < threshold * max(len(members), 1)
        for well, members in zip(healthy, everyone, strict=True)
    ]
    if all(panics):
        load = _loads([len(members) for members in everyone], sum(map(len, everyone)))
    else:
        load = _loads(health, total)
    return tuple(
        _level(cluster, load[n], groups, everyone[n] if panics[n] else healthy[n], ejected, panic=panics[n])
        for n, groups in enumerate(by_priority)
    )


def choose(every: Sequence[Level], percentile: int) -> Level:
    """Return the level that takes a request; `percentile` is 1 to 100."""
    for level in every:
        percentile -= level.load
        if percentile <= 0:
            return level
    return every[0]


def _groups(cluster: Cluster) -> list[list[Group]]:
    if not cluster.groups:
        return [[Group(cluster.endpoints)]]
    found: dict[int, list[Group]] = {}
    for group in cluster.groups:
        found.setdefault(group.priority, []).append(group)
    return [found[priority] for priority in sorted(found)]


def _members(groups: Sequence[Group]) -> tuple[Endpoint, ...]:
    return tuple(endpoint for group in groups for endpoint in group.endpoints)


def _loads(availability: Sequence[int], whole: int) -> list[int]:
    """Divide 100 percent: as much as possible to those in front, what rounding leaves to the first."""
    if not whole:
        return [100, *(0 for _ in availability[1:])]
    left, loads = 100, []
    for part in availability:
        loads.append(min(left, part * 100 // whole))
        left -= loads[-1]
    loads[next(n for n, part in enumerate(availability) if part)] += left
    return loads


def _level(
    cluster: Cluster,
    load: int,
    groups: Sequence[Group],
    usable: tuple[Endpoint, ...],
    ejected: Collection[Key],
    *,
    panic: bool,
) -> Level:
    """Envoy: in panic localities make no difference."""
    places: tuple[Place, ...] = ()
    if cluster.by_locality and not panic:
        places = tuple(place for group in groups if (place := _place(group, ejected)) is not None)
    return Level(load, usable, places, [0.0] * len(places), Turn(), panic)


def _place(group: Group, ejected: Collection[Key]) -> Place | None:
    usable = tuple(e for e in group.endpoints if e.key not in ejected)
    if not usable or not group.weight:
        return None
    health = min(1.0, OVERPROVISIONING / 100 * len(usable) / len(group.endpoints))
    return Place(usable, group.weight * health, Turn())
