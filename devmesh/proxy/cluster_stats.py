"""What a proxy counts of each of its clusters, under Envoy's names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devmesh.snapshot.cluster import Cluster

if TYPE_CHECKING:
    from devmesh.proxy.pools import ClusterState

_COUNTERS = (
    "upstream_cx_total",
    "upstream_cx_destroy",
    "upstream_cx_connect_fail",
    "upstream_cx_connect_timeout",
    "upstream_cx_overflow",  # no further connection: `max_connections`
    "upstream_cx_max_requests",
    "upstream_cx_max_duration_reached",
    "upstream_cx_idle_timeout",
    "upstream_cx_none_healthy",
    "upstream_rq_total",
    "upstream_rq_timeout",
    "upstream_rq_per_try_timeout",
    "upstream_rq_pending_total",
    "upstream_rq_pending_overflow",  # refused: `max_pending_requests`
    "upstream_rq_active_overflow",  # refused: `max_requests`
    "upstream_rq_pending_failure_eject",
    "upstream_rq_cancelled",
    "upstream_rq_rx_reset",
    "upstream_rq_tx_reset",
    "upstream_rq_retry",
    "upstream_rq_retry_success",
    "upstream_rq_retry_overflow",
    "upstream_rq_retry_limit_exceeded",
)


class ClusterStats:
    """Counters of one cluster; they only grow. `responses` counts by status."""

    __slots__ = (*_COUNTERS, "responses")

    upstream_cx_total: int
    upstream_cx_destroy: int
    upstream_cx_connect_fail: int
    upstream_cx_connect_timeout: int
    upstream_cx_overflow: int
    upstream_cx_max_requests: int
    upstream_cx_max_duration_reached: int
    upstream_cx_idle_timeout: int
    upstream_cx_none_healthy: int
    upstream_rq_total: int
    upstream_rq_timeout: int
    upstream_rq_per_try_timeout: int
    upstream_rq_pending_total: int
    upstream_rq_pending_overflow: int
    upstream_rq_active_overflow: int
    upstream_rq_pending_failure_eject: int
    upstream_rq_cancelled: int
    upstream_rq_rx_reset: int
    upstream_rq_tx_reset: int
    upstream_rq_retry: int
    upstream_rq_retry_success: int
    upstream_rq_retry_overflow: int
    upstream_rq_retry_limit_exceeded: int

    def __init__(self) -> None:
        self.responses: dict[int, int] = {}
        self.reset()

    def reset(self) -> None:
        """Begin to count anew."""
        for name in _COUNTERS:
            setattr(self, name, 0)
        self.responses.clear()


def values(state: ClusterState, cluster: Cluster) -> dict[str, int]:
    """Return all counters and gauges of a cluster as Envoy's admin interface names them, without the
    ``cluster.<name>.`` in front."""
    stats, limits = state.stats, cluster.limits
    found = {name: getattr(stats, name) for name in _COUNTERS}
    for status, count in list(stats.responses.items()):
        found[f"upstream_rq_{status}"] = count
        kind = f"upstream_rq_{status // 100}xx"
        found[kind] = found.get(kind, 0) + count
    found["upstream_rq_completed"] = sum(stats.responses.values())
    found["upstream_cx_active"] = state.connections
    found["upstream_rq_active"] = state.requests
    found["upstream_rq_pending_active"] = state.pending
    retries = state.most_retries(limits)
    for name, used, most in (
        ("cx", state.connections, limits.max_connections),
        ("cx_pool", 0, 2**32 - 1),
        ("rq", state.requests, limits.max_requests),
        ("rq_pending", state.pending, limits.max_pending_requests),
        ("rq_retry", state.retries, retries),
    ):
        found[f"circuit_breakers.default.{name}_open"] = int(used >= most)
        found[f"circuit_breakers.high.{name}_open"] = 0  # nothing is routed with high priority
    for name, left in (
        ("cx", limits.max_connections - state.connections),
        ("rq", limits.max_requests - state.requests),
        ("pending", limits.max_pending_requests - state.pending),
        ("retries", retries - state.retries),
    ):
        found[f"circuit_breakers.default.remaining_{name}"] = max(0, left)
    found["lb_healthy_panic"] = state.balancing.panics
    found["membership_total"] = len(cluster.endpoints)
    found["membership_healthy"] = len(cluster.endpoints) - len(state.balancing.ejected)
    if cluster.outlier is not None:
        found.update(_ejections(state))
    return found


def _ejections(state: ClusterState) -> dict[str, int]:
    counts, prefix = state.ejections, "outlier_detection.ejections"
    return {
        f"{prefix}_active": len(state.balancing.ejected),
        f"{prefix}_overflow": counts.overflow,
        f"{prefix}_total": counts.enforced_5xx,
        f"{prefix}_enforced_total": counts.enforced_total,
        f"{prefix}_detected_consecutive_5xx": counts.detected_5xx,
        f"{prefix}_enforced_consecutive_5xx": counts.enforced_5xx,
        f"{prefix}_consecutive_5xx": counts.detected_5xx,
        f"{prefix}_detected_consecutive_gateway_failure": counts.detected_gateway,
        f"{prefix}_enforced_consecutive_gateway_failure": counts.enforced_gateway,
        f"{prefix}_detected_consecutive_local_origin_failure": counts.detected_local,
        f"{prefix}_enforced_consecutive_local_origin_failure": counts.enforced_local,
        f"{prefix}_detected_success_rate": 0,
        f"{prefix}_enforced_success_rate": 0,
        f"{prefix}_success_rate": 0,
    }
