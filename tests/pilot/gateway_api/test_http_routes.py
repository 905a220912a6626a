"""HTTPRoutes at a gateway: matches, their precedence, filters, backends."""

from __future__ import annotations

import pytest

from tests.pilot.gateway_api.resources import at_gateway, gateway, http, resource, rule, to
from tests.pilot.meshes import Mesh, mesh, service

GW = "gw-istio"


def workload(made: Mesh, path: str, host: str = "x.com", **headers: str) -> str:
    return made.get(GW, f"gw:80{path}", host=host, **headers).workload.removesuffix("-0")


def test_a_prefix_is_of_whole_segments() -> None:
    made = at_gateway(http("r", f"[{rule('path: {type: PathPrefix, value: /foo/}', to('a'))}]"))
    assert [workload(made, p) for p in ("/foo", "/foo/", "/foo/bar", "/foo?x=1")] == ["a"] * 4
    assert made.get(GW, "gw:80/foobar", host="x.com").status == 404
    assert made.codes() == []


def test_an_exact_path_comes_before_a_longer_prefix_and_that_before_a_regex_whatever_the_order() -> None:
    rules = ", ".join(
        (
            rule("path: {type: RegularExpression, value: '/foo.*'}", to("b")),
            rule("path: {type: PathPrefix, value: /}", to("b")),
            rule("path: {type: PathPrefix, value: /foo/bar}", to("c")),
            rule("path: {type: Exact, value: /foo}", to("a")),
        )
    )
    made = at_gateway(service("c"), http("r", f"[{rules}]"))
    assert workload(made, "/foo") == "a"
    assert workload(made, "/foo/bar/x") == "c"
    # Istio: every prefix comes before every regular expression.
    assert workload(made, "/foo1") == "b"


def test_precedence_goes_across_routes_by_method_headers_and_query_parameters() -> None:
    made = at_gateway(
        service("c"),
        service("d"),
        http("any", f"[{rule('path: {value: /}', to('a'))}]"),
        http("by-query", f"[{rule('queryParams: [{name: q, value: x}]', to('b'))}]"),
        http("by-header", f"[{rule('headers: [{name: Version, value: two}]', to('c'))}]"),
        http("by-method", f"[{rule('method: POST', to('d'))}]"),
    )
    assert workload(made, "/") == "a"
    assert workload(made, "/?q=x") == "b"
    assert workload(made, "/?q=x", version="two") == "c"
    found = made.get(GW, "gw:80/?q=x", method="POST", host="x.com", version="two")
    assert found.workload == "d"


def test_of_equal_matches_the_oldest_route_wins() -> None:
    made = at_gateway(http("z", f"[{rule('', to('a'))}]"), http("y", f"[{rule('', to('b'))}]"))
    assert workload(made, "/") == "a"


def test_weights_are_shares_and_zero_gets_nothing() -> None:
    backends = (to("a", more="weight: 9"), to("b", more="weight: 1"), to("c", more="weight: 0"))
    made = at_gateway(service("c"), http("r", f"[{rule('', *backends)}]"))
    found = [made.get(GW, "gw:80/", host="x", draw=n / 10).workload for n in range(10)]
    assert found == ["a"] * 9 + ["b"]


def test_the_share_of_a_backend_that_is_not_there_gets_500() -> None:
    made = at_gateway(http("r", f"[{rule('', to('a'), to('nobody'))}]"))
    assert made.get(GW, "gw:80/", host="x", draw=0.1).workload == "a"
    missing = made.get(GW, "gw:80/", host="x", draw=0.9)
    assert (missing.status, missing.flags) == (500, "NC")
    assert made.codes() == ["DM0311"]


@pytest.mark.parametrize("backends", [(), (to("a", more="weight: 0"),)])
def test_without_any_weight_the_answer_is_500(backends: tuple[str, ...]) -> None:
    made = at_gateway(http("r", f"[{rule('path: {value: /x}', *backends)}]"))
    assert made.get(GW, "gw:80/x", host="x").status == 500


def test_a_backend_of_another_namespace_needs_a_grant() -> None:
    route = http("r", f"[{rule('', to('far', more='namespace: other'))}]")
    made = at_gateway(service("far", namespace="other"), route)
    assert made.get(GW, "gw:80/", host="x").status == 500
    grant = """
from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: default}]
to: [{group: "", kind: Service}]
"""
    made.apply(resource("ReferenceGrant", "grant", grant, "other"))
    assert workload(made, "/") == "far"


