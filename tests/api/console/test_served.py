"""The event stream over a real connection."""

from __future__ import annotations

import gc
import time

import pytest
import trio

from devmesh.api.server import bind, serve
from tests.api.console.conftest import Console
from tests.telemetry.bookinfo import DETAILS, NOON, PRODUCTPAGE, both


async def read_until(stream: trio.SocketStream, wanted: bytes) -> bytes:
    received = b""
    while wanted not in received:
        piece = await stream.receive_some()
        assert piece, received
        received += piece
    return received


class Served:
    """The console's API behind a real server."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.port = 0
        self._shutdown = trio.Event()
        self._ended = trio.Event()

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        bound = bind("127.0.0.1", 0, None)
        self.port = bound.port
        task_status.started()
        await serve(self.console.app, bound, streams=self.console.streams, shutdown=self._shutdown)
        self._ended.set()

    async def get(self, path: str) -> trio.SocketStream:
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        await stream.send_all(f"GET /devmesh/v1/{path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        return stream

    async def end(self) -> None:
        self._shutdown.set()
        await self._ended.wait()


@pytest.fixture
async def served(console: Console, nursery: trio.Nursery) -> Served:
    started = Served(console)
    await nursery.start(started.run)
    return started


@pytest.mark.slow
async def test_a_request_reaches_a_browser_by_itself(console: Console, served: Served) -> None:
    start = time.time()
    console.recorder.clock = lambda: NOON + time.time() - start
    with trio.fail_after(10):
        stream = await served.get("events?topics=graph&window=60")
        head = await read_until(stream, b"event: graph\n")
        assert b"text/event-stream" in head
        await trio.sleep(0.3)
        console.record(*both(PRODUCTPAGE, DETAILS, at=NOON + time.time() - start, duration=0.0))
        await read_until(stream, b'"target":"workload:default/details-v1"')
        await stream.aclose()
        await served.end()


@pytest.mark.parametrize(
    ("path", "begun"), [("events", b"event: graph"), ("access-log?follow=true", b"GET /details/0")]
)
async def test_a_reader_may_hang_up(console: Console, served: Served, path: str, begun: bytes) -> None:
    console.record(*both(PRODUCTPAGE, DETAILS))
    with trio.fail_after(10):
        stream = await served.get(path)
        await read_until(stream, begun)
        await stream.aclose()
        await trio.sleep(0.05)
        console.record(*both(PRODUCTPAGE, DETAILS))
        await served.end()
    gc.collect()  # a generator that was not closed would warn now
