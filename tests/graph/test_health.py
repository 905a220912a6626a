"""Kiali's default tolerances, as a table, with the words that explain them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devmesh.graph.health import class_of, is_error, judge, judge_replicas, worst
from devmesh.graph.topology import Health


def http(**codes: float) -> dict[tuple[str, str, str], float]:
    return {("http", code.strip("_"), ""): count for code, count in codes.items()}


@pytest.mark.parametrize(
    ("codes", "health"),
    [
        ({"_200": 100}, "ok"),
        ({"_200": 999, "_500": 1}, "degraded"),
        ({"_200": 91, "_503": 9}, "degraded"),
        ({"_200": 90, "_503": 10}, "failing"),
        ({"_200": 95, "_500": 5, "_503": 5}, "degraded"),
        ({"_200": 91, "_404": 9}, "ok"),
        ({"_200": 90, "_404": 10}, "degraded"),
        ({"_200": 80, "_404": 20}, "failing"),
        ({"_200": 99, "_0": 1}, "degraded"),
        ({"_200": 90, "_0": 10}, "failing"),
        ({"_301": 50, "_200": 50}, "ok"),
        ({}, "idle"),
        ({"_200": 0}, "idle"),
    ],
)
def test_http_tolerances(codes: dict[str, float], health: Health) -> None:
    assert judge(http(**codes))[0] == health


@pytest.mark.parametrize(
    ("answers", "health"),
    [
        ({("grpc", "0", ""): 100}, "ok"),
        ({("grpc", "0", ""): 99, ("grpc", "14", ""): 1}, "degraded"),
        ({("grpc", "0", ""): 90, ("grpc", "5", ""): 10}, "failing"),
        ({("grpc", "0", ""): 90, ("grpc", "503", "UF"): 10}, "failing"),
        ({("tcp", "", ""): 10}, "ok"),
        ({("tcp", "", ""): 20, ("tcp", "", "UF"): 1}, "degraded"),
        ({("tcp", "", ""): 10, ("tcp", "", "UF"): 1}, "failing"),
        ({("tcp", "", "UF"): 1}, "failing"),
        ({("http", "200", ""): 1000, ("grpc", "2", ""): 1}, "failing"),
    ],
)
def test_each_protocol_is_judged_by_itself(
    answers: dict[tuple[str, str, str], float], health: Health
) -> None:
    assert judge(answers)[0] == health


def test_the_reason_is_in_words() -> None:
    answers = {("http", "200", ""): 7.0, ("http", "503", "UH"): 2.0, ("http", "500", ""): 1.0}
    assert judge(answers, "of requests in") == (
        "failing",
        "30 % of requests in answered 5xx (mostly 503 UH): failing from 10 %",
    )
    assert judge(http(_200=99, _500=1))[1] == "1 % of requests answered 5xx (500): degraded by any"
    assert judge(http(_200=9, _404=1))[1] == "10 % of requests answered 4xx (404): degraded from 10 %"


@pytest.mark.parametrize(
    ("ready", "replicas", "verdict"),
    [
        (1, 1, ("idle", "")),
        (0, 0, ("idle", "")),
        (0, 1, ("failing", "0 of 1 replica is ready")),
        (1, 3, ("degraded", "1 of 3 replicas are ready")),
    ],
)
def test_replicas(ready: int, replicas: int, verdict: tuple[str, str]) -> None:
    assert judge_replicas(ready, replicas) == verdict


def test_the_worst_wins_and_of_equals_the_first() -> None:
    assert worst(("ok", ""), ("failing", "a"), ("failing", "b"), ("degraded", "c")) == ("failing", "a")


@given(st.integers(0, 1000), st.integers(0, 1000), st.integers(0, 1000))
def test_more_errors_are_never_healthier(good: int, bad: int, more: int) -> None:
    order = ["idle", "ok", "degraded", "failing"]
    before = judge(http(_200=good + more, _500=bad))[0]
    after = judge(http(_200=good, _500=bad + more))[0]
    assert order.index(after) >= order.index(before)


def test_classes_and_error_rates_agree() -> None:
    for protocol, code, flags in (
        ("http", "200", ""),
        ("http", "404", ""),
        ("grpc", "0", ""),
        ("tcp", "", "UF"),
    ):
        assert is_error(protocol, code, flags) == bool(class_of(protocol, code, flags))
