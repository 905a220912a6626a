import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devmesh.snapshot.match import Exact, PathPrefix, Prefix, Present, Regex, StringMatch, Suffix
from devmesh.snapshot.route import Match, Route, RouteTable, VirtualHost, Weighted
from devmesh.snapshot.route_index import WORTH
from devmesh.traffic.routing import (
    RequestHead,
    find_route,
    find_virtual_host,
    path_alone,
    pick_destination,
    query_parameter,
    without_port,
)


def host(*domains: str) -> VirtualHost:
    return VirtualHost(domains[0], domains, ())


TABLE = RouteTable.of(
    "9080",
    (
        host("reviews", "reviews.default", "reviews:9080", "240.240.0.1"),
        host("Ratings.Example.COM"),
        host("*.example.com"),
        host("*.api.example.com"),
        host("[2001:2::1]"),
        host("*"),
    ),
)


@pytest.mark.parametrize(
    ("authority", "found"),
    [
        ("reviews", "reviews"),
        ("reviews:9080", "reviews"),
        ("reviews:1", "reviews"),
        ("REVIEWS.Default:80", "reviews"),
        ("240.240.0.1:9080", "reviews"),
        ("ratings.example.com", "Ratings.Example.COM"),
        ("a.example.com", "*.example.com"),
        ("a.example.com:8080", "*.example.com"),
        ("a.api.example.com", "*.api.example.com"),
        ("api.example.com", "*.example.com"),
        (".example.com", "*"),
        ("example.com", "*"),
        ("[2001:2::1]:80", "[2001:2::1]"),
        ("[2001:2::1]", "[2001:2::1]"),
        ("", "*"),
        ("nobody", "*"),
    ],
)
def test_the_most_specific_domain_owns_a_host(authority: str, found: str) -> None:
    owner = find_virtual_host(TABLE, authority)
    assert owner is not None
    assert owner.name == found


def test_a_host_that_no_domain_covers_has_no_virtual_host() -> None:
    assert find_virtual_host(RouteTable.of("80", (host("a"),)), "b") is None


@pytest.mark.parametrize(
    ("authority", "bare"),
    [("a", "a"), ("a:80", "a"), ("[::1]", "[::1]"), ("[::1]:80", "[::1]"), ("a:", "a:"), ("a:b", "a:b")],
)
def test_without_port(authority: str, bare: str) -> None:
    assert without_port(authority) == bare


def head(target: str = "/", method: str = "GET", **headers: str) -> RequestHead:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return RequestHead(method, target, "reviews:9080", "http", named)


def accepts(match: Match, request: RequestHead) -> bool:
    return find_route(VirtualHost("v", ("*",), (Route("r", (match,)),)), request) is not None


WHOLE = Regex("/v[0-9]+", re.compile("/v[0-9]+"))


@pytest.mark.parametrize(
    ("path", "target", "accepted"),
    [
        (Exact("/foo"), "/foo", True),
        (Exact("/foo"), "/foo?a=b", True),
        (Exact("/foo"), "/foo/", False),
        (Exact("/foo"), "/FOO", False),
        (Exact("/foo", ignore_case=True), "/FOO", True),
        (Prefix("/foo"), "/foobar", True),
        (Prefix("/foo"), "/fo", False),
        (Prefix("/Foo", ignore_case=True), "/fOObar", True),
        (Prefix("/foo"), "/x?/foo", False),
        (WHOLE, "/v1", True),
        (WHOLE, "/v1/x", False),
        (WHOLE, "/v12?x", True),
    ],
)
def test_paths_are_matched_without_their_query(path: StringMatch, target: str, accepted: bool) -> None:
    assert accepts(Match(path=path), head(target)) is accepted


