"""DestinationRules: which is in force, and what becomes of each field."""

from __future__ import annotations

import base64

import pytest
import yaml

from devmesh.pilot.traffic_policies import NOT_SUPPLIED
from devmesh.snapshot.balancing import Cookie, Hashing, WarmUp
from devmesh.snapshot.cluster import (
    Balancing,
    Cluster,
    Keepalive,
    Limits,
    OutlierDetection,
    RetryBudget,
    TlsFiles,
    TlsMode,
)
from tests.pilot.meshes import INGRESS, Mesh, deployment, istio, mesh, service

TO_A = "outbound|80|{}|a.default.svc.cluster.local"


def rule(spec: str, name: str = "a", namespace: str = "default", host: str = "a") -> str:
    return istio("DestinationRule", name, f"host: {host}\n{spec.strip()}", namespace)


def policy(text: str) -> str:
    return rule(f"trafficPolicy: {text}")


def cluster(made: Mesh, *, client: str = "b-0", subset: str = "", name: str = "") -> Cluster:
    proxies = made.compile().snapshot.proxies
    return proxies[client].outbound.clusters[name or TO_A.format(subset)]


def of(*rules: str) -> Mesh:
    return mesh(service("a"), service("b"), *rules)


def quiet(made: Mesh) -> Mesh:
    assert made.codes() == []
    return made


@pytest.mark.parametrize(
    ("text", "balancing", "hashing"),
    [
        ("{simple: ROUND_ROBIN}", Balancing.ROUND_ROBIN, None),
        ("{simple: LEAST_CONN}", Balancing.LEAST_REQUEST, None),
        ("{consistentHash: {httpHeaderName: X-User}}", Balancing.RING_HASH, Hashing("x-user")),
        (
            "{consistentHash: {httpCookie: {name: u, ttl: 0s, path: /p, attributes: [{name: Secure}]}}}",
            Balancing.RING_HASH,
            Hashing(cookie=Cookie("u", "/p", 0.0, (("Secure", ""),))),
        ),
        ("{consistentHash: {httpCookie: {name: u}}}", Balancing.RING_HASH, Hashing(cookie=Cookie("u"))),
        ("{consistentHash: {useSourceIp: true}}", Balancing.RING_HASH, Hashing(source_ip=True)),
        (
            "{consistentHash: {httpQueryParameterName: q, minimumRingSize: 7}}",
            Balancing.RING_HASH,
            Hashing(query="q", size=7),
        ),
        (
            "{consistentHash: {httpQueryParameterName: q, ringHash: {minimumRingSize: 9}}}",
            Balancing.RING_HASH,
            Hashing(query="q", size=9),
        ),
        (
            "{consistentHash: {useSourceIp: true, maglev: {}}}",
            Balancing.MAGLEV,
            Hashing(source_ip=True, maglev=True, size=65537),
        ),
        (
            "{consistentHash: {useSourceIp: true, maglev: {tableSize: 251}}}",
            Balancing.MAGLEV,
            Hashing(source_ip=True, maglev=True, size=251),
        ),
    ],
)
def test_load_balancers(text: str, balancing: Balancing, hashing: Hashing | None) -> None:
    made = cluster(quiet(of(policy(f"{{loadBalancer: {text}}}"))))
    assert (made.balancing, made.hashing) == (balancing, hashing)


@pytest.mark.parametrize(
    ("text", "warm_up"),
    [
        ("{warmupDurationSecs: 30s}", WarmUp(30.0)),
        ("{warmup: {duration: 30s}}", WarmUp(30.0, 0.1, 1.0)),
        ("{warmup: {duration: 30s, minimumPercent: 50, aggression: 2}}", WarmUp(30.0, 0.5, 2.0)),
        ("{simple: RANDOM, warmup: {duration: 30s}}", None),
    ],
)
def test_warm_up_is_for_those_that_weigh(text: str, warm_up: WarmUp | None) -> None:
    assert cluster(of(policy(f"{{loadBalancer: {text}}}"))).warm_up == warm_up


def test_the_connection_pool_in_full() -> None:
    made = quiet(
        of(
            policy(
                """
  connectionPool:
    tcp: {maxConnections: 1, connectTimeout: 2s, idleTimeout: 3s, maxConnectionDuration: 4s,
          tcpKeepalive: {probes: 5, time: 6s, interval: 7s}}
    http: {http1MaxPendingRequests: 8, http2MaxRequests: 9, maxRequestsPerConnection: 10, maxRetries: 11}
  retryBudget: {percent: 12, minRetryConcurrency: 13}
"""
            )
        )
    )
    expected = Limits(1, 8, 9, 10, 11, 2.0, 3.0, 3.0, 4.0, RetryBudget(12, 13), Keepalive(5, 6, 7))
    assert cluster(made).limits == expected


