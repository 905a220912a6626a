"""Traffic that is taken over without the workloads' knowing: names, targets, protocols, the outside."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.e2e.applications import OUTSIDE
from tests.e2e.bookinfo import Bookinfo, eventually

INSIDE = ("exec", "deploy/productpage-v1", "-c", "productpage", "--")
CURL = (*INSIDE, "curl", "-s", "--max-time", "10")
STATUS = (*CURL, "-o", "/dev/null", "-w", "%{http_code}")

APPS = """
apiVersion: v1
kind: Service
metadata: {name: banner}
spec:
  selector: {app: banner}
  ports: [{name: tcp-smtp, port: 2525}, {name: sniffed, port: 2526}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: banner}
spec:
  selector: {matchLabels: {app: banner}}
  template:
    metadata: {labels: {app: banner}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: banner
        readinessProbe: {tcpSocket: {port: 2525}, periodSeconds: 1}
        image: docker.io/istio/examples-bookinfo-details-v1:1.20.3
        command: [python3, -u, -c]
        args:
        - |
          import socketserver, threading
          class Speak(socketserver.StreamRequestHandler):
              def handle(self):
                  self.wfile.write(b"220 hello\\n")
                  rest = self.rfile.read()
                  self.wfile.write(b"got %d bytes\\n" % len(rest))
          class Server(socketserver.ThreadingTCPServer):
              allow_reuse_address = daemon_threads = True
          second = Server(("0.0.0.0", 2526), Speak)
          threading.Thread(target=second.serve_forever, daemon=True).start()
          Server(("0.0.0.0", 2525), Speak).serve_forever()
---
apiVersion: v1
kind: Service
metadata: {name: reviews-pods}
spec: {clusterIP: None, selector: {app: reviews}, ports: [{name: http, port: 9080}]}
"""


@pytest.fixture
def apps(bookinfo: Bookinfo) -> Iterator[Bookinfo]:
    bookinfo.kubectl("apply", "-f", "-", stdin=APPS)
    bookinfo.kubectl("rollout", "status", "deploy/banner", "--timeout=60s", timeout=90)
    yield bookinfo
    bookinfo.kubectl("delete", "-f", "-", stdin=APPS)
    bookinfo.kubectl("wait", "pod", "-l", "app=banner", "--for=delete", "--timeout=30s", check=False)


class Outside(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = f"outside {self.headers['host']}".encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def outside() -> Iterator[int]:
    """A server that is no part of the mesh, on an address of its own; its port."""
    subprocess.run(["ip", "address", "replace", f"{OUTSIDE}/32", "dev", "lo"], check=True)
    server = ThreadingHTTPServer((OUTSIDE, 0), Outside)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    subprocess.run(["ip", "address", "del", f"{OUTSIDE}/32", "dev", "lo"], check=True)


@pytest.mark.parametrize(
    "name",
    ["details", "details.default", "details.default.svc", "details.default.svc.cluster.local", "DETAILS"],
)
def test_a_service_has_all_its_names(bookinfo: Bookinfo, name: str) -> None:
    assert bookinfo.kubectl(*STATUS, f"http://{name}:9080/details/0") == "200"


def test_names_nobody_has_are_not_found(bookinfo: Bookinfo) -> None:
    assert "exit code 6" in bookinfo.kubectl(*STATUS, "http://nosuch:9080/", check=False)


def test_a_pod_calls_itself_and_other_pods_by_any_way(bookinfo: Bookinfo) -> None:
    own = bookinfo.kubectl("get", "pod", "-l", "app=productpage", "-o", "jsonpath={.items[0].status.podIP}")
    other = bookinfo.kubectl("get", "pod", "-l", "app=details", "-o", "jsonpath={.items[0].status.podIP}")
    for url in (
        "http://productpage:9080/health", f"http://{own}:9080/health", "http://127.0.0.1:9080/health",
        f"http://{other}:9080/details/0",
    ):  # fmt: skip
        assert bookinfo.kubectl(*STATUS, url) == "200", url


def test_a_headless_services_name_leads_to_its_pods(apps: Bookinfo) -> None:
    assert eventually(
        lambda: apps.kubectl(*STATUS, "http://reviews-pods:9080/reviews/0", check=False) == "200"
    )


def test_a_host_that_no_rule_knows_reaches_who_was_dialled(bookinfo: Bookinfo) -> None:
    said = bookinfo.kubectl(*CURL, "-H", "host: example.com", "http://details:9080/details/0")
    assert "Shakespeare" in said


TALK = """
import socket, sys
for port in (2525, 2526):
    sock = socket.create_connection(("banner", port), timeout=10)
    lines = sock.makefile("rb")
    print(lines.readline().decode().strip())
    sock.sendall(b"x" * 300000)
    sock.shutdown(socket.SHUT_WR)
    print(lines.readline().decode().strip())
    assert lines.read() == b""
"""


def test_servers_may_speak_first_and_each_side_ends_for_itself(apps: Bookinfo) -> None:
    """One port is declared as TCP; the other is sniffed, and nothing comes to be sniffed."""
    said = apps.python("productpage-v1", TALK)
    assert said.split("\n")[:4] == ["220 hello", "got 300000 bytes"] * 2


def test_the_outside_is_reached_as_if_there_were_no_mesh(bookinfo: Bookinfo, outside: int) -> None:
    assert bookinfo.kubectl(*CURL, f"http://{OUTSIDE}:{outside}/") == f"outside {OUTSIDE}:{outside}"


ENTRY = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: shop}}
spec:
  hosts: [shop.example.com]
  ports: [{{number: 80, name: http, protocol: HTTP, targetPort: {port}}}]
  resolution: STATIC
  endpoints: [{{address: {address}}}]
"""
MESH_CONFIG = '{"data": {"mesh": "outboundTrafficPolicy: {mode: %s}\\naccessLogFile: /dev/stdout\\n"}}'


def test_registry_only_lets_out_what_has_an_entry(bookinfo: Bookinfo, outside: int) -> None:
    def policy(mode: str) -> None:
        patch = MESH_CONFIG % mode
        bookinfo.kubectl("patch", "configmap", "istio", "-n", "istio-system", "--type=merge", "-p", patch)

    bookinfo.kubectl("apply", "-f", "-", stdin=ENTRY.format(address=OUTSIDE, port=outside))
    assert eventually(lambda: bookinfo.kubectl(*CURL, "http://shop.example.com/", check=False)) == (
        "outside shop.example.com"
    )
    policy("REGISTRY_ONLY")
    try:
        assert bookinfo.kubectl(*CURL, "http://shop.example.com/") == "outside shop.example.com"
        assert bookinfo.kubectl(*STATUS, f"http://{OUTSIDE}:80/") == "502"
        refused = bookinfo.kubectl(*STATUS, f"http://{OUTSIDE}:{outside}/", check=False)
        assert refused.startswith("000")
    finally:
        policy("ALLOW_ANY")
    assert bookinfo.kubectl(*STATUS, f"http://{OUTSIDE}:{outside}/") == "200"


RULES = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: details}
spec:
  hosts: [details]
  http:
  - {match: [{uri: {exact: /moved}}], redirect: {uri: /details/0, authority: "details:9080"}}
  - {match: [{uri: {prefix: /old}}], rewrite: {uri: /details}, route: [{destination: {host: details}}]}
  - {match: [{headers: {x-tea: {exact: "1"}}}], directResponse: {status: 418, body: {string: teapot}}}
  - {match: [{queryParams: {subset: {exact: none}}}], route: [{destination: {host: details, subset: none}}]}
  - {match: [{method: {exact: DELETE}}], fault: {abort: {httpStatus: 403, percentage: {value: 100}}},
     route: [{destination: {host: details}}]}
  - route: [{destination: {host: details}, headers: {response: {set: {x-added: by-the-mesh}}}}]
    mirror: {host: ratings}
