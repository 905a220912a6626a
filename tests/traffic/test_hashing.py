"""Rings, Maglev tables, and what is hashed."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devmesh.snapshot.balancing import Cookie, Group, Hashing
from devmesh.snapshot.cluster import Balancing, Cluster, Endpoint, ServiceRef
from devmesh.traffic import hashing
from devmesh.traffic.balancing import State, pick

KEYS = [hashing.hashed(f"user-{n}") for n in range(2000)]
RING, MAGLEV = Hashing(header="x-user", size=1024), Hashing(header="x-user", maglev=True, size=1009)
BOTH = pytest.mark.parametrize("how", [RING, MAGLEV], ids=["ring", "maglev"])


def endpoints(count: int, first: int = 0) -> tuple[Endpoint, ...]:
    return tuple(Endpoint(f"10.0.0.{first + n}", 8080) for n in range(count))


def cluster(members: tuple[Endpoint, ...], how: Hashing = RING, **more: object) -> Cluster:
    ref, by = ServiceRef("c", "c", "default"), Balancing.RING_HASH
    made = Cluster("c", ref, 80, endpoints=members, balancing=by, hashing=how)
    return replace(made, **more)  # type: ignore[arg-type]


def owners(made: Cluster, state: State | None = None) -> list[Endpoint]:
    state = state or State()
    return [found for key in KEYS if (found := pick(made, state, 0.5, key=key)) is not None]


def test_the_hash_is_xxhash64() -> None:
    assert hashing.hashed("") == 0xEF46DB3751D8E999
    assert hashing.hashed("abc") == 0x44BC2CF5AD770999


@BOTH
def test_a_key_keeps_its_endpoint(how: Hashing) -> None:
    made = cluster(endpoints(5), how)
    assert owners(made) == owners(made, State())


@BOTH
def test_order_makes_no_difference(how: Hashing) -> None:
    members = endpoints(5)
    assert owners(cluster(members, how)) == owners(cluster(members[::-1], how))


@BOTH
def test_every_endpoint_has_about_its_share(how: Hashing) -> None:
    share = Counter(owners(cluster(endpoints(4), how)))
    assert all(350 < count < 650 for count in share.values())


@BOTH
def test_weights_are_shares(how: Hashing) -> None:
    a, b = endpoints(2)
    share = Counter(owners(cluster((replace(a, weight=3), b), how)))
    assert share[b] / len(KEYS) == pytest.approx(0.25, abs=0.06)


@given(st.integers(2, 9), st.sampled_from([RING, MAGLEV]))
def test_one_endpoint_more_moves_about_its_share(count: int, how: Hashing) -> None:
    """And what moves, moves to the new one; Maglev and the ring's size, which goes with the number of
    endpoints, move a little more."""
    before, after = owners(cluster(endpoints(count), how)), owners(cluster(endpoints(count + 1), how))
    new = endpoints(count + 1)[-1]
    moved = [now for was, now in zip(before, after, strict=True) if was != now]
    elsewhere = [now for now in moved if now != new]
    assert len(moved) / len(KEYS) < 1 / (count + 1) + 0.2
    assert len(elsewhere) / len(KEYS) < 0.16


@BOTH
def test_the_keys_of_an_ejected_endpoint_move_and_no_others(how: Hashing) -> None:
    made, state = cluster(endpoints(4), how), State()
    before = owners(made, state)
    gone = made.endpoints[1]
    state.ejected.add(gone.key)
    state.changed()
    after = owners(made, state)
    assert gone not in after
    assert all(now == was for was, now in zip(before, after, strict=True) if was != gone)
    state.ejected.clear()
    state.changed()
    assert owners(made, state) == before


@BOTH
def test_a_retry_goes_on_along_the_ring_and_comes_back_if_there_is_nobody_else(how: Hashing) -> None:
    made, state = cluster(endpoints(3), how), State()
    for key in KEYS[:50]:
        first = pick(made, state, 0.5, key=key)
        assert first is not None
        assert pick(made, state, 0.5, key=key, exclude=(first,)) not in (first, None)
        assert pick(made, state, 0.5, key=key, exclude=made.endpoints) == first


def test_all_ejected_is_nobody() -> None:
    made, state = cluster(endpoints(2)), State()
    state.ejected.update(e.key for e in made.endpoints)
    state.changed()
    assert pick(made, state, 0.5, key=KEYS[0]) is None


def test_without_a_key_any_endpoint_will_do() -> None:
    made, state = cluster(endpoints(3)), State()
    assert len({pick(made, state, n / 200) for n in range(200)}) == 3


def test_an_endpoint_that_changed_is_told_as_it_is_now() -> None:
    state = State()
    owners(cluster(endpoints(2)), state)
    changed = tuple(replace(e, mtls=True) for e in endpoints(2))
    assert all(found.mtls for found in owners(cluster(changed), state))


def test_old_tables_serve_until_new_ones_are_made() -> None:
    state, first = State(), cluster(endpoints(3), MAGLEV)
    assert state.needs_tables(first)
    assert not state.has_tables
    state.keep(hashing.tables(first))
    assert not state.needs_tables(first)
    fewer = cluster(endpoints(2), MAGLEV)
    assert state.needs_tables(fewer)
    assert set(owners(fewer, state)) == set(endpoints(2))


def test_a_ring_has_a_whole_number_of_points_for_each() -> None:
    (table,) = hashing.tables(cluster(endpoints(3))).of
    assert Counter(table.owners) == {0: 342, 1: 342, 2: 342}
    assert table.points is not None
    assert list(table.points) == sorted(table.points)


def test_localities_have_their_weights_on_the_ring() -> None:
    near, far = endpoints(2), endpoints(2, 10)
    groups = (Group(near, 0, 3), Group(far, 0, 1))
    made = cluster((*near, *far), groups=groups, by_locality=True)
    share = Counter(owners(made))
    assert sum(share[e] for e in far) / len(KEYS) == pytest.approx(0.25, abs=0.06)


def test_a_lower_priority_takes_over_what_spills() -> None:
    near, far = endpoints(2), endpoints(2, 10)
    made, state = cluster((*near, *far), groups=(Group(near, 0), Group(far, 1))), State()
    assert set(owners(made, state)) == set(near)
    state.ejected.update(e.key for e in near)
    state.changed()
    assert set(owners(made, state)) == set(far)


def key(how: Hashing, path: str = "/", **headers: str) -> int | None:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return hashing.key_of(how, named, path, "10.1.0.1", lambda cookie: "made")


def test_a_header_is_hashed_as_it_is() -> None:
    assert key(RING, x_user="jason") == hashing.hashed("jason")
    assert key(RING) is None


def test_a_cookie_is_made_where_it_has_a_time_to_live() -> None:
    session = Hashing(cookie=Cookie("user", ttl=0.0))
    assert key(session, cookie='a=1; user="x"; b=2') == hashing.hashed("x")
    assert key(session, cookie="users=1") == hashing.hashed("made")
    assert key(Hashing(cookie=Cookie("user"))) is None


def test_the_first_value_of_a_parameter_is_hashed() -> None:
    query = Hashing(query="id")
    assert key(query, "/x?a=1&id=7&id=8") == hashing.hashed("7")
    assert key(query, "/x?identity=7") is None
    assert key(query, "/id=7") is None


def test_the_source_is_hashed_without_its_port() -> None:
    assert key(Hashing(source_ip=True)) == hashing.hashed("10.1.0.1")


@pytest.mark.parametrize(
    ("cookie", "text"),
    [
        (Cookie("user", ttl=0.0), 'user="v"; HttpOnly'),
        (Cookie("user", "/a", 60.0), 'user="v"; Max-Age=60; Path=/a; HttpOnly'),
        (
            Cookie("user", ttl=1.5, attributes=(("SameSite", "Strict"), ("Secure", ""))),
            'user="v"; Max-Age=1; SameSite=Strict; Secure; HttpOnly',
        ),
    ],
)
def test_the_cookie_is_told_in_envoys_words(cookie: Cookie, text: str) -> None:
    assert hashing.set_cookie(cookie, "v") == text
