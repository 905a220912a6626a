from functools import partial

import pytest
import trio

from devmesh.cli.failure import CliFailure
from devmesh.cli.traffic import Summary, _Load, seconds


@pytest.mark.parametrize(
    ("text", "value"), [("90", 90.0), ("90s", 90.0), ("250ms", 0.25), ("1.5m", 90.0), ("1h", 3600.0)]
)
def test_durations(text: str, value: float) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "s", "fast", "5d"])
def test_what_is_no_duration_is_named(text: str) -> None:
    with pytest.raises(CliFailure, match="is not a duration"):
        seconds(text)


def test_percentiles_are_the_nearest_rank() -> None:
    summary = Summary(latencies=[n / 1000 for n in range(1, 101)])
    assert [summary.percentile(p) for p in (0.5, 0.99, 0.999)] == [0.05, 0.099, 0.1]
    assert Summary().percentile(0.5) == 0.0


async def serve(stream: trio.SocketStream, *, close_after: int) -> None:
    for n in range(1, close_after + 1):
        if not await stream.receive_some():
            return
        closing = b"Connection: close\r\n" if n == close_after else b""
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + closing + b"\r\nok")
    await stream.aclose()


async def test_it_sends_what_was_asked_and_reconnects(nursery: trio.Nursery) -> None:
    listeners = await nursery.start(
        partial(trio.serve_tcp, partial(serve, close_after=3), 0, host="127.0.0.1")
    )
    port = listeners[0].socket.getsockname()[1]
    request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    load = _Load("127.0.0.1", port, request, 0, 5, 10, 2, None, progress=False)
    await load.run()
    assert dict(load.summary.codes) == {200: 10}
    assert not load.summary.errors
    assert load.summary.as_json()["requests"] == 10
    nursery.cancel_scope.cancel()


async def test_a_refused_connection_is_counted_by_its_reason() -> None:
    with trio.socket.socket() as unused:
        await unused.bind(("127.0.0.1", 0))
        load = _Load("127.0.0.1", unused.getsockname()[1], b"", 0, 5, 3, 1, None, progress=False)
        await load.run()
    assert sum(load.summary.errors.values()) == 3
    assert "refused" in next(iter(load.summary.errors)).lower()
