"""Ingress: the tasks at the ingress gateway (rows TM10 to TM14, network topologies)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.tasks.mesh import Curled, Tasks, certificate, curl, eventually

GATEWAY = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: httpbin-gateway}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 80, name: http, protocol: HTTP}
    hosts: ["HOST"]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: httpbin}
spec:
  hosts: ["HOST"]
  gateways: [httpbin-gateway]
  http:
  - match: [MATCHES]
    route: [{destination: {port: {number: 8000}, host: httpbin}}]
"""


def gateway(host: str, *prefixes: str) -> str:
    matches = ", ".join(f"{{uri: {{prefix: {prefix}}}}}" for prefix in prefixes)
    return GATEWAY.replace("HOST", host).replace("MATCHES", matches)


def at_ingress(mesh: Tasks, path: str, *args: str, host: str = "httpbin.example.com") -> Curled:
    address, port = mesh.ingress
    return curl("-H", f"Host: {host}", *args, f"http://{address}:{port}{path}")


def test_tm10_ingress_gateways(mesh: Tasks) -> None:
    mesh.apply(gateway("httpbin.example.com", "/status", "/delay"))
    found = eventually(lambda: (got := at_ingress(mesh, "/status/200", "-I")).status == 200 and got)
    assert isinstance(found, Curled)
    assert (found.first, found.header("server")) == ("HTTP/1.1 200 OK", "istio-envoy")
    missing = at_ingress(mesh, "/headers", "-I")
    assert (missing.first, missing.header("server")) == ("HTTP/1.1 404 Not Found", "istio-envoy")
    assert at_ingress(mesh, "/status/200", host="other.example.com").status == 404
    mesh.apply(gateway("*", "/headers"))
    assert eventually(lambda: at_ingress(mesh, "/headers", host="127.0.0.1").status == 200)


def secure(mode: str, credential: str, host: str = "httpbin.example.com", name: str = "mygateway") -> str:
    service, port = ("helloworld", 5000) if host.startswith("hello") else ("httpbin", 8000)
    return f"""
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: {name}}}
spec:
  selector: {{istio: ingressgateway}}
  servers:
  - port: {{number: 443, name: https-{service}, protocol: HTTPS}}
    tls: {{mode: {mode}, credentialName: {credential}}}
    hosts: [{host}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {service}}}
spec:
  hosts: [{host}]
  gateways: [{name}]
  http:
  - match: [{{uri: {{prefix: /status}}}}, {{uri: {{prefix: /delay}}}}, {{uri: {{exact: /hello}}}}]
    route: [{{destination: {{port: {{number: {port}}}, host: {service}}}}}]
"""


def securely(mesh: Tasks, ca: str, path: str, *args: str, host: str = "httpbin.example.com") -> Curled:
    address, port = mesh.secure_ingress
    return curl(
        "--resolve", f"{host}:{port}:{address}", "--cacert", ca, *args, f"https://{host}:{port}{path}"
    )


