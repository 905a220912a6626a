"""Istio's task ingress-sidecar-tls-termination (TM13), real certificates, clients in and out of the mesh."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.applications import Applications
from tests.e2e.bookinfo import eventually
from tests.e2e.certificates import Certificates

NAMESPACE = """
apiVersion: v1
kind: Namespace
metadata: {name: test, labels: {istio-injection: enabled}}
"""
WORKLOAD = """
apiVersion: v1
kind: Service
metadata: {name: httpbin, namespace: test}
spec:
  selector: {app: httpbin}
  ports:
  - {name: https, port: 8443, targetPort: 9080}
  - {name: http, port: 8080, targetPort: 9443}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: httpbin, namespace: test}
spec:
  selector: {matchLabels: {app: httpbin}}
  template:
    metadata:
      labels: {app: httpbin}
      annotations:
        sidecar.istio.io/userVolume: >-
          {"tls-secret":{"secret":{"secretName":"httpbin-mtls-termination","optional":true}},
          "tls-ca-secret":{"secret":{"secretName":"httpbin-mtls-termination-cacert"}}}
        sidecar.istio.io/userVolumeMount: >-
          {"tls-secret":{"mountPath":"/etc/istio/tls-certs/","readOnly":true},
          "tls-ca-secret":{"mountPath":"/etc/istio/tls-ca-certs/","readOnly":true}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: app
        image: devmesh.test/app:1
        args: ["http=8000"]
        readinessProbe: {httpGet: {path: /ready, port: 8000}, periodSeconds: 1}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: disable-peer-auth, namespace: test}
spec:
  selector: {matchLabels: {app: httpbin}}
  mtls: {mode: STRICT}
  portLevelMtls: {9080: {mode: DISABLE}}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: ingress-sidecar, namespace: test}
spec:
  workloadSelector: {labels: {app: httpbin}}
  ingress:
  - port: {number: 9080, protocol: HTTPS, name: external}
    defaultEndpoint: 0.0.0.0:8000
    tls:
      mode: MUTUAL
      privateKey: /etc/istio/tls-certs/tls.key
      serverCertificate: /etc/istio/tls-certs/tls.crt
      caCertificates: /etc/istio/tls-ca-certs/ca.crt
  - port: {number: 9443, protocol: HTTP, name: internal}
    defaultEndpoint: 0.0.0.0:8000
"""


@pytest.fixture
def task(clean: Applications, tmp_path: Path) -> Iterator[tuple[Applications, Certificates]]:
    certificates = Certificates(tmp_path)
    server, key = certificates.make("httpbin.test.svc.cluster.local")
    kubectl = clean.mesh.kubectl
    clean.apply(NAMESPACE)
    kubectl("create", "secret", "tls", "httpbin-mtls-termination", "-n", "test", f"--key={key}",
            f"--cert={server}")  # fmt: skip
    kubectl("create", "secret", "generic", "httpbin-mtls-termination-cacert", "-n", "test",
            f"--from-file=ca.crt={certificates.ca}")  # fmt: skip
    clean.apply(WORKLOAD)
    kubectl("rollout", "status", "deploy/httpbin", "-n", "test", "--timeout=60s")
    yield clean, certificates
    kubectl("delete", "namespace", "test")


def outside(apps: Applications, program: str) -> str:
    """Run a program in a pod outside the mesh."""
    python = sys.executable if apps.runtime == "process" else "python3"
    return apps.mesh.kubectl(
        "exec", "-i", "-n", "old", "deploy/outsider", "-c", "app", "--", python, "-", stdin=program
    )


def asking(certificates: Certificates, *, client: bool) -> str:
    certificate, key = certificates.make("client")
    pair = certificate.read_text() + key.read_text() if client else ""
    return f"""
import http.client, ssl, tempfile
context = ssl.create_default_context(cadata={certificates.ca.read_text()!r})
if pair := {pair!r}:
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(pair)
        file.flush()
        context.load_cert_chain(file.name)
connection = http.client.HTTPSConnection("httpbin.test.svc.cluster.local", 8443, context=context, timeout=10)
try:
    connection.request("GET", "/status")
    answer = connection.getresponse()
    print(answer.status, answer.getheader("server"), answer.getheader("x-envoy-decorator-operation"))
except (OSError, http.client.HTTPException) as error:
    print(type(error).__name__)
"""


def test_tm13_ingress_sidecar_tls_termination(task: tuple[Applications, Certificates]) -> None:
    apps, certificates = task
    inside = apps.get("http://httpbin.test:8080/status")
    assert (inside["status"], dict(inside["headers"])["server"]) == (200, "envoy")
    assert "x-forwarded-client-cert" in inside["got"]
    said = eventually(lambda: outside(apps, asking(certificates, client=True)).split(), 5)
    assert said == ["200", "istio-envoy", "ingress-sidecar.test:9080/*"]
    refused = outside(apps, asking(certificates, client=False)).strip()
    assert refused in ("SSLError", "ConnectionResetError", "RemoteDisconnected", "BrokenPipeError")
    plain = apps.get("http://httpbin.test:8080/status", source="outsider")
    assert plain["status"] == 0
    assert plain["error"] == "ConnectionResetError"
