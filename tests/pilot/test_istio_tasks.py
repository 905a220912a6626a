"""Istio's documentation tasks, as far as routing decides them, on Bookinfo with its usual files."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.pilot.meshes import (
    BOOKINFO,
    INGRESS,
    Mesh,
    bookinfo,
    deployment,
    istio,
    mesh,
    networking_file,
    service,
)

REVIEWS = "reviews:9080/reviews/0"


def plain() -> Mesh:
    return bookinfo("bookinfo-gateway", "destination-rule-all")


def apply(made: Mesh, name: str) -> None:
    made.apply(networking_file(name).read_text())


def share(made: Mesh, count: int = 100, **headers: str) -> Counter[str]:
    return Counter(
        made.get("productpage-v1", REVIEWS, draw=(n + 0.5) / count, **headers).workload for n in range(count)
    )


@pytest.mark.parametrize("file", sorted((BOOKINFO / "networking").glob("*.yaml")), ids=lambda file: file.stem)
def test_every_file_of_bookinfo_compiles_without_a_complaint(file: Path) -> None:
    made = plain().apply(file.read_text())
    assert [f for f in made.compile().findings if f.severity != "info"] == []


def test_without_rules_all_versions_answer() -> None:
    assert set(share(plain())) == {"reviews-v1", "reviews-v2", "reviews-v3"}


def test_request_routing() -> None:
    made = plain()
    apply(made, "virtual-service-all-v1")
    assert share(made) == {"reviews-v1": 100}
    apply(made, "virtual-service-reviews-test-v2")
    assert share(made, end_user="jason") == {"reviews-v2": 100}
    assert share(made, end_user="other") == {"reviews-v1": 100}
    assert made.codes() == []


def test_traffic_shifting() -> None:
    made = plain()
    apply(made, "virtual-service-all-v1")
    apply(made, "virtual-service-reviews-50-v3")
    assert share(made) == {"reviews-v1": 50, "reviews-v3": 50}
    apply(made, "virtual-service-reviews-90-10")
    assert share(made) == {"reviews-v1": 90, "reviews-v2": 10}
    apply(made, "virtual-service-reviews-v3")
    assert share(made) == {"reviews-v3": 100}


def test_fault_injection_delay() -> None:
    made = plain()
    apply(made, "virtual-service-all-v1")
    apply(made, "virtual-service-ratings-test-delay")
    jason = made.get("reviews-v2", "ratings:9080/ratings/0", end_user="jason")
    assert (jason.delay, jason.flags, jason.status, jason.workload) == (7.0, "DI", None, "ratings-v1")
    assert made.get("reviews-v2", "ratings:9080/ratings/0").delay == 0


def test_fault_injection_abort() -> None:
    made = plain()
    apply(made, "virtual-service-all-v1")
    apply(made, "virtual-service-ratings-test-abort")
    jason = made.get("reviews-v2", "ratings:9080/ratings/0", end_user="jason")
    assert (jason.status, jason.flags, jason.endpoint) == (500, "FI", None)
    assert made.get("reviews-v2", "ratings:9080/ratings/0").status is None


def test_request_timeouts() -> None:
    made = plain().apply(
        istio(
            "VirtualService",
            "reviews",
            "hosts: [reviews]\nhttp: [{route: [{destination: {host: reviews, subset: v2}}], timeout: 0.5s}]",
        )
    )
    made.apply(
        istio(
            "VirtualService",
            "ratings",
            """
hosts: [ratings]
http:
- fault: {delay: {percent: 100, fixedDelay: 2s}}
  route: [{destination: {host: ratings, subset: v1}}]
""",
        )
    )
    reviews = made.get("productpage-v1", REVIEWS)
    assert reviews.route
    assert reviews.route.timeout == 0.5
    assert made.get("reviews-v2", "ratings:9080/ratings/0").delay == 2.0


@pytest.mark.parametrize(
    ("path", "status", "workload"),
    [
        ("/productpage", None, "productpage-v1"),
        ("/static/style.css", None, "productpage-v1"),
        ("/api/v1/products/0", None, "productpage-v1"),
        ("/", 404, ""),
        ("/productpage/x", 404, ""),
    ],
)
@pytest.mark.parametrize("port", [80, 8080])
def test_bookinfo_behind_the_ingress_gateway(path: str, status: int | None, workload: str, port: int) -> None:
    made = plain()
    text = networking_file("bookinfo-gateway").read_text()
    made.apply(text.replace("number: 8080", f"number: {port}"))
    outcome = made.get("istio-ingressgateway", f"127.0.0.1:8080{path}")
    assert (outcome.status, outcome.workload) == (status, workload)
    assert outcome.flags == ("NR" if status else "")


HTTPBIN = service("httpbin", "http:8000:8080")
GATEWAY = """
selector: {istio: ingressgateway}
servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [%s]}]
"""
TO_HTTPBIN = """
hosts: [%s]
gateways: [httpbin-gateway]
http:
- match: [%s]
  route: [{destination: {port: {number: 8000}, host: httpbin}}]
