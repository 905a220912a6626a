"""Priorities, their loads and panic, with Envoy's documented numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devmesh.snapshot.balancing import Group
from devmesh.snapshot.cluster import Cluster, Endpoint, OutlierDetection, ServiceRef
from devmesh.traffic.levels import choose, levels


def endpoints(priority: int, count: int) -> tuple[Endpoint, ...]:
    return tuple(Endpoint(f"10.{priority}.0.{n}", 80) for n in range(count))


def cluster(*sizes: int, panic: int = 0, by_locality: bool = False) -> Cluster:
    groups = tuple(Group(endpoints(n, size), n, max(size, 1)) for n, size in enumerate(sizes))
    everyone = tuple(e for group in groups for e in group.endpoints)
    outlier = OutlierDetection(min_health_percent=panic)
    ref = ServiceRef("c", "c", "default")
    return Cluster("c", ref, 80, endpoints=everyone, groups=groups, outlier=outlier, by_locality=by_locality)


def loads(made: Cluster, *ill: int) -> list[int]:
    gone = {e.key for group, n in zip(made.groups, ill, strict=True) for e in group.endpoints[:n]}
    return [level.load for level in levels(made, gone)]


# Envoy's documentation, "Priority levels": health of P=0, its load, that of P=1 (100 endpoints each).
@pytest.mark.parametrize(
    ("healthy", "first", "second"),
    [(100, 100, 0), (72, 100, 0), (71, 99, 1), (50, 70, 30), (25, 35, 65), (0, 0, 100)],
)
def test_what_a_priority_cannot_take_spills_over(healthy: int, first: int, second: int) -> None:
    assert loads(cluster(100, 100), 100 - healthy, 0) == [first, second]


@pytest.mark.parametrize(
    ("healthy", "expected"), [((25, 25), [50, 50]), ((5, 65), [7, 93]), ((20, 25), [45, 55])]
)
def test_loads_are_scaled_where_all_together_cannot_take_it(
    healthy: tuple[int, int], expected: list[int]
) -> None:
    found = loads(cluster(100, 100), *(100 - n for n in healthy))
    assert sum(found) == 100
    assert found == pytest.approx(expected, abs=1)


def test_with_nobody_healthy_the_first_gets_all_and_has_nobody() -> None:
    every = levels(cluster(2, 2), {e.key for e in cluster(2, 2).endpoints})
    assert [level.load for level in every] == [100, 0]
    assert every[0].endpoints == ()


def test_below_the_threshold_everybody_is_used() -> None:
    made = cluster(10, panic=50)
    few = {e.key for e in made.endpoints[:6]}
    (level,) = levels(made, few)
    assert level.panic
    assert len(level.endpoints) == 10
    (level,) = levels(made, {e.key for e in made.endpoints[:5]})
    assert not level.panic
    assert len(level.endpoints) == 5


def test_there_is_no_panic_while_others_can_take_the_load() -> None:
    made = cluster(10, 10, panic=50)
    every = levels(made, {e.key for e in made.groups[0].endpoints[:9]})
    assert not any(level.panic for level in every)
    assert [level.load for level in every] == [14, 86]


def test_in_total_panic_loads_go_by_numbers() -> None:
    made = cluster(30, 10, panic=50)
    gone = {e.key for e in (*made.groups[0].endpoints[:25], *made.groups[1].endpoints[:8])}
    assert [level.load for level in levels(made, gone)] == [75, 25]


def test_a_localitys_weight_falls_with_its_health() -> None:
    made = cluster(10, by_locality=True)
    (place,) = levels(made, {e.key for e in made.endpoints[:5]})[0].places
    assert place.weight == pytest.approx(7)


@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=5),
    st.sampled_from([0, 30, 50, 100]),
)
def test_loads_always_add_up(sizes: list[tuple[int, int]], panic: int) -> None:
    made = cluster(*(size for size, _ in sizes), panic=panic)
    every = loads(made, *(min(size, ill) for size, ill in sizes))
    assert sum(every) == 100
    assert all(load >= 0 for load in every)


@given(st.lists(st.integers(1, 6), min_size=2, max_size=4), st.integers(1, 100))
def test_the_choice_follows_the_loads(sizes: list[int], percentile: int) -> None:
    every = levels(cluster(*sizes), {e.key for e in endpoints(0, sizes[0])[: sizes[0] // 2]})
    chosen = every.index(choose(every, percentile))
    before = sum(level.load for level in every[:chosen])
    assert before < percentile <= before + every[chosen].load