def test_the_pool_also_stands_before_the_application() -> None:
    made = of(policy("{connectionPool: {tcp: {maxConnections: 1}}}"))
    proxies = made.compile().snapshot.proxies
    assert proxies["a-0"].inbound.ports[80].limits.max_connections == 1
    assert proxies["b-0"].inbound.ports[80].limits == Limits()


def test_a_budget_has_envoys_defaults() -> None:
    assert cluster(of(policy("{retryBudget: {}}"))).limits.retry_budget == RetryBudget(20.0, 3)


def test_outlier_detection_in_full() -> None:
    text = """
  outlierDetection: {consecutive5xxErrors: 0, consecutiveGatewayErrors: 2, interval: 3s,
    baseEjectionTime: 4s, maxEjectionPercent: 5, minHealthPercent: 6, splitExternalLocalOriginErrors: true,
    consecutiveLocalOriginFailures: 7, outlierDetectionHttpErrorCodes: [429]}
"""
    found = cluster(quiet(of(policy(text)))).outlier
    assert found == OutlierDetection(0, 2, 3.0, 4.0, 5, 6, True, 7, frozenset({429}))
    assert cluster(of(policy("{outlierDetection: {}}"))).outlier == OutlierDetection()


def test_the_mesh_has_defaults_for_rules_without_a_block() -> None:
    config = """
defaultTrafficPolicy:
  connectionPool: {tcp: {maxConnections: 3}}
  outlierDetection: {consecutive5xxErrors: 4}
tcpKeepalive: {probes: 5}
"""
    text = yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "istio", "namespace": "istio-system"},
            "data": {"mesh": config},
        }
    )
    made = cluster(of(text))
    assert made.limits.max_connections == 3
    assert made.outlier is not None
    assert made.outlier.consecutive_5xx == 4
    own = "{connectionPool: {tcp: {tcpKeepalive: {time: 9s}}}, outlierDetection: {}}"
    made = cluster(of(text, policy(own)))
    assert made.limits.max_connections == Limits().max_connections
    assert made.limits.keepalive == Keepalive(5, 9, 0)
    assert made.outlier == OutlierDetection()


LAYERS = """
trafficPolicy:
  loadBalancer: {simple: RANDOM}
  connectionPool: {tcp: {maxConnections: 1}}
  retryBudget: {percent: 50}
  proxyProtocol: {version: V2}
  portLevelSettings: [{port: {number: 81}, connectionPool: {tcp: {maxConnections: 81}}}]
subsets:
- {name: plain}
- name: own
  trafficPolicy:
    connectionPool: {tcp: {maxConnections: 2}}
    portLevelSettings: [{port: {number: 81}, loadBalancer: {simple: ROUND_ROBIN}}]
"""


@pytest.mark.parametrize(
    ("port", "subset", "balancing", "connections"),
    [
        (80, "", Balancing.RANDOM, 1),
        (80, "plain", Balancing.RANDOM, 1),
        (80, "own", Balancing.RANDOM, 2),
        (81, "", Balancing.LEAST_REQUEST, 81),  # the port's settings replace all that ports can have
        (81, "plain", Balancing.LEAST_REQUEST, 81),
        (81, "own", Balancing.ROUND_ROBIN, 2**32 - 1),
    ],
)
def test_ports_and_subsets(port: int, subset: str, balancing: Balancing, connections: int) -> None:
    made = mesh(service("a", "http:80", "http-x:81"), service("b"), rule(LAYERS))
    found = cluster(made, name=f"outbound|{port}|{subset}|a.default.svc.cluster.local")
    assert (found.balancing, found.limits.max_connections) == (balancing, connections)
    assert found.limits.retry_budget == RetryBudget(50.0, 3)  # which ports don't have
    assert found.proxy_protocol == "V2"


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("{targetHost: x.example, targetPort: 443}", "x.example:443"),
        ("{protocol: CONNECT, targetHost: 'fd00::1', targetPort: 443}", "[fd00::1]:443"),
        ("{protocol: POST, targetHost: x.example, targetPort: 443}", ""),
    ],
)
def test_tunnels_lead_through_http_proxies(text: str, target: str) -> None:
    made = of(policy(f"{{tunnel: {text}}}"))
    assert cluster(made).tunnel == target
    assert bool(told(made, "DM0304")) == (not target)


