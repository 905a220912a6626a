"""Delegates: what they may narrow, and what they have from the root."""

from __future__ import annotations

import pytest

from devmesh.snapshot.route import Route
from tests.pilot.meshes import Mesh, istio, mesh, service


def delegating(root: str, inner: str, **more: str) -> Mesh:
    """Make a mesh where a root's match leaves everything to a delegate's."""
    root = f"hosts: [b]\nhttp:\n- match: [{root}]\n  delegate: {{name: part, namespace: parts}}\n"
    root += "".join(f"  {key}: {value}\n" for key, value in more.items()) + "- directResponse: {status: 418}"
    inner = f"http:\n- {inner}\n"
    return mesh(
        service("a"),
        service("b"),
        service("c"),
        istio("VirtualService", "root", root),
        istio("VirtualService", "part", inner, "parts"),
    )


def routes(made: Mesh) -> list[Route]:
    table = made.compile().snapshot.proxies["a-0"].outbound.by_port[80].routes
    assert table is not None
    return list(table.exact["b.default.svc.cluster.local"].routes)


def is_kept(root: str, inner: str) -> bool:
    """Tell whether a delegate's route is kept: it does not contradict the root's."""
    made = delegating("{" + root + "}", "match: [{" + inner + "}]\n  directResponse: {status: 201}")
    return any(route.direct and route.direct.status == 201 for route in routes(made))


@pytest.mark.parametrize(
    ("root", "inner", "kept"),
    [
        ("uri: {prefix: /a}", "uri: {prefix: /a/b}", True),
        ("uri: {prefix: /a}", "uri: {exact: /ab}", True),
        ("uri: {prefix: /a/b}", "uri: {prefix: /a}", False),
        ("uri: {exact: /a}", "uri: {exact: /a}", True),
        ("uri: {exact: /a}", "uri: {exact: /b}", False),
        ("uri: {exact: /a}", "uri: {prefix: /a}", False),
        ("uri: {regex: /a.*}", "uri: {exact: /ab}", False),
        ("uri: {regex: /a.*}", "uri: {regex: /a.*}", False),
        ("uri: {prefix: /a}", "uri: {regex: /ab.*}", False),
        ("uri: {regex: /a.*}", "method: {exact: GET}", True),
        ("method: {exact: GET}", "method: {exact: POST}", False),
        ("headers: {x: {prefix: a}}", "headers: {x: {exact: ab}}", True),
        ("headers: {x: {exact: a}}", "headers: {x: {exact: b}}", False),
        ("headers: {x: {exact: a}}", "headers: {y: {exact: b}}", True),
        ("withoutHeaders: {x: {exact: a}}", "withoutHeaders: {x: {exact: b}}", False),
        ("queryParams: {x: {exact: a}}", "queryParams: {x: {exact: b}}", False),
        ("uri: {prefix: /a}, ignoreUriCase: true", "uri: {prefix: /a}", False),
        ("uri: {prefix: /a}, ignoreUriCase: true", "uri: {prefix: /a}, ignoreUriCase: true", True),
        ("port: 80", "port: 81", False),
        ("sourceLabels: {app: a}", "sourceLabels: {app: b}", False),
        ("sourceLabels: {app: a}", "sourceLabels: {version: v1}", True),
        ("sourceNamespace: default", "uri: {prefix: /a}", False),
        ("gateways: [mesh]", "gateways: [mesh]", True),
        ("gateways: [mesh, gw]", "gateways: [mesh]", True),
        ("gateways: [mesh]", "gateways: [mesh, gw]", False),
    ],
)
def test_a_route_that_is_not_within_the_roots_is_dropped(root: str, inner: str, kept: bool) -> None:
    assert is_kept(root, inner) is kept


def test_one_block_that_contradicts_all_of_the_roots_drops_the_route() -> None:
    inner = "match: [{uri: {prefix: /a/b}}, {uri: {prefix: /z}}]\n  directResponse: {status: 201}"
    assert delegating("{uri: {prefix: /a}}", inner).get("a", "b/a/b").status == 418


def test_blocks_are_those_of_both_together() -> None:
    made = delegating(
        "{uri: {prefix: /a}, name: out}", "match: [{headers: {x: {exact: '1'}}, name: in}]\n  name: r\n"
        "  directResponse: {status: 201}",
        name="root",
    )  # fmt: skip
    assert made.get("a", "b/a", x="1").status == 201
    assert made.get("a", "b/a").status == 418
    assert made.get("a", "b/z", x="1").status == 418
    assert routes(made)[0].name == "root-r.out-in"


def test_what_a_delegate_leaves_out_it_has_from_the_root() -> None:
    made = delegating(
        "{uri: {prefix: /a}}",
        "route: [{destination: {host: b.default.svc.cluster.local}}]",
        timeout="3s",
        retries="{attempts: 7}",
        mirror="{host: c}",
        mirrorPercentage="{value: 10}",
        rewrite="{uri: /z}",
        headers="{request: {set: {x: root}}}",
        corsPolicy="{allowOrigins: [{exact: 'http://a'}]}",
        fault="{abort: {httpStatus: 500, percentage: {value: 1}}}",
    )
    route = routes(made)[0]
    assert route.timeout == 3.0
    assert route.retry is not None
    assert route.retry.attempts == 7
    assert [m.cluster for m in route.mirrors] == ["outbound|80||c.default.svc.cluster.local"]
    assert route.mirrors[0].percent == 10
    assert route.rewrite is not None
    assert route.rewrite.path == "/z"
    assert route.request_headers.set == (("x", "root"),)
    assert route.cors is not None
    assert route.fault is not None


def test_what_a_delegate_says_it_keeps_even_where_that_is_nothing() -> None:
    inner = (
        "route: [{destination: {host: b.default.svc.cluster.local}}]\n  timeout: 0s\n  retries: {attempts: 0}"
    )
    route = routes(delegating("{uri: {prefix: /a}}", inner, timeout="3s", retries="{attempts: 7}"))[0]
    assert route.timeout is None
    assert route.retry is None


def test_names_in_a_delegate_are_of_its_own_namespace() -> None:
    made = delegating("{uri: {prefix: /a}}", "route: [{destination: {host: c}}]")
    assert routes(made)[0].destinations[0].cluster == "outbound|80||c.parts.svc.cluster.local"


@pytest.mark.parametrize(("export_to", "status"), [("[.]", 418), ("[default]", 201), ("['*']", 201)])
def test_a_delegate_has_to_be_exported_to_the_root(export_to: str, status: int) -> None:
    made = delegating("{uri: {prefix: /a}}", f"directResponse: {{status: 201}}\nexportTo: {export_to}")
    assert made.get("a", "b/a").status == status
