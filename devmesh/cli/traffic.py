"""devmesh traffic"""

from __future__ import annotations

import math
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import click

from devmesh.cli.failure import CliFailure
from devmesh.cli.options import output_option, print_json


@dataclass(slots=True)
class Summary:
    """What came back. Latencies are seconds, of whole answers; `errors` counts reasons."""

    codes: Counter[int] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    bytes_received: int = 0
    elapsed: float = 0.0

    @property
    def sent(self) -> int:
        return sum(self.codes.values()) + sum(self.errors.values())

    def percentile(self, share: float) -> float:
        """Return the latency that `share` of the answers did not exceed (nearest rank); 0 without any."""
        ordered = sorted(self.latencies)
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0

    def as_json(self) -> dict[str, Any]:
        return {
            "requests": self.sent,
            "seconds": round(self.elapsed, 3),
            "rate": round(self.sent / self.elapsed, 1) if self.elapsed else 0.0,
            "codes": {str(code): n for code, n in sorted(self.codes.items())},
            "errors": dict(self.errors),
            "bytes": self.bytes_received,
            "latency_ms": {
                f"p{share:g}": round(self.percentile(share / 100) * 1000, 2)
                for share in (50, 75, 90, 95, 99, 99.9)
            },
        }


@click.command("traffic")
@click.argument("url")
@click.option(
    "-r", "--rate", default=10.0, show_default=True, help="Requests per second; 0 is as fast as it goes."
)
@click.option("-t", "--duration", default="10s", show_default=True, help="How long (90, 90s, 5m, 1h).")
@click.option("-n", "--requests", "count", type=int, help="Stop after that many requests.")
@click.option("-c", "--connections", default=4, show_default=True, help="Connections at a time.")
@click.option("-X", "--method", default="GET", show_default=True)
@click.option(
    "-H", "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="Add a header; may repeat."
)
@click.option("-d", "--data", default="", help="A body to send.")
@click.option(
    "--until-unreachable", type=float, metavar="SECONDS", help="End after so long without any answer."
)
@click.option("-q", "--quiet", is_flag=True, help="Print no progress.")
@output_option("json")
def command(
    url: str,
    rate: float,
    duration: str,
    count: int | None,
    connections: int,
    method: str,
    headers: tuple[str, ...],
    data: str,
    until_unreachable: float | None,
    quiet: bool,
    output: str | None,
) -> None:
    """Send requests to URL at a steady rate, and sum up the answers.

    The rate is kept whatever the answers take, as far as the connections allow. Exit status 1 where
    no request was answered.
    """
    import trio

    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme != "http" or not parts.hostname:
        raise CliFailure(f"{url!r}: expected http://HOST[:PORT]/PATH", 2)
    request = _request(method, parts, headers, data.encode())
    load = _Load(
        parts.hostname,
        parts.port or 80,
        request,
        rate,
        seconds(duration),
        count,
        connections,
        until_unreachable,
        progress=not quiet and sys.stderr.isatty(),
    )
    trio.run(load.run)
    summary = load.summary
    if output == "json":
        print_json(summary.as_json())
    else:
        click.echo(_text(summary))
    if not summary.codes:
        reason = summary.errors.most_common(1)[0][0] if summary.errors else "nothing was sent"
        raise CliFailure(f"no request was answered: {reason}")


