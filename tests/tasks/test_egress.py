"""Egress: the tasks on services outside the mesh (rows TM17 to TM25). A server here is the world."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.applications import OUTSIDE
from tests.tasks.mesh import APPS, Curled, Tasks, certificate, eventually


@contextmanager
def served(*args: str, program: str = "httpbin.py", port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program of `apps/` outside the mesh, until it listens and then till the end."""
    process = subprocess.Popen(
        [sys.executable, "-u", str(APPS / program), *args],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection((OUTSIDE, port), timeout=1).close()
                break
            except OSError:
                assert time.monotonic() < deadline, f"{program} does not listen"
                time.sleep(0.05)
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


@contextmanager
def _address() -> Iterator[None]:
    subprocess.run(["ip", "address", "replace", f"{OUTSIDE}/32", "dev", "lo"], check=True)
    try:
        yield
    finally:
        subprocess.run(["ip", "address", "del", f"{OUTSIDE}/32", "dev", "lo"], check=True)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Servers at the addresses of cnn, google, wikipedia and httpbin, in plain text and by TLS.

    Yields:
        A folder with the authority that signed their certificates: ca.crt.
    """
    folder = tmp_path_factory.mktemp("world")
    ca = certificate(folder, "ca")
    names = "DNS:edition.cnn.com,DNS:www.google.com,DNS:*.wikipedia.org,DNS:httpbin.org"
    cert, key = folder / "world.crt", folder / "world.key"
    subprocess.run(
        [
            "openssl", "req", "-x509", "-nodes", "-newkey", "rsa:2048", "-days", "30", "-subj", "/CN=world",
            "-addext", f"subjectAltName={names}", "-addext", "basicConstraints=CA:FALSE",
            "-CA", ca[0], "-CAkey", ca[1], "-keyout", str(key), "-out", str(cert),
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    with (
        _address(),
        served("--host", OUTSIDE, "--port", "80", port=80),
        served("--host", OUTSIDE, "--port", "443", "--cert", str(cert), "--key", str(key), port=443),
    ):
        yield folder


def mesh_config(mesh: Tasks, **fields: object) -> None:
    """Merge fields into MeshConfig; None takes one away."""
    text = {"accessLogFile": "/dev/stdout"} | {k: v for k, v in fields.items() if v is not None}
    patch = json.dumps({"data": {"mesh": json.dumps(text)}})
    mesh.kubectl("patch", "configmap", "istio", "-n", "istio-system", "--type=merge", "-p", patch)


@contextmanager
def registry_only(mesh: Tasks) -> Iterator[None]:
    before = json.loads(mesh.kubectl("get", "configmap", "istio", "-n", "istio-system", "-o", "json"))["data"]
    mesh_config(mesh, outboundTrafficPolicy={"mode": "REGISTRY_ONLY"})
    try:
        yield
    finally:
        patch = json.dumps({"data": before})
        mesh.kubectl("patch", "configmap", "istio", "-n", "istio-system", "--type=merge", "-p", patch)


HTTPBIN_ORG = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: httpbin-ext}
spec:
  hosts: [httpbin.org]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: DNS
  location: MESH_EXTERNAL
"""
GOOGLE = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: google}
spec:
  hosts: [www.google.com]
  ports: [{number: 443, name: https, protocol: HTTPS}]
  resolution: DNS
  location: MESH_EXTERNAL
"""
TIMEOUT = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: httpbin-ext}
spec:
  hosts: [httpbin.org]
  http:
  - timeout: 3s
    route: [{destination: {host: httpbin.org}, weight: 100}]
"""


def test_tm17_accessing_external_services(mesh: Tasks, world: Path) -> None:
    google = ("-k", "-I", "https://www.google.com")
    assert mesh.curl(*google).status == 200
    assert mesh.curl("http://edition.cnn.com/html").status == 200
    with registry_only(mesh):
        assert eventually(lambda: mesh.curl(*google).code == 35)
        mesh.apply(HTTPBIN_ORG)

        def reached() -> Curled:
            answer = mesh.curl("http://httpbin.org/headers")
            assert answer.status == 200
            return answer

        found = eventually(reached)
        assert isinstance(found, Curled)
        assert '"X-Envoy-Decorator-Operation"' in found.text
        assert "httpbin.org:80/*" in found.text
        assert eventually(lambda: "outbound|80||httpbin.org" in mesh.logs("curl"))
        mesh.apply(GOOGLE)
        assert eventually(lambda: mesh.curl(*google).status == 200)
        assert eventually(lambda: "outbound|443||www.google.com" in mesh.logs("curl"))
        slow = mesh.curl("http://httpbin.org/delay/4")
        assert slow.status == 200
        mesh.apply(TIMEOUT)
        assert eventually(lambda: mesh.curl("http://httpbin.org/delay/4").status == 504)


