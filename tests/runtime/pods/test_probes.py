"""Probes against servers on loopback."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import trio

from devmesh.runtime.pods.probes import ProbeFailure, Target, ask, watch


async def serve(answer: bytes, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
    async def handle(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        if answer:
            await stream.send_all(answer)

    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    task_status.started(listener.socket.getsockname()[1])
    await trio.serve_listeners(handle, [listener])


def target() -> Target:
    def dial(address: str, port: int) -> socket.socket:
        made = socket.socket()
        made.setblocking(False)
        made.connect_ex((address, port))
        return made

    return Target("127.0.0.1", {"web": 1}, dial, None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n", None, id="200"),
        pytest.param(b"HTTP/1.0 302 Found\r\nLocation: /x\r\n\r\n", None, id="302"),
        pytest.param(b"HTTP/1.1 503 No\r\n\r\n", "statuscode: 503", id="503"),
        pytest.param(b"hello\r\n", "malformed", id="not HTTP"),
        pytest.param(b"", "EOF", id="nothing"),
    ],
)
async def test_http(nursery: trio.Nursery, answer: bytes, problem: str | None) -> None:
    port = await nursery.start(partial(serve, answer))
    probe = {"httpGet": {"path": "/health", "port": port}}
    if problem is None:
        await ask(probe, target())
    else:
        with pytest.raises(ProbeFailure, match=problem):
            await ask(probe, target())


async def test_a_closed_port_refuses() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for kind in ("tcpSocket", "httpGet", "grpc"):
        with pytest.raises(ProbeFailure, match="connection refused"):
            await ask({kind: {"port": port}}, target())


async def test_ports_have_names() -> None:
    with pytest.raises(ProbeFailure, match="no port named 'other'"):
        await ask({"tcpSocket": {"port": "other"}}, target())


class Script:
    """A probe whose answers are given: each question takes the next, the last for ever."""

    def __init__(self, *answers: bool) -> None:
        self.answers = list(answers)
        self.results: list[tuple[float, bool]] = []
        self.failures: list[float] = []

    async def ask(self, probe: Any, target: Any) -> None:
        await trio.lowlevel.checkpoint()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if not answer:
            raise ProbeFailure("no")

    async def on_result(self, good: bool) -> None:
        await trio.lowlevel.checkpoint()
        self.results.append((round(trio.current_time(), 3), good))

    def on_failure(self, why: str) -> None:
        self.failures.append(round(trio.current_time(), 3))


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    async def play(script: Script, seconds: float, *, eager: bool, **probe: Any) -> Script:
        monkeypatch.setattr("devmesh.runtime.pods.probes.ask", script.ask)
        with trio.move_on_after(seconds):
            await watch(probe, target(), script.on_result, script.on_failure, eager=eager)
        return script

    return play


async def test_failures_in_a_row_count(autojump_clock: Any, play: Any) -> None:
    script = await play(Script(False, True, False, False, True), 45, eager=False, failureThreshold=2)
    assert script.results == [(11, True), (31, False), (41, True)]
    assert script.failures == [1, 21, 31]


async def test_the_first_success_is_found_soon(autojump_clock: Any, play: Any) -> None:
    script = await play(Script(False, False, False, True), 25, eager=True)
    assert script.results[0][0] < 0.5
    assert script.failures == []


async def test_eagerness_does_not_shorten_patience(autojump_clock: Any, play: Any) -> None:
    script = await play(Script(False), 65, eager=True, failureThreshold=3, periodSeconds=20)
    assert script.failures == [20, 40, 60]
    assert script.results == [(60, False)]


async def test_the_initial_delay_is_kept(autojump_clock: Any, play: Any) -> None:
    script = await play(Script(True), 12, eager=True, initialDelaySeconds=7)
    assert script.results[0] == (7, True)
