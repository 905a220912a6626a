"""Groups of endpoints by place: what holds whatever the places are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from devmesh.config.documents.destinationrule import (
    LocalityDistribute,
    LocalityFailover,
    LocalityLoadBalancerSetting,
)
from devmesh.pilot.localities import REGION, ZONE, Setting, covers, grouped
from devmesh.pilot.visibility import Place
from devmesh.snapshot.balancing import Group
from devmesh.snapshot.cluster import Endpoint

PARTS = st.sampled_from(["a", "b", "c"])
LOCALITIES = st.one_of(
    st.just(""), PARTS, st.tuples(PARTS, PARTS).map("/".join), st.tuples(PARTS, PARTS, PARTS).map("/".join)
)
MEMBERS = st.lists(LOCALITIES, min_size=1, max_size=8)


def labelled(localities: list[str]) -> tuple[tuple[Endpoint, dict[str, str]], ...]:
    return tuple((Endpoint(f"10.0.0.{n}", 80, locality=where), {}) for n, where in enumerate(localities))


def groups_of(localities: list[str], client: str, **written: object) -> tuple[Group, ...]:
    setting = Setting(LocalityLoadBalancerSetting(**written))  # type: ignore[arg-type]
    labels = tuple(zip((REGION, ZONE), [*client.split("/"), "", ""], strict=False))
    found, _ = grouped(labelled(localities), setting, Place(client, labels), ejects=True)
    return found


def priority_of(groups: tuple[Group, ...]) -> dict[str, int]:
    return {e.address: group.priority for group in groups for e in group.endpoints}


def common(one: str, other: str) -> int:
    """Return how many parts two places share from the first on."""
    mine, theirs = [*one.split("/"), "", ""][:3], [*other.split("/"), "", ""][:3]
    return next((n for n in range(3) if mine[n] != theirs[n]), 3)


@given(MEMBERS, LOCALITIES)
def test_the_nearer_come_first_and_nobody_is_lost(localities: list[str], client: str) -> None:
    groups = groups_of(localities, client)
    distances = {common(client, where) for where in localities}
    if len(distances) == 1:
        assert groups == ()  # all are equally far: no priorities
        return
    found = priority_of(groups)
    assert len(found) == len(localities)
    assert set(found.values()) == set(range(len(distances)))
    ordered = sorted(distances, reverse=True)
    for number, where in enumerate(localities):
        assert found[f"10.0.0.{number}"] == ordered.index(common(client, where))


@given(MEMBERS, LOCALITIES, PARTS)
def test_the_substitute_of_a_region_comes_before_the_rest(
    localities: list[str], client: str, target: str
) -> None:
    region = client.partition("/")[0]
    failover = (LocalityFailover(from_=region, to=target),)
    found = priority_of(groups_of(localities, client, failover=failover))
    others = [n for n, where in enumerate(localities) if where.partition("/")[0] != region]
    first = [found[f"10.0.0.{n}"] for n in others if localities[n].partition("/")[0] == target]
    rest = [found[f"10.0.0.{n}"] for n in others if localities[n].partition("/")[0] != target]
    if first and rest:
        assert max(first) < min(rest)


@given(MEMBERS, LOCALITIES)
def test_labels_of_the_place_rank_as_places_do(localities: list[str], client: str) -> None:
    found = priority_of(groups_of(localities, client, failover_priority=(REGION, ZONE)))
    shared = [min(common(client, where), 2) for where in localities]
    for one, mine in enumerate(shared):
        for other, theirs in enumerate(shared):
            if mine > theirs:
                assert found[f"10.0.0.{one}"] < found[f"10.0.0.{other}"]


@given(MEMBERS, LOCALITIES, st.integers(1, 99))
def test_shares_go_to_who_is_named(localities: list[str], client: str, share: int) -> None:
    to = {"a": share, "b": 100 - share}
    groups = groups_of(localities, client, distribute=(LocalityDistribute(from_="*", to=to),))
    named = [where for where in localities if where.partition("/")[0] in to]
    assert sorted(e.locality for group in groups for e in group.endpoints) == sorted(named)
    for region, percent in to.items():
        of_region = [group for group in groups if group.locality.partition("/")[0] == region]
        total = sum(group.weight for group in of_region)
        assert not of_region or percent <= total < percent + len(of_region)  # each is rounded up


@given(LOCALITIES, LOCALITIES)
def test_a_pattern_covers_what_is_below_it(pattern: str, locality: str) -> None:
    assert covers("*", locality)
    assert covers(locality, locality)
    if pattern and covers(pattern, locality):
        given = [part for part in pattern.split("/") if part]
        assert locality.split("/")[: len(given)] == given