CNN = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: edition-cnn-com}
spec:
  hosts: [edition.cnn.com]
  ports:
  - {number: 80, name: http-port, protocol: HTTP, targetPort: 443}
  - {number: 443, name: https-port, protocol: HTTPS}
  resolution: DNS
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: edition-cnn-com}
spec:
  host: edition.cnn.com
  trafficPolicy:
    portLevelSettings:
    - port: {number: 80}
      tls: {mode: SIMPLE, insecureSkipVerify: true}
"""


def test_tm18_egress_tls_origination(mesh: Tasks, world: Path) -> None:
    mesh.apply(CNN)

    def originated() -> Curled:
        answer = mesh.curl("http://edition.cnn.com/headers")
        assert answer.status == 200
        assert "outbound|80||edition.cnn.com" in mesh.logs("curl")
        return answer

    found = eventually(originated)
    assert isinstance(found, Curled)
    assert found.first == "HTTP/1.1 200 OK"
    assert mesh.curl("-k", "https://edition.cnn.com/headers").status == 200


EGRESS_HTTP = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: cnn}
spec:
  hosts: [edition.cnn.com]
  ports:
  - {number: 80, name: http-port, protocol: HTTP}
  - {number: 443, name: https, protocol: HTTPS}
  resolution: DNS
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: istio-egressgateway}
spec:
  selector: {istio: egressgateway}
  servers:
  - port: {number: 80, name: http, protocol: HTTP}
    hosts: [edition.cnn.com]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: egressgateway-for-cnn}
spec:
  host: istio-egressgateway.istio-system.svc.cluster.local
  subsets: [{name: cnn}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: direct-cnn-through-egress-gateway}
spec:
  hosts: [edition.cnn.com]
  gateways: [istio-egressgateway, mesh]
  http:
  - match: [{gateways: [mesh], port: 80}]
    route:
    - destination:
        host: istio-egressgateway.istio-system.svc.cluster.local
        subset: cnn
        port: {number: 80}
      weight: 100
  - match: [{gateways: [istio-egressgateway], port: 80}]
    route: [{destination: {host: edition.cnn.com, port: {number: 80}}, weight: 100}]
"""


def egress_log(mesh: Tasks) -> str:
    return mesh.logs("istio-egressgateway", namespace="istio-system")


def test_tm19_egress_gateway_for_http(mesh: Tasks, world: Path) -> None:
    mesh.apply(EGRESS_HTTP)

    def through() -> str:
        assert mesh.curl("http://edition.cnn.com/anything/politics").status == 200
        line = next(
            line for line in [*egress_log(mesh).splitlines(), ""] if "/anything/politics" in line or not line
        )
        assert '"GET /anything/politics HTTP/' in line
        return line

    assert "outbound|80||edition.cnn.com" in str(eventually(through))


EGRESS_TLS = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: cnn}
spec:
  hosts: [edition.cnn.com]
  ports: [{number: 443, name: tls, protocol: TLS}]
  resolution: DNS
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: istio-egressgateway}
spec:
  selector: {istio: egressgateway}
  servers:
  - port: {number: 443, name: tls, protocol: TLS}
    hosts: [edition.cnn.com]
    tls: {mode: PASSTHROUGH}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: egressgateway-for-cnn}
spec:
  host: istio-egressgateway.istio-system.svc.cluster.local
  subsets: [{name: cnn}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: direct-cnn-through-egress-gateway}