HELLO = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: helloworld-v1, labels: {test: own}}
spec:
  selector: {matchLabels: {app: helloworld, version: v1}}
  template:
    metadata: {labels: {app: helloworld, version: v1}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: helloworld
        image: devmesh.test/tasks:1
        args: [helloworld.py]
        ports: [{containerPort: 5000}]
        readinessProbe: {tcpSocket: {port: 5000}}
"""


def secret(mesh: Tasks, name: str, kind: str, *args: str) -> None:
    """Create a secret in the gateway's namespace, or replace it, as the task does it."""
    mesh.kubectl("delete", "secret", name, "-n", "istio-system", "--ignore-not-found")
    mesh.kubectl("create", "-n", "istio-system", "secret", kind, name, *args)
    mesh.kubectl("label", "-n", "istio-system", "secret", name, "test=own")


def test_tm11_secure_ingress(mesh: Tasks, tmp_path: Path) -> None:
    ca = certificate(tmp_path, "example.com")
    cert, key = certificate(tmp_path, "httpbin.example.com", issuer=ca)
    secret(mesh, "httpbin-credential", "tls", f"--key={key}", f"--cert={cert}")
    mesh.apply(HELLO + "\n---\n" + secure("SIMPLE", "httpbin-credential"))
    found = eventually(lambda: (got := securely(mesh, ca[0], "/status/418")).status == 418 and got)
    assert isinstance(found, Curled)
    assert found.first.startswith("HTTP/2 418")
    assert "teapot" in found.text

    # Rotation: the next connection sees the new certificate; the old authority no longer fits.
    (tmp_path / "new").mkdir()
    new_ca = certificate(tmp_path / "new", "new.example.com")
    cert, key = certificate(tmp_path / "new", "httpbin.example.com", issuer=new_ca)
    secret(mesh, "httpbin-credential", "tls", f"--key={key}", f"--cert={cert}")
    assert eventually(lambda: securely(mesh, new_ca[0], "/status/418").status == 418)
    assert securely(mesh, ca[0], "/status/418").code == 60  # curl: the peer's certificate isn't known

    # A second host on the same port, with its own certificate.
    own, own_key = certificate(tmp_path, "helloworld.example.com", issuer=ca)
    secret(mesh, "helloworld-credential", "tls", f"--key={own_key}", f"--cert={own}")
    mesh.ready("helloworld-v1")
    mesh.apply(secure("SIMPLE", "helloworld-credential", "helloworld.example.com", "second"))
    hello = eventually(
        lambda: (got := securely(mesh, ca[0], "/hello", host="helloworld.example.com")).status == 200 and got
    )
    assert isinstance(hello, Curled)
    assert "Hello version: v1" in hello.text
    assert securely(mesh, new_ca[0], "/status/418").status == 418

    # Mutual TLS: clients need a certificate of the authority in the secret.
    secret(
        mesh, "httpbin-credential", "generic", f"--from-file=tls.key={key}", f"--from-file=tls.crt={cert}",
        f"--from-file=ca.crt={ca[0]}",
    )  # fmt: skip
    mesh.apply(secure("MUTUAL", "httpbin-credential"))
    refused = eventually(
        lambda: (got := securely(mesh, new_ca[0], "/status/418")).code in (35, 55, 56) and got
    )
    assert isinstance(refused, Curled)
    assert refused.status == 0
    mine, mine_key = certificate(tmp_path, "client.example.com", issuer=ca)
    shown = securely(mesh, new_ca[0], "/status/418", "--cert", mine, "--key", mine_key)
    assert shown.status == 418


NGINX = """
apiVersion: v1
kind: ConfigMap
metadata: {name: nginx-configmap, labels: {test: own}}
data:
  nginx.conf: |
    worker_processes 1;
    pid /tmp/nginx.pid;
    error_log /dev/stderr;
    events {}
    http {
      access_log /dev/stdout;
      server {
        listen 443 ssl;
        server_name nginx.example.com;
        ssl_certificate /etc/nginx-server-certs/tls.crt;
        ssl_certificate_key /etc/nginx-server-certs/tls.key;
        location / { return 200 "<h1>Welcome to nginx!</h1>\\n"; }
      }
    }
---
apiVersion: v1
kind: Service
metadata: {name: my-nginx, labels: {run: my-nginx, test: own}}
spec:
  selector: {run: my-nginx}
  ports: [{port: 443, protocol: TCP, name: https}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: my-nginx, labels: {test: own}}
spec:
  selector: {matchLabels: {run: my-nginx}}
  template:
    metadata: {labels: {run: my-nginx}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: my-nginx
        image: devmesh.test/nginx:1
        args: [-c, /etc/nginx-tasks/nginx.conf]
        ports: [{containerPort: 443}]
        readinessProbe: {tcpSocket: {port: 443}}
        volumeMounts:
        - {name: config, mountPath: /etc/nginx-tasks, readOnly: true}
        - {name: certs, mountPath: /etc/nginx-server-certs, readOnly: true}
      volumes:
      - {name: config, configMap: {name: nginx-configmap}}
      - {name: certs, secret: {secretName: nginx-server-certs}}
"""
PASSTHROUGH = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: mygateway}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 443, name: https, protocol: HTTPS}
    tls: {mode: PASSTHROUGH}
    hosts: [nginx.example.com]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: nginx}
