"""Behaviours of Istio that are easy to get wrong."""

from __future__ import annotations

import pytest

from devmesh.snapshot.proxy import MtlsMode
from tests.pilot.meshes import INGRESS, Mesh, deployment, istio, mesh, service

TWO_VERSIONS = service("reviews", "http:9080") + "---" + deployment("reviews-v2", "v2", app="reviews")
CLIENT = service("client")
SUBSETS = "subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]"
REVIEWS = "reviews:9080/"


def to(subset: str, *, hosts: str = "reviews", **more: str) -> str:
    extra = "".join(f"\n{key}: {value}" for key, value in more.items())
    return (
        f"hosts: [{hosts}]{extra}\nhttp: [{{route: [{{destination: {{host: reviews, subset: {subset}}}}}]}}]"
    )


def rule(spec: str, name: str = "reviews", namespace: str = "default", host: str = "reviews") -> str:
    return istio("DestinationRule", name, f"host: {host}\n{spec}", namespace)


def made(*texts: str) -> Mesh:
    return mesh(TWO_VERSIONS, CLIENT, *texts)


def test_default_retries_are_on_and_do_not_include_503() -> None:
    route = made().get("client", REVIEWS).route
    assert route
    assert route.retry
    assert route.retry.attempts == 2
    assert route.retry.codes == frozenset()
    assert {"connect-failure", "refused-stream", "unavailable", "cancelled"} <= route.retry.on


@pytest.mark.parametrize(
    ("retries", "attempts", "condition"),
    [
        ("{attempts: 3}", 3, "connect-failure"),
        ("{attempts: 3, retryOn: '5xx, 503'}", 3, "retriable-status-codes"),
        ("{attempts: 0}", None, ""),
    ],
)
def test_retries_as_written(retries: str, attempts: int | None, condition: str) -> None:
    text = f"hosts: [reviews]\nhttp: [{{retries: {retries}, route: [{{destination: {{host: reviews}}}}]}}]"
    route = made(istio("VirtualService", "reviews", text)).get("client", REVIEWS).route
    assert route
    if attempts is None:
        assert route.retry is None
    else:
        assert route.retry
        assert (route.retry.attempts, condition in route.retry.on) == (attempts, True)


def test_an_undefined_subset_is_nc_and_one_without_endpoints_is_uh() -> None:
    undefined = made(rule(SUBSETS), istio("VirtualService", "reviews", to("v9")))
    assert undefined.get("client", REVIEWS).flags == "NC"
    assert undefined.codes() == ["KIA1107"]
    empty = made(
        rule("subsets: [{name: v9, labels: {version: v9}}]"), istio("VirtualService", "reviews", to("v9"))
    )
    outcome = empty.get("client", REVIEWS)
    assert (outcome.status, outcome.flags) == (503, "UH")
    assert empty.codes() == ["KIA0203"]


def test_an_unknown_destination_is_503_not_404() -> None:
    text = "hosts: [reviews]\nhttp: [{route: [{destination: {host: reviewz}}]}]"
    broken = made(istio("VirtualService", "reviews", text))
    outcome = broken.get("client", REVIEWS)
    assert (outcome.status, outcome.flags) == (503, "NC")
    (finding,) = [f for f in broken.compile().findings if f.code == "KIA1101"]
    assert finding.path == "spec.http[0].route[0].destination.host"
    assert "did you mean reviews.default.svc.cluster.local?" in finding.message


def test_in_sidecars_the_oldest_owns_a_host_entirely() -> None:
    both = made(
        rule(SUBSETS),
        istio(
            "VirtualService",
            "z-older",
            """
hosts: [reviews]
http: [{match: [{uri: {prefix: /v2}}], route: [{destination: {host: reviews, subset: v2}}]}]
""",
        ),
        istio("VirtualService", "a-younger", to("v1")),
    )
    assert both.get("client", "reviews:9080/v2").workload == "reviews-v2"
    assert both.get("client", "reviews:9080/else").status == 404
    assert "KIA1106" in both.codes()


def test_at_gateways_routes_are_put_together_with_catch_alls_last() -> None:
    bound = {"gateways": "[gw]"}
    both = mesh(
        INGRESS,
        TWO_VERSIONS,
        rule(SUBSETS),
        istio(
            "Gateway",
            "gw",
            """
selector: {istio: ingressgateway}
servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]
""",
        ),
        istio("VirtualService", "z-older", to("v1", hosts="bookinfo.com", **bound)),
        istio(
            "VirtualService",
            "a-younger",
            """
hosts: [bookinfo.com]
gateways: [gw]
http: [{match: [{uri: {prefix: /v2}}], route: [{destination: {host: reviews, subset: v2}}]}]
""",
        ),
    )
    paths = ("/v2", "/else")
    outcomes = [both.get("istio-ingressgateway", f"x:80{path}", host="bookinfo.com") for path in paths]
    assert [outcome.workload for outcome in outcomes] == ["reviews-v2", "reviews"]


