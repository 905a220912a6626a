"""Istio's tasks in their Gateway API variants (the rows ending in g), with the real kubectl and curl."""

from __future__ import annotations

import collections
import json
import socket
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.e2e.applications import Applications
from tests.e2e.bookinfo import SAMPLE, Bookinfo, eventually
from tests.e2e.test_routing import split

VERSIONS = "\n---\n".join(
    f"""
apiVersion: v1
kind: Service
metadata: {{name: echo-{version}}}
spec:
  selector: {{app: echo, version: {version}}}
  ports: [{{name: http, port: 80, targetPort: 8080}}, {{name: tcp-first, port: 9001}}]"""
    for version in ("v1", "v2")
)
REVIEWS = "\n---\n".join(
    f"""
apiVersion: v1
kind: Service
metadata: {{name: reviews-{version}, labels: {{test: gateway-api}}}}
spec: {{ports: [{{port: 9080, name: http}}], selector: {{app: reviews, version: {version}}}}}"""
    for version in ("v1", "v2", "v3")
)
GATEWAY = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: echo-gateway}
spec:
  gatewayClassName: istio
  listeners:
"""
HTTP = '  - {name: http, hostname: "*.example.com", port: 80, protocol: HTTP}\n'


def route(
    name: str,
    rules: str,
    parents: str = "[{name: echo-gateway}]",
    hosts: str = "[httpbin.example.com]",
    kind: str = "HTTPRoute",
) -> str:
    hostnames = f"\n  hostnames: {hosts}" if hosts else ""
    return f"""---
apiVersion: gateway.networking.k8s.io/v1
kind: {kind}
metadata: {{name: {name}}}
spec:
  parentRefs: {parents}{hostnames}
  rules: {rules}
"""


def service_parent(name: str, port: int) -> str:
    return f'[{{group: "", kind: Service, name: {name}, port: {port}}}]'


@pytest.fixture
def reviews(bookinfo: Bookinfo) -> Iterator[Bookinfo]:
    bookinfo.kubectl("apply", "-f", "-", stdin=REVIEWS)
    yield bookinfo
    bookinfo.kubectl("delete", "httproutes", "--all")
    bookinfo.kubectl("delete", "services", "-l", "test=gateway-api")


@pytest.fixture
def versions(clean: Applications) -> Iterator[Applications]:
    clean.apply(VERSIONS)
    yield clean
    clean.mesh.kubectl("delete", "-f", "-", stdin=VERSIONS)


@pytest.fixture
def tls(tmp_path: Path) -> Path:
    """A CA, and certificates of it for two servers and a client: NAME.pem, NAME.key, ca.pem."""
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca = _certificate("ca", ca_key, "ca", ca_key, authority=True)
    (tmp_path / "ca.pem").write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    for name in ("httpbin.example.com", "nginx.example.com", "client"):
        key = ec.generate_private_key(ec.SECP256R1())
        found = _certificate(name, key, "ca", ca_key)
        pem = found.public_bytes(serialization.Encoding.PEM)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (tmp_path / f"{name}.pem").write_bytes(pem)
        (tmp_path / f"{name}.key").write_bytes(private)
        (tmp_path / f"{name}.both").write_bytes(pem + private)
    return tmp_path


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    signer: ec.EllipticCurvePrivateKey,
    *,
    authority: bool = False,
) -> x509.Certificate:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(authority, None), critical=True)
        .sign(signer, hashes.SHA256())
    )


def place(apps: Applications, port: int) -> tuple[str, int]:
    return _place(apps.mesh, "echo-gateway", port)


def _place(mesh: Bookinfo, gateway: str, port: int) -> tuple[str, int]:
    """Wait for a Gateway; return where the host reaches one of its listeners, as the task's commands do."""
    kubectl = mesh.kubectl
    kubectl("wait", "--for=condition=programmed", "gtw", gateway, "--timeout=30s")
    address = kubectl("get", "gtw", gateway, "-o", "jsonpath={.status.addresses[0].value}")
    if address == "127.0.0.1":  # nobody may listen on low ports here: the node ports are what is left
        path = f"jsonpath={{.spec.ports[?(@.port=={port})].nodePort}}"
        return address, int(kubectl("get", "svc", f"{gateway}-istio", "-o", path))
    return address, port


