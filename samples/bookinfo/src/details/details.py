"""details: what is printed on the first pages of a book.

    GET /details/0  ->  {"id": 0, "author": "William Shakespeare", "year": 1595, ...}
    GET /health

Usage: details.py [PORT]       (9080, or $PORT)
"""

from __future__ import annotations

import os
import signal
import sys

sys.modules["ssl"] = None  # nothing here speaks TLS, the mesh does: this saves 4 MB and some start-up time

import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def answer(path: str) -> tuple[int, object]:
    """Return the status and the JSON for a GET."""
    parts = path.split("?")[0].strip("/").split("/")
    if parts == ["health"]:
        return 200, {"status": "Details is healthy"}
    if parts[0] != "details":
        return 404, {"error": "not found"}
    if not parts[-1].isdecimal():
        return 400, {"error": "please provide numeric product id"}
    return 200, {
        "id": int(parts[-1]),
        "author": "William Shakespeare",
        "year": 1595,
        "type": "paperback",
        "pages": 200,
        "publisher": "PublisherA",
        "language": "English",
        "ISBN-10": "1234567890",
        "ISBN-13": "123-1234567890",
    }


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave in one write

    def respond(self) -> None:
        started = time.perf_counter()
        status, document = answer(self.path)
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
    print(f"details listens on port {port}", flush=True)
    server.serve_forever()