spec:
  hosts: [edition.cnn.com]
  gateways: [mesh, istio-egressgateway]
  tls:
  - match: [{gateways: [mesh], port: 443, sniHosts: [edition.cnn.com]}]
    route:
    - destination:
        host: istio-egressgateway.istio-system.svc.cluster.local
        subset: cnn
        port: {number: 443}
  - match: [{gateways: [istio-egressgateway], port: 443, sniHosts: [edition.cnn.com]}]
    route: [{destination: {host: edition.cnn.com, port: {number: 443}}, weight: 100}]
"""


def test_tm20_egress_gateway_for_https(mesh: Tasks, world: Path) -> None:
    mesh.apply(EGRESS_TLS)

    def through() -> None:
        assert mesh.curl("-k", "https://edition.cnn.com/html").status == 200
        lines = [line for line in egress_log(mesh).splitlines() if "outbound|443||edition.cnn.com" in line]
        assert any('"- - -" 0 -' in line for line in lines)

    eventually(lambda: through() or True)


EGRESS_ORIGINATION = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: cnn}
spec:
  hosts: [edition.cnn.com]
  ports:
  - {number: 80, name: http, protocol: HTTP}
  - {number: 443, name: https, protocol: HTTPS}
  resolution: DNS
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: istio-egressgateway}
spec:
  selector: {istio: egressgateway}
  servers:
  - port: {number: 80, name: https-port-for-tls-origination, protocol: HTTPS}
    hosts: [edition.cnn.com]
    tls: {mode: ISTIO_MUTUAL}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: egressgateway-for-cnn}
spec:
  host: istio-egressgateway.istio-system.svc.cluster.local
  subsets:
  - name: cnn
    trafficPolicy:
      loadBalancer: {simple: ROUND_ROBIN}
      portLevelSettings:
      - port: {number: 80}
        tls: {mode: ISTIO_MUTUAL, sni: edition.cnn.com}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: direct-cnn-through-egress-gateway}
spec:
  hosts: [edition.cnn.com]
  gateways: [istio-egressgateway, mesh]
  http:
  - match: [{gateways: [mesh], port: 80}]
    route:
    - destination:
        host: istio-egressgateway.istio-system.svc.cluster.local
        subset: cnn
        port: {number: 80}
      weight: 100
  - match: [{gateways: [istio-egressgateway], port: 80}]
    route: [{destination: {host: edition.cnn.com, port: {number: 443}}, weight: 100}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: originate-tls-for-edition-cnn-com}
spec:
  host: edition.cnn.com
  trafficPolicy:
    loadBalancer: {simple: ROUND_ROBIN}
    portLevelSettings:
    - port: {number: 443}
      tls: {mode: SIMPLE, insecureSkipVerify: true}
"""


def test_tm21_egress_gateway_with_tls_origination(mesh: Tasks, world: Path) -> None:
    mesh.apply(EGRESS_ORIGINATION)

    def through() -> None:
        answer = mesh.curl("http://edition.cnn.com/anything/originated")
        assert answer.first == "HTTP/1.1 200 OK"
        lines = [line for line in egress_log(mesh).splitlines() if "/anything/originated" in line]
        assert any("outbound|443||edition.cnn.com" in line for line in lines)

    eventually(lambda: through() or True)


MUTUAL_NGINX = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: originate-mtls-for-nginx}
spec:
  hosts: [my-nginx.example.com]
  ports:
  - {number: 80, name: http, protocol: HTTP, targetPort: 8443}
  location: MESH_EXTERNAL
  resolution: STATIC
  endpoints: [{address: OUTSIDE}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: originate-mtls-for-nginx}
spec:
  workloadSelector: {matchLabels: {app: curl}}
  host: my-nginx.example.com
  trafficPolicy:
    loadBalancer: {simple: ROUND_ROBIN}
    portLevelSettings:
    - port: {number: 80}
      tls: {mode: MUTUAL, credentialName: client-credential, sni: my-nginx.example.com}
"""


@contextmanager
def mutual_server(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Run a server that wants certificates; yield a client's certificate, key, and the authority."""
    ca = certificate(folder, "example.com")
    cert, key = certificate(folder, "my-nginx.example.com", issuer=ca)
    mine, mine_key = certificate(folder, "client.example.com", issuer=ca)
    args = ("--host", OUTSIDE, "--port", "8443", "--cert", cert, "--key", key, "--ca", ca[0])
    with served(*args, port=8443):
        yield mine, mine_key, ca[0]


