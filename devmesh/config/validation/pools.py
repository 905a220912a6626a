"""Connection pools of DestinationRules and Sidecars (Istio: the validating webhook)."""

from __future__ import annotations

from collections.abc import Iterator

from devmesh.config.documents.destinationrule import ConnectionPoolSettings, HTTPSettings, TCPSettings
from devmesh.config.problems import Cause, Path, forbidden, invalid, required
from devmesh.config.validation import istio


def connection_pool(pool: ConnectionPoolSettings | None, path: Path) -> Iterator[Cause]:
    if pool is None:
        return
    if pool.http is None and pool.tcp is None:
        yield required(path, "a connection pool needs http or tcp")
    if pool.http is not None:
        yield from _http(pool.http, (*path, "http"))
    if pool.tcp is not None:
        yield from _tcp(pool.tcp, (*path, "tcp"))


def _http(http: HTTPSettings, path: Path) -> Iterator[Cause]:
    for field, value in (
        ("http1MaxPendingRequests", http.http1_max_pending_requests),
        ("http2MaxRequests", http.http2_max_requests),
        ("maxRequestsPerConnection", http.max_requests_per_connection),
        ("maxRetries", http.max_retries),
        ("maxConcurrentStreams", http.max_concurrent_streams),
    ):
        yield from _not_negative(value, (*path, field))
    yield from istio.duration(http.idle_timeout, (*path, "idleTimeout"))
    if http.h2_upgrade_policy == "UPGRADE" and http.use_client_protocol:
        yield forbidden((*path, "useClientProtocol"), "not beside h2UpgradePolicy: UPGRADE")
    alive = http.http2_keep_alive
    if alive is not None:
        for field, duration in (("interval", alive.interval), ("timeout", alive.timeout)):
            yield from istio.needs(duration is not None, (*path, "http2KeepAlive", field))
            yield from istio.duration(duration, (*path, "http2KeepAlive", field))


def _tcp(tcp: TCPSettings, path: Path) -> Iterator[Cause]:
    yield from _not_negative(tcp.max_connections, (*path, "maxConnections"))
    yield from istio.duration(tcp.connect_timeout, (*path, "connectTimeout"))
    yield from istio.duration(tcp.max_connection_duration, (*path, "maxConnectionDuration"))
    yield from istio.duration(tcp.idle_timeout, (*path, "idleTimeout"), zero=True)
    if tcp.tcp_keepalive is not None:
        yield from istio.duration(tcp.tcp_keepalive.time, (*path, "tcpKeepalive", "time"))
        yield from istio.duration(tcp.tcp_keepalive.interval, (*path, "tcpKeepalive", "interval"))


def _not_negative(value: int, path: Path) -> Iterator[Cause]:
    if value < 0:
        yield invalid(path, value, "must be 0 or more")