def curl(apps: Applications, url: str, *args: str, port: int = 80) -> tuple[int, str]:
    """Run curl on the host against the Gateway; return status (0: none) and body."""
    address, number = place(apps, port)
    host = url.split("/")[2].partition(":")[0]
    scheme, rest = url.partition("://")[0], url.partition("://")[2].partition("/")[2]
    found = subprocess.run(
        ["curl", "-sS", "--noproxy", "*", "--max-time", "10", "-w", "\n%{http_code}",
         "--connect-to", f"{host}::{address}:{number}", *args, f"{scheme}://{host}:{port}/{rest}"],
        capture_output=True, text=True, check=False, timeout=20,
    )  # fmt: skip
    body, _, status = found.stdout.rpartition("\n")
    return int(status or 0), body or found.stderr


def test_tm01g_request_routing(reviews: Bookinfo) -> None:
    rules = """
  - matches: [{headers: [{name: end-user, value: jason}]}]
    backendRefs: [{name: reviews-v2, port: 9080}]
  - backendRefs: [{name: reviews-v1, port: 9080}]"""
    text = route("reviews", rules, service_parent("reviews", 9080), "")
    assert "Warning" not in reviews.kubectl("apply", "-f", "-", stdin=text, check=False)
    assert [reviews.get(user="jason").stars for _ in range(5)] == ["black"] * 5
    assert [reviews.get().stars for _ in range(5)] == [""] * 5
    path = "jsonpath={.status.parents[0].conditions[*].status}"
    assert reviews.kubectl("get", "httproute", "reviews", "-o", path) == "True True"


def test_tm03g_traffic_shifting(reviews: Bookinfo) -> None:
    rules = """
  - backendRefs: [{name: reviews-v1, port: 9080, weight: 50}, {name: reviews-v3, port: 9080, weight: 50}]"""
    reviews.kubectl("apply", "-f", "-", stdin=route("reviews", rules, service_parent("reviews", 9080), ""))
    shares = split(reviews)
    assert shares.keys() == {"none", "red"}
    assert shares["red"] == pytest.approx(0.5, abs=0.03)


def test_ex01g_bookinfo(bookinfo: Bookinfo) -> None:
    kubectl = bookinfo.kubectl
    names = ("bookinfo-versions", "bookinfo-gateway", "route-reviews-90-10")
    files = [f"-f{SAMPLE / 'gateway-api' / name}.yaml" for name in names]
    try:
        kubectl("apply", *files)
        where = _place(bookinfo, "bookinfo-gateway", 80)
        page = subprocess.run(
            ["curl", "-sS", "--noproxy", "*", "--max-time", "20", f"http://{where[0]}:{where[1]}/productpage"],
            capture_output=True, text=True, check=True, timeout=30,
        ).stdout  # fmt: skip
        assert "<title>Simple Bookstore App</title>" in page
    finally:
        kubectl("delete", *files)


def test_tm05g_request_timeouts(versions: Applications) -> None:
    rules = "\n  - {timeouts: {request: 500ms}, backendRefs: [{name: echo-v1, port: 80}]}"
    versions.apply(route("echo", rules, service_parent("echo", 80), ""))
    assert versions.get("http://echo/fast")["status"] == 200
    begun = time.monotonic()
    slow = versions.get("http://echo/slow?delay=3")
    assert (slow["status"], slow["body"]) == (504, "upstream request timeout")
    assert time.monotonic() - begun < 2


def test_tm07g_mirroring(versions: Applications) -> None:
    mirror = "{type: RequestMirror, requestMirror: {backendRef: {name: echo-v2, port: 80}}}"
    rules = f"\n  - {{filters: [{mirror}], backendRefs: [{{name: echo-v1, port: 80}}]}}"
    versions.apply(route("echo", rules, service_parent("echo", 80), ""))
    versions.seen()
    answer = versions.get("http://echo/mirrored")
    assert answer["seen"]["app"] == "v1"
    reached: list[tuple[str, str]] = []

    def both() -> bool:
        reached.extend((seen["app"], dict(seen["headers"])["host"]) for seen in versions.seen())
        return sorted(reached) == [("v1", "echo"), ("v2", "echo-shadow")]

    eventually(both, 5)


def test_tm10g_ingress_control(versions: Applications) -> None:
    rules = """
  - matches: [{path: {type: PathPrefix, value: /status}}, {path: {type: PathPrefix, value: /delay}}]
    backendRefs: [{name: echo, port: 80}]"""
    versions.apply(GATEWAY + HTTP + route("http", rules))
    assert curl(versions, "http://httpbin.example.com/status/200")[0] == 200
    assert curl(versions, "http://httpbin.example.com/headers")[0] == 404
    assert curl(versions, "http://other.example.com/status/200")[0] == 404
    line = versions.mesh.kubectl("get", "gtw", "echo-gateway", "--no-headers").split()
    assert line[:2] == ["echo-gateway", "istio"]
    assert line[3] == "True"
    names = versions.mesh.kubectl("get", "deploy,svc,sa", "-o", "name").split()
    assert {n.partition("/")[0] for n in names if n.endswith("/echo-gateway-istio")} == {
        "deployment.apps",
        "service",
        "serviceaccount",
    }