def test_tm18m_mutual_tls_origination_at_the_sidecar(mesh: Tasks, world: Path, tmp_path: Path) -> None:
    with mutual_server(tmp_path) as (cert, key, ca):
        mesh.kubectl(
            "create", "secret", "generic", "client-credential", f"--from-file=tls.key={key}",
            f"--from-file=tls.crt={cert}", f"--from-file=ca.crt={ca}",
        )  # fmt: skip
        mesh.kubectl("label", "secret", "client-credential", "test=own")
        mesh.apply(MUTUAL_NGINX.replace("OUTSIDE", OUTSIDE))
        assert eventually(lambda: mesh.curl("http://my-nginx.example.com/html").status == 200)
        secrets = mesh.mesh.devmesh("proxy-config", "secret", "deploy/curl")
        assert "kubernetes://client-credential" in secrets
        assert eventually(lambda: '"GET /html HTTP/1.1"' in mesh.logs("curl"))


EGRESS_MUTUAL = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: nginx}
spec:
  hosts: [my-nginx.example.com]
  ports:
  - {number: 80, name: http, protocol: HTTP}
  - {number: 443, name: https, protocol: HTTPS, targetPort: 8443}
  location: MESH_EXTERNAL
  resolution: STATIC
  endpoints: [{address: OUTSIDE}]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: istio-egressgateway}
spec:
  selector: {istio: egressgateway}
  servers:
  - port: {number: 443, name: https, protocol: HTTPS}
    hosts: [my-nginx.example.com]
    tls: {mode: ISTIO_MUTUAL}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: egressgateway-for-nginx}
spec:
  host: istio-egressgateway.istio-system.svc.cluster.local
  subsets:
  - name: nginx
    trafficPolicy:
      portLevelSettings:
      - port: {number: 443}
        tls: {mode: ISTIO_MUTUAL, sni: my-nginx.example.com}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: direct-nginx-through-egress-gateway}
spec:
  hosts: [my-nginx.example.com]
  gateways: [istio-egressgateway, mesh]
  http:
  - match: [{gateways: [mesh], port: 80}]
    route:
    - destination:
        host: istio-egressgateway.istio-system.svc.cluster.local
        subset: nginx
        port: {number: 443}
      weight: 100
  - match: [{gateways: [istio-egressgateway], port: 443}]
    route: [{destination: {host: my-nginx.example.com, port: {number: 443}}, weight: 100}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: originate-mtls-for-nginx, namespace: istio-system}
spec:
  host: my-nginx.example.com
  trafficPolicy:
    portLevelSettings:
    - port: {number: 443}
      tls:
        mode: MUTUAL
        credentialName: client-credential
        sni: my-nginx.example.com
        subjectAltNames: [my-nginx.example.com]
"""


def test_tm22_egress_gateway_with_mutual_tls_origination(mesh: Tasks, world: Path, tmp_path: Path) -> None:
    with mutual_server(tmp_path) as (cert, key, ca):
        mesh.kubectl(
            "create", "secret", "-n", "istio-system", "generic", "client-credential",
            f"--from-file=tls.key={key}", f"--from-file=tls.crt={cert}", f"--from-file=ca.crt={ca}",
        )  # fmt: skip
        mesh.kubectl("label", "-n", "istio-system", "secret", "client-credential", "test=own")
        mesh.apply(EGRESS_MUTUAL.replace("OUTSIDE", OUTSIDE))
        assert eventually(lambda: mesh.curl("http://my-nginx.example.com/anything/mutual").status == 200)
        assert eventually(lambda: '"GET /anything/mutual HTTP/' in egress_log(mesh))


WILDCARD = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: www-wikipedia}
spec:
  hosts: [www.wikipedia.org]
  ports: [{number: 443, name: https, protocol: HTTPS}]
  resolution: DNS
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: istio-egressgateway}
spec:
  selector: {istio: egressgateway}
  servers:
  - port: {number: 443, name: https, protocol: HTTPS}
    hosts: ["*.wikipedia.org"]
    tls: {mode: PASSTHROUGH}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: egressgateway-for-wikipedia}
spec:
  host: istio-egressgateway.istio-system.svc.cluster.local
  subsets: [{name: wikipedia}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: direct-wikipedia-through-egress-gateway}
spec:
  hosts: ["*.wikipedia.org"]
  gateways: [mesh, istio-egressgateway]
  tls:
  - match: [{gateways: [mesh], port: 443, sniHosts: ["*.wikipedia.org"]}]
    route:
    - destination:
        host: istio-egressgateway.istio-system.svc.cluster.local
        subset: wikipedia
        port: {number: 443}
      weight: 100
  - match: [{gateways: [istio-egressgateway], port: 443, sniHosts: ["*.wikipedia.org"]}]
    route: [{destination: {host: www.wikipedia.org, port: {number: 443}}, weight: 100}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: wikipedia}
spec:
  hosts: ["*.wikipedia.org"]
  ports: [{number: 443, name: https, protocol: HTTPS}]
"""


