"""gRPC probes against gRPC's own server."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import grpc
import pytest
import trio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from devmesh.runtime.pods.grpc_health import _varint
from devmesh.runtime.pods.probes import ProbeFailure, ask
from tests.runtime.pods.test_probes import serve, target

Status = health_pb2.HealthCheckResponse


class Server:
    def __init__(self, *, has_health: bool = True) -> None:
        self._threads = ThreadPoolExecutor(2)
        self._server = grpc.server(self._threads)
        self.health = health.HealthServicer()
        if has_health:
            health_pb2_grpc.add_HealthServicer_to_server(self.health, self._server)
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def close(self) -> None:
        self._server.stop(0).wait()
        self._threads.shutdown()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


async def probe(port: int, service: str | None = None) -> None:
    with trio.fail_after(5):
        await ask({"grpc": {"port": port, "service": service}}, target())


async def test_a_server_that_serves_is_healthy(server: Server) -> None:
    await probe(server.port)
    server.health.set("shop.Cart" * 40, Status.SERVING)
    await probe(server.port, "shop.Cart" * 40)


async def test_any_other_status_is_a_failure(server: Server) -> None:
    server.health.set("", Status.NOT_SERVING)
    server.health.set("shop.Cart", Status.UNKNOWN)
    for service, status in ((None, "NOT_SERVING"), ("shop.Cart", "UNKNOWN")):
        with pytest.raises(ProbeFailure, match=rf'^service unhealthy \(responded with "{status}"\)$'):
            await probe(server.port, service)


async def test_a_service_that_nobody_knows_is_a_failure(server: Server) -> None:
    with pytest.raises(ProbeFailure, match=r"health rpc probe failed: rpc error: code = 5 desc"):
        await probe(server.port, "nobody")


async def test_a_server_without_the_protocol_is_a_failure() -> None:
    server = Server(has_health=False)
    try:
        with pytest.raises(
            ProbeFailure, match=r"does not implement the grpc health protocol.*Method not found"
        ):
            await probe(server.port)
    finally:
        server.close()


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak HTTP/2", id="HTTP/1.1"),
        pytest.param(b"\0" * 9, "does not speak HTTP/2|without an answer", id="zeros"),
        pytest.param(b"", "without an answer|reset", id="nothing"),
    ],
)
async def test_what_is_no_grpc_server_is_a_failure(
    nursery: trio.Nursery, answer: bytes, problem: str
) -> None:
    port = await nursery.start(partial(serve, answer))
    with pytest.raises(ProbeFailure, match=problem):
        await probe(port)
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("number", "written"), [(0, b"\0"), (127, b"\x7f"), (300, b"\xac\x02")])
def test_lengths_are_written_as_varints(number: int, written: bytes) -> None:
    assert _varint(number) == written