def test_the_rules_of_one_host_are_merged() -> None:
    made = of(
        rule("subsets: [{name: v1, labels: {version: v1}}]", "one"),
        rule("trafficPolicy: {loadBalancer: {simple: RANDOM}}", "two"),
        rule(
            "trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}\n"
            "subsets: [{name: v1, labels: {version: v9}}, {name: v2, labels: {version: v2}}]",
            "three",
        ),
    )
    assert cluster(made).balancing is Balancing.RANDOM
    assert len(cluster(made, subset="v1").endpoints) == 1
    assert cluster(made, subset="v2").endpoints == ()


def test_rules_for_other_namespaces_are_not_merged() -> None:
    made = mesh(
        service("a"),
        service("b"),
        service("c", namespace="other"),
        rule("exportTo: [.]\nsubsets: [{name: own}]", "one"),
        rule("exportTo: [other]\nsubsets: [{name: theirs}]", "two"),
    )
    assert TO_A.format("own") in made.compile().snapshot.proxies["b-0"].outbound.clusters
    theirs = made.compile().snapshot.proxies["other/c-0"].outbound.clusters
    assert TO_A.format("theirs") in theirs
    assert TO_A.format("own") not in theirs


def test_one_that_is_exported_to_more_is_merged_and_stands_by_itself() -> None:
    made = mesh(
        service("a"),
        service("b"),
        service("c", namespace="other"),
        rule("exportTo: [.]\nsubsets: [{name: own}]", "one"),
        rule("exportTo: [., other]\nsubsets: [{name: wide}]", "two"),
    )
    here = made.compile().snapshot.proxies["b-0"].outbound.clusters
    there = made.compile().snapshot.proxies["other/c-0"].outbound.clusters
    assert {TO_A.format("own"), TO_A.format("wide")} <= set(here)
    assert TO_A.format("wide") in there
    assert TO_A.format("own") not in there


def test_a_rule_for_some_workloads_comes_first_for_them() -> None:
    made = of(
        rule("trafficPolicy: {loadBalancer: {simple: RANDOM}}", "one"),
        rule(
            "workloadSelector: {matchLabels: {app: b}}\ntrafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}",
            "two",
        ),
    )
    assert cluster(made).balancing is Balancing.ROUND_ROBIN
    assert cluster(made, client="a-0").balancing is Balancing.RANDOM


# -- TLS --


def secret(name: str, namespace: str = "default", kind: str = "generic", **data: str) -> str:
    encoded = {key.replace("_", "."): base64.b64encode(text.encode()).decode() for key, text in data.items()}
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": namespace},
            "data": encoded,
        }
    )


MUTUAL = """
workloadSelector: {matchLabels: {app: b}}
trafficPolicy: {tls: {mode: MUTUAL, credentialName: client, sni: x.example}}
"""


def test_a_selected_sidecar_takes_its_certificate_from_a_secret() -> None:
    made = of(secret("client", tls_crt="C", tls_key="K", ca_crt="A"), rule(MUTUAL))
    tls = cluster(quiet(made)).tls
    assert (tls.mode, tls.sni, tls.ca_pem, tls.certificate_pem, tls.key_pem) == (
        TlsMode.MUTUAL,
        "x.example",
        "A",
        "C",
        "K",
    )
    made.apply(secret("client", tls_crt="C2", tls_key="K2", ca_crt="A"))
    assert cluster(made).tls.certificate_pem == "C2"


def test_the_authority_may_be_in_a_secret_of_its_own() -> None:
    made = of(secret("client", cert="C", key="K"), secret("client-cacert", cacert="A"), rule(MUTUAL))
    assert cluster(made).tls.ca_pem == "A"


@pytest.mark.parametrize("held", [[], [secret("client", ca_crt="A")]], ids=["none", "without a key"])
def test_a_missing_secret_is_told_to_who_connects(held: list[str]) -> None:
    assert cluster(of(*held, rule(MUTUAL))).tls.error == NOT_SUPPLIED


def test_without_a_selector_a_sidecar_speaks_plain_text_and_is_told() -> None:
    made = of(secret("client", ca_crt="A"), policy("{tls: {mode: SIMPLE, credentialName: client}}"), INGRESS)
    assert cluster(made).tls.mode is TlsMode.DISABLE
    assert "DM0320" in made.codes()


