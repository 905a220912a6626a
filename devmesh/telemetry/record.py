"""One request or connection, as the proxy saw it: what all telemetry is folded from."""

from __future__ import annotations

from typing import Literal

from mypy_extensions import mypyc_attr

from devmesh.model.workload import Workload
from devmesh.snapshot.cluster import ServiceRef
from devmesh.snapshot.origin import Origin

Reporter = Literal["source", "destination"]


class Record:
    """Filled by the proxy while a request goes on, and handed over once, at its end.

    A request over the hop gives two records, one by each side (`reporter`). Times are seconds:
    `started` since the epoch, the others as durations; None is "did not happen". Sizes are bytes of
    body. A TCP connection has `protocol` "tcp" and no method, path or status. Mutable, and no
    dataclass: one is made per request on the hot path, and mypyc makes slow calls of a dataclass's.
    """

    __slots__ = (
        "attempts", "authority", "bytes_received", "bytes_sent", "destination",
        "destination_principal", "details", "downstream_local", "downstream_remote", "duration",
        "flags", "forwarded_for", "grpc_status", "http_version", "instance", "method", "mtls",
        "operation", "origin", "original_path", "parent_span_id", "path", "protocol", "reporter",
        "request_id", "request_messages", "response_messages", "route", "sampled", "server_name",
        "service", "source", "source_principal", "span_id", "started", "status", "termination",
        "trace_id", "transport_failure", "upstream_cluster", "upstream_host", "upstream_local",
        "upstream_time", "user_agent",
    )  # fmt: skip

    def __init__(
        self,
        reporter: Reporter,
        instance: str,  # the id of the instance whose proxy reports
        source: Workload | None,
        destination: Workload | None,
        service: ServiceRef | None,
        started: float,
        protocol: str = "http",  # http, grpc, tcp
        http_version: str = "HTTP/1.1",
        method: str = "",
        path: str = "",
        original_path: str = "",
        authority: str = "",
        status: int = 0,
        grpc_status: int | None = None,
        flags: str = "",  # Envoy's response flags, comma-separated; "" is none
        details: str = "",  # response code details (via_upstream, route_not_found, ...)
        termination: str = "",  # connection termination details
        transport_failure: str = "",
        duration: float = 0.0,
        upstream_time: float | None = None,  # x-envoy-upstream-service-time
        bytes_received: int = 0,
        bytes_sent: int = 0,
        mtls: bool = False,
        source_principal: str = "",
        destination_principal: str = "",
        user_agent: str = "",
        forwarded_for: str = "",
        request_id: str = "",
        trace_id: str = "",
        span_id: str = "",
        parent_span_id: str = "",
        sampled: bool = False,
        upstream_host: str = "",
        upstream_cluster: str = "",
        upstream_local: str = "",
        downstream_local: str = "",
        downstream_remote: str = "",
        server_name: str = "",
        route: str = "",
        operation: str = "",
        attempts: int = 1,
        origin: Origin | None = None,  # the rule that routed it
        request_messages: int = 0,  # of gRPC, since the last time that some were told of
        response_messages: int = 0,
    ) -> None:
        self.reporter = reporter
        self.instance = instance
        self.source = source
        self.destination = destination
        self.service = service
        self.started = started
        self.protocol = protocol
        self.http_version = http_version
        self.method = method
        self.path = path
        self.original_path = original_path
        self.authority = authority
        self.status = status
        self.grpc_status = grpc_status
        self.flags = flags
        self.details = details
        self.termination = termination
        self.transport_failure = transport_failure
        self.duration = duration
        self.upstream_time = upstream_time
        self.bytes_received = bytes_received
        self.bytes_sent = bytes_sent
        self.mtls = mtls
        self.source_principal = source_principal
        self.destination_principal = destination_principal
        self.user_agent = user_agent
        self.forwarded_for = forwarded_for
        self.request_id = request_id
        self.trace_id = trace_id
        self.span_id = span_id
        self.parent_span_id = parent_span_id
        self.sampled = sampled
        self.upstream_host = upstream_host
        self.upstream_cluster = upstream_cluster
        self.upstream_local = upstream_local
        self.downstream_local = downstream_local
        self.downstream_remote = downstream_remote
        self.server_name = server_name
        self.route = route
        self.operation = operation
        self.attempts = attempts
        self.origin = origin
        self.request_messages = request_messages
        self.response_messages = response_messages


@mypyc_attr(allow_interpreted_subclasses=True)
class RecordSink:
    """Where the proxy's records go. Each call is synchronous, never blocks and costs a few microseconds."""

    def request(self, record: Record) -> None:
        """Take a finished request."""

    def messages(self, record: Record) -> None:
        """Take the messages of a gRPC stream that goes on, counted since the last time."""

    def opened(self, record: Record) -> None:
        """Take a TCP connection that has begun (istio_tcp_connections_opened_total)."""

    def progress(self, record: Record, received: int, sent: int) -> None:
        """Take the bytes that an open TCP connection has moved since the last call."""

    def closed(self, record: Record) -> None:
        """Take a TCP connection's end."""
