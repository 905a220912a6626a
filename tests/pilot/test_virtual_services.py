from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pilot.meshes import INGRESS, Mesh, istio, mesh, service

CLIENT = service("client")


def vs(spec: str, name: str = "vs", namespace: str = "default") -> str:
    return istio("VirtualService", name, spec, namespace)


def answers(status: int, host: str, extra: str = "") -> str:
    return f"hosts: ['{host}']\nhttp: [{{{extra}directResponse: {{status: {status}}}}}]"


@given(
    order=st.permutations([("a.b.example", 201), ("*.b.example", 202), ("*.example", 203), ("*.ample", 204)])
)
@settings(max_examples=12, deadline=None)
def test_the_most_specific_host_wins_whatever_the_age(order: list[tuple[str, int]]) -> None:
    made = mesh(
        CLIENT,
        istio(
            "ServiceEntry",
            "all",
            """
hosts: [a.b.example, c.b.example, d.example]
ports: [{number: 80, name: http, protocol: HTTP}]
resolution: DNS
""",
        ),
        *(vs(answers(status, host), f"vs-{status}") for host, status in order),
    )
    found = [made.get("client", host).status for host in ("a.b.example", "c.b.example", "d.example")]
    assert found == [201, 202, 203]


@given(order=st.permutations([201, 202, 203]))
@settings(max_examples=6, deadline=None)
def test_the_oldest_of_a_host_wins(order: list[int]) -> None:
    made = mesh(CLIENT, *(vs(answers(status, "client"), f"vs-{status}") for status in order))
    assert made.get("client", "client").status == order[0]
    assert made.codes() == ["KIA1106", "KIA1106"]


def test_hosts_that_no_service_has_are_served_on_port_80_alone() -> None:
    made = mesh(CLIENT, service("web", "http:8080"), vs(answers(201, "made-up.example")))
    assert made.get("client", "made-up.example").status == 201
    assert made.get("client", "made-up.example:8080").cluster == "PassthroughCluster"


def test_only_routes_of_the_port_and_the_mesh_count() -> None:
    made = mesh(
        CLIENT,
        service("web", "http:80", "http-admin:81"),
        vs("""
hosts: [web]
http:
- match: [{port: 81}]
  directResponse: {status: 201}
- match: [{gateways: [gw]}]
  directResponse: {status: 202}
"""),
    )
    assert made.get("client", "web:81").status == 201
    assert made.get("client", "web:80").workload == "web"  # no route is for it: as without the VirtualService


def test_a_virtual_service_of_a_gateway_alone_leaves_sidecars_alone() -> None:
    made = mesh(CLIENT, vs(answers(201, "client") + "\ngateways: [gw]"))
    assert made.get("client", "client").workload == "client"
    assert made.codes() == ["KIA1102"]


@pytest.mark.parametrize(
    ("uri", "catches_all"),
    [("prefix: /", True), ("regex: .*", True), ("exact: /", False), ("prefix: /a", False)],
)
def test_nothing_follows_a_route_that_takes_everything(uri: str, catches_all: bool) -> None:
    made = mesh(
        CLIENT,
        vs(f"""
hosts: [client]
http:
- match: [{{uri: {{{uri}}}}}]
  directResponse: {{status: 201}}
- directResponse: {{status: 202}}
"""),
    )
    table = made.compile().snapshot.proxies["client-0"].outbound.by_port[80].routes
    assert table
    assert len(table.exact["client"].routes) == (1 if catches_all else 2)


def route_of(made: Mesh, url: str = "client/a"):  # type: ignore[no-untyped-def]
    route = made.get("client", url).route
    assert route
    return route


TO_ONE = "http: [{route: [{destination: {host: one}}]}]"


def test_in_sidecars_a_destination_without_a_port_has_the_one_that_was_called() -> None:
    made = mesh(CLIENT, service("one", "http:8080"), vs("hosts: [client]\n" + TO_ONE))
    outcome = made.get("client", "client")
    assert (outcome.cluster, outcome.flags) == ("outbound|80||one.default.svc.cluster.local", "NC")
    assert made.codes() == ["DM0303"]


