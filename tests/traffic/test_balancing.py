from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devmesh.snapshot.cluster import Balancing, Cluster, Endpoint, ServiceRef
from devmesh.traffic.balancing import State, pick

A, B, C = (Endpoint("10.0.0.1", 80), Endpoint("10.0.0.2", 80), Endpoint("10.0.0.3", 80))


def cluster(*endpoints: Endpoint, by: Balancing = Balancing.LEAST_REQUEST) -> Cluster:
    return Cluster("c", ServiceRef("c", "c", "default"), 80, endpoints=endpoints, balancing=by)


def draws(count: int) -> list[float]:
    return [(n + 0.5) / count for n in range(count)]


@pytest.mark.parametrize("by", Balancing)
def test_without_endpoints_nothing_is_picked(by: Balancing) -> None:
    assert pick(cluster(by=by), State(), 0.5) is None


def test_round_robin_takes_turns() -> None:
    state, turns = State(), cluster(A, B, C, by=Balancing.ROUND_ROBIN)
    picked = [pick(turns, state, 0.0) for _ in range(6)]
    assert picked[:3] == picked[3:]
    assert {e.address for e in picked if e} == {A.address, B.address, C.address}


def test_round_robin_survives_fewer_endpoints() -> None:
    state = State()
    state.position = 7
    assert pick(cluster(A, B, by=Balancing.ROUND_ROBIN), state, 0.0) in (A, B)


def test_random_is_even() -> None:
    any_of = cluster(A, B, C, by=Balancing.RANDOM)
    assert set(Counter(pick(any_of, State(), draw) for draw in draws(300)).values()) == {100}


def test_least_request_prefers_the_idle_one_of_two() -> None:
    state, two = State(), cluster(A, B)
    state.begin(A)
    picked = Counter(pick(two, state, draw) for draw in draws(400))
    assert picked[B] == 300  # A only where both choices are A
    state.end(A)
    assert Counter(pick(two, state, draw) for draw in draws(400))[A] == 200


def test_the_count_of_what_is_under_way_never_falls_below_nothing() -> None:
    state = State()
    state.end(A)
    state.begin(A)
    state.end(A)
    assert state.active == {}


def test_endpoints_that_were_tried_come_last() -> None:
    two = cluster(A, B, by=Balancing.RANDOM)
    assert {pick(two, State(), draw, exclude=[A]) for draw in draws(10)} == {B}
    assert {pick(two, State(), draw, exclude=[A, B]) for draw in draws(10)} == {A, B}


def test_ejected_endpoints_get_nothing_even_if_they_are_all() -> None:
    state = State()
    state.ejected.add(A.key)
    assert {pick(cluster(A, B), state, draw) for draw in draws(10)} == {B}
    state.ejected.add(B.key)
    assert pick(cluster(A, B), state, 0.5) is None


def weighted(*weights: int) -> list[Endpoint]:
    return [Endpoint(f"10.0.1.{n}", 80, weight=weight) for n, weight in enumerate(weights)]


@given(st.lists(st.integers(1, 6), min_size=2, max_size=5))
def test_weights_are_shares_in_turn(weights: list[int]) -> None:
    endpoints = weighted(*weights)
    state, turns = State(), cluster(*endpoints, by=Balancing.ROUND_ROBIN)
    if len(set(weights)) == 1:
        return
    picked = Counter(pick(turns, state, 0.0) for _ in range(2 * sum(weights)))
    assert [picked[e] for e in endpoints] == [2 * weight for weight in weights]


def test_turns_by_weight_are_spread() -> None:
    a, b, c = weighted(5, 1, 1)
    state, turns = State(), cluster(a, b, c, by=Balancing.ROUND_ROBIN)
    assert [pick(turns, state, 0.0) for _ in range(7)] == [a, a, b, a, c, a, a]


@pytest.mark.parametrize("by", [Balancing.RANDOM, Balancing.LEAST_REQUEST])
def test_weights_are_shares_by_chance(by: Balancing) -> None:
    a, b = weighted(3, 1)
    picked = Counter(pick(cluster(a, b, by=by), State(), draw) for draw in draws(400))
    assert picked == {a: 300, b: 100}


def test_what_is_under_way_lowers_a_weight() -> None:
    a, b = weighted(3, 1)
    state = State()
    state.begin(a)
    state.begin(a)
    assert Counter(pick(cluster(a, b), state, draw) for draw in draws(400)) == {a: 200, b: 200}
