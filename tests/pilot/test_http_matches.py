"""What a VirtualService's HTTP matches accept, one by one."""

from __future__ import annotations

import pytest

from devmesh.pilot.simulate import call
from devmesh.traffic.routing import RequestHead
from tests.pilot.meshes import INGRESS, Mesh, istio, mesh, service


def accepting(match: str, *more: str) -> Mesh:
    spec = f"hosts: [b]\nhttp:\n- match: [{match}]\n  directResponse: {{status: 201}}"
    return mesh(service("a"), service("b", "http:80", "other:81"), istio("VirtualService", "b", spec), *more)


HEAD = {"method": "GET", "path": "/x", "authority": "b", "scheme": "http"}


def asked(made: Mesh, *, to: str = "b:80", headers: dict[str, str] | None = None, **head: str) -> bool:
    """Tell whether a request is accepted; others go to the service itself, or get 404."""
    written = {**HEAD, **head}
    request = RequestHead(
        written["method"], written["path"], written["authority"], written["scheme"], headers or {}
    )
    return call(made.compile().snapshot, "a", to, request).status == 201


@pytest.mark.parametrize(
    ("match", "path", "accepted"),
    [
        ("uri: {exact: /x}", "/x", True),
        ("uri: {exact: /x}", "/x?y=1", True),
        ("uri: {exact: /x}", "/x/", False),
        ("uri: {exact: /x}", "/X", False),
        ("uri: {exact: /x}, ignoreUriCase: true", "/X", True),
        ("uri: {prefix: /x}", "/xy", True),
        ("uri: {prefix: /x}", "/X", False),
        ("uri: {prefix: /x}, ignoreUriCase: true", "/XY", True),
        ("uri: {prefix: /x/}", "/x", False),
        ("uri: {regex: /x.}", "/xy", True),
        ("uri: {regex: /x.}", "/xyz", False),
        ("uri: {regex: /x.}", "/x?y", False),
        ("uri: {regex: /x.}, ignoreUriCase: true", "/Xy", False),
        ("uri: {regex: '(?i)/x.'}", "/XY", True),
    ],
)
def test_paths(match: str, path: str, accepted: bool) -> None:
    assert asked(accepting("{" + match + "}"), path=path) is accepted


@pytest.mark.parametrize(
    ("match", "head", "accepted"),
    [
        ("method: {exact: POST}", {"method": "POST"}, True),
        ("method: {exact: POST}", {"method": "post"}, False),
        ("method: {regex: GET|HEAD}", {"method": "HEAD"}, True),
        ("scheme: {exact: http}", {}, True),
        ("scheme: {exact: https}", {}, False),
        ("scheme: {prefix: http}", {}, True),
        ("authority: {exact: b}", {}, True),
        ("authority: {exact: b}", {"authority": "b:80"}, False),
        ("authority: {prefix: b}", {"authority": "b:80"}, True),
        ("authority: {exact: b}", {"authority": "B"}, False),
        ("authority: {}", {}, True),
    ],
)
def test_methods_schemes_and_authorities(match: str, head: dict[str, str], accepted: bool) -> None:
    assert asked(accepting("{" + match + "}"), **head) is accepted


@pytest.mark.parametrize(
    ("match", "headers", "accepted"),
    [
        ("headers: {x-a: {exact: '1'}}", {"x-a": "1"}, True),
        ("headers: {X-A: {exact: '1'}}", {"x-a": "1"}, True),
        ("headers: {x-a: {exact: '1'}}", {"x-a": "12"}, False),
        ("headers: {x-a: {exact: '1'}}", {}, False),
        ("headers: {x-a: {prefix: '1'}}", {"x-a": "12"}, True),
        ("headers: {x-a: {regex: '1.'}}", {"x-a": "12"}, True),
        ("headers: {x-a: {regex: '1.'}}", {"x-a": "123"}, False),
        ("headers: {x-a: {}}", {"x-a": ""}, True),
        ("headers: {x-a: {}}", {}, False),
        ("headers: {x-a: {regex: '*'}}", {"x-a": "any"}, True),
        ("headers: {x-a: {exact: '1'}, x-b: {exact: '2'}}", {"x-a": "1"}, False),
        ("headers: {':method': {exact: GET}}", {}, True),
        ("headers: {':path': {prefix: /x}}", {}, True),
        ("headers: {':authority': {exact: c}}", {}, False),
        ("withoutHeaders: {x-a: {exact: '1'}}", {"x-a": "1"}, False),
        ("withoutHeaders: {x-a: {exact: '1'}}", {"x-a": "2"}, True),
        ("withoutHeaders: {x-a: {exact: '1'}}", {}, True),
        ("withoutHeaders: {x-a: {}}", {"x-a": ""}, False),
        ("withoutHeaders: {x-a: {}}", {}, True),
        ("withoutHeaders: {x-a: {regex: '.*'}}", {}, False),
        ("withoutHeaders: {x-a: {regex: '*'}}", {}, True),
    ],
)
def test_headers_and_their_absence(match: str, headers: dict[str, str], accepted: bool) -> None:
    assert asked(accepting("{" + match + "}"), headers=headers) is accepted


