"""ratings: how many stars each reviewer gave a book. Kept in memory; POST replaces them.

    GET  /ratings/0  ->  {"id": 0, "ratings": {"Reviewer1": 5, "Reviewer2": 4}}
    POST /ratings/0  <-  {"Reviewer1": 1, "Reviewer2": 2}
    GET  /health

Usage: ratings.py [PORT]       (9080, or $PORT)
"""

from __future__ import annotations

import os
import signal
import sys

sys.modules["ssl"] = None  # nothing here speaks TLS, the mesh does: this saves 4 MB and some start-up time

import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FIRST_RATINGS = {"Reviewer1": 5, "Reviewer2": 4}
LARGEST_BODY = 64 * 1024  # bytes

posted: dict[int, dict[str, object]] = {}


def answer(method: str, path: str, body: bytes) -> tuple[int, object]:
    """Return the status and the JSON for a request."""
    parts = path.split("?")[0].strip("/").split("/")
    if parts == ["health"] and method == "GET":
        return 200, {"status": "Ratings is healthy"}
    if len(parts) != 2 or parts[0] != "ratings":
        return 404, {"error": "not found"}
    if not parts[1].isdecimal():
        return 400, {"error": "please provide numeric product ID"}
    product = int(parts[1])
    if method == "POST":
        try:
            ratings = json.loads(body)
        except ValueError:
            ratings = None
        if not isinstance(ratings, dict):
            return 400, {"error": "please provide valid ratings JSON"}
        posted[product] = ratings
    return 200, {"id": product, "ratings": posted.get(product, FIRST_RATINGS)}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave in one write

    def respond(self) -> None:
        started = time.perf_counter()
        length = self.headers.get("content-length", "0")
        if "transfer-encoding" in self.headers or not length.isdecimal() or int(length) > LARGEST_BODY:
            self.close_connection = True
            status, document = 411, {"error": f"please send a content-length of up to {LARGEST_BODY} bytes"}
        else:
            status, document = answer(self.command, self.path, self.rfile.read(int(length)))
        payload = json.dumps(document).encode()
        self.send_response_only(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(payload)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(payload)
        if not (self.path == "/health" and status == 200):
            took = (time.perf_counter() - started) * 1000
            request_id = self.headers.get("x-request-id", "-")
            print(f"{self.command} {self.path} {status} {len(payload)}B {took:.0f}ms {request_id}", flush=True)

    do_GET = do_HEAD = do_POST = respond

    def log_message(self, *_: object) -> None:
        """Say nothing about malformed requests; respond() writes the access log."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    port = int(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("PORT", "9080"))
    server = Server(("0.0.0.0", port), Handler)
    print(f"ratings listens on port {port}", flush=True)
    server.serve_forever()