def test_hosts_are_those_of_route_and_listener_both() -> None:
    wild = '{name: wild, port: 80, protocol: HTTP, hostname: "*.example.com"}'
    made = mesh(
        service("a"),
        service("b"),
        gateway(wild),
        http("r", f"[{rule('', to('a'))}]", hosts="[foo.example.com, other.org]"),
        http("all", f"[{rule('', to('b'))}]"),
    ).deploy()
    assert workload(made, "/", "foo.example.com") == "a"
    assert workload(made, "/", "bar.example.com") == "b"
    assert made.get(GW, "gw:80/", host="other.org").status == 404
    assert made.get(GW, "gw:80/", host="example.com").status == 404


def test_a_more_specific_listener_keeps_its_host_from_the_others() -> None:
    listeners = (
        "{name: all, port: 80, protocol: HTTP}",
        "{name: foo, port: 80, protocol: HTTP, hostname: foo.com}",
    )
    made = mesh(
        service("a"),
        service("b"),
        gateway(*listeners),
        http("r", f"[{rule('', to('a'))}]", parents="[{name: gw, sectionName: all}]"),
        http("s", f"[{rule('path: {value: /s}', to('b'))}]", parents="[{name: gw, sectionName: foo}]"),
    ).deploy()
    assert workload(made, "/", "bar.com") == "a"
    assert workload(made, "/s", "foo.com") == "b"
    assert made.get(GW, "gw:80/", host="foo.com").status == 404


def test_redirects_are_302_and_keep_the_listeners_port() -> None:
    redirect = "{type: RequestRedirect, requestRedirect: {hostname: example.org}}"
    made = mesh(
        gateway("{name: http, port: 8080, protocol: HTTP}"), http("r", f"[{rule('', filters=redirect)}]")
    ).deploy()
    route = made.get(GW, "gw:8080/", host="x").route
    assert route is not None
    assert route.redirect is not None
    assert (route.redirect.status, route.redirect.authority, route.redirect.port) == (
        302,
        "example.org",
        8080,
    )


def test_a_redirect_to_a_scheme_has_no_port() -> None:
    redirect = "{type: RequestRedirect, requestRedirect: {scheme: https, statusCode: 301}}"
    made = mesh(
        gateway("{name: http, port: 8080, protocol: HTTP}"), http("r", f"[{rule('', filters=redirect)}]")
    ).deploy()
    route = made.get(GW, "gw:8080/", host="x").route
    assert route is not None
    assert route.redirect is not None
    assert (route.redirect.status, route.redirect.scheme, route.redirect.port) == (301, "https", None)


@pytest.mark.parametrize(
    ("replacement", "path", "after"),
    [
        ("/", "/foo/bar", "/bar"),
        ("/", "/foo", "/"),
        ("/", "/foo/", "/"),
        ("/new", "/foo/bar?q=1", "/new/bar?q=1"),
        ("/new/", "/foo", "/new"),
    ],
)
def test_a_prefix_is_replaced_by_segments(replacement: str, path: str, after: str) -> None:
    from devmesh.traffic import rewriting

    modifier = f"path: {{type: ReplacePrefixMatch, replacePrefixMatch: {replacement}}}"
    rewrite = f"{{type: URLRewrite, urlRewrite: {{{modifier}}}}}"
    made = at_gateway(http("r", f"[{rule('path: {value: /foo}', to('a'), filters=rewrite)}]"))
    route = made.get(GW, f"gw:80{path}", host="x").route
    assert route is not None
    assert route.rewrite is not None
    assert rewriting.path(route.rewrite, path) == after


def test_a_whole_path_and_the_host_are_replaced() -> None:
    from devmesh.traffic import rewriting

    path = "path: {type: ReplaceFullPath, replaceFullPath: /one}"
    rewrite = f"{{type: URLRewrite, urlRewrite: {{hostname: b.org, {path}}}}}"
    made = at_gateway(http("r", f"[{rule('path: {value: /foo}', to('a'), filters=rewrite)}]"))
    route = made.get(GW, "gw:80/foo/bar", host="x").route
    assert route is not None
    assert route.rewrite is not None
    assert rewriting.path(route.rewrite, "/foo/bar?q=1") == "/one?q=1"
    assert route.rewrite.authority == "b.org"


def test_headers_change_at_the_rule_and_at_a_backend() -> None:
    at_rule = "{type: RequestHeaderModifier, requestHeaderModifier: {add: [{name: My-Header, value: one}]}}"
    at_backend = (
        "filters: [{type: ResponseHeaderModifier, responseHeaderModifier: "
        "{set: [{name: X, value: a}, {name: x, value: ignored}], remove: [gone]}}]"
    )
    made = at_gateway(http("r", f"[{rule('', to('a', more=at_backend), filters=at_rule)}]"))
    route = made.get(GW, "gw:80/", host="x").route
    assert route is not None
    assert route.request_headers.add == (("my-header", "one"),)
    assert route.response_headers.set == (("x", "a"),)
    assert route.response_headers.remove == ("gone",)