def test_at_gateways_a_destination_without_a_port_has_the_only_one() -> None:
    made = mesh(
        INGRESS,
        service("one", "http:8080"),
        istio("Gateway", "gw", SERVERS % "'*'"),
        vs("hosts: ['*']\ngateways: [gw]\n" + TO_ONE),
    )
    assert made.get("istio-ingressgateway", "x:80/").workload == "one"
    assert made.codes() == []


def test_a_host_without_a_service_is_served_beside_one_that_has_it() -> None:
    made = mesh(
        CLIENT,
        service("web", "http:8080"),
        vs("hosts: [web, shop.example]\nhttp: [{directResponse: {status: 201}}]"),
    )
    calls = [made.get("client", url, host=host).status for url, host in CALLS]
    assert calls == [201, 201, 201, None]


CALLS = [
    ("203.0.113.1:8080/", "web"),
    ("203.0.113.1:8080/", "shop.example"),
    ("203.0.113.1:80/", "shop.example"),
    ("203.0.113.1:8080/", "other.example"),
]


def test_the_authority_is_the_rewrites_or_the_headers() -> None:
    made = mesh(
        CLIENT,
        service("b"),
        vs("""
hosts: [client]
http:
- match: [{uri: {prefix: /a}}]
  headers: {request: {set: {Host: by-headers, x: "1"}}}
  rewrite: {authority: by-rewrite}
  route: [{destination: {host: client}}]
- match: [{uri: {prefix: /b}}]
  headers: {request: {add: {":authority": by-headers, ":path": /no}}}
  route: [{destination: {host: client}, headers: {request: {set: {host: by-destination}}}}]
- match: [{uri: {prefix: /c}}]
  route: [{destination: {host: client}, headers: {request: {set: {host: by-destination}}}}]
- match: [{uri: {prefix: /d}}]
  route:
  - {destination: {host: client}, weight: 1, headers: {request: {set: {host: by-destination}}}}
  - {destination: {host: b}, weight: 1}
"""),
    )
    routes = [route_of(made, f"client/{path}") for path in "abcd"]
    hosts = [route.rewrite and route.rewrite.authority for route in routes]
    assert hosts == ["by-rewrite", "by-headers", "by-destination", None]
    assert routes[0].request_headers.set == (("x", "1"),)
    assert routes[3].destinations[0].authority == "by-destination"


def test_names_are_the_routes_and_the_blocks() -> None:
    made = mesh(
        CLIENT,
        vs("""
hosts: [client]
http:
- name: first
  match: [{name: jason, uri: {prefix: /a}}, {uri: {prefix: /b}}]
  route: [{destination: {host: client}}]
- route: [{destination: {host: client}}]
"""),
    )
    assert [route_of(made, f"client/{path}").name for path in "abc"] == ["first.jason", "first", ""]
    assert [str(route_of(made, f"client/{path}").origin) for path in "ac"] == [
        "VirtualService default/vs spec.http[0].match[0]",
        "VirtualService default/vs spec.http[1]",
    ]


def test_weights_of_nothing_get_nothing() -> None:
    made = mesh(
        CLIENT,
        service("b"),
        vs("""
hosts: [client]
http: [{route: [{destination: {host: client}, weight: 0}, {destination: {host: b}, weight: 7}]}]
"""),
    )
    assert {made.get("client", "client", draw=n / 10).workload for n in range(10)} == {"b"}


def test_headers_of_a_single_destination_come_after_the_routes() -> None:
    made = mesh(
        CLIENT,
        vs("""
hosts: [client]
http:
- headers: {request: {set: {a: route, b: route}}, response: {remove: [x]}}
  route: [{destination: {host: client}, headers: {request: {set: {a: destination}}}}]
"""),
    )
    route = route_of(made)
    assert route.request_headers.set == (("b", "route"), ("a", "destination"))
    assert route.response_headers.remove == ("x",)
    assert route.destinations[0].request_headers.set == ()


