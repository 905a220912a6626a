"""Answers with what it was asked: the paths of httpbin that Istio's tasks use, with lists of header values.

/headers /get /post /ip /user-agent /anything... /status/CODE /delay/SECONDS /html /uuid
/response-headers?name=value /stream/COUNT /bytes/COUNT
"""

from __future__ import annotations

import argparse
import json
import ssl
import sys
import time
import uuid
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

TEAPOT = b"""
    -=[ teapot ]=-

       _...._
     .'  _ _ `.
    | ."` ^ `". _,
    \\_;`"---"`|//
      |       ;/
      \\_     _/
        `\"\"\"`
"""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "httpbin"

    def answer(self, status: int, body: bytes, kind: str = "application/json", **fields: str) -> None:
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def tell(self, **what: object) -> None:
        self.answer(200, json.dumps(what, indent=2).encode() + b"\n")

    def read(self) -> bytes:
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            found = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                found += self.rfile.read(size)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return found
        return self.rfile.read(int(self.headers.get("content-length", 0)))

    def respond(self) -> None:
        body = self.read()
        url = urlsplit(self.path)
        first, _, rest = url.path.strip("/").partition("/")
        query = parse_qs(url.query)
        got: dict[str, list[str]] = {}
        for name, value in self.headers.items():
            got.setdefault("-".join(part.capitalize() for part in name.split("-")), []).append(value)
        origin = self.headers.get("x-forwarded-for", self.client_address[0])
        about = {
            "args": query, "headers": got, "method": self.command, "origin": origin,
            "url": f"http://{self.headers.get('host')}{self.path}", "data": body.decode("latin-1"),
        }  # fmt: skip
        match first:
            case "headers":
                self.tell(headers=got)
            case "get" | "post" | "put" | "delete" | "patch" | "anything":
                self.tell(**about)
            case "ip":
                self.tell(origin=origin)
            case "user-agent":
                self.tell(**{"user-agent": self.headers.get("user-agent", "")})
            case "uuid":
                self.tell(uuid=str(uuid.uuid4()))
            case "status":
                code = int(rest)
                self.answer(code, TEAPOT if code == HTTPStatus.IM_A_TEAPOT else b"", "text/plain")
            case "delay":
                time.sleep(min(10.0, float(rest)))
                self.tell(**about)
            case "bytes":
                self.answer(200, b"x" * int(rest), "application/octet-stream")
            case "stream":
                self.stream(int(rest), about)
            case "response-headers":
                fields = {name: values[0] for name, values in query.items()}
                self.answer(200, json.dumps(fields).encode(), **fields)
            case "" | "html":
                self.answer(200, b"<html><title>httpbin</title><h1>httpbin</h1></html>\n", "text/html")
            case _:
                self.answer(404, b"not found\n", "text/plain")

    def stream(self, count: int, about: dict[str, object]) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number in range(count):
            line = json.dumps({"id": number, **about}).encode() + b"\n"
            self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
        self.wfile.write(b"0\r\n\r\n")

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = respond

    def log_message(self, text: str, *args: object) -> None:
        print(f"{self.client_address[0]} - {text % args}", flush=True)


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--port", type=int, default=8080)
    options.add_argument("--host", default="0.0.0.0")
    options.add_argument("--cert")
    options.add_argument("--key")
    options.add_argument("--ca", help="ask clients for certificates of it")
    given = options.parse_args()
    server = ThreadingHTTPServer((given.host, given.port), Handler)
    server.daemon_threads = True
    if given.cert:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(given.cert, given.key)
        if given.ca:
            context.load_verify_locations(given.ca)
            context.verify_mode = ssl.CERT_REQUIRED
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    print(f"httpbin listens on {given.port}", file=sys.stderr, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