@pytest.mark.parametrize(
    ("match", "path", "accepted"),
    [
        ("queryParams: {a: {exact: '1'}}", "/?a=1", True),
        ("queryParams: {a: {exact: '1'}}", "/?a=2&a=1", False),
        ("queryParams: {a: {exact: '1'}}", "/", False),
        ("queryParams: {a: {prefix: '1'}}", "/?b=&a=12", True),
        ("queryParams: {a: {regex: '\\\\d+'}}", "/?a=12", True),
        ("queryParams: {a: {regex: '\\\\d+'}}", "/?a=12x", False),
        ("queryParams: {a: {regex: '*'}}", "/?a", True),
        ("queryParams: {a: {}}", "/?a=", True),
        ("queryParams: {a: {exact: 'b c'}}", "/?a=b%20c", False),
        ("queryParams: {a: {}, b: {}}", "/?a=1", False),
    ],
)
def test_query_parameters(match: str, path: str, accepted: bool) -> None:
    assert asked(accepting("{" + match.replace("\\\\", "\\") + "}"), path=path) is accepted


@pytest.mark.parametrize(
    ("port", "to", "accepted"), [(80, "b:80", True), (80, "b:81", False), (81, "b:81", True)]
)
def test_the_port_that_was_called(port: int, to: str, accepted: bool) -> None:
    assert asked(accepting(f"{{port: {port}}}"), to=to) is accepted


@pytest.mark.parametrize(
    ("match", "accepted"),
    [
        ("sourceLabels: {app: a}", True),
        ("sourceLabels: {app: a, version: v1}", True),
        ("sourceLabels: {app: b}", False),
        ("sourceNamespace: default", True),
        ("sourceNamespace: other", False),
        ("gateways: [mesh]", True),
        ("gateways: [gw]", False),
        ("gateways: [gw, mesh]", True),
        ("gateways: [mesh], sourceLabels: {app: nobody}", True),
    ],
)
def test_who_calls(match: str, accepted: bool) -> None:
    assert asked(accepting("{" + match + "}")) is accepted


def test_blocks_are_alternatives_and_routes_are_tried_in_order() -> None:
    spec = """
hosts: [b]
http:
- match: [{uri: {exact: /one}}, {headers: {x: {exact: one}}}]
  directResponse: {status: 201}
- match: [{uri: {prefix: /}}]
  directResponse: {status: 202}
- directResponse: {status: 203}
"""
    made = mesh(service("a"), service("b"), istio("VirtualService", "b", spec))
    assert [made.get("a", url).status for url in ("b/one", "b/two")] == [201, 202]
    assert made.get("a", "b/two", x="one").status == 201


def test_a_host_whose_routes_all_refuse_is_404() -> None:
    made = accepting("{uri: {exact: /x}}")
    outcome = made.get("a", "b/y")
    assert (outcome.status, outcome.flags) == (404, "NR")


@pytest.mark.parametrize(
    ("name", "asked_for", "owned"),
    [
        ("b", "b", True),
        ("b", "B.Default.svc.cluster.LOCAL:80", True),
        ("b.default.svc.cluster.local", "b", True),
        ("b.default", "b", False),
        ("'*.default.svc.cluster.local'", "b", True),
        ("'*.cluster.local'", "b", True),
        ("'*.other.svc.cluster.local'", "b", False),
    ],
)
def test_hosts_are_full_names_short_ones_or_wildcards(name: str, asked_for: str, owned: bool) -> None:
    spec = f"hosts: [{name}]\nhttp: [{{directResponse: {{status: 201}}}}]"
    made = mesh(service("a"), service("b"), istio("VirtualService", "b", spec))
    assert (made.get("a", "b:80", host=asked_for).status == 201) is owned


def test_a_short_name_is_of_the_virtual_services_own_namespace() -> None:
    spec = "hosts: [b]\nhttp: [{directResponse: {status: 201}}]"
    made = mesh(
        service("a"),
        service("b"),
        service("b", namespace="other"),
        istio("VirtualService", "b", spec, "other"),
    )
    assert made.get("a", "b").status is None
    assert made.get("a", "b.other").status == 201


def test_at_a_gateway_labels_of_callers_count_unless_gateways_are_named() -> None:
    server = "{port: {number: 80, name: h, protocol: HTTP}, hosts: ['*']}"
    gateway = f"selector: {{istio: ingressgateway}}\nservers: [{server}]"
    spec = """
hosts: [b.example]
gateways: [gw, mesh]
http:
- match: [{gateways: [default/gw]}]
  directResponse: {status: 201}
- match: [{sourceLabels: {app: a}}]
  directResponse: {status: 202}
"""
    made = mesh(INGRESS, service("a"), istio("Gateway", "gw", gateway), istio("VirtualService", "b", spec))
    assert made.get("istio-ingressgateway", "x:80", host="b.example").status == 201
    assert made.get("a", "b.example").status == 202
