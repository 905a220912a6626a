"""The storm's judge: which answers it lets pass."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from bench.storm.changes import NORMAL, SWAPPED, Version
from bench.storm.judge import LAG, RESET, History, Kill, judge
from bench.storm.plans import Destination, Match, Plan, Rule
from bench.storm.requests import Answer, Request

GET = Request("shop", "GET", "/b", {"x-junk": "1"})
TO_V1 = Rule((), (Destination("v1", 1),))


def history(rule: Rule = TO_V1) -> History:
    """Version 1 from second 0, version 2 from second 10; the subsets change places at 20."""
    found = History()
    for number, begin in ((1, 0.0), (2, 10.0)):
        found.begin("shop", begin, Version({"spec": {}}, Plan(number, (rule,))))
        found.taken("shop", begin)
    for pods, begin in ((NORMAL, 0.0), (SWAPPED, 20.0)):
        found.begin("shop-rule", begin, Version({"spec": {}}, pods=pods))
        found.taken("shop-rule", begin)
    return found


def answer(version: int = 1, began: float = 1.0, app: str = "v1", **changed: Any) -> Answer:
    stamp = f"{version}.0"
    told = {"x-stamp": stamp, "x-dest": "0", "x-junk": "1", "x-envoy-attempt-count": "1"}
    seen = {"pod": f"shop-{app}-0", "app": app, "method": "GET", "path": "/b", "told": told, "size": 0}
    fields = {"x-stamp": stamp, "x-dest": "0", "x-junk": "1", "x-via": "10.0.0.1:8080"}
    return replace(Answer(GET, began, began + 0.1, 200, fields, json.dumps(seen)), **changed)


def died(began: float = 1.0, reason: str = "connection termination", **changed: Any) -> Answer:
    return answer(began=began, status=503, body=f"{RESET}. reset reason: {reason}", **changed)


def passes(one: Answer, past: History) -> bool:
    return not judge([one], past).failures


def test_a_version_is_right_while_it_is_in_force() -> None:
    past = history()
    assert passes(answer(1, 1.0), past)
    assert passes(answer(1, 10.0 + LAG), past)
    assert not passes(answer(1, 10.1 + LAG), past)
    assert passes(answer(2, 9.95), past)
    assert not passes(answer(2, 9.0), past)


def test_two_versions_at_once_are_wrong() -> None:
    mixed = answer(1, 10.0)
    assert not passes(replace(mixed, fields=mixed.fields | {"x-stamp": "2.0"}), history())


def test_objects_change_each_for_itself() -> None:
    past = history()
    assert not passes(answer(2, 19.0, app="v2"), past)
    assert passes(answer(2, 20.0, app="v1"), past)
    assert passes(answer(2, 20.0, app="v2"), past)
    assert not passes(answer(2, 21.0, app="v1"), past)


@pytest.mark.parametrize(
    ("changed", "right"),
    [
        ({}, True),
        ({"addresses": ("10.0.0.2",)}, False),
        ({"pod": "till-v1-0"}, False),
        ({"begin": 1.2, "end": 1.3}, False),
        ({"end": 0.7}, True),
        ({"begin": 0.1, "end": 0.2}, False),
    ],
)
def test_a_deleted_replica_excuses_what_was_under_way_on_it(changed: Any, right: bool) -> None:
    past = history()
    past.kills.append(replace(Kill("shop-v1-0", ("10.0.0.1",), 0.5, 1.05, deleted=True), **changed))
    assert passes(died(), past) == right


def test_a_connection_to_a_deleted_replica_is_to_be_made_elsewhere() -> None:
    past = history()
    past.kills.append(Kill("shop-v1-0", ("10.0.0.1",), 0.5, 0.9, deleted=True))
    assert passes(died(), past)
    assert not passes(died(reason="remote connection failure"), past)


def test_nothing_excuses_what_is_retried() -> None:
    retried = replace(TO_V1, attempts=2, retry_on="5xx")
    for rule, right in ((TO_V1, True), (retried, False)):
        past = history(rule)
        past.kills.append(Kill("shop-v1-0", ("10.0.0.1",), 0.5, 1.05, deleted=False))
        assert passes(died(), past) == right


@pytest.mark.parametrize(
    ("modes", "right"),
    [
        (("PERMISSIVE", "STRICT"), False),
        (("DISABLE", "STRICT"), True),
        (("PERMISSIVE", "DISABLE"), True),
        (("DISABLE", "DISABLE"), False),
    ],
)
def test_a_change_between_mutual_tls_and_none_may_be_seen(modes: tuple[str, str], right: bool) -> None:
    past = history()
    for mode, begin in zip(modes, (0.0, 1.05), strict=True):
        past.begin("peers", begin, Version({"spec": {}}, mode=mode))
        past.taken("peers", begin)
    assert passes(died(), past) == right
    assert not passes(died(began=3.0), past)


def test_no_healthy_upstream_is_never_right() -> None:
    past = history()
    past.kills.append(Kill("shop-v1-0", ("10.0.0.1",), 0.5, 1.05, deleted=True))
    assert not passes(answer(status=503, body="no healthy upstream"), past)


def test_no_route_is_404_without_a_body() -> None:
    past = history(replace(TO_V1, matches=(Match(exact="/a"),)))
    assert passes(answer(status=404, body="", fields={}), past)
    assert not passes(answer(), past)


def test_a_time_out_is_right_once_its_time_has_passed() -> None:
    past = history(replace(TO_V1, timeout=0.15))
    late = answer(status=504, body="upstream request timeout", ended=1.2)
    assert passes(late, past)
    assert not passes(replace(late, ended=1.1), past)
