"""Mutual TLS between the workloads, and who is outside of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.bookinfo import Bookinfo, eventually

STRICT = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: istio-system}
spec: {mtls: {mode: STRICT}}
"""
OUTSIDER = """
apiVersion: v1
kind: Namespace
metadata: {name: legacy}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: outsider, namespace: legacy}
spec:
  selector: {matchLabels: {app: outsider}}
  template:
    metadata: {labels: {app: outsider}}
    spec:
      containers:
      - name: outsider
        image: docker.io/istio/examples-bookinfo-details-v1:1.20.3
"""
CURL = ("--", "curl", "-s", "--max-time", "10", "-o", "/dev/null", "-w", "%{http_code}")


@pytest.fixture
def outsider(bookinfo: Bookinfo) -> Iterator[tuple[str, ...]]:
    """How to run something in a workload without a proxy."""
    bookinfo.kubectl("apply", "-f", "-", stdin=OUTSIDER)
    bookinfo.kubectl("rollout", "status", "-n", "legacy", "deploy/outsider", "--timeout=60s", timeout=90)
    yield ("exec", "-n", "legacy", "deploy/outsider", "-c", "outsider")
    bookinfo.kubectl("delete", "namespace", "legacy", "--timeout=60s", timeout=90)


def test_an_outsider_is_served_until_strict(bookinfo: Bookinfo, outsider: tuple[str, ...]) -> None:
    url = "http://details.default:9080/details/0"
    assert bookinfo.kubectl(*outsider, *CURL, url) == "200"

    bookinfo.kubectl("apply", "-f", "-", stdin=STRICT)
    refused = bookinfo.kubectl(*outsider, *CURL, url, check=False)
    assert refused.startswith("000")
    assert "exit code 56" in refused  # the connection is accepted, then reset

    inside = bookinfo.kubectl(
        "exec", "deploy/productpage-v1", "-c", "productpage", *CURL, "http://details:9080/details/0"
    )
    assert inside == "200"
    assert bookinfo.get().status == 200


def test_an_outsider_has_no_proxy(bookinfo: Bookinfo, outsider: tuple[str, ...]) -> None:
    pods = bookinfo.kubectl("get", "pods", "-n", "legacy", "--no-headers")
    assert "1/1" in pods


ECHO = """
import http.server, sys
class Echo(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = "".join(f"{name.lower()}: {value}\\n" for name, value in self.headers.items()).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args): pass
http.server.HTTPServer(("0.0.0.0", 9080), Echo).serve_forever()
"""


def test_the_callers_identity_arrives(bookinfo: Bookinfo) -> None:
    """details is stopped for a moment and an echo of the request's headers takes its port."""
    python = "python3"
    bookinfo.kubectl("apply", "-f", "-", stdin=STRICT)
    details = ("exec", "deploy/details-v1", "-c", "details", "--")
    listening = bookinfo.kubectl(*details, "sh", "-c", f"command -v {python}")
    assert listening.strip()
    port_free = ECHO.replace("9080", "9099")
    script = f"nohup {python} -c '{port_free}' >/dev/null 2>&1 & sleep 0.5"
    bookinfo.kubectl(*details, "sh", "-c", script)
    address = bookinfo.kubectl("get", "pod", "-l", "app=details", "-o", "jsonpath={.items[0].status.podIP}")

    def asked() -> str:
        return bookinfo.kubectl(
            "exec", "deploy/productpage-v1", "-c", "productpage", "--",
            "curl", "-s", "--max-time", "5", "-H", "x-forwarded-client-cert: forged", f"http://{address}:9099/",
            check=False,
        )  # fmt: skip

    # A pod's own address is called past its Service: the proxy passes it through in plain text, so
    # STRICT refuses it as Istio does.
    assert "exit code 5" in asked()  # 52 or 56: an empty answer, or a reset one

    ports = "ports: [{name: http, port: 9099}]"
    spec = f"spec: {{selector: {{app: details}}, {ports}}}"
    service = f"{{apiVersion: v1, kind: Service, metadata: {{name: echo}}, {spec}}}"
    bookinfo.kubectl("apply", "-f", "-", stdin=service)
    try:
        found = eventually(lambda: _by_service(bookinfo))
        assert "uri=spiffe://cluster.local/ns/default/sa/bookinfo-productpage" in str(found).lower()
        assert "by=spiffe://cluster.local/ns/default/sa/bookinfo-details" in str(found).lower()
        assert "forged" not in str(found)
    finally:
        bookinfo.kubectl("delete", "service", "echo")


def _by_service(bookinfo: Bookinfo) -> str:
    said = bookinfo.kubectl(
        "exec", "deploy/productpage-v1", "-c", "productpage", "--",
        "curl", "-s", "--max-time", "5", "-H", "x-forwarded-client-cert: forged", "http://echo:9099/",
        check=False,
    )  # fmt: skip
    return said if "x-forwarded-client-cert" in said else ""
