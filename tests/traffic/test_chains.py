"""Which filter chain takes a connection (Envoy: filter chain match)."""

from __future__ import annotations

import pytest

from devmesh.snapshot.proxy import ServerTls, TcpRoute
from devmesh.snapshot.route import Weighted
from devmesh.traffic.chains import best_route, best_server, name_rank


def route(name: str, *sni: str, subnets: tuple[str, ...] = (), mesh_only: bool = False) -> TcpRoute:
    return TcpRoute((Weighted(name),), sni, subnets=subnets, mesh_only=mesh_only)


def taken(
    routes: tuple[TcpRoute, ...], name: str = "", address: str = "", *, is_mesh: bool = False
) -> str | None:
    found = best_route(routes, name, address, is_mesh=is_mesh)
    return found.destinations[0].cluster if found else None


@pytest.mark.parametrize(
    ("name", "cluster"),
    [
        ("a.b.example", "exact"),
        ("x.b.example", "long"),
        ("y.x.b.example", "long"),
        ("c.example", "short"),
        ("other.test", "any"),
        ("", "any"),
        ("b.example", "short"),
    ],
)
def test_the_most_specific_name_wins_whatever_the_order(name: str, cluster: str) -> None:
    routes = (
        route("any", "*"),
        route("short", "*.example"),
        route("long", "*.b.example"),
        route("exact", "a.b.example"),
    )
    assert taken(routes, name) == taken(routes[::-1], name) == cluster


def test_a_name_that_nobody_serves_finds_no_chain() -> None:
    assert taken((route("one", "a.example"),), "b.example") is None
    assert taken((route("one", "a.example"),)) is None


def test_of_equals_the_first_wins() -> None:
    assert taken((route("one"), route("two"))) == "one"


def test_the_address_is_looked_at_before_the_name() -> None:
    routes = (
        route("named", "a.example"),
        route("wide", subnets=("10.0.0.0/8",)),
        route("narrow", "*.example", subnets=("10.1.0.0/16", "fd00::/8")),
    )
    assert taken(routes, "a.example", "10.1.2.3") == "narrow"
    assert taken(routes, "a.example", "fd00::1") == "narrow"
    assert taken(routes, "a.example", "10.2.0.1") == "wide"
    assert taken(routes, "a.example", "192.0.2.1") == "named"
    assert taken(routes, "a.example", "") == "named"


def test_what_is_for_the_mesh_alone_takes_nobody_else() -> None:
    routes = (route("inside", "outbound_.80_._.b.default.svc.cluster.local", mesh_only=True),)
    name = "outbound_.80_._.b.default.svc.cluster.local"
    assert taken(routes, name) is None
    assert taken(routes, name, is_mesh=True) == "inside"


def test_the_server_whose_hosts_fit_best() -> None:
    servers = (ServerTls("SIMPLE", ("*",)), ServerTls("SIMPLE", ("*.example", "a.test")))
    assert best_server(servers, "b.example") is servers[1]
    assert best_server(servers, "a.test") is servers[1]
    assert best_server(servers, "") is servers[0]
    assert best_server(servers[1:], "") is None


def test_of_several_names_the_best_counts() -> None:
    names = ("*.example", "a.b.example", "*.b.example")
    assert name_rank(names, "a.b.example") == name_rank(("a.b.example",), "a.b.example")
    assert name_rank(names, "x.b.example") == name_rank(("*.b.example",), "x.b.example")


def test_no_pattern_is_as_good_as_every_name() -> None:
    assert name_rank((), "a") == name_rank(("*",), "a") == 0
