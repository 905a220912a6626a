"""Descriptors, token buckets and quotas, on a clock of the test's own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devmesh.snapshot.match import Exact, Prefix
from devmesh.snapshot.rate_limits import (
    Action,
    Allowance,
    Bucket,
    Descriptor,
    DestinationCluster,
    GenericKey,
    HeaderTest,
    HeaderValueMatch,
    LocalLimit,
    Quota,
    QuotaNode,
    RemoteAddress,
    RequestHeader,
    Rule,
    SourceCluster,
)
from devmesh.traffic.limiting import Buckets, Facts, Left, Quotas, Tokens, descriptors, take

HEADERS = {":path": "/productpage?u=x", ":method": "GET", "x-user": "jason"}
FACTS = Facts(HEADERS.get, "203.0.113.7", "productpage.default", "outbound|9080||reviews")


def of(*actions: Action, facts: Facts = FACTS) -> list[Descriptor]:
    return descriptors([Rule(actions)], 0, facts)


@pytest.mark.parametrize(
    ("action", "entry"),
    [
        (RequestHeader(":path", "PATH"), ("PATH", "/productpage?u=x")),
        (RequestHeader("x-user", "user"), ("user", "jason")),
        (GenericKey("generic_key", "slow"), ("generic_key", "slow")),
        (RemoteAddress(), ("remote_address", "203.0.113.7")),
        (SourceCluster(), ("source_cluster", "productpage.default")),
        (DestinationCluster(), ("destination_cluster", "outbound|9080||reviews")),
        (HeaderValueMatch("PATH", "page", (HeaderTest(":path", Prefix("/product")),)), ("PATH", "page")),
        (HeaderValueMatch("a", "b", (HeaderTest("x-user", Exact("eve")),), expect=False), ("a", "b")),
        (HeaderValueMatch("a", "b", (HeaderTest("x-none", inverted=True),)), ("a", "b")),
    ],
)
def test_each_action_makes_an_entry(action: Action, entry: tuple[str, str]) -> None:
    assert of(action) == [(entry,)]


@pytest.mark.parametrize(
    "action",
    [
        RequestHeader("x-none", "none"),
        HeaderValueMatch("a", "b", (HeaderTest("x-user", Exact("eve")),)),
        HeaderValueMatch("a", "b", (HeaderTest("x-user", Exact("jason")), HeaderTest("x-none"))),
        HeaderValueMatch("a", "b", (HeaderTest("x-user", Exact("jason")),), expect=False),
        HeaderValueMatch("a", "b", (HeaderTest("x-user", Exact("jason"), inverted=True),)),
        HeaderValueMatch("a", "b", (HeaderTest("x-none", Exact("")),)),
    ],
)
def test_an_action_without_an_entry_leaves_the_descriptor_out(action: Action) -> None:
    assert of(GenericKey("a", "b"), action) == []


def test_a_header_that_may_be_absent_is_left_out_of_the_descriptor() -> None:
    assert of(GenericKey("a", "b"), RequestHeader("x-none", "none", True)) == [(("a", "b"),)]
    assert of(RequestHeader("x-none", "none", True)) == []


def test_an_absent_header_may_count_as_empty() -> None:
    test = HeaderTest("x-none", Exact(""), absent_is_empty=True)
    assert of(HeaderValueMatch("a", "b", (test,))) == [(("a", "b"),)]


def test_rules_of_another_stage_make_none() -> None:
    rules = [Rule((GenericKey("a", "0"),)), Rule((GenericKey("a", "1"),), stage=1)]
    assert descriptors(rules, 1, FACTS) == [(("a", "1"),)]


def test_a_bucket_fills_all_the_time() -> None:
    tokens = Tokens(Bucket(2, 2, 60.0), 0.0)
    assert [tokens.take(0.0) for _ in range(3)] == [True, True, False]
    assert tokens.left(0.0) == Left(2, 0, 30)
    assert tokens.left(29.0) == Left(2, 0, 1)
    assert not tokens.take(29.0)
    assert tokens.take(30.0)
    assert tokens.left(300.0) == Left(2, 2, 0)


@given(
    st.integers(1, 20),
    st.integers(1, 20),
    st.floats(0.1, 100),
    st.lists(st.floats(0, 30), min_size=1, max_size=50),
)
def test_never_more_pass_than_the_bucket_holds_and_gets(
    size: int, fill: int, interval: float, gaps: list[float]
) -> None:
    tokens, now, passed = Tokens(Bucket(size, fill, interval), 0.0), 0.0, 0
    for gap in gaps:
        now += gap
        passed += tokens.take(now)
    assert passed <= size + now * fill / interval + 1e-6


SLOW, FAST, DEFAULT = Bucket(1, 1, 60.0), Bucket(5, 5, 1.0), Bucket(3, 1, 60.0)
LIMIT = LocalLimit("x", DEFAULT, (((("user", "jason"),), SLOW), ((("path", ""),), FAST)))


def test_the_default_bucket_takes_what_no_descriptor_means() -> None:
    buckets: Buckets = {}
    assert [take(LIMIT, "", [], buckets, 0.0)[0] for _ in range(4)] == [True, True, True, False]


def test_a_descriptor_has_its_own_bucket_and_the_default_one_counts_too() -> None:
    buckets: Buckets = {}
    jason = (("user", "jason"),)
    assert take(LIMIT, "", [jason], buckets, 0.0)[0]
    assert not take(LIMIT, "", [jason], buckets, 0.0)[0]
    assert [take(LIMIT, "", [(("user", "eve"),)], buckets, 0.0)[0] for _ in range(3)] == [True, True, False]


def test_each_value_has_its_own_bucket_where_none_is_configured() -> None:
    limit = LocalLimit("x", Bucket(100, 1, 1.0), (((("path", ""),), SLOW),), takes_default=False)
    buckets: Buckets = {}
    assert take(limit, "", [(("path", "/a"),)], buckets, 0.0)[0]
    assert take(limit, "", [(("path", "/b"),)], buckets, 0.0)[0]
    assert not take(limit, "", [(("path", "/a"),)], buckets, 0.0)[0]
    assert all(key[2] for key in buckets)


def test_places_count_by_themselves() -> None:
    limit, buckets = LocalLimit("x", SLOW), {}
    assert take(limit, "8080 tls", [], buckets, 0.0)[0]
    assert take(limit, "8080 plain", [], buckets, 0.0)[0]
    assert not take(limit, "8080 tls", [], buckets, 0.0)[0]


def test_a_limit_without_a_bucket_limits_nothing() -> None:
    assert take(LocalLimit("x"), "", [], {}, 0.0) == (True, None)


# The task's own configuration.
PATHS = QuotaNode(
    None,
    {
        "PATH_/productpage": QuotaNode(Allowance(1, 60)),
        "PATH_api": QuotaNode(Allowance(2, 60)),
        "PATH_/v*": QuotaNode(Allowance(3, 60)),
        "PATH": QuotaNode(Allowance(100, 60)),
        "user": QuotaNode(
            None, {"role_admin": QuotaNode(Allowance(None, 1)), "role": QuotaNode(Allowance(1, 1))}
        ),
        "seen": QuotaNode(Allowance(1, 60, shadow=True)),
    },
)
QUOTA = Quota("ratelimit", PATHS)


def test_a_quota_is_used_up_and_comes_again_with_the_next_unit_of_the_clock() -> None:
    quotas, page = Quotas(), [(("PATH", "/productpage"),)]
    assert quotas.take(QUOTA, page, 110.0) == (True, Left(1, 0, 10))
    assert quotas.take(QUOTA, page, 119.0)[0] is False
    assert quotas.take(QUOTA, page, 120.0)[0] is True


def test_values_without_a_line_of_their_own_share_the_rule_and_not_the_count() -> None:
    quotas = Quotas()
    for _ in range(100):
        assert quotas.take(QUOTA, [(("PATH", "/other"),)], 0.0)[0]
    assert not quotas.take(QUOTA, [(("PATH", "/other"),)], 0.0)[0]
    assert quotas.take(QUOTA, [(("PATH", "/another"),)], 0.0)[0]


def test_a_prefix_of_values_may_have_a_rule() -> None:
    quotas = Quotas()
    answers = [quotas.take(QUOTA, [(("PATH", "/v1"),)], 0.0)[0] for _ in range(4)]
    assert answers == [True, True, True, False]


def test_entries_lead_from_level_to_level() -> None:
    quotas = Quotas()
    admin, guest = (("user", "x"), ("role", "admin")), (("user", "x"), ("role", "guest"))
    assert all(quotas.take(QUOTA, [admin], 0.0)[0] for _ in range(10))
    assert [quotas.take(QUOTA, [guest], 0.0)[0] for _ in range(2)] == [True, False]
    assert all(quotas.take(QUOTA, [(("user", "x"),), (("nobody", "x"),)], 0.0)[0] for _ in range(10))


def test_any_descriptor_that_is_over_its_limit_refuses() -> None:
    quotas = Quotas()
    both: list[Descriptor] = [(("PATH", "/other"),), (("PATH", "/productpage"),)]
    assert quotas.take(QUOTA, both, 0.0) == (True, Left(1, 0, 60))
    assert not quotas.take(QUOTA, both, 0.0)[0]


def test_a_shadow_rule_refuses_nothing() -> None:
    quotas = Quotas()
    assert [quotas.take(QUOTA, [(("seen", "x"),)], 0.0)[0] for _ in range(3)] == [True] * 3


def test_what_is_kept_of_quotas_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("devmesh.traffic.limiting._MOST_WINDOWS", 50)
    quotas = Quotas()
    for number in range(500):
        quotas.take(QUOTA, [(("PATH", f"/{number}"),)], number * 60.0)
    assert len(quotas._used) <= 51