def test_a_listener_that_is_added_is_reached(versions: Applications) -> None:
    rules = "\n  - backendRefs: [{name: echo, port: 80}]"
    versions.apply(GATEWAY + HTTP + route("http", rules))
    assert curl(versions, "http://httpbin.example.com/one")[0] == 200
    more = "  - {name: more, port: 8088, protocol: HTTP}\n"
    versions.apply(GATEWAY + HTTP + more)
    eventually(lambda: curl(versions, "http://httpbin.example.com/two", port=8088)[0] == 200, 5)
    node = "jsonpath={.spec.ports[?(@.port==8088)].nodePort}"
    port = versions.mesh.kubectl("get", "svc", "echo-gateway-istio", "-o", node)
    found = subprocess.run(
        ["curl", "-sS", "--noproxy", "*", "--max-time", "10", "-o", "/dev/null", "-w", "%{http_code}",
         "-H", "host: httpbin.example.com", f"http://127.0.0.1:{port}/three"],
        capture_output=True, text=True, check=True, timeout=20,
    )  # fmt: skip
    assert found.stdout == "200"


def test_tm15_gateway_api(versions: Applications) -> None:
    rules = """
  - matches: [{path: {type: PathPrefix, value: /get}}]
    backendRefs: [{name: echo, port: 80}]"""
    versions.apply(GATEWAY + HTTP + route("http", rules))
    assert curl(versions, "http://httpbin.example.com/get")[0] == 200
    assert curl(versions, "http://httpbin.example.com/headers")[0] == 404
    more = """
  - matches: [{path: {type: PathPrefix, value: /get}}, {path: {type: PathPrefix, value: /headers}}]
    filters:
    - type: RequestHeaderModifier
      requestHeaderModifier: {add: [{name: my-added-header, value: added-value}]}
    backendRefs: [{name: echo, port: 80}]"""
    versions.apply(route("http", more))
    status, body = curl(versions, "http://httpbin.example.com/headers")
    assert status == 200
    assert ["my-added-header", "added-value"] in json.loads(body)["headers"]
    versions.mesh.kubectl("delete", "gtw", "echo-gateway")
    eventually(
        lambda: "echo-gateway-istio" not in versions.mesh.kubectl("get", "deploy,svc,pods", "-o", "name")
    )


def test_tm15_gateway_api_manual_deployment(versions: Applications) -> None:
    manual = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: manual, namespace: istio-system}
spec:
  gatewayClassName: istio
  addresses: [{type: Hostname, value: istio-ingressgateway.istio-system.svc.cluster.local}]
  listeners: [{name: http, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}]
