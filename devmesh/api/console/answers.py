"""The shapes of the console's answers; the OpenAPI document is generated from them."""

from __future__ import annotations

import msgspec

from devmesh.telemetry.record import Record


class Refused(Exception):
    """A request that can't be answered; the message says what to ask instead."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Failure(msgspec.Struct, frozen=True):
    """Why a request was refused."""

    code: int
    message: str


class WorkloadStatus(msgspec.Struct, frozen=True):
    """How many instances of a workload are ready, of how many there should be; `problem` says why not all."""

    name: str
    namespace: str
    kind: str
    ready: int
    replicas: int
    meshed: bool
    problem: str = ""


class Status(msgspec.Struct, frozen=True):
    """The mesh as it is now. `gateways` maps names (http, https, ...) to addresses on this host."""

    mesh: str
    pid: int
    runtime: str
    version: str
    api: dict[str, str]
    gateways: dict[str, str]
    workloads: list[WorkloadStatus]


class RequestView(msgspec.Struct, frozen=True, kw_only=True):
    """One request or connection, as one side's proxy saw it.

    Attributes:
        time: When it began, in seconds since the epoch.
        duration: Milliseconds, like `upstream_time`.
        source, destination: Workloads, ``namespace/name``; "" where unknown.
        rule: The field of the resource that routed it, with file and line where it came from a file.
    """

    time: float
    reporter: str
    source: str
    destination: str
    service: str
    protocol: str
    method: str
    authority: str
    path: str
    status: int
    grpc_status: int | None
    flags: str
    details: str
    duration: float
    upstream_time: float | None
    received: int
    sent: int
    mtls: bool
    source_principal: str
    destination_principal: str
    route: str
    cluster: str
    upstream_host: str
    attempts: int
    request_id: str
    trace_id: str
    user_agent: str
    rule: str

    @classmethod
    def of(cls, record: Record) -> RequestView:
        source, destination = record.source, record.destination
        return cls(
            time=record.started,
            reporter=record.reporter,
            source=f"{source.namespace}/{source.name}" if source else "",
            destination=f"{destination.namespace}/{destination.name}" if destination else "",
            service=record.service.host or record.service.name if record.service else "",
            protocol=record.protocol,
            method=record.method,
            authority=record.authority,
            path=record.original_path or record.path,
            status=record.status,
            grpc_status=record.grpc_status,
            flags=record.flags,
            details=record.details,
            duration=round(record.duration * 1000, 3),
            upstream_time=None if record.upstream_time is None else round(record.upstream_time * 1000, 3),
            received=record.bytes_received,
            sent=record.bytes_sent,
            mtls=record.mtls,
            source_principal=record.source_principal,
            destination_principal=record.destination_principal,
            route=record.route,
            cluster=record.upstream_cluster,
            upstream_host=record.upstream_host,
            attempts=record.attempts,
            request_id=record.request_id,
            trace_id=record.trace_id,
            user_agent=record.user_agent,
            rule=str(record.origin) if record.origin else "",
        )


class FindingView(msgspec.Struct, frozen=True):
    """Something to tell about a resource; `line` and `column` are 0 where it came from no file."""

    code: str
    severity: str
    message: str
    kind: str
    namespace: str
    name: str
    path: str
    file: str
    line: int
    column: int