def seconds(text: str) -> float:
    """Read ``90``, ``90s``, ``5m``, ``1h``, ``250ms``.

    Raises:
        CliFailure: It is none of these.
    """
    for unit, factor in (("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("", 1.0)):
        if text.endswith(unit) and (number := text.removesuffix(unit)):
            try:
                return float(number) * factor
            except ValueError:
                break
    raise CliFailure(f"{text!r} is not a duration: write 90s, 5m or 1h", 2)


def _request(method: str, parts: Any, headers: tuple[str, ...], body: bytes) -> bytes:
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [f"{method} {target} HTTP/1.1"]
    if not any(header.lower().startswith("host:") for header in headers):
        lines.append(f"Host: {parts.netloc}")
    lines += ["User-Agent: devmesh-traffic", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


class _Answer:
    """What the parser tells of one response."""

    def __init__(self) -> None:
        self.complete = False

    def on_message_complete(self) -> None:
        self.complete = True


class _Load:
    def __init__(
        self,
        host: str,
        port: int,
        request: bytes,
        rate: float,
        duration: float,
        count: int | None,
        connections: int,
        give_up: float | None,
        progress: bool,
    ) -> None:
        self.summary = Summary()
        self._host, self._port, self._request = host, port, request
        self._rate, self._duration, self._count = rate, duration, count
        self._connections, self._give_up, self._progress = connections, give_up, progress
        self._started = self._answered = time.monotonic()
        self._taken = 0

    async def run(self) -> None:
        import trio

        with trio.move_on_after(self._duration + 30) as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch, nursery.cancel_scope)
                async with trio.open_nursery() as clients:
                    for _ in range(self._connections):
                        clients.start_soon(self._client)
                nursery.cancel_scope.cancel()
        del scope
        self.summary.elapsed = time.monotonic() - self._started

    async def _watch(self, scope: Any) -> None:
        import trio

        with trio.open_signal_receiver(2, 15) as signals:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._report)
                async for _ in signals:
                    scope.cancel()

    async def _report(self) -> None:
        import trio

        before = 0
        while True:
            await trio.sleep(1)
            if self._progress:
                sent = self.summary.sent
                click.echo(f"\r{sent} requests, {sent - before}/s   ", err=True, nl=False)
                before = sent

    def _next_slot(self) -> float | None:
        """Return when the next request is due (monotonic), or None when there is none left."""
        now = time.monotonic()
        if self._count is not None and self._taken >= self._count:
            return None
        due = self._started + self._taken / self._rate if self._rate > 0 else now
        silent = self._give_up is not None and now - self._answered > self._give_up
        if max(due, now) - self._started >= self._duration or silent:
            return None
        self._taken += 1
        return due

    async def _client(self) -> None:
        import trio

        stream: trio.SocketStream | None = None
        while (due := self._next_slot()) is not None:
            await trio.sleep(max(0.0, due - time.monotonic()))
            begun = time.monotonic()
            try:
                with trio.fail_after(30):
                    if stream is None:
                        stream = await trio.open_tcp_stream(self._host, self._port)
                        stream.setsockopt(6, 1, 1)
                    await stream.send_all(self._request)
                    keep = await self._answer(stream)
            except (OSError, trio.BrokenResourceError, trio.TooSlowError, ConnectionError) as error:
                self.summary.errors[_reason(error)] += 1
                keep = False
                await trio.sleep(0.01)
            else:
                self._answered = time.monotonic()
                self.summary.latencies.append(self._answered - begun)
            if not keep and stream is not None:
                await trio.aclose_forcefully(stream)
                stream = None

    async def _answer(self, stream: Any) -> bool:
        """Read one response whole; return whether the connection can be used again."""
        import httptools

        answer = _Answer()
        parser = httptools.HttpResponseParser(answer)
        while not answer.complete:
            piece = await stream.receive_some(65536)
            if not piece:
                raise ConnectionError("connection closed before the answer was complete")
            self.summary.bytes_received += len(piece)
            try:
                parser.feed_data(piece)
            except httptools.HttpParserError as error:
                raise ConnectionError(f"not an HTTP response: {error}") from error
        self.summary.codes[parser.get_status_code()] += 1
        return bool(parser.should_keep_alive())


def _reason(error: BaseException) -> str:
    """Return the operating system's words: trio wraps its errors, in a group for each address tried."""
    while error.__cause__ or isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error.__cause__ or error
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _text(summary: Summary) -> str:
    about = summary.as_json()
    lines = [
        f"{about['requests']} requests in {about['seconds']} s, {about['rate']}/s, {about['bytes']} bytes"
    ]
    lines += [f"  {code}   {n} ({n / summary.sent:.1%})" for code, n in sorted(summary.codes.items())]
    lines += [f"  failed {n}: {reason}" for reason, n in summary.errors.most_common()]
    lines.append("  latency ms   " + "   ".join(f"{name} {ms:g}" for name, ms in about["latency_ms"].items()))
    return "\n".join(lines)
