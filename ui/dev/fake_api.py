"""The console's API with made-up traffic, to look at the page without a mesh. Not shipped.

    python ui/dev/fake_api.py [PORT] [BUILT-PAGE]        (20999, devmesh/api/ui)

The token chooses what there is to see: http://127.0.0.1:20999/#token=SCENARIO, one of SCENARIOS. With `npm run dev`
the same fragments work on Vite's port.
"""

from __future__ import annotations

import json
import math
import mimetypes
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

BUILT = Path(__file__).parents[2] / "devmesh" / "api" / "ui"
SCENARIOS = ("bookinfo", "broken", "plain", "quiet", "silent", "failing", "dropping", "many")
IDENTITY = "spiffe://cluster.local/ns/default/sa/bookinfo-"


def node(key: str, kind: str = "workload", **more: object) -> dict[str, object]:
    app, _, version = key.partition(" ")
    rate = float(str(more.pop("rate", 0)))
    now = time.time()
    slots = [max(0.0, rate * (1 + 0.3 * math.sin((now // 5 + n) * 0.9 + len(key)))) for n in range(-11, 1)]
    return {
        "id": f"default/{key.replace(' ', '-')}",
        "kind": kind,
        "name": key.replace(" ", "-"),
        "namespace": "" if kind in ("external", "unknown") else "default",
        "app": app if kind == "workload" else "",
        "version": version,
        "workload": key.replace(" ", "-") if kind == "workload" else "",
        "service": app if kind == "workload" else None,
        "health": "ok" if rate else "idle",
        "reason": "",
        "rate": rate,
        "error_rate": 0.0,
        "sparkline": slots,
        "ready": 1,
        "replicas": 1,
        "meshed": kind != "unknown",
        **more,
    }


def edge(source: str, target: str, rate: float, **more: object) -> dict[str, object]:
    wobble = rate * (1 + 0.04 * math.sin(time.time() * 1.7 + len(source + target)))
    errors = float(str(more.get("error_rate", 0)))
    codes = {"200": wobble * (1 - errors)} | ({"503": wobble * errors} if errors else {})
    return {
        "id": f"{source}>{target}",
        "source": f"default/{source.replace(' ', '-')}",
        "target": f"default/{target.replace(' ', '-')}",
        "protocol": "http",
        "rate": wobble,
        "error_rate": errors,
        "p50": 11.2,
        "p95": 48.0,
        "p99": 204.0,
        "codes": codes,
        "flags": {},
        "mtls": 1.0,
        "received": wobble * 420,
        "sent": wobble * 6100,
        "health": "ok" if rate else "idle",
        "reason": "",
        "source_principal": IDENTITY + source.split()[0],
        "destination_principal": IDENTITY + target.split()[0],
        "route": "",
        **more,
    }


def bookinfo(scenario: str) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    nodes = [
        node("client", "unknown"),
        node("istio-ingressgateway", "gateway", rate=18.2),
        node("productpage v1", rate=18.2),
        node("details v1", rate=12.1),
        node("reviews v1", rate=6.2),
        node("reviews v2", rate=3.4),
        node("reviews v3", rate=2.5),
        node("ratings v1", rate=5.9),
    ]
    edges = [
        edge("client", "istio-ingressgateway", 18.2, mtls=0.0, source_principal="", destination_principal=""),
        edge("istio-ingressgateway", "productpage v1", 18.2, route="bookinfo"),
        edge("productpage v1", "details v1", 12.1),
        edge("productpage v1", "reviews v1", 6.2, route="reviews"),
        edge("productpage v1", "reviews v2", 3.4, route="reviews"),
        edge("productpage v1", "reviews v3", 2.5, route="reviews"),
        edge("reviews v2", "ratings v1", 3.4, p50=90.0),
        edge("reviews v3", "ratings v1", 2.5),
    ]
    if scenario == "broken":
        nodes[6] |= {"health": "failing", "error_rate": 0.42, "reason": "42 % of requests end with 503"}
        nodes[5] |= {"health": "degraded", "error_rate": 0.12}
        nodes[7] |= {"ready": 0, "replicas": 1}
        edges[5] = edge(
            "productpage v1", "reviews v3", 2.5, route="reviews", error_rate=0.42, health="failing"
        )
        edges[5] |= {
            "flags": {"UO": 0.7, "UF": 0.35},
            "reason": "42 % of requests end with 503: circuit breaker open",
        }
        edges[4] = edge(
            "productpage v1", "reviews v2", 3.4, route="reviews", error_rate=0.12, health="degraded"
        )
        edges[4] |= {"codes": {"200": 3.0, "404": 0.4}, "reason": "12 % of requests end with 404"}
        nodes.append(node("mysql", rate=0))
        edges.append(edge("ratings v1", "mysql", 0, protocol="tcp", received=0.0, sent=0.0, codes={}))
    if scenario == "plain":
        nodes.append(node("curl", meshed=False))
        nodes.append(node("api.example.com", "external", rate=1.1))
        nodes.append(node("mongodb v1", rate=0, health="ok"))
        edges.append(edge("curl", "details v1", 2.2, mtls=0.0, source_principal=""))
        edges.append(edge("details v1", "api.example.com", 1.1, mtls=0.0, destination_principal=""))
        edges.append(
            edge("ratings v1", "mongodb v1", 0, protocol="tcp", health="ok", received=48000.0, sent=5200.0)
        )
        edges[6] |= {"mtls": 0.6}
    if scenario == "quiet":
        nodes, edges = [node(str(n["name"]).replace("-v", " v"), str(n["kind"])) for n in nodes[1:]], []
    if scenario == "many":
        for tier in range(1, 5):
            for n in range(10):
                nodes.append(node(f"svc{tier}{n} v1", rate=2.0))
                source = "productpage v1" if tier == 1 else f"svc{tier - 1}{n} v1"
                edges.append(edge(source, f"svc{tier}{n} v1", 2.0))
    return nodes, edges


def graph(scenario: str, window: int) -> dict[str, object]:
    nodes, edges = bookinfo(scenario)
    return {
        "time": time.time(),
        "window": window,
        "version": 41,
        "mesh": "bookinfo",
        "nodes": nodes,
        "edges": edges,
    }


def status(scenario: str) -> dict[str, object]:
    workloads = [
        {key: entry[key] for key in ("name", "namespace", "ready", "replicas", "meshed")}
        | {
            "kind": "Deployment",
            "problem": ""
            if entry["ready"] == entry["replicas"]
            else "ratings: CrashLoopBackOff, exit status 1",
        }
        for entry in bookinfo(scenario)[0]
        if entry["kind"] == "workload"
    ]
    return {
        "mesh": "bookinfo",
        "pid": 1,
        "runtime": "process",
        "version": "0.1.0",
        "api": {"url": "http://127.0.0.1:20001"},
        "gateways": {"http": "127.0.0.1:8080", "https": "127.0.0.1:8443"},
        "workloads": workloads,
    }


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    built = BUILT

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if not url.path.startswith("/devmesh/v1/"):
            self.send_file(url.path)
            return
        scenario = self.headers.get("authorization", "").removeprefix("Bearer ")
        window = int(parse_qs(url.query).get("window", ["60"])[0])
        if scenario not in SCENARIOS:
            self.send_json(401, {"message": "the token is not this mesh's"})
        elif scenario == "failing":
            self.send_json(500, {"message": "the graph could not be made: no snapshot has been compiled yet"})
        elif url.path == "/devmesh/v1/graph":
            self.send_json(200, graph(scenario, window))
        elif url.path == "/devmesh/v1/status":
            self.send_json(200, status(scenario))
        elif url.path == "/devmesh/v1/events":
            self.stream(scenario, window)
        else:
            self.send_json(404, {"message": f"no {url.path}"})

    def stream(self, scenario: str, window: int) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        try:
            for _ in range(4 * 600):
                self.wfile.write(f"event: graph\ndata: {json.dumps(graph(scenario, window))}\n\n".encode())
                if scenario == "silent":
                    time.sleep(3600)
                if scenario == "dropping":
                    return
                time.sleep(0.5)
        except OSError:
            pass

    def send_json(self, code: int, document: object) -> None:
        self.send_bytes(code, "application/json", json.dumps(document).encode())

    def send_file(self, path: str) -> None:
        file = self.built / (path.lstrip("/") or "index.html")
        if not file.is_file():
            file = self.built / "index.html"
        if not file.is_file():
            self.send_bytes(404, "text/plain", b"build the page first: npm run build")
            return
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        self.send_bytes(200, kind, file.read_bytes())

    def send_bytes(self, code: int, kind: str, body: bytes) -> None:
        self.send_response(code)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        # As strict as the real thing: nothing inline, nothing from elsewhere.
        self.send_header("content-security-policy", "default-src 'self'; style-src 'self'; img-src 'self'")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    daemon_threads = True


def make_server(port: int) -> Server:
    """A server on the loopback interface; 0 is a free port."""
    return Server(("127.0.0.1", port), Handler)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        Handler.built = Path(sys.argv[2])
    server = make_server(int(sys.argv[1]) if len(sys.argv) > 1 else 20999)
    for name in SCENARIOS:
        print(f"http://127.0.0.1:{server.server_port}/#token={name}", flush=True)
    server.serve_forever()
