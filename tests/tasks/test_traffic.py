"""Traffic management: the tasks on requests and connections within the mesh (rows TM04 to TM09)."""

from __future__ import annotations

from collections import Counter

from tests.tasks.mesh import Tasks, eventually

TCP_GATEWAY = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: tcp-echo-gateway}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 31400, name: tcp, protocol: TCP}
    hosts: ["*"]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: tcp-echo-destination}
spec:
  host: tcp-echo
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
"""


def tcp_split(first: int, second: int) -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: tcp-echo}}
spec:
  hosts: ["*"]
  gateways: [tcp-echo-gateway]
  tcp:
  - match: [{{port: 31400}}]
    route:
    - {{destination: {{host: tcp-echo, port: {{number: 9000}}, subset: v1}}, weight: {first}}}
    - {{destination: {{host: tcp-echo, port: {{number: 9000}}, subset: v2}}, weight: {second}}}
"""


def test_tm04_tcp_traffic_shifting(mesh: Tasks) -> None:
    def words() -> Counter[str]:
        loop = (
            "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do date | nc -q1 -w3 $0 31400; done"
        )
        out = mesh.run("deploy/curl", "sh", "-c", loop, "istio-ingressgateway.istio-system")
        return Counter(line.split()[0] for line in out.splitlines() if line)

    mesh.apply(TCP_GATEWAY)
    mesh.apply(tcp_split(100, 0))
    assert eventually(words) == Counter(one=20)
    mesh.apply(tcp_split(80, 20))
    split = words()
    assert sum(split.values()) == 20
    assert set(split) == {"one", "two"}
    assert split["one"] > split["two"]


CIRCUIT_BREAKER = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: httpbin}
spec:
  host: httpbin
  trafficPolicy:
    connectionPool:
      tcp: {maxConnections: 1}
      http: {http1MaxPendingRequests: 1, maxRequestsPerConnection: 1}
    outlierDetection: {consecutive5xxErrors: 1, interval: 1s, baseEjectionTime: 3m, maxEjectionPercent: 100}
"""


def test_tm06_circuit_breaking(mesh: Tasks) -> None:
    assert mesh.apply(CIRCUIT_BREAKER).strip() == "destinationrule.networking.istio.io/httpbin created"
    single = mesh.fortio("curl", "-quiet", "http://httpbin:8000/get")
    assert single.startswith("HTTP/1.1 200 OK")
    assert "server: envoy" in single
    for connections, count in ((2, 20), (3, 30)):
        out = mesh.fortio(
            "load", "-c", str(connections), "-qps", "0", "-n", str(count), "http://httpbin:8000/get"
        )
        assert "Code 200 :" in out
        assert "Code 503 :" in out
        assert f"All done {count} calls" in out
    stats = mesh.kubectl(
        "exec", "deploy/fortio", "-c", "istio-proxy", "--", "pilot-agent", "request", "GET", "stats"
    )
    pending = {
        line.partition("httpbin.default.svc.cluster.local")[2].lstrip(".;"): line.rpartition(": ")[2]
        for line in stats.splitlines()
        if "httpbin" in line and "pending" in line
    }
    names = " ".join(pending)
    for name in (
        "circuit_breakers.default.remaining_pending", "circuit_breakers.default.rq_pending_open",
        "circuit_breakers.high.rq_pending_open", "upstream_rq_pending_active",
        "upstream_rq_pending_failure_eject", "upstream_rq_pending_overflow", "upstream_rq_pending_total",
    ):  # fmt: skip
        assert name in names
    overflow = next(
        int(value) for name, value in pending.items() if name.startswith("upstream_rq_pending_overflow")
    )
    assert overflow > 0


HTTPBIN_V2 = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: httpbin-v2, labels: {test: own}}
spec:
  selector: {matchLabels: {app: httpbin, version: v2}}
  template:
    metadata: {labels: {app: httpbin, version: v2}}
    spec:
      serviceAccountName: httpbin
      terminationGracePeriodSeconds: 0
      containers:
      - name: httpbin
        image: devmesh.test/tasks:1
        args: [httpbin.py]
        ports: [{containerPort: 8080}]
        readinessProbe: {tcpSocket: {port: 8080}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: httpbin}
spec:
  host: httpbin
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: httpbin}
spec:
  hosts: [httpbin]
  http:
  - route: [{destination: {host: httpbin, subset: v1}, weight: 100}]
"""
MIRROR = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: httpbin}
spec:
  hosts: [httpbin]
  http:
  - route: [{destination: {host: httpbin, subset: v1}, weight: 100}]
    mirror: {host: httpbin, subset: v2}
    mirrorPercentage: {value: 100.0}