def test_a_gateway_looks_in_its_own_namespace() -> None:
    made = of(
        secret("client", "istio-system", ca_crt="A"),
        policy("{tls: {mode: SIMPLE, credentialName: client}}"),
        INGRESS,
    )
    found = cluster(made, client="istio-system/istio-ingressgateway-0").tls
    assert (found.mode, found.ca_pem) == (TlsMode.SIMPLE, "A")


def test_an_authority_in_a_config_map_is_for_everybody() -> None:
    text = yaml.safe_dump(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "roots"}, "data": {"ca.crt": "A"}}
    )
    made = of(text, policy("{tls: {mode: SIMPLE, credentialName: 'configmap://roots'}}"))
    assert cluster(quiet(made)).tls.ca_pem == "A"


def test_files_are_left_to_who_connects() -> None:
    text = (
        "{tls: {mode: MUTUAL, clientCertificate: /c, privateKey: /k, caCertificates: /a, caCrl: /r,"
        " subjectAltNames: [x]}}"
    )
    tls = cluster(quiet(of(policy(text)))).tls
    assert (tls.files, tls.sans) == (TlsFiles("/c", "/k", "/a", "/r"), ("x",))
    simple = cluster(of(policy("{tls: {mode: SIMPLE, caCertificates: system}}"))).tls
    assert simple.files is None
    assert simple.names_host


def test_a_service_entry_says_what_name_its_server_has() -> None:
    entry = istio(
        "ServiceEntry",
        "x",
        "hosts: [x.example]\nresolution: DNS\nsubjectAltNames: [spiffe://x]\n"
        "ports: [{number: 443, name: tls, protocol: HTTP}]",
    )
    made = of(entry, rule("trafficPolicy: {tls: {mode: SIMPLE}}", host="x.example"))
    assert cluster(made, name="outbound|443||x.example").tls.sans == ("spiffe://x",)
    named = rule("trafficPolicy: {tls: {mode: SIMPLE, subjectAltNames: [y]}}", host="x.example")
    assert cluster(of(entry, named), name="outbound|443||x.example").tls.sans == ("y",)


# -- localities --


def placed(*localities: str, client: str = "r1/z1/s1") -> Mesh:
    """Return a mesh with a replica of `a` in each locality, and `b` in one."""
    made = mesh(service("b"), *(service("a") if n == 0 else "" for n in range(1)))
    for number in range(1, len(localities)):
        made.apply(deployment(f"a{number}", app="a"))
    names = ["a-0", *(f"a{n}-0" for n in range(1, len(localities)))]
    for name, locality in zip(names, localities, strict=True):
        made.change(name, locality=locality)
    made.change("b-0", locality=client)
    return made


FOUR = ("r1/z1/s1", "r1/z1/s2", "r1/z2", "r2/z1")
EJECTS = "outlierDetection: {}"


def priorities(made: Mesh, client: str = "b-0") -> dict[str, int]:
    return {group.locality: group.priority for group in cluster(made, client=client).groups}


def test_with_outlier_detection_who_is_near_is_asked_first() -> None:
    made = placed(*FOUR).apply(policy(f"{{{EJECTS}}}"))
    assert priorities(quiet(made)) == {"r1/z1/s1": 0, "r1/z1/s2": 1, "r1/z2": 2, "r2/z1": 3}
    assert not cluster(made).by_locality


def test_without_it_nobody_is() -> None:
    made = placed(*FOUR).apply(policy("{loadBalancer: {simple: RANDOM}}"))
    assert cluster(made).groups == ()


def test_priorities_have_no_gaps() -> None:
    made = placed("r1/z2", "r3").apply(policy(f"{{{EJECTS}}}"))
    assert priorities(made) == {"r1/z2": 0, "r3": 1}


def test_a_region_can_have_a_substitute() -> None:
    text = f"{{{EJECTS}, loadBalancer: {{localityLbSetting: {{failover: [{{from: r1, to: r3}}]}}}}}}"
    made = placed("r1/z1/s1", "r2", "r3").apply(policy(text))
    assert priorities(quiet(made)) == {"r1/z1/s1": 0, "r3": 1, "r2": 2}
    assert cluster(made).by_locality


def test_a_setting_that_is_not_enabled_is_none() -> None:
    text = f"{{{EJECTS}, loadBalancer: {{localityLbSetting: {{enabled: false}}}}}}"
    assert cluster(placed(*FOUR).apply(policy(text))).groups == ()


SHARES = """
trafficPolicy:
  loadBalancer:
    localityLbSetting:
      distribute:
      - {from: r9, to: {r2: 100}}
      - {from: r1/z1/*, to: {"r1/z1/*": 70, r1/z2: 20, r2: 10}}
"""