spec:
  hosts: [nginx.example.com]
  gateways: [mygateway]
  tls:
  - match: [{port: 443, sniHosts: [nginx.example.com]}]
    route: [{destination: {host: my-nginx, port: {number: 443}}}]
"""


def nginx(mesh: Tasks, folder: Path) -> str:
    """Start nginx with a certificate of its own; return the path of its authority's."""
    ca = certificate(folder, "example.com")
    cert, key = certificate(folder, "nginx.example.com", issuer=ca)
    mesh.kubectl("create", "secret", "tls", "nginx-server-certs", "--key", key, "--cert", cert)
    mesh.kubectl("label", "secret", "nginx-server-certs", "test=own")
    mesh.apply(NGINX)
    mesh.ready("my-nginx")
    return ca[0]


def test_tm12_ingress_without_tls_termination(mesh: Tasks, tmp_path: Path) -> None:
    ca = nginx(mesh, tmp_path)
    mesh.apply(PASSTHROUGH)
    found = eventually(
        lambda: (got := securely(mesh, ca, "/", "-v", host="nginx.example.com")).status == 200 and got
    )
    assert isinstance(found, Curled)
    assert "Welcome to nginx!" in found.text
    assert "SSL certificate verify ok" in found.errors
    assert securely(mesh, ca, "/", host="other.example.com").code  # no server has that name


INGRESS = """
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: istio}
spec: {controller: istio.io/ingress-controller}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: ingress
  ANNOTATION
spec:
  CLASS
  rules:
  - host: httpbin.example.com
    http:
      paths:
      - {path: /status, pathType: Prefix, backend: {service: {name: httpbin, port: {number: 8000}}}}
"""


@pytest.mark.parametrize("by", ["annotation", "class"])
def test_tm14_kubernetes_ingress(mesh: Tasks, by: str) -> None:
    text = INGRESS.replace(
        "ANNOTATION", "annotations: {kubernetes.io/ingress.class: istio}" if by == "annotation" else ""
    )
    mesh.apply(text.replace("CLASS", "ingressClassName: istio" if by == "class" else ""))
    found = eventually(lambda: (got := at_ingress(mesh, "/status/200", "-I")).status == 200 and got)
    assert isinstance(found, Curled)
    assert found.header("server") == "istio-envoy"
    assert at_ingress(mesh, "/headers", "-I").status == 404


TOPOLOGY = """
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    accessLogFile: /dev/stdout
    defaultConfig: {gatewayTopology: {numTrustedProxies: 2}}
"""


def test_network_topologies(mesh: Tasks) -> None:
    before = json.loads(mesh.kubectl("get", "configmap", "istio", "-n", "istio-system", "-o", "json"))
    mesh.apply(gateway("*", "/get", "/headers"))
    mesh.apply(TOPOLOGY)
    try:
        forwarded = "56.5.6.7, 72.9.5.6, 98.1.2.3"

        def seen() -> dict[str, list[str]]:
            answer = at_ingress(mesh, "/get", "-H", f"X-Forwarded-For: {forwarded}")
            body = answer.text.partition("\r\n\r\n")[2] or answer.text.partition("\n\n")[2]
            got: dict[str, list[str]] = json.loads(body)["headers"]
            assert got["X-Envoy-External-Address"] == ["72.9.5.6"]
            return got

        got = eventually(seen)
        assert isinstance(got, dict)
        assert got["X-Forwarded-For"][0].startswith(f"{forwarded},")
    finally:
        patch = json.dumps({"data": before["data"]})
        mesh.kubectl("patch", "configmap", "istio", "-n", "istio-system", "--type=merge", "-p", patch)
