"""Any window of the last hour is a fold of slots."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devmesh.telemetry.edges import HORIZON, EdgeStore, Flow, FlowKey
from tests.telemetry.bookinfo import DETAILS, PRODUCTPAGE, service

START = 1_700_000_040  # a full minute


def key(code: str = "200", name: str = "details-v1") -> FlowKey:
    return FlowKey(
        "source",
        ("default", "productpage-v1"),
        ("default", name),
        service("details"),
        "http",
        code,
        "",
        True,
        "",
        "",
    )


def store(started: float = 0.0, limit: int = 2000) -> EdgeStore:
    return EdgeStore(started, limit)


def flow(edges: EdgeStore, second: int = START, code: str = "200") -> Flow:
    return edges.flow(key(code), PRODUCTPAGE, DETAILS, second)


def counted(edges: EdgeStore, seconds: float, now: float) -> int:
    window = edges.window(seconds, now)
    return sum(slot.count for flow in edges.flows() for slot in flow.slots(window))


def test_a_single_request_is_there_at_once() -> None:
    edges = store()
    flow(edges).observe(START, 0.01, 0, 10)
    assert counted(edges, 1, START) == 1
    assert counted(edges, 60, START + 0.5) == 1
    assert counted(edges, 3600, START) == 1


def test_what_is_older_than_the_window_is_not() -> None:
    edges = store()
    flow(edges).observe(START, 0.01, 0, 10)
    assert counted(edges, 60, START + 59) == 1
    assert counted(edges, 60, START + 60) == 0


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 90), st.integers(1, 5)), min_size=1, max_size=80),
    st.integers(1, 3600),
)
def test_every_window_counts_what_ended_in_it(steps: list[tuple[int, int]], seconds: int) -> None:
    edges, second, times = store(), START, []
    one = flow(edges)
    for gap, count in steps:
        second += gap
        for _ in range(count):
            one.observe(second, 0.01, 1, 2)
            times.append(second)
    window = edges.window(seconds, second)
    slots = list(one.slots(window))
    expected = [t for t in times if t >= window.start]
    assert sum(slot.count for slot in slots) == len(expected)
    assert sum(slot.sent for slot in slots) == 2 * len(expected)
    assert sum(sum(slot.durations.values()) for slot in slots) == len(expected)
    assert second + 1 - window.start - seconds < window.step
    coarse = list(one.coarse(window))
    assert sum(slot.count for slot in coarse) == len(expected)
    assert sum(sum(slot.durations.values()) for slot in coarse) == len(expected)


def test_memory_is_bounded_by_the_levels() -> None:
    edges = store()
    one = flow(edges)
    for second in range(START, START + 3 * HORIZON):
        one.observe(second, 0.01, 0, 0)
    assert sum(len(level) for level in one._levels) == 121 + 91 + 61
    assert counted(edges, 3600, START + 3 * HORIZON - 1) == 3600


def test_a_record_that_comes_late_counts_where_the_flow_is() -> None:
    edges = store()
    one = flow(edges)
    one.observe(START + 5, 0.01, 0, 0)
    one.observe(START + 4, 0.01, 0, 0)
    assert one.latest.count == 2


def test_a_young_meshs_rates_are_of_its_age() -> None:
    assert store(started=START).window(60, START + 10.0).length == 10.0
    assert store(started=START).window(60, START + 0.1).length == 1.0
    assert store(started=0).window(60, START + 0.0).length == 59.0


def test_idle_flows_make_room_and_then_one_takes_the_rest() -> None:
    edges = store(limit=2)
    for code in ("200", "404"):
        flow(edges, code=code).observe(START, 0.01, 0, 0)
    other = flow(edges, START + 20, "500")
    assert other.service is not None
    assert other.service.name == "too many edges to tell apart"
    flow(edges, START + 2 * HORIZON, "503")
    assert {one.key.code for one in edges.flows()} == {"503"}


def test_a_call_that_its_caller_times_is_not_timed_twice() -> None:
    edges = store()
    told_twice = edges.flow(key()._replace(reporter="destination"), PRODUCTPAGE, DETAILS, START)
    told_once = edges.flow(key()._replace(reporter="destination", mtls=False), PRODUCTPAGE, DETAILS, START)
    for one in (told_twice, told_once):
        one.observe(START, 0.01, 0, 0)
    assert (len(told_twice.latest.durations), len(told_once.latest.durations)) == (0, 1)


@pytest.mark.parametrize("seconds", [1, 7, 10, 60, 119, 120, 121, 300, 900, 901, 3600])
def test_busy_flows_are_counted_once_in_either_way(seconds: int) -> None:
    edges = store()
    one = flow(edges)
    now = START + 4007
    for second in range(START, now + 1):
        one.observe(second, 0.01, 0, 0)
    window = edges.window(seconds, now)
    expected = now + 1 - window.start
    assert sum(slot.count for slot in one.slots(window)) == expected
    assert sum(slot.count for slot in one.coarse(window)) == expected