"""


def test_ingress_control() -> None:
    made = mesh(INGRESS, HTTPBIN)
    assert made.get("istio-ingressgateway", "127.0.0.1:80/").refused
    made.apply(istio("Gateway", "httpbin-gateway", GATEWAY % "httpbin.example.com"))
    only = TO_HTTPBIN % ("httpbin.example.com", "{uri: {prefix: /status}}, {uri: {prefix: /delay}}")
    made.apply(istio("VirtualService", "httpbin", only))
    url = "127.0.0.1:80"
    assert made.get("istio-ingressgateway", f"{url}/status/200", host="httpbin.example.com").workload
    assert made.get("istio-ingressgateway", f"{url}/status/200", host="httpbin.example.com:8080").workload
    assert made.get("istio-ingressgateway", f"{url}/headers", host="httpbin.example.com").status == 404
    assert made.get("istio-ingressgateway", f"{url}/status/200", host="other").status == 404
    made.apply(istio("Gateway", "httpbin-gateway", GATEWAY % '"*"'))
    made.apply(istio("VirtualService", "httpbin", TO_HTTPBIN % ('"*"', "{uri: {prefix: /headers}}")))
    assert made.get("istio-ingressgateway", f"{url}/headers", host="other").workload == "httpbin"


def test_mirroring() -> None:
    made = mesh(
        HTTPBIN,
        service("sleep"),
        istio(
            "VirtualService",
            "httpbin",
            """
hosts: [httpbin]
http:
- route: [{destination: {host: httpbin, subset: v1}, weight: 100}]
  mirror: {host: httpbin, subset: v2}
  mirrorPercentage: {value: 25.0}
""",
        ),
        istio(
            "DestinationRule",
            "httpbin",
            "host: httpbin\nsubsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]",
        ),
    )
    route = made.get("sleep", "httpbin:8000/headers").route
    assert route
    assert [(m.cluster, m.percent) for m in route.mirrors] == [
        ("outbound|8000|v2|httpbin.default.svc.cluster.local", 25.0)
    ]


def test_circuit_breaking_limits_reach_the_cluster() -> None:
    made = mesh(
        HTTPBIN,
        service("fortio"),
        istio(
            "DestinationRule",
            "httpbin",
            """
host: httpbin
trafficPolicy:
  connectionPool:
    tcp: {maxConnections: 1}
    http: {http1MaxPendingRequests: 1, maxRequestsPerConnection: 1}
  outlierDetection: {consecutive5xxErrors: 1, interval: 1s, baseEjectionTime: 3m, maxEjectionPercent: 100}
""",
        ),
    )
    clusters = made.compile().snapshot.proxies["fortio-0"].outbound.clusters
    limits = clusters["outbound|8000||httpbin.default.svc.cluster.local"].limits
    assert (limits.max_connections, limits.max_pending_requests, limits.max_requests_per_connection) == (
        1,
        1,
        1,
    )
    assert limits.connect_timeout == 10.0
    outlier = clusters["outbound|8000||httpbin.default.svc.cluster.local"].outlier
    assert outlier
    assert (outlier.consecutive_5xx, outlier.base_ejection_time, outlier.max_ejection_percent) == (
        1,
        180.0,
        100,
    )


ECHO = service("tcp-echo", "tcp:9000", "tcp-other:9001")
ECHO_RULES = istio(
    "DestinationRule",
    "tcp-echo",
    "host: tcp-echo\nsubsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]",
)
ECHO_GATEWAY = istio(
    "Gateway",
    "tcp-echo-gateway",
    """
selector: {istio: ingressgateway}
servers: [{port: {number: 31400, name: tcp, protocol: TCP}, hosts: ["*"]}]
""",
)


def test_tcp_traffic_shifting() -> None:
    made = mesh(INGRESS, ECHO, deployment("tcp-echo-v2", "v2", app="tcp-echo"), ECHO_RULES, ECHO_GATEWAY)
    made.apply(
        istio(
            "VirtualService",
            "tcp-echo",
            """
hosts: ["*"]
gateways: [tcp-echo-gateway]
tcp:
- match: [{port: 31400}]
  route:
  - {destination: {host: tcp-echo, port: {number: 9000}, subset: v1}, weight: 80}
  - {destination: {host: tcp-echo, port: {number: 9000}, subset: v2}, weight: 20}