def test_settings_of_a_port_replace_the_rules() -> None:
    policy = """
trafficPolicy:
  loadBalancer: {simple: RANDOM}
  tls: {mode: DISABLE}
  portLevelSettings: [{port: {number: 9080}, loadBalancer: {simple: ROUND_ROBIN}}]
"""
    cluster = _cluster(made(rule(policy)), "outbound|9080||reviews.default.svc.cluster.local")
    assert cluster.balancing.value == "ROUND_ROBIN"
    assert cluster.tls.mode.value == "AUTO"  # the rule's DISABLE does not reach the port


def test_a_subset_replaces_block_by_block() -> None:
    policy = """
trafficPolicy:
  loadBalancer: {simple: RANDOM}
  connectionPool: {tcp: {maxConnections: 5, connectTimeout: 3s}}
subsets:
- {name: v1, labels: {version: v1}, trafficPolicy: {connectionPool: {tcp: {maxConnections: 7}}}}
"""
    cluster = _cluster(made(rule(policy)), "outbound|9080|v1|reviews.default.svc.cluster.local")
    assert cluster.balancing.value == "RANDOM"
    assert (cluster.limits.max_connections, cluster.limits.connect_timeout) == (7, 10.0)


FULL = "reviews.default.svc.cluster.local"


def _cluster(of: Mesh, name: str, client: str = "client-0"):  # type: ignore[no-untyped-def]
    return of.compile().snapshot.proxies[client].outbound.clusters[name]


def test_the_clients_namespace_is_asked_for_rules_first_then_the_services_then_the_root() -> None:
    made_ = mesh(TWO_VERSIONS, service("client", namespace="web"))
    name = f"outbound|9080||{FULL}"

    def limit() -> int:
        found: int = _cluster(made_, name, "web/client-0").limits.max_connections
        return found

    def pool(connections: int) -> str:
        return f"trafficPolicy: {{connectionPool: {{tcp: {{maxConnections: {connections}}}}}}}"

    made_.apply(rule(pool(1), namespace="istio-system", host=FULL))
    assert limit() == 1
    made_.apply(rule(pool(2)))
    assert limit() == 2
    made_.apply(rule(pool(3), namespace="web", host=FULL))
    assert limit() == 3
    made_.apply(rule(pool(4), name="hidden", namespace="istio-system", host=FULL))
    assert limit() == 3


def test_a_rule_that_is_not_exported_does_not_reach_other_namespaces() -> None:
    policy = "exportTo: [.]\ntrafficPolicy: {loadBalancer: {simple: RANDOM}}"
    made_ = mesh(TWO_VERSIONS, CLIENT, service("other", namespace="web"), rule(policy))
    assert _cluster(made_, f"outbound|9080||{FULL}").balancing.value == "RANDOM"
    assert _cluster(made_, f"outbound|9080||{FULL}", "web/other-0").balancing.value == "LEAST_REQUEST"


def test_gateways_ask_their_root_namespace_last() -> None:
    made_ = mesh(
        INGRESS,
        TWO_VERSIONS,
        rule("trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}", "all", "istio-system", "'*.local'"),
        rule(SUBSETS),
    )
    gateway = "istio-system/istio-ingressgateway-0"
    cluster = _cluster(made_, f"outbound|9080|v1|{FULL}", gateway)
    assert cluster.tls.mode.value == "AUTO"
    made_.apply(
        rule(
            "exportTo: [.]\ntrafficPolicy: {tls: {mode: DISABLE}}",
            "private",
            "istio-system",
            FULL,
        )
    )
    assert _cluster(made_, f"outbound|9080||{FULL}", gateway).tls.mode.value == "DISABLE"


def test_a_rule_that_selects_clients_comes_first() -> None:
    selecting = (
        "workloadSelector: {matchLabels: {app: client}}\ntrafficPolicy: {loadBalancer: {simple: RANDOM}}"
    )
    made_ = made(rule("trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}"), rule(selecting, "selecting"))
    name = f"outbound|9080||{FULL}"
    balancing = [_cluster(made_, name, client).balancing.value for client in ("client-0", "reviews-0")]
    assert balancing == ["RANDOM", "ROUND_ROBIN"]