def test_shares_need_no_outlier_detection() -> None:
    made = placed(*FOUR, "r4/z1").apply(rule(SHARES))
    found = cluster(quiet(made))
    weights = {group.locality: group.weight for group in found.groups}
    assert weights == {"r1/z1/s1": 35, "r1/z1/s2": 35, "r1/z2": 20, "r2/z1": 10}
    assert found.by_locality
    assert len(found.endpoints) == 4  # who is not mentioned gets nothing


def test_shares_that_begin_elsewhere_leave_weights_to_numbers() -> None:
    made = placed(*FOUR, client="r7").apply(rule(SHARES))
    assert {group.weight for group in cluster(made).groups} == {1}


def test_clients_in_other_places_have_other_clusters() -> None:
    made = placed(*FOUR).apply(policy(f"{{{EJECTS}}}")).apply(service("c"))
    made.change("c-0", locality="r2/z1")
    assert priorities(made, "c-0")["r2/z1"] == 0
    assert priorities(made)["r2/z1"] == 3


def test_labels_can_say_who_is_near() -> None:
    text = (
        f"{{{EJECTS}, loadBalancer: {{localityLbSetting: "
        "{failoverPriority: [topology.kubernetes.io/region, version=v1]}}}"
    )
    made = placed("r1/z1", "r1/z2", "r2").apply(policy(text))
    made.apply(deployment("old", "v0", app="a"))
    made.change("old-0", locality="r1/z3")
    assert priorities(quiet(made)) == {"r1/z1": 0, "r1/z2": 0, "r1/z3": 1, "r2": 2}


def test_a_service_can_prefer_who_is_close() -> None:
    made = placed("r1/z1", "r1/z2", "r2")
    made.apply(service("a", spec="trafficDistribution: PreferClose").split("---")[0])
    assert priorities(made) == {"r1/z1": 0, "r1/z2": 1, "r2": 2}


def test_annotations_can_prefer_who_is_close() -> None:
    made = placed("r1/z1", "r1/z2", "r2")
    space = "apiVersion: v1\nkind: Namespace\nmetadata: {name: default%s}"
    key = "networking.istio.io/traffic-distribution"
    made.apply(space % f", annotations: {{{key}: PreferClose}}")
    assert priorities(made) == {"r1/z1": 0, "r1/z2": 1, "r2": 2}
    own = f"metadata: {{name: a, annotations: {{{key}: any}},"
    made.apply(service("a").split("---")[0].replace("metadata: {name: a,", own))
    assert priorities(made) == {}
    made.apply(space % "")
    made.apply(service("a").split("---")[0])
    assert priorities(made) == {}


def test_the_mesh_can_switch_localities_off() -> None:
    config = yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "istio", "namespace": "istio-system"},
            "data": {"mesh": "localityLbSetting: {enabled: false}"},
        }
    )
    assert cluster(placed(*FOUR).apply(config).apply(policy(f"{{{EJECTS}}}"))).groups == ()


def told(made: Mesh, code: str) -> list[str]:
    return [f"{f.path}: {f.message}" for f in made.compile().findings if f.code == code]


def test_where_nobody_can_be_ejected_is_told() -> None:
    made = of(policy("{outlierDetection: {maxEjectionPercent: 40}}"))
    (text,) = told(made, "DM0322")
    assert text.startswith("spec.trafficPolicy.outlierDetection: of 1 endpoints none is ejected")
    assert not told(of(policy("{outlierDetection: {maxEjectionPercent: 100}}")), "DM0322")


def test_a_secret_that_is_missing_is_told_until_it_is_there() -> None:
    made = of(rule(MUTUAL))
    (text,) = told(made, "DM0321")
    assert "no Secret default/client with tls.crt, tls.key and ca.crt" in text
    made.apply(secret("client", tls_crt="C", tls_key="K", ca_crt="A"))
    assert not told(made, "DM0321")


def test_a_simulated_call_is_hashed() -> None:
    made = of(policy("{loadBalancer: {consistentHash: {httpHeaderName: x-user}}}"))
    made.apply(deployment("a2", app="a")).apply(deployment("a3", app="a"))
    found = {
        user: {made.get("b", "a/", draw=draw, x_user=user).endpoint for draw in (0.0, 0.4, 0.9)}
        for user in map(str, range(8))
    }
    assert all(len(endpoints) == 1 for endpoints in found.values())
    assert len(set().union(*found.values())) > 1