@pytest.mark.parametrize(
    ("match", "request_head", "accepted"),
    [
        (Match(headers=(("end-user", Exact("jason")),)), head(end_user="jason"), True),
        (Match(headers=(("end-user", Exact("jason")),)), head(end_user="Jason"), False),
        (Match(headers=(("end-user", Exact("jason")),)), head(), False),
        (Match(headers=(("end-user", Present()),)), head(end_user=""), True),
        (Match(headers=(("end-user", Present()),)), head(), False),
        (Match(headers=((":method", Exact("POST")),)), head(method="POST"), True),
        (Match(headers=((":path", Exact("/a?b=c")),)), head("/a?b=c"), True),
        (Match(headers=((":authority", Prefix("reviews")),)), head(), True),
        (Match(headers=((":scheme", Exact("https")),)), head(), False),
        (Match(headers=((":unknown", Present()),)), head(), False),
        (Match(method=Exact("GET")), head(), True),
        (Match(method=Exact("GET")), head(method="PUT"), False),
        (Match(scheme=Exact("https")), head(), False),
        (Match(authority=Exact("reviews")), head(), False),
        (Match(authority=Exact("reviews:9080")), head(), True),
        (Match(without=(("x", Exact("a")),)), head(), True),
        (Match(without=(("x", Exact("a")),)), head(x="a"), False),
        (Match(without=(("x", Exact("a")),)), head(x="b"), True),
        (Match(without=(("x", Present()),)), head(), True),
        (Match(without=(("x", Present()),)), head(x=""), False),
        (Match(without=(("x", Regex("b*", re.compile("b*"))),)), head(), False),
        (Match(query=(("a", Exact("1")),)), head("/?b=2&a=1"), True),
        (Match(query=(("a", Exact("1")),)), head("/?a=2&a=1"), False),
        (Match(query=(("a", Present()),)), head("/?a"), True),
        (Match(query=(("a", Present()),)), head("/"), False),
        (Match(path=Prefix("/"), query=(("a", Exact("1")),)), head("/?a=1"), True),
        (Match(path=Prefix("/x"), query=(("a", Exact("1")),)), head("/?a=1"), False),
    ],
)
def test_every_condition_of_a_block_has_to_hold(
    match: Match, request_head: RequestHead, accepted: bool
) -> None:
    assert accepts(match, request_head) is accepted


def test_the_first_route_that_accepts_wins_and_blocks_are_alternatives() -> None:
    routes = (
        Route("jason", (Match(headers=(("end-user", Exact("jason")),)), Match(path=Exact("/jason")))),
        Route("rest"),
        Route("never"),
    )
    table = VirtualHost("v", ("*",), routes)
    found = [find_route(table, h) for h in (head(end_user="jason"), head("/jason?x"), head("/other"))]
    assert [route and route.name for route in found] == ["jason", "jason", "rest"]


def test_no_route_that_accepts_is_none() -> None:
    only = VirtualHost("v", ("*",), (Route("r", (Match(path=Exact("/a")),)),))
    assert find_route(only, head("/b")) is None


@pytest.mark.parametrize(
    ("target", "path"), [("/a", "/a"), ("/a?b#c", "/a"), ("/a#b?c", "/a"), ("*", "*"), ("?x", "")]
)
def test_path_alone(target: str, path: str) -> None:
    assert path_alone(target) == path


@pytest.mark.parametrize(
    ("target", "value"),
    [("/?a=1#a=2", "1"), ("/?a", ""), ("/?a=%20b", "%20b"), ("/?b=a=1", None), ("/a=1", None)],
)
def test_query_parameters_are_taken_as_they_stand(target: str, value: str | None) -> None:
    assert query_parameter(target, "a") == value


@given(weights=st.lists(st.integers(0, 3), min_size=2, max_size=5).filter(any))
def test_shares_are_those_of_the_weights(weights: list[int]) -> None:
    destinations = [Weighted(str(n), weight) for n, weight in enumerate(weights)]
    total = sum(weights)
    picked = Counter(pick_destination(destinations, (n + 0.5) / total).cluster for n in range(total))
    assert picked == Counter({str(n): weight for n, weight in enumerate(weights) if weight})


@given(draw=st.floats(0, 1, exclude_max=True))
def test_a_single_destination_is_taken_whatever_its_weight(draw: float) -> None:
    assert pick_destination([Weighted("a", 0)], draw).cluster == "a"


PATHS = st.text("/ab", max_size=5)
TESTS = st.one_of(
    st.builds(Exact, PATHS, st.booleans()),
    st.builds(Prefix, PATHS, st.booleans()),
    st.builds(PathPrefix, PATHS),
    st.builds(Suffix, PATHS),
    st.none(),
)


@given(
    st.lists(st.lists(TESTS, max_size=3), min_size=WORTH + 1, max_size=30),
    PATHS,
    st.sampled_from(["", "?a", "#b"]),
)
def test_many_routes_are_tried_as_few_are(
    tests: list[list[StringMatch | None]], path: str, rest: str
) -> None:
    routes = tuple(
        Route(name=str(number), matches=tuple(Match(path=test) for test in each))
        for number, each in enumerate(tests)
    )
    many = VirtualHost("a", ("a",), routes)
    assert many.index is not None
    head = RequestHead("GET", path + rest, "a", "http", {})
    one_by_one = (find_route(VirtualHost("a", ("a",), (route,)), head) for route in routes)
    assert find_route(many, head) is next((route for route in one_by_one if route is not None), None)