"""
    rules = "\n  - backendRefs: [{name: echo, port: 80}]"
    parents = "[{name: manual, namespace: istio-system}]"
    versions.apply(manual + route("http", rules, parents, ""))
    kubectl = versions.mesh.kubectl
    kubectl("wait", "--for=condition=programmed", "gtw", "manual", "-n", "istio-system", "--timeout=30s")
    assert versions.mesh.get("/anything").status == 200
    assert "manual-istio" not in kubectl("get", "deploy", "-A", "-o", "name")


def test_tm04g_tcp_traffic_shifting(versions: Applications) -> None:
    gateway = GATEWAY + "  - {name: tcp-31400, port: 31400, protocol: TCP}\n"
    shares = "[{name: echo-v1, port: 9001, weight: 80}, {name: echo-v2, port: 9001, weight: 20}]"
    rules = f"\n  - backendRefs: {shares}"
    versions.apply(gateway + route("tcp", rules, hosts="", kind="TCPRoute"))
    where = place(versions, 31400)

    def greeting() -> str:
        with socket.create_connection(where, timeout=5) as sock:
            return sock.recv(200).decode().split()[1].rpartition("-")[0].rpartition("-")[0]

    counts = collections.Counter(greeting() for _ in range(200))
    assert counts.keys() == {"echo-v1", "echo-v2"}
    assert counts["echo-v2"] == pytest.approx(40, abs=25)


def test_tm11g_secure_ingress(versions: Applications, tls: Path) -> None:
    name = "httpbin.example.com"
    kubectl = versions.mesh.kubectl
    kubectl(
        "create", "secret", "tls", "httpbin-credential", f"--cert={tls / name}.pem", f"--key={tls / name}.key"
    )
    listener = "  - {name: https, hostname: httpbin.example.com, port: 443, protocol: HTTPS, tls: TLS}\n"
    simple = "{mode: Terminate, certificateRefs: [{name: httpbin-credential}]}"
    rules = "\n  - backendRefs: [{name: echo, port: 80}]"
    trust = ("--cacert", str(tls / "ca.pem"))
    try:
        versions.apply(GATEWAY + listener.replace("TLS}", simple + "}") + route("http", rules))
        assert curl(versions, f"https://{name}/status", *trust, port=443)[0] == 200
        kubectl("delete", "secret", "httpbin-credential")
        files = (("tls.crt", f"{name}.pem"), ("tls.key", f"{name}.key"), ("ca.crt", "ca.pem"))
        given = [f"--from-file={key}={tls / file}" for key, file in files]
        kubectl("create", "secret", "generic", "httpbin-credential", *given)
        mutual = "{mode: Terminate, options: {gateway.istio.io/tls-terminate-mode: MUTUAL}, "
        mutual += "certificateRefs: [{name: httpbin-credential}]}"
        versions.apply(GATEWAY + listener.replace("TLS}", mutual + "}"))
        assert curl(versions, f"https://{name}/status", *trust, port=443)[0] == 0
        client = ("--cert", str(tls / "client.pem"), "--key", str(tls / "client.key"))
        assert curl(versions, f"https://{name}/status", *trust, *client, port=443)[0] == 200
    finally:
        kubectl("delete", "secret", "httpbin-credential", "--ignore-not-found")


def test_tm12g_ingress_sni_passthrough(versions: Applications, tls: Path) -> None:
    name = "nginx.example.com"
    kubectl = versions.mesh.kubectl
    kubectl("create", "secret", "generic", "nginx", f"--from-file=both.pem={tls / name}.both")
    server = """
apiVersion: v1
kind: Service
metadata: {name: nginx}
spec: {selector: {app: nginx}, ports: [{name: https, port: 443, targetPort: 8443}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: nginx}
spec:
  selector: {matchLabels: {app: nginx}}
  template:
    metadata: {labels: {app: nginx}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: app
        image: devmesh.test/app:1
        args: ["tls=8443"]
        env: [{name: TLS, value: /certs/both.pem}]
        volumeMounts: [{name: certs, mountPath: /certs}]
        readinessProbe: {tcpSocket: {port: 8443}, periodSeconds: 1}
      volumes: [{name: certs, secret: {secretName: nginx}}]
"""
    gateway = (
        GATEWAY
        + f"  - {{name: https, hostname: {name}, port: 443, protocol: TLS, tls: {{mode: Passthrough}}}}\n"
    )
    rules = "\n  - backendRefs: [{name: nginx, port: 443}]"
    try:
        versions.apply(server + "---" + gateway + route("nginx", rules, hosts=f"[{name}]", kind="TLSRoute"))
        kubectl("rollout", "status", "deploy/nginx", "--timeout=30s")
        status, body = curl(versions, f"https://{name}/", "--cacert", str(tls / "ca.pem"), port=443)
        assert status == 200, body
        assert json.loads(body)["pod"]
    finally:
        kubectl("delete", "deploy/nginx", "svc/nginx", "secret/nginx", "--ignore-not-found")


def test_a_route_that_is_not_in_force_is_told_when_it_is_applied(versions: Applications) -> None:
    rules = "\n  - backendRefs: [{name: echo, port: 80}]"
    text = route("http", rules, "[{name: nobody}]")
    said = versions.mesh.kubectl("apply", "-f", "-", stdin=text, check=False)
    assert "Warning: spec.parentRefs[0]: there is no Gateway 'nobody'" in said


def test_kubectl_knows_the_kinds_without_their_definitions(versions: Applications) -> None:
    kubectl = versions.mesh.kubectl
    assert "istio.io/gateway-controller" in kubectl("get", "gatewayclass", "istio")
    assert "True" in kubectl("get", "gc", "istio", "--no-headers").split()
    assert "parentRefs" in kubectl("explain", "httproute.spec")
    names = kubectl("api-resources", "--api-group=gateway.networking.k8s.io", "-o", "name").split()
    assert "httproutes.gateway.networking.k8s.io" in names
    kubectl("get", "crd", "gateways.gateway.networking.k8s.io")  # else Istio's tasks apply it from the net
    written = kubectl("get", "crd", "httproutes.gateway.networking.k8s.io", "-o", "yaml")
    kubectl("apply", "-f", "-", stdin=written)
    kubectl("wait", "--for=condition=established", "crd/httproutes.gateway.networking.k8s.io", "--timeout=5s")
