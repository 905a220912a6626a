"""Takes the proxy's records and folds each into everything that is told of traffic."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

from devmesh.model.workload import Workload
from devmesh.snapshot.cluster import ServiceRef
from devmesh.snapshot.feed import SnapshotFeed
from devmesh.snapshot.snapshot import MeshSettings, Snapshot
from devmesh.telemetry.accesslog import compile_settings
from devmesh.telemetry.edges import EdgeStore, Flow, FlowKey
from devmesh.telemetry.exposition import Own, expose
from devmesh.telemetry.labels import called_host, http_labels, message_labels, tcp_labels
from devmesh.telemetry.logs import AccessLogs
from devmesh.telemetry.metrics import HttpSeries, MetricStore, TcpSeries
from devmesh.telemetry.process import process_metrics
from devmesh.telemetry.record import Record, RecordSink
from devmesh.telemetry.requests import RequestList
from devmesh.telemetry.spans import SpanStore

_MAX_BOUND = 4096


class _Bound:
    """Where records of one kind go: found by the identity of what they hold, which is kept alive here."""

    __slots__ = ("flow", "held", "series", "tcp")

    def __init__(
        self,
        flow: Flow,
        series: HttpSeries,
        tcp: TcpSeries,
        held: tuple[Workload | None, Workload | None, ServiceRef | None],
    ) -> None:
        self.flow = flow
        self.series = series
        self.tcp = tcp
        self.held = held


_Key = tuple[object, ...]


class Recorder(RecordSink):
    """One look-up and some additions a record, a few microseconds; what is costly waits for a reader.

    Args:
        feed: Whose mesh settings say whether and how the access log is written; None: the defaults.
        clock: Seconds since the epoch.

    Attributes:
        revision: Grows with everything recorded; who draws pictures compares it.
        sources: Further metrics of devmesh's own, asked for at each scrape.
    """

    def __init__(self, feed: SnapshotFeed | None = None, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self.metrics = MetricStore()
        self.edges = EdgeStore(clock())
        self.requests = RequestList()
        self.spans = SpanStore()
        self.revision = 0
        self.sources: list[Callable[[], Iterable[Own]]] = [process_metrics]
        self._bound: dict[_Key, _Bound] = {}
        self._mesh = feed.current.mesh if feed else MeshSettings()
        self.logs = AccessLogs(compile_settings(self._mesh))
        self._logging = bool(self._mesh.access_log)
        self._version = feed.current.version if feed else 0
        if feed:
            feed.subscribe(self._configured)

    def request(self, record: Record) -> None:
        """Take a finished request."""
        bound = self._bound.get(_key(record)) or self._bind(record)
        duration, received, sent = record.duration, record.bytes_received, record.bytes_sent
        bound.series.observe(duration * 1000.0, received, sent)
        flow = bound.flow
        flow.observe(int(record.started + duration), duration, received, sent)
        flow.route = record.route
        if record.request_messages or record.response_messages:
            self.messages(record)
        self._keep(record)

    def messages(self, record: Record) -> None:
        """Take the messages of a gRPC stream, which maybe goes on."""
        series = self.metrics.messages(message_labels(record))
        series.requests += record.request_messages
        series.responses += record.response_messages
        self.revision += 1

    def opened(self, record: Record) -> None:
        """Take a TCP connection that has begun."""
        bound = self._bound.get(_key(record)) or self._bind(record)
        bound.tcp.opened += 1
        bound.flow.move(int(self.clock()), 1, 0, 0)
        self.revision += 1

    def progress(self, record: Record, received: int, sent: int) -> None:
        """Take the bytes that an open TCP connection has moved since the last call."""
        bound = self._bound.get(_key(record)) or self._bind(record)
        bound.tcp.received += received
        bound.tcp.sent += sent
        bound.flow.move(int(self.clock()), 0, received, sent)
        self.revision += 1

    def closed(self, record: Record) -> None:
        """Take a TCP connection's end; one with response flags has failed."""
        bound = self._bound.get(_key(record)) or self._bind(record)
        bound.tcp.closed += 1
        bound.flow.move(int(self.clock()), 1 if record.flags else 0, 0, 0)
        self._keep(record)

    def expose(self) -> Iterator[str]:
        """Yield the Prometheus text in pieces; let others run between two."""
        return expose(self.metrics, self._own())

    def expose_of(self, namespace: str, workload: str) -> Iterator[str]:
        """Yield, in the same way, what the proxies of one workload have reported."""
        return expose(self.metrics.of(namespace, workload))

    def _keep(self, record: Record) -> None:
        self.requests.add(record)
        if self._logging:
            self.logs.add(record)
        if record.sampled:
            self.spans.add(record)
        self.revision += 1

    def _bind(self, record: Record) -> _Bound:
        if len(self._bound) >= _MAX_BOUND:
            self._bound.clear()
        is_tcp = record.protocol == "tcp"
        metrics = self.metrics
        flow = self.edges.flow(_flow_key(record), record.source, record.destination, int(self.clock()))
        bound = self._bound[_key(record)] = _Bound(
            flow,
            _NO_HTTP if is_tcp else metrics.http(http_labels(record)),
            metrics.tcp(tcp_labels(record)) if is_tcp else _NO_TCP,
            (record.source, record.destination, record.service),
        )
        return bound

    def _configured(self, snapshot: Snapshot) -> None:
        self._version = snapshot.version
        self._bound.clear()  # its workloads were the old snapshot's
        if snapshot.mesh != self._mesh:
            self._mesh = snapshot.mesh
            self.logs.form = compile_settings(self._mesh)
            self._logging = bool(self._mesh.access_log)

    def _own(self) -> list[Own]:
        own: list[Own] = [
            ("devmesh_snapshot_version", "gauge", "Version of the configuration in force.", self._version),
            ("devmesh_metric_series", "gauge", "Sets of labels under istio_*.", len(self.metrics)),
            (
                "devmesh_metric_overflows_total",
                "counter",
                "Sets of labels that had no room and were counted under devmesh_overflow.",
                self.metrics.overflowed,
            ),
        ]
        for source in self.sources:
            own += source()
        return own


_NO_HTTP, _NO_TCP = HttpSeries(()), TcpSeries(())


def _key(record: Record) -> _Key:
    service = record.service
    return (
        record.reporter,
        id(record.source),
        id(record.destination),
        id(service),
        record.status,
        record.flags,
        record.mtls,
        record.protocol,
        record.grpc_status,
        record.source_principal,
        record.destination_principal,
        # what names the destination where no Service does
        record.upstream_cluster + called_host(record) if service is None or not service.host else "",
    )


def _flow_key(record: Record) -> FlowKey:
    source, destination = record.source, record.destination
    code = "" if record.protocol == "tcp" else str(record.status)
    if record.protocol == "grpc" and record.grpc_status is not None:
        code = str(record.grpc_status)
    return FlowKey(
        record.reporter,
        (source.namespace, source.name) if source else None,
        (destination.namespace, destination.name) if destination else None,
        record.service,
        record.protocol,
        code,
        record.flags,
        record.mtls,
        record.source_principal,
        record.destination_principal,
    )