def test_rules_of_one_namespace_for_one_host_are_merged() -> None:
    made_ = made(
        rule("subsets: [{name: v1, labels: {version: v1}}]", name="one"),
        rule("trafficPolicy: {loadBalancer: {simple: RANDOM}}\n" + SUBSETS, name="two"),
    )
    cluster = _cluster(made_, f"outbound|9080|v2|{FULL}")
    assert (len(cluster.endpoints), cluster.balancing.value) == (1, "RANDOM")


def test_an_abort_without_a_percentage_never_happens() -> None:
    text = """
hosts: [reviews]
http: [{fault: {abort: {httpStatus: 500}}, route: [{destination: {host: reviews}}]}]
"""
    outcome = made(istio("VirtualService", "reviews", text)).get("client", REVIEWS)
    assert (outcome.status, outcome.flags) == (None, "")


def test_a_delay_is_not_cut_short_by_the_routes_timeout() -> None:
    text = """
hosts: [reviews]
http:
- fault: {delay: {fixedDelay: 5s, percentage: {value: 100}}}
  timeout: 1s
  route: [{destination: {host: reviews}}]
"""
    outcome = made(istio("VirtualService", "reviews", text)).get("client", REVIEWS)
    assert (outcome.delay, outcome.status) == (5.0, None)


def test_limits_are_endless_by_default_and_zero_means_so() -> None:
    zero = "trafficPolicy: {connectionPool: {http: {http1MaxPendingRequests: 0}}}"
    limits = _cluster(made(rule(zero)), f"outbound|9080||{FULL}").limits
    assert limits.max_pending_requests == limits.max_connections == 2**32 - 1


@pytest.mark.parametrize("level", ["mesh", "namespace", "workload", "port"])
def test_strict_at_every_level(level: str) -> None:
    namespace = "istio-system" if level == "mesh" else "default"
    spec = {
        "workload": "selector: {matchLabels: {app: reviews}}\nmtls: {mode: STRICT}",
        "port": "selector: {matchLabels: {app: reviews}}\nportLevelMtls: {9080: {mode: STRICT}}",
    }.get(level, "mtls: {mode: STRICT}")
    policy = istio("PeerAuthentication", "policy", spec, namespace)
    disable = rule("trafficPolicy: {tls: {mode: DISABLE}}")
    assert not made(policy).get("client", REVIEWS).refused
    outcome = made(policy, disable).get("client", REVIEWS)
    assert (outcome.mtls, outcome.refused) == (False, True)


def test_a_nearer_policy_wins_and_unset_inherits() -> None:
    made_ = made(
        istio("PeerAuthentication", "default", "mtls: {mode: STRICT}", "istio-system"),
        istio("PeerAuthentication", "default", "mtls: {mode: UNSET}"),
        istio(
            "PeerAuthentication",
            "reviews",
            "selector: {matchLabels: {app: reviews}}\nportLevelMtls: {9080: {mode: DISABLE}}",
        ),
    )
    inbound = made_.compile().snapshot.proxies["reviews-0"].inbound
    assert [inbound.mode(port) for port in (9080, 1)] == [MtlsMode.DISABLE, MtlsMode.STRICT]
    assert made_.compile().snapshot.proxies["client-0"].inbound.mode(1) is MtlsMode.STRICT
    assert not made_.get("client", REVIEWS).mtls  # auto mTLS knows of the DISABLE


def test_auto_mtls_is_for_workloads_of_the_mesh_alone() -> None:
    made_ = mesh(CLIENT, service("legacy"))
    made_.change("legacy-0", meshed=False)
    assert not made_.get("client", "legacy/").mtls
    made_.change("legacy-0", meshed=True)
    assert made_.get("client", "legacy/").mtls


def test_a_pod_can_say_that_it_speaks_no_mutual_tls() -> None:
    text = service("plain").replace("version: v1}", "version: v1, security.istio.io/tlsMode: disabled}")
    assert not mesh(CLIENT, text).get("client", "plain/").mtls


def test_auto_mtls_can_be_off() -> None:
    off = """
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: "enableAutoMtls: false"}
"""
    assert not made(off).get("client", REVIEWS).mtls


def test_any_tls_in_a_rule_ends_auto_mtls() -> None:
    assert made(rule("trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}")).get("client", REVIEWS).mtls
    assert not made(rule("trafficPolicy: {tls: {mode: SIMPLE}}")).get("client", REVIEWS).mtls