""",
        )
    )
    picked = Counter(
        made.connect("istio-ingressgateway", "127.0.0.1:31400", draw=n / 20).workload for n in range(20)
    )
    assert picked == {"tcp-echo": 16, "tcp-echo-v2": 4}
    (listener,) = made.compile().snapshot.proxies["istio-system/istio-ingressgateway-0"].gateway
    assert (listener.port, listener.target_port, listener.local_port) == (31400, 31400, 31400)


EXTERNAL_HTTP = istio(
    "ServiceEntry",
    "httpbin-ext",
    """
hosts: [httpbin.org]
ports: [{number: 80, name: http, protocol: HTTP}]
resolution: DNS
location: MESH_EXTERNAL
""",
)
EXTERNAL_TLS = istio(
    "ServiceEntry",
    "google",
    """
hosts: [www.google.com]
ports: [{number: 443, name: https, protocol: HTTPS}]
resolution: DNS
location: MESH_EXTERNAL
""",
)
REGISTRY_ONLY = """
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |-
    outboundTrafficPolicy: {mode: REGISTRY_ONLY}
"""


def test_egress_control_allow_any() -> None:
    made = mesh(service("sleep"))
    http = made.get("sleep", "httpbin.org/headers")
    assert (http.cluster, http.route and http.route.name, http.status) == (
        "PassthroughCluster",
        "allow_any",
        None,
    )
    tls = made.connect("sleep", "www.google.com:443", sni="www.google.com")
    assert (tls.cluster, tls.refused) == ("PassthroughCluster", False)


def test_egress_control_registry_only() -> None:
    made = mesh(service("sleep"), REGISTRY_ONLY)
    http = made.get("sleep", "httpbin.org/headers")
    assert (http.status, http.flags, http.route and http.route.name) == (502, "", "block_all")
    tls = made.connect("sleep", "www.google.com:443", sni="www.google.com")
    assert (tls.cluster, tls.refused, tls.flags) == ("BlackHoleCluster", True, "UH")


def test_egress_control_service_entries() -> None:
    made = mesh(service("sleep"), REGISTRY_ONLY, EXTERNAL_HTTP, EXTERNAL_TLS)
    http = made.get("sleep", "httpbin.org/headers")
    assert (http.cluster, http.address) == ("outbound|80||httpbin.org", ("httpbin.org", 80))
    assert http.route
    assert http.route.operation == "httpbin.org:80/*"
    tls = made.connect("sleep", "www.google.com:443", sni="www.google.com")
    assert (tls.cluster, tls.refused) == ("outbound|443||www.google.com", False)
    assert made.connect("sleep", "evil.example:443", sni="evil.example").refused
    made.apply(
        istio(
            "VirtualService",
            "httpbin-ext",
            "hosts: [httpbin.org]\nhttp: [{timeout: 3s, route: [{destination: {host: httpbin.org}}]}]",
        )
    )
    route = made.get("sleep", "httpbin.org/delay/5").route
    assert route
    assert route.timeout == 3.0


def test_egress_tls_origination() -> None:
    made = mesh(
        service("curl"),
        istio(
            "ServiceEntry",
            "edition-cnn-com",
            """
hosts: [edition.cnn.com]
ports:
- {number: 80, name: http-port, protocol: HTTP, targetPort: 443}
- {number: 443, name: https-port, protocol: HTTPS}
resolution: DNS
""",
        ),
        istio(
            "DestinationRule",
            "edition-cnn-com",
            """
host: edition.cnn.com
trafficPolicy:
  portLevelSettings: [{port: {number: 80}, tls: {mode: SIMPLE}}]