def test_tm23_egress_to_wildcard_hosts(mesh: Tasks, world: Path) -> None:
    mesh.apply(WILDCARD)

    def through() -> None:
        for language in ("en", "de"):
            assert mesh.curl("-k", f"https://{language}.wikipedia.org/html").status == 200
        clusters = mesh.kubectl(
            "exec", "-n", "istio-system", "deploy/istio-egressgateway", "-c", "istio-proxy", "--",
            "pilot-agent", "request", "GET", "clusters",
        )  # fmt: skip
        line = next(
            line for line in clusters.splitlines()
            if line.startswith("outbound|443||www.wikipedia.org::") and "::cx_total::" in line
        )  # fmt: skip
        assert int(line.rpartition("::")[2]) >= 2

    eventually(lambda: through() or True)


KUBERNETES_SERVICES = """
apiVersion: v1
kind: Service
metadata: {name: my-httpbin, labels: {test: own}}
spec:
  type: ExternalName
  externalName: httpbin.org
  ports: [{name: http, protocol: TCP, port: 80}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: my-httpbin}
spec:
  host: my-httpbin.default.svc.cluster.local
  trafficPolicy: {tls: {mode: DISABLE}}
---
apiVersion: v1
kind: Service
metadata: {name: my-wikipedia, labels: {test: own}}
spec:
  ports: [{protocol: TCP, port: 443, name: tls}]
---
apiVersion: v1
kind: Endpoints
metadata: {name: my-wikipedia}
subsets:
- addresses: [{ip: OUTSIDE}]
  ports: [{port: 443, name: tls}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: my-wikipedia}
spec:
  host: my-wikipedia.default.svc.cluster.local
  trafficPolicy: {tls: {mode: DISABLE}}
"""


def test_tm24_egress_by_kubernetes_services(mesh: Tasks, world: Path) -> None:
    mesh.apply(KUBERNETES_SERVICES.replace("OUTSIDE", OUTSIDE))
    assert eventually(lambda: mesh.curl("http://my-httpbin.default.svc.cluster.local/headers").status == 200)
    name = "my-wikipedia.default.svc.cluster.local"
    address = mesh.kubectl("get", "service", "my-wikipedia", "-o", "jsonpath={.spec.clusterIP}")
    reached = ("-k", "--resolve", f"en.wikipedia.org:443:{address}", "https://en.wikipedia.org/html")
    assert eventually(lambda: mesh.curl(*reached).status == 200)
    assert eventually(lambda: f"outbound|443||{name}" in mesh.logs("curl"))
    mesh.kubectl("delete", "endpoints", "my-wikipedia")


PROXY = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: proxy}
spec:
  hosts: [my-company-proxy.com]
  addresses: [OUTSIDE/32]
  ports: [{number: 3128, name: tcp, protocol: TCP}]
  location: MESH_EXTERNAL
  resolution: NONE
"""


def test_tm25_an_external_https_proxy(mesh: Tasks, world: Path) -> None:
    with served(OUTSIDE, "3128", program="connect_proxy.py", port=3128):
        mesh.apply(PROXY.replace("OUTSIDE", OUTSIDE))

        def through() -> None:
            answer = mesh.curl("-k", "-x", f"http://{OUTSIDE}:3128", "https://edition.cnn.com/html")
            assert answer.status == 200
            assert "outbound|3128||my-company-proxy.com" in mesh.logs("curl")

        eventually(lambda: through() or True)