def test_mirrors_have_a_share() -> None:
    mirrors = ", ".join(
        f"{{type: RequestMirror, requestMirror: {{backendRef: {to(name)}, {share}}}}}"
        for name, share in (("a", "percent: 40"), ("b", "fraction: {numerator: 1, denominator: 8}"))
    )
    made = at_gateway(http("r", f"[{rule('', to('a'), filters=mirrors)}]"))
    route = made.get(GW, "gw:80/", host="x").route
    assert route is not None
    assert [(m.cluster.split("|")[3], m.percent) for m in route.mirrors] == [
        ("a.default.svc.cluster.local", 40.0),
        ("b.default.svc.cluster.local", 12.5),
    ]


def test_timeouts_and_retries() -> None:
    more = "timeouts: {request: 2s, backendRequest: 500ms}, retry: {attempts: 3, codes: [503], backoff: 10ms}"
    made = at_gateway(
        http("r", f"[{rule('path: {value: /r}', to('a'), more=more)}]"),
        http("t", f"[{rule('path: {value: /t}', to('a'), more='timeouts: {request: 0s}')}]"),
    )
    route = made.get(GW, "gw:80/r", host="x").route
    assert route is not None
    assert route.retry is not None
    assert (route.timeout, route.retry.attempts, route.retry.per_try_timeout) == (2.0, 3, 0.5)
    assert route.retry.codes == {503}
    assert "connect-failure" in route.retry.on
    unlimited = made.get(GW, "gw:80/t", host="x").route
    assert unlimited is not None
    assert unlimited.timeout is None
    assert unlimited.retry is not None  # the mesh's default


def test_cors_does_not_forward_preflights_that_do_not_match() -> None:
    cors = "{type: CORS, cors: {allowOrigins: ['https://*.example.com'], allowMethods: [GET], maxAge: 30}}"
    made = at_gateway(http("r", f"[{rule('', to('a'), filters=cors)}]"))
    route = made.get(GW, "gw:80/", host="x").route
    assert route is not None
    assert route.cors is not None
    assert route.cors.forward_unmatched is False
    assert route.cors.max_age == "30"
    assert [o("https://a.example.com") for o in route.cors.origins] == [True]
    assert [o("https://example.com") for o in route.cors.origins] == [False]


def test_a_route_names_its_rule_and_says_where_it_was_written() -> None:
    made = at_gateway(
        http("r", f"[{rule('path: {value: /a}', to('a'))}, {rule('path: {value: /b}', to('b'))}]")
    )
    route = made.get(GW, "gw:80/b", host="x").route
    assert route is not None
    assert route.name == "default.r.1"
    assert str(route.origin) == "HTTPRoute default/r spec.rules[1].matches[0]"


def test_a_filter_that_nobody_implements_takes_the_route_out_of_force() -> None:
    extension = "{type: ExtensionRef, extensionRef: {group: x, kind: Y, name: z}}"
    made = at_gateway(
        http("r", f"[{rule('', to('a'))}, {rule('path: {value: /b}', to('b'), filters=extension)}]")
    )
    assert made.get(GW, "gw:80/", host="x").status == 404
    assert made.codes() == ["DM0311"]


def test_grpc_methods_become_paths() -> None:
    def grpc(name: str, match: str, backend: str) -> str:
        spec = f"parentRefs: [{{name: gw}}]\nrules: [{rule(match, to(backend))}]"
        return resource("GRPCRoute", name, spec)

    made = at_gateway(
        service("c"),
        grpc("both", "method: {service: pkg.Echo, method: Say}", "a"),
        grpc("service", "method: {service: pkg.Echo}", "b"),
        grpc("method", "method: {method: Say}", "c"),
    )
    assert workload(made, "/pkg.Echo/Say") == "a"
    assert workload(made, "/pkg.Echo/Other") == "b"
    assert workload(made, "/pkg.Other/Say") == "c"
    assert made.get(GW, "gw:80/pkg.Other/No", host="x").status == 404


def test_a_change_of_one_route_leaves_the_others_objects_as_they_were() -> None:
    made = at_gateway(
        http("r", f"[{rule('', to('a'))}]", hosts="[a.com]"),
        http("s", f"[{rule('', to('b'))}]", hosts="[b.com]"),
    )
    before = made.get(GW, "gw:80/", host="b.com").route
    made.settle()
    made.apply(http("r", f"[{rule('path: {value: /new}', to('a'))}]", hosts="[a.com]"))
    after = made.get(GW, "gw:80/", host="b.com").route
    assert before == after
    assert workload(made, "/new", "a.com") == "a"