""",
        ),
    )
    outcome = made.get("curl", "edition.cnn.com/politics")
    assert outcome.address == ("edition.cnn.com", 443)
    clusters = made.compile().snapshot.proxies["curl-0"].outbound.clusters
    assert clusters["outbound|80||edition.cnn.com"].tls.mode.value == "SIMPLE"
    assert clusters["outbound|443||edition.cnn.com"].tls.mode.value == "AUTO"


STRICT = "mtls: {mode: STRICT}"


def test_mutual_tls_migration() -> None:
    made = mesh(
        service("httpbin", "http:8000:80", namespace="foo"),
        service("sleep", namespace="foo"),
        service("sleep", namespace="legacy"),
    )
    made.change("legacy/sleep-0", meshed=False)
    outcome = made.get("foo/sleep", "httpbin.foo:8000/")
    assert (outcome.mtls, outcome.refused) == (True, False)
    made.apply(istio("PeerAuthentication", "default", STRICT, namespace="foo"))
    outcome = made.get("foo/sleep", "httpbin.foo:8000/")
    assert (outcome.mtls, outcome.refused) == (True, False)
    inbound = made.compile().snapshot.proxies["foo/httpbin-0"].inbound
    assert inbound.mode(80).value == "STRICT"


EGRESS = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: istio-egressgateway, namespace: istio-system}
spec:
  selector: {matchLabels: {istio: egressgateway}}
  template:
    metadata: {labels: {istio: egressgateway}}
    spec: {containers: []}
---
apiVersion: v1
kind: Service
metadata: {name: istio-egressgateway, namespace: istio-system}
spec:
  selector: {istio: egressgateway}
  ports: [{name: http2, port: 80, targetPort: 8080}, {name: https, port: 443, targetPort: 8443}]
"""
TO_CNN = """
hosts: [edition.cnn.com]
gateways: [istio-egressgateway, mesh]
http:
- match: [{gateways: [mesh], port: 80}]
  route:
  - destination: {host: istio-egressgateway.istio-system.svc.cluster.local, subset: cnn, port: {number: 80}}
- match: [{gateways: [istio-egressgateway], port: 80}]
  route: [{destination: {host: edition.cnn.com, port: {number: 80}}}]
tls:
- match: [{gateways: [mesh], port: 443, sniHosts: [edition.cnn.com]}]
  route:
  - destination: {host: istio-egressgateway.istio-system.svc.cluster.local, subset: cnn, port: {number: 443}}
- match: [{gateways: [istio-egressgateway], port: 443, sniHosts: [edition.cnn.com]}]
  route: [{destination: {host: edition.cnn.com, port: {number: 443}}}]
"""


def with_egress_gateway() -> Mesh:
    return mesh(
        EGRESS,
        service("curl"),
        istio(
            "ServiceEntry",
            "cnn",
            """
hosts: [edition.cnn.com]
ports: [{number: 80, name: http, protocol: HTTP}, {number: 443, name: https, protocol: HTTPS}]
resolution: DNS
""",
        ),
        istio(
            "Gateway",
            "istio-egressgateway",
            """
selector: {istio: egressgateway}
servers:
- {port: {number: 80, name: http, protocol: HTTP}, hosts: [edition.cnn.com]}
- {port: {number: 443, name: tls, protocol: TLS}, hosts: [edition.cnn.com], tls: {mode: PASSTHROUGH}}
""",
        ),
        istio(
            "DestinationRule",
            "egressgateway-for-cnn",
            "host: istio-egressgateway.istio-system.svc.cluster.local\nsubsets: [{name: cnn}]",
        ),
        istio("VirtualService", "cnn", TO_CNN),
    )


def test_egress_gateway() -> None:
    made = with_egress_gateway()
    first = made.get("curl", "edition.cnn.com/politics")
    assert first.cluster == "outbound|80|cnn|istio-egressgateway.istio-system.svc.cluster.local"
    assert (first.workload, first.address and first.address[1]) == ("istio-egressgateway", 8080)
    second = made.get("istio-egressgateway", "x:8080/politics", host="edition.cnn.com")
    assert (second.cluster, second.address) == ("outbound|80||edition.cnn.com", ("edition.cnn.com", 80))
    (http, tls) = made.compile().snapshot.proxies["istio-system/istio-egressgateway-0"].gateway
    assert (http.local_port, tls.local_port) == (0, 0)
    assert made.codes() == []


def test_egress_gateway_https_passthrough() -> None:
    made = with_egress_gateway()
    first = made.connect("curl", "edition.cnn.com:443", sni="edition.cnn.com")
    assert (first.workload, first.address and first.address[1]) == ("istio-egressgateway", 8443)
    second = made.connect("istio-egressgateway", "x:8443", sni="edition.cnn.com")
    assert second.address == ("edition.cnn.com", 443)
    assert made.connect("istio-egressgateway", "x:8443", sni="other.example").refused


def test_ingress_sni_passthrough() -> None:
    made = mesh(
        INGRESS,
        service("my-nginx", "https:443"),
        istio(
            "Gateway",
            "mygateway",
            """
selector: {istio: ingressgateway}
servers:
- {port: {number: 443, name: https, protocol: HTTPS}, tls: {mode: PASSTHROUGH}, hosts: [nginx.example.com]}
""",
        ),
        istio(
            "VirtualService",
            "nginx",
            """
hosts: [nginx.example.com]
gateways: [mygateway]
tls:
- match: [{port: 443, sniHosts: [nginx.example.com]}]
  route: [{destination: {host: my-nginx, port: {number: 443}}}]
""",
        ),
    )
    assert made.connect("istio-ingressgateway", "x:443", sni="nginx.example.com").workload == "my-nginx"
