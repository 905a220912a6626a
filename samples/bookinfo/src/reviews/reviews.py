"""reviews: what two readers say about a book. Three versions of one program.

    v1  no stars: never asks ratings
    v2  black stars; waits 10 s for ratings: longer than productpage waits for reviews (the bug that
        fault injection is there to find)
    v3  red stars; waits 2.5 s

    GET /reviews/0  ->  {"id": "0", "podname": ..., "clustername": ..., "reviews": [
                          {"reviewer": "Reviewer1", "text": ..., "rating": {"stars": 5, "color": "black"}}, ...]}
    GET /health

Usage: reviews.py [PORT [VERSION]]       (9080, or $PORT; v1, or $SERVICE_VERSION)
$ENABLE_RATINGS, $STAR_COLOR, $RATINGS_HOSTNAME, $RATINGS_SERVICE_PORT and $SERVICES_DOMAIN change the rest.
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

REVIEWS = {
    "Reviewer1": "Two pairs of twins, one town and a great deal of running. I laughed until the usher came.",
    "Reviewer2": "A clever machine of a play. Warm it is not, but every wheel turns at the right moment.",
}
COLORS = {"v1": "", "v2": "black", "v3": "red"}
# What a tracing system needs to see one request as one, and what routing rules look at.
PASSED_ON = (
    "x-request-id", "traceparent", "tracestate", "b3", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid",
    "x-b3-sampled", "x-b3-flags", "x-ot-span-context", "x-cloud-trace-context", "grpc-trace-bin",
    "x-datadog-trace-id", "x-datadog-parent-id", "x-datadog-sampling-priority", "sw8",
    "end-user", "user-agent", "cookie", "authorization", "jwt",
)  # fmt: skip

VERSION = os.environ.get("SERVICE_VERSION") or (sys.argv[2] if len(sys.argv) > 2 else "v1")
STAR_COLOR = os.environ.get("STAR_COLOR") or COLORS.get(VERSION, "black") or "black"
HAS_RATINGS = os.environ.get("ENABLE_RATINGS", str(bool(COLORS.get(VERSION, "black")))).lower() == "true"
PATIENCE = 10.0 if STAR_COLOR == "black" else 2.5  # seconds

DOMAIN = os.environ.get("SERVICES_DOMAIN", "")
RATINGS_HOST = os.environ.get("RATINGS_HOSTNAME", "ratings") + (f".{DOMAIN}" if DOMAIN else "")
RATINGS_PORT = int(os.environ.get("RATINGS_SERVICE_PORT", "9080"))
POD = os.environ.get("HOSTNAME") or os.uname().nodename
CLUSTER = os.environ.get("CLUSTER_NAME", "null")


def get_ratings(product: int, headers: dict[str, str]) -> dict[str, int] | None:
    """Ask ratings for the stars by reviewer; None where it can't be had, with a line in the log."""
    url = f"http://{RATINGS_HOST}:{RATINGS_PORT}/ratings/{product}"
    connection = HTTPConnection(RATINGS_HOST, RATINGS_PORT, timeout=PATIENCE)
    try:
        connection.request("GET", f"/ratings/{product}", headers=headers)
        response = connection.getresponse()
        if response.status == 200:
            return dict(json.loads(response.read())["ratings"])
        print(f"error: {url} answered {response.status}", flush=True)
    except (OSError, HTTPException, ValueError, KeyError, TypeError) as error:
        print(f"error: cannot reach {url}: {error!r}", flush=True)
    finally:
        connection.close()
    return None


def get_reviews(product: int, headers: dict[str, str]) -> dict[str, object]:
    ratings = get_ratings(product, headers) if HAS_RATINGS else None
    reviews = []
    for reviewer, text in REVIEWS.items():
        review: dict[str, object] = {"reviewer": reviewer, "text": text}
        if ratings and reviewer in ratings:
            review["rating"] = {"stars": ratings[reviewer], "color": STAR_COLOR}
        elif HAS_RATINGS:
            review["rating"] = {"error": "Ratings service is currently unavailable"}
        reviews.append(review)
    return {"id": str(product), "podname": POD, "clustername": CLUSTER, "reviews": reviews}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave in one write

    def respond(self) -> None:
        started = time.perf_counter()
        parts = self.path.split("?")[0].strip("/").split("/")
        status, document = 404, {"error": "not found"}
        if parts == ["health"]:
            status, document = 200, {"status": "Reviews is healthy"}
        elif len(parts) == 2 and parts[0] == "reviews" and parts[1].isdecimal():
            headers = {name: self.headers[name] for name in PASSED_ON if name in self.headers}
            status, document = 200, get_reviews(int(parts[1]), headers)
        payload = json.dumps(document).encode()
        self.send_response_only(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(payload)))
        if self.headers.get("content-length", "0") != "0" or "transfer-encoding" in self.headers:
            self.send_header("connection", "close")  # a body nobody reads must not pass for the next request
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(payload)
        if not (self.path == "/health" and status == 200):
            took = (time.perf_counter() - started) * 1000
            request_id = self.headers.get("x-request-id", "-")
            print(f"{self.command} {self.path} {status} {len(payload)}B {took:.0f}ms {request_id}", flush=True)

    do_GET = do_HEAD = respond

    def log_message(self, *_: object) -> None:
        """Say nothing about malformed requests; respond() writes the access log."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    port = int(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("PORT", "9080"))
    server = Server(("0.0.0.0", port), Handler)
    stars = f"{STAR_COLOR} stars" if HAS_RATINGS else "no stars"
    print(f"reviews {VERSION} ({stars}) listens on port {port}", flush=True)
    server.serve_forever()