"""


def test_tm07_mirroring(mesh: Tasks) -> None:
    def seen(deployment: str, path: str) -> bool:
        return f'"GET /anything/{path} HTTP/1.1" 200' in mesh.logs(deployment, "httpbin", tail=50)

    mesh.apply(HTTPBIN_V2)
    mesh.ready("httpbin-v2")
    assert mesh.curl("http://httpbin:8000/anything/before").status == 200
    assert eventually(lambda: seen("httpbin", "before"))
    assert not seen("httpbin-v2", "before")
    mesh.apply(MIRROR)
    answer = mesh.curl("http://httpbin:8000/anything/mirrored")
    assert answer.status == 200
    assert eventually(lambda: seen("httpbin", "mirrored") and seen("httpbin-v2", "mirrored"))
    assert '"httpbin-shadow:8000"' in mesh.logs("httpbin-v2") or "httpbin:8000-shadow" in mesh.logs(
        "httpbin-v2"
    )


def helloworld(zones: dict[str, str]) -> str:
    """Return Deployments of one pod each, with the localities of these names."""
    return "\n---\n".join(
        f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: helloworld-{version.replace(".", "-")}, labels: {{test: own}}}}
spec:
  selector: {{matchLabels: {{app: helloworld, version: {version}}}}}
  template:
    metadata: {{labels: {{app: helloworld, version: {version}, istio-locality: {locality}}}}}
    spec:
      serviceAccountName: helloworld
      terminationGracePeriodSeconds: 0
      containers:
      - name: helloworld
        image: devmesh.test/tasks:1
        args: [helloworld.py]
        env: [{{name: SERVICE_VERSION, value: {version}}}]
        ports: [{{containerPort: 5000}}]
        readinessProbe: {{tcpSocket: {{port: 5000}}}}
"""
        for version, locality in zones.items()
    )


ZONES = {zone: zone for zone in ("region1.zone1", "region1.zone2", "region2.zone3", "region3.zone4")}
CLIENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: local, labels: {test: own}}
spec:
  selector: {matchLabels: {app: local}}
  template:
    metadata: {labels: {app: local, istio-locality: region1.zone1}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - {name: local, image: "devmesh.test/tasks:1", args: [-c, "import signal; signal.pause()"]}
"""


def locality_rule(setting: str, rest: str = "") -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: helloworld}}
spec:
  host: helloworld
  trafficPolicy:
    connectionPool: {{http: {{maxRequestsPerConnection: 1}}}}
    loadBalancer:
      simple: ROUND_ROBIN
      localityLbSetting: {setting}
    outlierDetection: {{consecutive5xxErrors: 100, interval: 1s, baseEjectionTime: 1m{rest}}}
"""


def answered(mesh: Tasks, count: int) -> Counter[str]:
    """Ask helloworld so often from region1.zone1; return which versions answered."""
    loop = f"i=0; while [ $i -lt {count} ]; do curl -sS http://helloworld:5000/hello; i=$((i+1)); done"
    out = mesh.run("deploy/local", "sh", "-c", loop, container="local")
    return Counter(line.split()[2].rstrip(",") for line in out.splitlines() if line.startswith("Hello"))


def test_tm08_locality_failover(mesh: Tasks) -> None:
    mesh.apply(helloworld(ZONES) + "\n---\n" + CLIENT)
    mesh.ready("local", *(f"helloworld-{zone.replace('.', '-')}" for zone in ZONES))
    mesh.apply(
        locality_rule("{enabled: true, failover: [{from: region1, to: region2}]}").replace(
            "consecutive5xxErrors: 100", "consecutive5xxErrors: 1, maxEjectionPercent: 100"
        )
    )
    for zone in ZONES:
        assert eventually(lambda zone=zone: answered(mesh, 10) == Counter({zone: 10}))  # type: ignore[misc]
        drained = mesh.kubectl(
            "exec", f"deploy/helloworld-{zone.replace('.', '-')}", "-c", "istio-proxy", "--",
            "curl", "-sSL", "-X", "POST", "127.0.0.1:15000/drain_listeners?graceful",
        )  # fmt: skip
        assert "OK" in drained


def test_tm09_locality_weighted_distribution(mesh: Tasks) -> None:
    mesh.apply(helloworld(ZONES) + "\n---\n" + CLIENT)
    mesh.ready("local", *(f"helloworld-{zone.replace('.', '-')}" for zone in ZONES))
    to = '{"region1/zone1/*": 70, "region1/zone2/*": 20, "region3/zone4/*": 10}'
    mesh.apply(locality_rule(f'{{enabled: true, distribute: [{{from: "region1/zone1/*", to: {to}}}]}}'))
    shares = answered(mesh, 100)
    assert sum(shares.values()) == 100
    assert 55 <= shares["region1.zone1"] <= 85
    assert 7 <= shares["region1.zone2"] <= 35
    assert shares["region2.zone3"] == 0
    assert 2 <= shares["region3.zone4"] <= 22
