"""Routes whose parent is a Service or a ServiceEntry: they steer sidecars."""

from __future__ import annotations

from tests.pilot.gateway_api.resources import http, resource, rule, to
from tests.pilot.meshes import Mesh, bookinfo, deployment, istio, mesh, service

SERVICE = '[{group: "", kind: Service, name: a, port: 80}]'
ANY_PORT = '[{group: "", kind: Service, name: a, namespace: default}]'
VERSIONS = "".join(
    f"""
---
apiVersion: v1
kind: Service
metadata: {{name: reviews-{v}}}
spec: {{ports: [{{port: 9080, name: http}}], selector: {{app: reviews, version: {v}}}}}
"""
    for v in ("v1", "v2", "v3")
)


def caller(*texts: str) -> Mesh:
    return mesh(service("a"), service("b"), deployment("client"), *texts)


def test_request_routing_of_istios_task() -> None:
    parent = '[{group: "", kind: Service, name: reviews, port: 9080}]'
    rules = (
        f"[{rule('headers: [{name: end-user, value: jason}]', to('reviews-v2', 9080))}, "
        f"{rule('', to('reviews-v1', 9080))}]"
    )
    made = bookinfo().apply(VERSIONS).apply(http("reviews", rules, parents=parent))
    assert made.get("productpage-v1", "reviews:9080/reviews/0", end_user="jason").workload == "reviews-v2"
    assert made.get("productpage-v1", "reviews:9080/reviews/0").workload == "reviews-v1"
    assert made.codes() == []


def test_traffic_shifting_of_istios_task() -> None:
    parent = '[{group: "", kind: Service, name: reviews, port: 9080}]'
    backends = (to("reviews-v1", 9080, "weight: 50"), to("reviews-v3", 9080, "weight: 50"))
    made = bookinfo().apply(VERSIONS).apply(http("reviews", f"[{rule('', *backends)}]", parents=parent))
    found = [made.get("productpage-v1", "reviews:9080/", draw=n / 10).workload for n in range(10)]
    assert found == ["reviews-v1"] * 5 + ["reviews-v3"] * 5


def test_a_path_that_no_rule_takes_is_a_404() -> None:
    made = caller(http("r", f"[{rule('path: {value: /b}', to('b'))}]", parents=SERVICE))
    assert made.get("client", "a:80/b").workload == "b"
    assert made.get("client", "a:80/other").status == 404


def test_a_route_for_one_port_leaves_the_others_alone() -> None:
    two = service("a", "http:80", "http-admin:81")
    made = mesh(two, service("b"), deployment("client"), http("r", f"[{rule('', to('b'))}]", parents=SERVICE))
    assert made.get("client", "a:80/").workload == "b"
    assert made.get("client", "a:81/").workload == "a"


def test_a_consumers_route_steers_its_own_namespace_alone_and_comes_first() -> None:
    made = caller(
        service("c"),
        deployment("client", namespace="other"),
        http("producer", f"[{rule('', to('b'))}]", parents=ANY_PORT),
        http(
            "consumer",
            f"[{rule('', to('c', more='namespace: default'))}]",
            parents=ANY_PORT,
            namespace="other",
        ),
    )
    assert made.get("client", "a:80/").workload == "b"
    assert made.get("other/client-0", "a.default:80/").workload == "c"


def test_the_older_of_a_route_and_a_virtual_service_wins_for_other_namespaces() -> None:
    vs = istio("VirtualService", "vs", "hosts: [a]\nhttp: [{route: [{destination: {host: a}}]}]")
    route = http("r", f"[{rule('', to('b'))}]", parents=SERVICE)
    made = caller(vs, deployment("client", namespace="other"), route)
    assert made.get("other/client-0", "a.default:80/").workload == "a"
    # Istio: in its own namespace a route of the Gateway API comes first.
    assert made.get("client", "a:80/").workload == "b"


def test_mesh_routes_need_no_grant() -> None:
    route = http("r", f"[{rule('', to('far', more='namespace: other'))}]", parents=SERVICE)
    made = caller(service("far", namespace="other"), route)
    assert made.get("client", "a:80/").workload == "far"


def test_a_route_of_a_service_entry_steers_its_hosts() -> None:
    entry = istio(
        "ServiceEntry",
        "ext",
        "hosts: [ext.example.com]\nports: [{number: 80, name: http, protocol: HTTP}]\nresolution: DNS\n"
        "location: MESH_EXTERNAL",
    )
    parents = "[{group: networking.istio.io, kind: ServiceEntry, name: ext}]"
    backend = "{group: networking.istio.io, kind: Hostname, name: ext.example.com, port: 80}"
    rules = f"[{rule('', backend, more='timeouts: {request: 3s}')}]"
    made = caller(entry, http("r", rules, parents=parents))
    route = made.get("client", "ext.example.com:80/").route
    assert route is not None
    assert route.timeout == 3.0
    assert made.codes() == []


def test_tcp_routes_have_weights() -> None:
    spec = f'parentRefs: [{{group: "", kind: Service, name: t}}]\nrules: [{rule("", to("u", 9000))}]'
    made = mesh(
        service("t", "tcp:9000"),
        service("u", "tcp:9000"),
        deployment("client"),
        resource("TCPRoute", "r", spec),
    )
    assert made.connect("client", "t:9000").workload == "u"


def test_a_route_without_its_service_is_told() -> None:
    made = caller(http("r", f"[{rule('', to('b'))}]", parents='[{group: "", kind: Service, name: nobody}]'))
    assert made.codes() == ["DM0310"]