def test_rewrites_know_what_they_replace() -> None:
    made = mesh(
        CLIENT,
        vs("""
hosts: [client]
http:
- match: [{uri: {prefix: /a}}]
  rewrite: {uri: /x, authority: other}
  route: [{destination: {host: client}}]
- match: [{uri: {exact: /b}}]
  rewrite: {uri: /x}
  route: [{destination: {host: client}}]
- match: [{uri: {prefix: /c}}]
  rewrite: {uriRegexRewrite: {match: "/c/(.*)", rewrite: '/\\1'}}
  route: [{destination: {host: client}}]
"""),
    )
    a, b, c = (route_of(made, f"client/{path}").rewrite for path in ("a", "b", "c"))
    assert (a.path, a.matched, a.authority) == ("/x", "/a", "other")
    assert (b.path, b.matched) == ("/x", None)
    assert c.regex.sub(c.substitution, "/c/d") == "/d"


def test_operations_name_the_destination_or_the_virtual_service() -> None:
    made = mesh(
        CLIENT,
        service("b"),
        vs("""
hosts: [client]
http:
- match: [{uri: {prefix: /a}}]
  route: [{destination: {host: b}}]
- match: [{uri: {exact: /b}}]
  route: [{destination: {host: client}, weight: 1}, {destination: {host: b}, weight: 1}]
"""),
    )
    assert [route_of(made, f"client/{path}").operation for path in ("a", "b")] == [
        "b.default.svc.cluster.local:80/a*",
        "vs:80/b",
    ]
    assert route_of(mesh(CLIENT)).operation == "client.default.svc.cluster.local:80/*"


@pytest.mark.parametrize(
    ("redirect", "port"),
    [
        ("{uri: /x}", None),
        ("{port: 8443}", 8443),
        ("{derivePort: FROM_REQUEST_PORT}", None),
        ("{derivePort: FROM_REQUEST_PORT, scheme: https}", 80),
        ("{port: 443, scheme: https}", None),
        ("{derivePort: FROM_PROTOCOL_DEFAULT}", None),
    ],
)
def test_redirects_know_their_port(redirect: str, port: int | None) -> None:
    made = mesh(CLIENT, vs(f"hosts: [client]\nhttp: [{{redirect: {redirect}}}]"))
    assert made.get("client", "client").status == 301
    assert route_of(made).redirect.port == port


def test_cors_methods_are_joined_and_a_star_allows_all() -> None:
    made = mesh(
        CLIENT,
        vs("""
hosts: [client]
http:
- corsPolicy: {allowOrigins: [{exact: "*"}], allowMethods: [GET, POST], maxAge: 1m}
  route: [{destination: {host: client}}]
"""),
    )
    cors = route_of(made).cors
    assert (cors.methods, cors.max_age, cors.origins[0]("https://any.example")) == ("GET,POST", "60", True)


ROOT = """
hosts: [client]
http:
- match: [{uri: {prefix: /a}}]
  timeout: 3s
  delegate: {name: part, namespace: parts}
- directResponse: {status: 418}
"""
PART = """
http:
- match: [{uri: {prefix: /a/b}}]
  directResponse: {status: 201}
- match: [{uri: {prefix: /z}}]
  directResponse: {status: 202}
- route: [{destination: {host: client.default.svc.cluster.local}}]
"""


def test_a_delegate_takes_the_place_of_the_route_that_names_it() -> None:
    made = mesh(CLIENT, vs(ROOT, "root"), vs(PART, "part", "parts"))
    assert [made.get("client", f"client{path}").status for path in ("/a/b", "/a/c", "/z")] == [201, None, 418]
    assert route_of(made, "client/a/c").timeout == 3.0
    assert str(route_of(made, "client/a/b").origin).startswith("VirtualService parts/part")
    made.apply(vs("http: [{directResponse: {status: 203}}]", "part", "parts"))
    assert made.get("client", "client/a").status == 203


def test_a_delegate_that_is_missing_gives_no_routes() -> None:
    assert mesh(CLIENT, vs(ROOT, "root")).get("client", "client/a").status == 418


SERVERS = """
selector: {istio: ingressgateway}
servers:
- {port: {number: 80, name: http, protocol: HTTP}, hosts: [%s]}
"""


