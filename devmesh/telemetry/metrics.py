"""The counters and histograms behind ``istio_*``: one small object for each set of labels."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import Any

from devmesh.telemetry import labels as names

# Envoy's default buckets, for all three histograms; an observation that equals a bound is inside it.
BOUNDS = (
    0.5,
    1.0,
    5.0,
    10.0,
    25.0,
    50.0,
    100.0,
    250.0,
    500.0,
    1000.0,
    2500.0,
    5000.0,
    10000.0,
    30000.0,
    60000.0,
    300000.0,
    600000.0,
    1800000.0,
    3600000.0,
)
LIMIT = 2000
# Where the labels name the workload of the side that reports.
_SOURCE = names.COMMON.index("source_workload"), names.COMMON.index("source_workload_namespace")
_DESTINATION = (
    names.COMMON.index("destination_workload"),
    names.COMMON.index("destination_workload_namespace"),
)
OVERFLOW = "devmesh_overflow"  # the label values of the series that takes what is over the limit


class HttpSeries:
    """What was counted under one set of labels. Durations are milliseconds, sizes bytes."""

    __slots__ = (
        "count",
        "duration_sum",
        "durations",
        "labels",
        "request_sum",
        "requests",
        "response_sum",
        "responses",
        "text",
    )

    def __init__(self, labels: tuple[str, ...]) -> None:
        self.labels = labels
        self.text = ""  # the labels as Prometheus writes them, made when first asked for
        self.count = 0
        self.durations = [0] * (len(BOUNDS) + 1)
        self.requests = [0] * (len(BOUNDS) + 1)
        self.responses = [0] * (len(BOUNDS) + 1)
        self.duration_sum = 0.0
        self.request_sum = 0
        self.response_sum = 0

    def observe(self, duration_ms: float, received: int, sent: int) -> None:
        """Count one request."""
        self.count += 1
        self.durations[bisect_left(BOUNDS, duration_ms)] += 1
        self.duration_sum += duration_ms
        self.requests[bisect_left(BOUNDS, received)] += 1
        self.request_sum += received
        self.responses[bisect_left(BOUNDS, sent)] += 1
        self.response_sum += sent


class TcpSeries:
    """Connections and their bytes under one set of labels.

    `received` is what the destination received (the request's direction), `sent` what came back.
    """

    __slots__ = ("closed", "labels", "opened", "received", "sent", "text")

    def __init__(self, labels: tuple[str, ...]) -> None:
        self.labels = labels
        self.text = ""
        self.opened = 0
        self.closed = 0
        self.received = 0
        self.sent = 0


class MessageSeries:
    """Messages of gRPC under one set of labels."""

    __slots__ = ("labels", "requests", "responses", "text")

    def __init__(self, labels: tuple[str, ...]) -> None:
        self.labels = labels
        self.text = ""
        self.requests = 0
        self.responses = 0


class MetricStore:
    """All series. Past `limit` sets of labels, one series (for each reporter and protocol) whose other labels
    read `OVERFLOW` takes the rest, so that totals stay right and memory bounded."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._http: dict[tuple[str, ...], HttpSeries] = {}
        self._tcp: dict[tuple[str, ...], TcpSeries] = {}
        self._messages: dict[tuple[str, ...], MessageSeries] = {}
        self.overflowed = 0  # how many times a set of labels had no room

    def http(self, labels: tuple[str, ...]) -> HttpSeries:
        """Return the series of `labels` (the values for `labels.HTTP`)."""
        series = self._http.get(labels)
        if series is None:
            labels = self._room(labels, names.HTTP)
            series = self._http.get(labels) or self._http.setdefault(labels, HttpSeries(labels))
        return series

    def tcp(self, labels: tuple[str, ...]) -> TcpSeries:
        """Return the series of `labels` (the values for `labels.TCP`)."""
        series = self._tcp.get(labels)
        if series is None:
            labels = self._room(labels, names.TCP)
            series = self._tcp.get(labels) or self._tcp.setdefault(labels, TcpSeries(labels))
        return series

    def messages(self, labels: tuple[str, ...]) -> MessageSeries:
        """Return the series of `labels` (the values for `labels.MESSAGES`)."""
        series = self._messages.get(labels)
        if series is None:
            labels = self._room(labels, names.MESSAGES)
            series = self._messages.get(labels) or self._messages.setdefault(labels, MessageSeries(labels))
        return series

    def message_series(self) -> list[MessageSeries]:
        return list(self._messages.values())

    def http_series(self) -> list[HttpSeries]:
        return list(self._http.values())

    def tcp_series(self) -> list[TcpSeries]:
        return list(self._tcp.values())

    def of(self, namespace: str, workload: str) -> MetricStore:
        """Return a store with those series alone that the proxies of one workload have reported."""
        found = MetricStore(self._limit)
        for series in self:
            labels = series.labels
            side = _SOURCE if labels[0] == "source" else _DESTINATION
            if (labels[side[0]], labels[side[1]]) == (workload, namespace):
                kept: dict[tuple[str, ...], Any] = found._tcp
                if isinstance(series, HttpSeries):
                    kept = found._http
                elif isinstance(series, MessageSeries):
                    kept = found._messages
                kept[labels] = series
        return found

    def __len__(self) -> int:
        return len(self._http) + len(self._tcp) + len(self._messages)

    def __iter__(self) -> Iterator[HttpSeries | TcpSeries | MessageSeries]:
        yield from list(self._http.values())
        yield from list(self._tcp.values())
        yield from list(self._messages.values())

    def _room(self, labels: tuple[str, ...], keys: tuple[str, ...]) -> tuple[str, ...]:
        if len(self) < self._limit:
            return labels
        self.overflowed += 1
        kept = ("reporter", "request_protocol")
        return tuple(value if key in kept else OVERFLOW for key, value in zip(keys, labels, strict=True))
