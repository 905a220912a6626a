"""``/clusters``: each cluster's limits and each of its endpoints, with what is counted of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from devmesh.proxy.admin.http import Asked, Reply, as_json
from devmesh.proxy.admin.stats import filter_of
from devmesh.proxy.admin.view import View
from devmesh.proxy.pools import ClusterState
from devmesh.proxy.sockets import text_of
from devmesh.snapshot.cluster import Cluster, ClusterKind, Endpoint

_HIGH = {"max_connections": 1024, "max_pending_requests": 1024, "max_requests": 1024, "max_retries": 3}


def clusters(view: View, asked: Asked) -> Reply:
    """Answer ``/clusters``, as text or with ``format=json``."""
    wanted, error = filter_of(asked)
    if error is not None:
        return error
    found = [(cluster, state) for cluster, state in view.clusters() if wanted(cluster.name)]
    if asked.query.get("format") == "json":
        return as_json({"cluster_statuses": [status(*each) for each in found]})
    return Reply("".join(line + "\n" for each in found for line in _lines(*each)))


def hosts_of(cluster: Cluster, state: ClusterState) -> list[tuple[Endpoint, int]]:
    """Return the endpoints, those met by their addresses too, each with its priority."""
    if cluster.groups:
        return [(endpoint, group.priority) for group in cluster.groups for endpoint in group.endpoints]
    known = {endpoint.key for endpoint in cluster.endpoints}
    met = [pool.endpoint for key, pool in list(state.pools.items()) if key not in known]
    if cluster.kind is not ClusterKind.ORIGINAL_DST:
        met = []
    return [(endpoint, 0) for endpoint in (*cluster.endpoints, *met)]


def is_ejected(endpoint: Endpoint, state: ClusterState) -> bool:
    """Tell whether outlier detection leaves `endpoint` out now."""
    return endpoint.key in state.balancing.ejected


def counted(endpoint: Endpoint, state: ClusterState) -> dict[str, int]:
    """Return what Envoy counts of a host, by its names."""
    pool = state.pools.get(endpoint.key)
    if pool is None:
        return dict.fromkeys(_COUNTED, 0)
    active = state.balancing.active.get(endpoint.key, 0)
    return dict(
        zip(
            _COUNTED,
            (
                pool.connections + pool.sessions,
                pool.cx_connect_fail,
                pool.cx_total,
                active,
                pool.rq_error,
                len(pool.waiting),
                max(0, pool.rq_total - pool.rq_error - active),
                pool.rq_timeout,
                pool.rq_total,
            ),
            strict=True,
        )
    )


_COUNTED = (
    "cx_active", "cx_connect_fail", "cx_total", "rq_active", "rq_error", "rq_pending_active", "rq_success",
    "rq_timeout", "rq_total",
)  # fmt: skip
_ACTIVE = ("cx_active", "rq_active", "rq_pending_active")


def limits_of(cluster: Cluster) -> dict[str, int]:
    """Return a cluster's circuit breaker thresholds."""
    limits = cluster.limits
    return {
        "max_connections": limits.max_connections,
        "max_pending_requests": limits.max_pending_requests,
        "max_requests": limits.max_requests,
        "max_retries": limits.max_retries,
    }


def locality_of(endpoint: Endpoint) -> tuple[str, str, str]:
    """Return region, zone and sub-zone; "" where unknown."""
    region, zone, sub_zone, *_ = (*endpoint.locality.split("/"), "", "", "")
    return region, zone, sub_zone


def _lines(cluster: Cluster, state: ClusterState) -> Iterator[str]:
    name = cluster.name
    yield f"{name}::observability_name::{name}"
    if cluster.outlier is not None:
        for kind in ("success_rate", "local_origin_success_rate"):
            yield f"{name}::outlier::{kind}_average::-1"
            yield f"{name}::outlier::{kind}_ejection_threshold::-1"
    for level, limits in (("default", limits_of(cluster)), ("high", _HIGH)):
        for limit, most in limits.items():
            yield f"{name}::{level}_priority::{limit}::{most}"
    yield f"{name}::added_via_api::true"
    if cluster.kind is ClusterKind.EDS:
        yield f"{name}::eds_service_name::{name}"
    for endpoint, priority in hosts_of(cluster, state):
        host = f"{name}::{text_of(endpoint.key)}"
        for stat, value in counted(endpoint, state).items():
            yield f"{host}::{stat}::{value}"
        flags = "/failed_outlier_check" if is_ejected(endpoint, state) else "healthy"
        region, zone, sub_zone = locality_of(endpoint)
        yield from (
            f"{host}::hostname::",
            f"{host}::health_flags::{flags}",
            f"{host}::weight::{endpoint.weight}",
            f"{host}::region::{region}",
            f"{host}::zone::{zone}",
            f"{host}::sub_zone::{sub_zone}",
            f"{host}::canary::false",
            f"{host}::priority::{priority}",
            f"{host}::success_rate::-1",
            f"{host}::local_origin_success_rate::-1",
        )


def status(cluster: Cluster, state: ClusterState) -> dict[str, Any]:
    """Return a cluster as Envoy's JSON has it (``envoy.admin.v3.ClusterStatus``); zeros are left out."""
    return {
        "name": cluster.name,
        "added_via_api": True,
        "host_statuses": [_host(e, priority, state) for e, priority in hosts_of(cluster, state)],
        "circuit_breakers": {"thresholds": [limits_of(cluster), {"priority": "HIGH", **_HIGH}]},
        "observability_name": cluster.name,
        **({"eds_service_name": cluster.name} if cluster.kind is ClusterKind.EDS else {}),
    }


def _host(endpoint: Endpoint, priority: int, state: ClusterState) -> dict[str, Any]:
    stats = []
    for name, value in counted(endpoint, state).items():
        gauge = {"type": "GAUGE"} if name in _ACTIVE else {}
        stats.append({**gauge, **({"value": str(value)} if value else {}), "name": name})
    health: dict[str, Any] = {"eds_health_status": "HEALTHY"}
    if is_ejected(endpoint, state):
        health["failed_outlier_check"] = True
    places = zip(("region", "zone", "sub_zone"), locality_of(endpoint), strict=True)
    return {
        "address": {"socket_address": {"address": endpoint.address, "port_value": endpoint.port}},
        "stats": sorted(stats, key=lambda each: "type" in each),
        "health_status": health,
        "weight": endpoint.weight,
        "locality": {name: value for name, value in places if value},
        **({"priority": priority} if priority else {}),
    }
