"""What is sent piece by piece: the metrics, the access log, events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

import msgspec
import trio

from devmesh.api.streams import Streams
from devmesh.graph.live import Changes
from devmesh.snapshot.snapshot import Snapshot
from devmesh.telemetry.logs import AccessLogs, Line, Select
from devmesh.telemetry.recorder import Recorder

PING_EVERY = 5.0


async def metrics_text(recorder: Recorder) -> AsyncIterator[bytes]:
    """Yield the Prometheus exposition; others run between two pieces."""
    for piece in recorder.expose():
        yield piece.encode()
        await trio.lowlevel.checkpoint()


async def access_log(
    logs: AccessLogs,
    select: Select,
    *,
    tail: int | None,
    since: float,
    follow: bool,
    prefix: Callable[[str], str] | None,
    streams: Streams,
) -> AsyncIterator[bytes]:
    """Yield access log lines; `prefix` makes what stands before those of an instance."""

    def text(line: Line) -> str:
        return f"{prefix(line.instance)}{line.text}" if prefix else line.text

    async with aclosing(logs.read(select, tail=tail, since=since, follow=follow)) as batches:
        while not streams.ended:
            batch: list[Line] | None = None
            with streams.waiting():
                batch = await anext(batches, None)
            if batch is None:
                return
            yield "".join(map(text, batch)).encode()


def pod_prefix(snapshot: Callable[[], Snapshot]) -> Callable[[str], str]:
    """Return what `kubectl logs --prefix` writes before the lines of an instance."""

    def prefix(instance: str) -> str:
        found = snapshot().instances.get(instance)
        return f"[pod/{found.pod if found else instance}/istio-proxy] "

    return prefix


async def graph_events(changes: Changes, streams: Streams) -> AsyncIterator[bytes]:
    """Yield the event stream (text/event-stream): ``graph`` when it changed, ``ping`` each five seconds."""
    yield b"retry: 1000\n\n"
    ping_at = trio.current_time() + PING_EVERY
    while not streams.ended:
        event = b""
        with streams.waiting(ping_at):
            event = b"event: graph\ndata: " + msgspec.json.encode(await changes.next()) + b"\n\n"
        if trio.current_time() >= ping_at:
            ping_at = trio.current_time() + PING_EVERY
            event += b"event: ping\ndata: {}\n\n"
        yield event
