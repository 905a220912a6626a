"""Rate limits by a real service: grpcio's server, asked over real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial

import grpc
import pytest
import trio

from devmesh.model.port import Protocol
from devmesh.proxy.engine import Engine
from devmesh.proxy.epoll import EpollReactor
from devmesh.proxy.rate_limit_service import PATH
from devmesh.security.ca import CertificateAuthority
from devmesh.security.contexts import Certificates
from devmesh.snapshot.cluster import Endpoint
from devmesh.snapshot.feed import SnapshotFeed
from devmesh.snapshot.proxy import GatewayListener, Proxy
from devmesh.snapshot.rate_limits import GlobalLimit, Limiting, RequestHeader, RouteLimits, Rule
from devmesh.snapshot.route import RouteTable, VirtualHost
from devmesh.testing.loopback import LoopbackNetwork
from devmesh.testing.reactor import EPOCH
from tests.proxy.meshes import APP, OK, TO_B, Kept, cluster, endpoint, head_of, instance, snapshot, status_of

NAME = "outbound|8081||ratelimit.default.svc.cluster.local"
LIMIT = GlobalLimit("ratelimit", NAME, "ratelimit.default", timeout=2.0, denies=True)
BY_PATH = RouteLimits((Rule((RequestHeader(":path", "PATH"),)),))


def message(code: int, *headers: tuple[int, bytes, bytes]) -> bytes:
    """A RateLimitResponse; `headers` are (3: of the response, 4: of the request, name, value)."""
    made = b"\x08" + bytes([code])
    for number, name, value in headers:
        pair = b"\x0a" + bytes([len(name)]) + name + b"\x12" + bytes([len(value)]) + value
        made += bytes([number << 3 | 2, len(pair)]) + pair
    return made


@dataclass
class Service:
    """What the service was asked, and what it answers by what the question holds."""

    port: int = 0
    asked: list[bytes] = field(default_factory=list)

    def should_rate_limit(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        self.asked.append(request)
        if b"/broken" in request:
            context.abort(grpc.StatusCode.INTERNAL, "broken")
        if b"/limited" in request:
            return message(2, (3, b"x-why", b"limited"))
        return message(1, (3, b"x-seen", b"yes"), (4, b"x-checked", b"yes"))


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    _, package, method = PATH.split("/")
    handler = grpc.unary_unary_rpc_method_handler(made.should_rate_limit)
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(package, {method: handler}),))
    made.port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield made
    server.stop(None)


@dataclass
class Edge:
    port: int
    sink: Kept
    engine: Engine
    heard: list[bytes]

    async def call(self, path: str) -> bytes:
        answer = b""
        with trio.fail_after(10):
            stream = await trio.open_tcp_stream("127.0.0.1", self.port)
            async with stream:
                head = f"GET {path} HTTP/1.1\r\nhost: b\r\nconnection: close\r\n\r\n"
                await stream.send_all(head.encode())
                async for piece in stream:
                    answer += piece
        return answer


@pytest.fixture
async def edge(service: Service) -> AsyncIterator[Edge]:
    network, sink, heard = LoopbackNetwork(), Kept(), []
    certificates = Certificates(CertificateAuthority("cluster.local", EPOCH))
    there = cluster(Endpoint("127.0.0.1", service.port), name=NAME)
    base = snapshot(clusters=(cluster(endpoint()), there))
    table = RouteTable.of("http.8080", (VirtualHost("*:80", ("*",), (TO_B,)),))
    listener = GatewayListener(
        80, 8080, Protocol.HTTP, table, limiting=Limiting(shared=(LIMIT,), otherwise=BY_PATH)
    )
    gateway = replace(instance("edge", "10.1.0.9"), gateway=True)
    proxy = Proxy(gateway, base.proxies["a"].outbound, gateway=(listener,))
    feed = SnapshotFeed(replace(base, proxies={**base.proxies, "edge": proxy}))
    reactor = EpollReactor(network, network.original)
    engine = Engine(feed, network, network, certificates, sink, reactor=reactor)

    async def answer(stream: trio.SocketStream) -> None:
        async with stream:
            async for piece in stream:
                heard.append(piece)
                await stream.send_all(OK)

    async with trio.open_nursery() as nursery:
        [application] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        network.places[APP] = application.socket.getsockname()
        nursery.start_soon(partial(trio.serve_listeners, answer, [application]))
        await nursery.start(reactor.run)
        await nursery.start(engine.run)
        yield Edge(network.places["edge", 8080][1], sink, engine, heard)
        nursery.cancel_scope.cancel()


async def test_a_service_lets_a_request_pass(edge: Edge, service: Service) -> None:
    answer = await edge.call("/free")
    assert (status_of(answer), head_of(answer)["x-seen"]) == (200, "yes")
    assert b"x-checked: yes\r\n" in b"".join(edge.heard)
    [asked] = service.asked
    assert asked.startswith(b"\x0a\x09ratelimit")
    assert b"PATH" in asked
    assert b"/free" in asked


async def test_a_service_refuses_a_request(edge: Edge, service: Service) -> None:
    answer = await edge.call("/limited")
    assert status_of(answer) == 429
    head = head_of(answer)
    assert (head["x-why"], head["x-envoy-ratelimited"]) == ("limited", "true")
    assert not edge.heard
    record = edge.sink.requests[-1]
    assert (record.flags, record.details) == ("RL", "request_rate_limited")


async def test_a_service_that_fails_refuses_as_it_was_asked_to(edge: Edge, service: Service) -> None:
    assert status_of(await edge.call("/broken")) == 500
    assert edge.sink.requests[-1].flags == "RLSE"
    assert status_of(await edge.call("/free")) == 200


async def test_what_a_service_said_is_counted(edge: Edge, service: Service) -> None:
    for path in ("/free", "/limited", "/limited", "/broken"):
        await edge.call(path)
    counted = edge.engine.plane.state("edge").limited
    [(name, counts)] = counted.items()
    assert name == "cluster.outbound|80||b.default.svc.cluster.local.ratelimit"
    assert counts == {"ok": 1, "over_limit": 2, "error": 1, "failure_mode_allowed": 0}
    assert len(edge.sink.requests) == 4  # its own calls are told nowhere