@pytest.mark.parametrize(
    ("server", "host", "asked", "status"),
    [
        ("'*'", "a.example", "a.example", 201),
        ("'*'", "a.example", "b.example", 404),
        ("'*.example'", "'*'", "b.example", 201),
        ("'*.example'", "'*'", "b.org", 404),
        ("a.example", "'*.example'", "a.example", 201),
        ("a.example", "'*.example'", "b.example", 404),
        ("a.example", "b.example", "b.example", 404),
        ("./a.example", "a.example", "a.example", 404),
        ("default/a.example", "a.example", "a.example", 201),
        ("other/a.example", "a.example", "a.example", 404),
        ("'*/a.example'", "a.example", "a.example", 201),
    ],
)
def test_a_gateway_serves_what_both_name(server: str, host: str, asked: str, status: int) -> None:
    made = mesh(
        INGRESS,
        istio("Gateway", "gw", SERVERS % server, "istio-system"),
        vs(f"hosts: [{host}]\ngateways: [istio-system/gw]\nhttp: [{{directResponse: {{status: 201}}}}]"),
    )
    assert made.get("istio-ingressgateway", "x:80/", host=asked).status == status


def test_https_redirect_sends_everything_to_https() -> None:
    tls = "tls: {httpsRedirect: true}"
    made = mesh(
        INGRESS,
        istio("Gateway", "gw", (SERVERS % "a.example").rstrip()[:-1] + f", {tls}}}"),
        vs("hosts: [a.example]\ngateways: [gw]\nhttp: [{directResponse: {status: 201}}]"),
    )
    outcome = made.get("istio-ingressgateway", "x:80/", host="a.example")
    assert outcome.status == 301
    assert outcome.route
    assert outcome.route.redirect
    assert outcome.route.redirect.scheme == "https"


def test_a_redirect_to_https_is_for_the_hosts_of_its_server() -> None:
    made = mesh(
        INGRESS,
        istio("Gateway", "gw", (SERVERS % "'*.example'").rstrip()[:-1] + ", tls: {httpsRedirect: true}}"),
        istio("Gateway", "other", SERVERS % "a.example"),
        vs("hosts: [a.example]\ngateways: [other]\nhttp: [{directResponse: {status: 201}}]"),
    )
    statuses = [made.get("istio-ingressgateway", "x:80/", host=h).status for h in ("a.example", "b.example")]
    assert statuses == [201, 301]


def test_https_servers_are_listed_with_their_certificates_and_nothing_crashes_without() -> None:
    made = mesh(
        INGRESS,
        istio(
            "Gateway",
            "gw",
            """
selector: {istio: ingressgateway}
servers:
- port: {number: 443, name: https, protocol: HTTPS}
  hosts: [a.example]
  tls: {mode: SIMPLE, credentialName: a-credential}
""",
        ),
        vs("hosts: [a.example]\ngateways: [gw]\nhttp: [{directResponse: {status: 201}}]"),
    )
    (listener,) = made.compile().snapshot.proxies["istio-system/istio-ingressgateway-0"].gateway
    assert (listener.target_port, listener.local_port, listener.tls[0].certificate_pem) == (8443, 8443, "")
    assert made.codes() == ["DM0301"]
    made.apply("""
apiVersion: v1
kind: Secret
metadata: {name: a-credential, namespace: istio-system}
data: {tls.crt: Q0VSVA==, tls.key: S0VZ}
""")
    (listener,) = made.compile().snapshot.proxies["istio-system/istio-ingressgateway-0"].gateway
    assert (listener.tls[0].certificate_pem, listener.tls[0].key_pem) == ("CERT", "KEY")
    assert made.get("istio-ingressgateway", "x:443/", host="a.example").status == 201


def test_servers_of_another_kind_on_a_port_are_left_out() -> None:
    made = mesh(
        INGRESS,
        istio("Gateway", "gw", SERVERS % "'*'"),
        istio("Gateway", "tcp", (SERVERS % "'*'").replace("protocol: HTTP", "protocol: TCP")),
    )
    (listener,) = made.compile().snapshot.proxies["istio-system/istio-ingressgateway-0"].gateway
    assert listener.protocol.value == "http"
    assert "KIA0301" in made.codes()
