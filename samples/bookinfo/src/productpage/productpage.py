"""productpage: the shop window. Shows one book with what details and reviews know about it.

    GET  /productpage                     the page
    GET  /                                what this application is, with two ways in
    POST /login, GET /logout              any name will do; it goes to every service as the header end-user
    GET  /api/v1/products[/0[/reviews|/ratings]]
    GET  /health, /metrics

Reviews get 3 s and a second try, details 3 s. A part that fails leaves a gap with a message in it.

Usage: productpage.py [PORT]       (9080, or $PORT)
$DETAILS_HOSTNAME, $REVIEWS_HOSTNAME, $RATINGS_HOSTNAME, their $..._SERVICE_PORT, and $SERVICES_DOMAIN say
where the others are.
"""

from __future__ import annotations

import os
import signal
import sys

sys.modules["ssl"] = None  # nothing here speaks TLS, the mesh does: this saves 4 MB and some start-up time

import json
import time
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from urllib.parse import parse_qs, urlsplit

import pages
import session

PATIENCE = 3.0  # seconds
LARGEST_BODY = 16 * 1024  # bytes
# What a tracing system needs to see one request as one, and what routing rules look at.
PASSED_ON = (
    "x-request-id", "traceparent", "tracestate", "b3", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid",
    "x-b3-sampled", "x-b3-flags", "x-ot-span-context", "x-cloud-trace-context", "grpc-trace-bin",
    "x-datadog-trace-id", "x-datadog-parent-id", "x-datadog-sampling-priority", "sw8",
    "end-user", "user-agent", "cookie", "authorization", "jwt",
)  # fmt: skip
PRODUCTS = [
    {
        "id": 0,
        "title": "The Comedy of Errors",
        "descriptionHtml": (
            "One of <b>William Shakespeare</b>\u2019s first plays, and his shortest. Two pairs of twins, parted "
            "as children by a shipwreck, turn up in the same town on the same day. Everybody mistakes everybody: "
            "the wrong man gets the dinner, the gold chain, the beating and the wife, until an abbess counts them."
        ),
    }
]

answers: dict[tuple[str, int], int] = {}  # how often each service answered with which status
answers_lock = Lock()


def place(service: str) -> tuple[str, int]:
    """Where a service is: by its name, unless the environment says otherwise."""
    domain = os.environ.get("SERVICES_DOMAIN", "")
    host = os.environ.get(f"{service.upper()}_HOSTNAME", service) + (f".{domain}" if domain else "")
    return host, int(os.environ.get(f"{service.upper()}_SERVICE_PORT", "9080"))


def fetch(service: str, product: str, headers: dict[str, str], tries: int = 1) -> tuple[int, dict[str, object]]:
    """Return a service's answer about a product; after the last failed try, its status and an error."""
    host, port = place(service)
    status = 500
    for _ in range(tries):
        status = 500  # for want of an answer
        connection = HTTPConnection(host, port, timeout=PATIENCE)
        try:
            connection.request("GET", f"/{service}/{product}", headers=headers)
            response = connection.getresponse()
            status, body = response.status, response.read()
            if status == 200:
                return 200, dict(json.loads(body))
            print(f"error: {service} at {host}:{port} answered {status}", flush=True)
        except (OSError, HTTPException, ValueError, TypeError) as error:
            status = 500
            print(f"error: cannot get {service} from {host}:{port}: {error!r}", flush=True)
        finally:
            connection.close()
            with answers_lock:
                answers[service, status] = answers.get((service, status), 0) + 1
    return status, {"error": f"Sorry, product {service} are currently unavailable for this book."}