"""


def test_rules_of_all_kinds(bookinfo: Bookinfo) -> None:
    bookinfo.kubectl("apply", "-f", "-", stdin=RULES)

    def answer(*words: str) -> tuple[str, dict[str, str], str]:
        said = bookinfo.kubectl(*CURL, "-i", *words).replace("\r", "")
        head, _, body = said.partition("\n\n")
        first, *lines = head.splitlines()
        return first.split()[1], dict(line.split(": ", 1) for line in lines), body

    url = "http://details:9080"
    status, headers, _ = answer(f"{url}/moved")
    assert (status, headers["location"]) == ("301", f"{url}/details/0")
    assert answer(f"{url}/old/0")[0] == "200"
    status, _, body = answer("-H", "x-tea: 1", f"{url}/")
    assert (status, body) == ("418", "teapot")
    status, headers, body = answer(f"{url}/details/0?subset=none")
    assert (status, headers["server"], body) == ("503", "envoy", "")
    status, _, body = answer("-X", "DELETE", f"{url}/details/0")
    assert (status, body) == ("403", "fault filter abort")
    status, headers, _ = answer(f"{url}/details/0")
    assert (status, headers["x-added"]) == ("200", "by-the-mesh")

    def mirrored() -> bool:
        return "details-shadow" in bookinfo.kubectl(
            "logs", "deploy/ratings-v1", "-c", "istio-proxy", "--tail=5"
        )

    assert eventually(mirrored)
    logged = bookinfo.kubectl("logs", "deploy/productpage-v1", "-c", "istio-proxy", "--tail=12")
    assert "503 NC cluster_not_found" in logged
    assert "403 FI fault_filter_abort" in logged
