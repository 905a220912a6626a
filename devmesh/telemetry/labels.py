"""Istio's standard labels: their names, in the order in which Envoy prints them, and their values.

Istio: "Istio Standard Metrics". What isn't known is the word ``unknown``; the source's proxy doesn't
report the security policy, so there it is ``unknown`` as well.
"""

from __future__ import annotations

from devmesh.model.workload import UNKNOWN, Workload
from devmesh.snapshot.cluster import ServiceRef
from devmesh.telemetry.record import Record

CLUSTER = "Kubernetes"  # Istio's default cluster id

COMMON: tuple[str, ...] = (
    "reporter",
    "source_workload",
    "source_canonical_service",
    "source_canonical_revision",
    "source_workload_namespace",
    "source_principal",
    "source_app",
    "source_version",
    "source_cluster",
    "destination_workload",
    "destination_workload_namespace",
    "destination_principal",
    "destination_app",
    "destination_version",
    "destination_service",
    "destination_canonical_service",
    "destination_canonical_revision",
    "destination_service_name",
    "destination_service_namespace",
    "destination_cluster",
    "request_protocol",
)
HTTP = (*COMMON, "response_code", "grpc_response_status", "response_flags", "connection_security_policy")
MESSAGES = COMMON[:-1]  # Istio counts them before it knows how the call ends
TCP = (*COMMON, "response_flags", "connection_security_policy")

_NAMED_CLUSTERS = ("PassthroughCluster", "BlackHoleCluster", "InboundPassthroughCluster")


def http_labels(record: Record) -> tuple[str, ...]:
    """Return the values for `HTTP`."""
    status = "" if record.grpc_status is None else str(record.grpc_status)
    return (*_common(record), str(record.status), status, record.flags or "-", _policy(record))


def message_labels(record: Record) -> tuple[str, ...]:
    """Return the values for `MESSAGES`."""
    return _common(record)[:-1]


def tcp_labels(record: Record) -> tuple[str, ...]:
    """Return the values for `TCP`."""
    return (*_common(record), record.flags or "-", _policy(record))


def _common(record: Record) -> tuple[str, ...]:
    source, destination = record.source, record.destination
    s_name, s_namespace, s_app, s_version, s_service, s_revision, s_cluster = _workload(source)
    d_name, d_namespace, d_app, d_version, d_service, d_revision, d_cluster = _workload(destination)
    service, service_name, service_namespace = _service(record)
    return (
        record.reporter,
        s_name,
        s_service,
        s_revision,
        s_namespace,
        record.source_principal or UNKNOWN,
        s_app,
        s_version,
        s_cluster,
        d_name,
        d_namespace,
        record.destination_principal or UNKNOWN,
        d_app,
        d_version,
        service,
        d_service,
        d_revision,
        service_name,
        service_namespace,
        d_cluster,
        record.protocol,
    )


def _workload(workload: Workload | None) -> tuple[str, ...]:
    if workload is None:
        return (UNKNOWN,) * 7
    return (
        workload.name,
        workload.namespace,
        workload.app,
        workload.version,
        workload.canonical_service,
        workload.canonical_revision,
        CLUSTER,
    )


def _service(record: Record) -> tuple[str, str, str]:
    service: ServiceRef | None = record.service
    if service is not None and service.host and service.host not in _NAMED_CLUSTERS:
        return service.host, service.name or service.host, service.namespace or UNKNOWN
    cluster = record.upstream_cluster or (service.name if service else "")
    name = cluster if cluster in _NAMED_CLUSTERS else UNKNOWN
    return called_host(record) or UNKNOWN, name, UNKNOWN


def called_host(record: Record) -> str:
    """Return the host that was asked for, without its port: the label of what no Service stands behind."""
    authority = record.authority or record.server_name
    host, colon, port = authority.rpartition(":")
    return host if colon and port.isdigit() else authority


def _policy(record: Record) -> str:
    if record.reporter == "source":
        return UNKNOWN
    return "mutual_tls" if record.mtls else "none"
