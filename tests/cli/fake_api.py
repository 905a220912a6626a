"""A mesh's API as far as the commands need it: canned answers, and what was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from devmesh.config.statedir import StateDir


def _kind(kind: str, *short: str, sub: str = "") -> dict[str, Any]:
    name = f"{kind.lower()}s{sub}"
    return {"name": name, "singularName": kind.lower(), "kind": kind, "namespaced": True, "shortNames": short}


CORE = [_kind("Pod", "po"), _kind("Pod", sub="/log"), _kind("Event"), _kind("Service", "svc")]
APPS = [_kind("Deployment", "deploy")]
TOKEN = "a-token"


class FakeApi:
    """Answers by method and path (query included, unquoted); what is missing is 404."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], Any] = {
            ("GET", "/api/v1"): {"resources": CORE},
            ("GET", "/apis"): {"groups": [{"preferredVersion": {"groupVersion": "apps/v1"}}]},
            ("GET", "/apis/apps/v1"): {"resources": APPS},
        }
        self.asked: list[tuple[str, str, Any]] = []
        self.warnings: list[str] = []
        """``Warning`` headers of what is written."""

    def add(self, method: str, path: str, answer: Any, status: int = 200) -> None:
        self.answers[method, path] = answer if status == 200 else _Failure(status, answer)


class _Failure:
    def __init__(self, status: int, said: str | dict[str, Any]) -> None:
        self.status = status
        self.body = said if isinstance(said, dict) else {"kind": "Status", "message": said}


@contextmanager
def serving(state: StateDir) -> Iterator[FakeApi]:
    """Serve a fake API as the running mesh of `state`."""
    api = FakeApi()

    class Handler(BaseHTTPRequestHandler):
        def do(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            body = self.rfile.read(length)
            path = unquote(self.path)
            api.asked.append((self.command, path, json.loads(body) if body else None))
            found = api.answers.get((self.command, path), _Failure(404, f"{path} not found"))
            if self.headers["authorization"] != f"Bearer {TOKEN}":
                found = _Failure(401, "Unauthorized")
            status, content = (found.status, found.body) if isinstance(found, _Failure) else (200, found)
            encoded = content.encode() if isinstance(content, str) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(encoded)))
            for warning in api.warnings if self.command != "GET" else ():
                self.send_header("Warning", warning)
            self.end_headers()
            self.wfile.write(encoded)

        do_GET = do_PATCH = do_DELETE = do_POST = do_PUT = do

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    token: Path = state.path / "token"
    with state.lock():
        token.write_text(TOKEN)
        url = f"http://127.0.0.1:{server.server_port}"
        state.write_run(
            {
                "pid": 1,
                "api": {"url": url, "tls_url": url, "token_file": str(token)},
                "gateways": {"http": "127.0.0.1:8080"},
                "dashboard": f"{url}/#token={TOKEN}",
                "kubeconfig": str(state.path / "kubeconfig"),
            }
        )
        yield api
    server.shutdown()
    server.server_close()
