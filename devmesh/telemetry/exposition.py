"""The metrics in Prometheus' text format, in pieces small enough to be written between two requests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from importlib.metadata import version
from typing import TypeVar

from devmesh.telemetry import labels as names
from devmesh.telemetry.metrics import BOUNDS, HttpSeries, MessageSeries, MetricStore, TcpSeries

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_LES = (*(f"{bound:g}" if bound < 1e6 else str(int(bound)) for bound in BOUNDS), "+Inf")
_PER_PIECE = 8  # series; a hundred kilobytes or so

S = TypeVar("S")

# A gauge or counter of devmesh's own: name, type, help, value.
Own = tuple[str, str, str, float]


def expose(store: MetricStore, own: Iterable[Own] = ()) -> Iterator[str]:
    """Yield the whole exposition piece by piece; each takes a fraction of a millisecond.

    Nothing is locked: what is counted meanwhile may be in later pieces and not in earlier ones, but
    the buckets, sum and count of one histogram always belong together.
    """
    http, tcp = store.http_series(), store.tcp_series()
    yield from _family(
        "istio_requests_total", "counter", "Requests.", http, lambda n, s: [f"{n}{{{_http(s)}}} {s.count}\n"]
    )
    yield from _family(
        "istio_request_duration_milliseconds",
        "histogram",
        "Duration of requests.",
        http,
        lambda n, s: _histogram(n, _http(s), s.durations, s.duration_sum),
    )
    yield from _family(
        "istio_request_bytes",
        "histogram",
        "Size of request bodies.",
        http,
        lambda n, s: _histogram(n, _http(s), s.requests, s.request_sum),
    )
    yield from _family(
        "istio_response_bytes",
        "histogram",
        "Size of response bodies.",
        http,
        lambda n, s: _histogram(n, _http(s), s.responses, s.response_sum),
    )
    for name, text, value in _TCP:
        yield from _family(name, "counter", text, tcp, partial(_counter, value))
    messages = store.message_series()
    yield from _family(
        "istio_request_messages_total",
        "counter",
        "Messages of gRPC, of requests.",
        messages,
        lambda n, s: [f"{n}{{{_messages(s)}}} {s.requests}\n"],
    )
    yield from _family(
        "istio_response_messages_total",
        "counter",
        "Messages of gRPC, of responses.",
        messages,
        lambda n, s: [f"{n}{{{_messages(s)}}} {s.responses}\n"],
    )
    yield _own(own)


_TCP: tuple[tuple[str, str, Callable[[TcpSeries], int]], ...] = (
    ("istio_tcp_sent_bytes_total", "Bytes sent in answer, over TCP.", lambda s: s.sent),
    ("istio_tcp_received_bytes_total", "Bytes received, over TCP.", lambda s: s.received),
    ("istio_tcp_connections_opened_total", "TCP connections opened.", lambda s: s.opened),
    ("istio_tcp_connections_closed_total", "TCP connections closed.", lambda s: s.closed),
)


def _counter(value: Callable[[TcpSeries], int], name: str, series: TcpSeries) -> list[str]:
    return [f"{name}{{{_tcp(series)}}} {value(series)}\n"]


def _family(
    name: str, kind: str, text: str, series: Sequence[S], lines: Callable[[str, S], list[str]]
) -> Iterator[str]:
    if not series:
        return
    yield f"# HELP {name} {text}\n# TYPE {name} {kind}\n"
    for start in range(0, len(series), _PER_PIECE):
        yield "".join(line for one in series[start : start + _PER_PIECE] for line in lines(name, one))


def _histogram(name: str, labels: str, counts: list[int], total: float) -> list[str]:
    lines, seen = [], 0
    for le, count in zip(_LES, counts, strict=True):
        seen += count
        lines.append(f'{name}_bucket{{{labels},le="{le}"}} {seen}\n')
    lines.append(f"{name}_sum{{{labels}}} {_number(total)}\n")
    lines.append(f"{name}_count{{{labels}}} {seen}\n")
    return lines


def _own(own: Iterable[Own]) -> str:
    text = "# HELP istio_build What runs here.\n# TYPE istio_build gauge\n"
    text += f'istio_build{{component="proxy",tag="devmesh-{version("devmesh")}"}} 1\n'
    for name, kind, what, value in own:
        text += f"# HELP {name} {what}\n# TYPE {name} {kind}\n{name} {_number(value)}\n"
    return text


def _http(series: HttpSeries) -> str:
    if not series.text:
        series.text = label_text(names.HTTP, series.labels)
    return series.text


def _tcp(series: TcpSeries) -> str:
    if not series.text:
        series.text = label_text(names.TCP, series.labels)
    return series.text


def _messages(series: MessageSeries) -> str:
    if not series.text:
        series.text = label_text(names.MESSAGES, series.labels)
    return series.text


def label_text(keys: Sequence[str], values: Sequence[str]) -> str:
    """Return ``a="x",b="y"``; backslash, quote and line feed are escaped as Prometheus asks."""
    return ",".join(f'{key}="{_escape(value)}"' for key, value in zip(keys, values, strict=True))


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(round(value, 6))