def metrics() -> str:
    """The answers so far, as Prometheus text."""
    with answers_lock:
        counts = sorted(answers.items())
    lines = ["# HELP request_result Results of requests", "# TYPE request_result_total counter"]
    lines += [
        f'request_result_total{{destination_app="{service}",response_code="{status}"}} {count}'
        for (service, status), count in counts
    ]
    return "\n".join(lines) + "\n"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave in one write

    def do_GET(self) -> None:
        self.started = time.perf_counter()
        path = urlsplit(self.path).path
        user = session.read_user(self.headers.get("cookie", ""))
        headers = {name: self.headers[name] for name in PASSED_ON if name in self.headers}
        if user:
            headers["end-user"] = user
        parts = path.strip("/").split("/")
        if path in ("/", "/index.html"):
            self.send(200, pages.index())
        elif path == "/productpage":
            details = fetch("details", "0", headers)
            reviews = fetch("reviews", "0", headers, tries=2)
            self.send(200, pages.product(PRODUCTS[0], details, reviews, user))
        elif path == "/health":
            self.send(200, "Product page is healthy")
        elif path == "/metrics":
            self.send(200, metrics(), "text/plain; version=0.0.4")
        elif path == "/logout":
            self.send_back(session.FORGET)
        elif parts[:3] == ["api", "v1", "products"]:
            self.send_json(*self.find(parts[3:], headers))
        else:
            self.send(404, pages.not_found())

    do_HEAD = do_GET

    def do_POST(self) -> None:
        self.started = time.perf_counter()
        length = self.headers.get("content-length", "")
        if not length.isdecimal() or int(length) > LARGEST_BODY:
            self.close_connection = True
            self.send(411, f"please send a content-length of up to {LARGEST_BODY} bytes", "text/plain")
            return
        form = parse_qs(self.rfile.read(int(length)).decode("utf-8", "replace"))
        if urlsplit(self.path).path != "/login":
            self.send(404, pages.not_found())
            return
        self.send_back(session.write_user(form.get("username", [""])[0]))

    def find(self, rest: list[str], headers: dict[str, str]) -> tuple[int, object]:
        """Answer the JSON API below /api/v1/products."""
        if not rest:
            return 200, PRODUCTS
        if not rest[0].isdecimal():
            return 404, {"error": "not found"}
        if len(rest) == 1:
            return fetch("details", rest[0], headers)
        if rest[1:] == ["reviews"]:
            return fetch("reviews", rest[0], headers, tries=2)
        if rest[1:] == ["ratings"]:
            return fetch("ratings", rest[0], headers)
        return 404, {"error": "not found"}

    def send_back(self, cookie: str) -> None:
        """Set a cookie and go back to the page this came from (its path alone: never to another site)."""
        came_from = urlsplit(self.headers.get("referer", ""))
        path = came_from.path if came_from.path.startswith("/") and came_from.path[1:2] not in "/\\" else ""
        target = path if path and path not in ("/login", "/logout") else "/productpage"
        if came_from.query and target == path:
            target += f"?{came_from.query}"
        self.send(302, "", more={"location": target, "set-cookie": cookie})

    def send_json(self, status: int, document: object) -> None:
        self.send(status, json.dumps(document), "application/json")

    def send(
        self, status: int, text: str, kind: str = "text/html; charset=utf-8", more: dict[str, str] | None = None
    ) -> None:
        payload = text.encode()
        self.send_response_only(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(payload)))
        for name, value in (more or {}).items():
            self.send_header(name, value)
        body_is_unread = self.command != "POST" and self.headers.get("content-length", "0") != "0"
        if body_is_unread or "transfer-encoding" in self.headers:
            self.send_header("connection", "close")  # a body nobody reads must not pass for the next request
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(payload)
        if not (self.path == "/health" and status == 200):
            took = (time.perf_counter() - self.started) * 1000
            request_id = self.headers.get("x-request-id", "-")
            print(f"{self.command} {self.path} {status} {len(payload)}B {took:.0f}ms {request_id}", flush=True)

    def log_message(self, *_: object) -> None:
        """Say nothing about malformed requests; send() writes the access log."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    port = int(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("PORT", "9080"))
    server = Server(("0.0.0.0", port), Handler)
    print(f"productpage listens on port {port}", flush=True)
    server.serve_forever()
