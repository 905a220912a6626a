"""A DestinationRule's traffic policy, in the words of the snapshot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from devmesh.config.documents.destinationrule import (
    ClientTLSSettings,
    ConnectionPoolSettings,
    ConsistentHashLB,
    HTTPCookie,
    LoadBalancerSettings,
    TcpKeepalive,
    TunnelSettings,
    WarmupConfiguration,
)
from devmesh.config.documents.destinationrule import OutlierDetection as Outliers
from devmesh.config.documents.destinationrule import RetryBudget as Budget
from devmesh.pilot.credentials import CONFIG_MAP_SCHEME, Pem
from devmesh.pilot.settings import Settings
from devmesh.snapshot.balancing import Cookie, Hashing, WarmUp
from devmesh.snapshot.cluster import (
    Balancing,
    Keepalive,
    Limits,
    OutlierDetection,
    RetryBudget,
    TlsFiles,
    TlsMode,
    UpstreamTls,
)

T = TypeVar("T")

_BALANCING = {
    "RANDOM": Balancing.RANDOM,
    "ROUND_ROBIN": Balancing.ROUND_ROBIN,
    "PASSTHROUGH": Balancing.PASSTHROUGH,
}
_WARMS = (Balancing.LEAST_REQUEST, Balancing.ROUND_ROBIN)
_MAGLEV_SIZE, _RING_SIZE = 65537, 1024  # Envoy's defaults
_UNLIMITED = Limits()
NOT_SUPPLIED = "TLS_error:_Secret_is_not_supplied_by_SDS"
"""Envoy's word for a certificate that isn't there."""


def balancing(settings: LoadBalancerSettings | None) -> Balancing:
    """Return the load balancer; Istio's default is the least request."""
    if settings is None:
        return Balancing.LEAST_REQUEST
    if settings.consistent_hash is not None:
        return Balancing.MAGLEV if settings.consistent_hash.maglev is not None else Balancing.RING_HASH
    return _BALANCING.get(settings.simple or "", Balancing.LEAST_REQUEST)


def hashing(settings: LoadBalancerSettings | None) -> Hashing | None:
    """Return what is hashed, and into what; None: nothing."""
    wanted: ConsistentHashLB | None = settings.consistent_hash if settings else None
    if wanted is None:
        return None
    size = wanted.minimum_ring_size or _RING_SIZE  # the deprecated place
    if wanted.ring_hash is not None:
        size = wanted.ring_hash.minimum_ring_size or _RING_SIZE
    if wanted.maglev is not None:
        size = wanted.maglev.table_size or _MAGLEV_SIZE
    return Hashing(
        header=(wanted.http_header_name or "").lower(),
        cookie=_cookie(wanted.http_cookie) if wanted.http_cookie is not None else None,
        source_ip=bool(wanted.use_source_ip),
        query=wanted.http_query_parameter_name or "",
        maglev=wanted.maglev is not None,
        size=size,
    )


def _cookie(cookie: HTTPCookie) -> Cookie:
    ttl = None if cookie.ttl is None else float(cookie.ttl)
    return Cookie(cookie.name, cookie.path, ttl, tuple((a.name, a.value) for a in cookie.attributes))


def warm_up(settings: LoadBalancerSettings | None) -> WarmUp | None:
    """Return how new endpoints get their share; Istio: for least request and round robin alone."""
    if settings is None or balancing(settings) not in _WARMS:
        return None
    given: WarmupConfiguration | None = settings.warmup
    if given is None:
        duration = settings.warmup_duration_secs
        return WarmUp(float(duration)) if duration else None
    if not given.duration:
        return None
    minimum = 10.0 if given.minimum_percent is None else given.minimum_percent
    return WarmUp(float(given.duration), minimum / 100, given.aggression or 1.0)


def limits(pool: ConnectionPoolSettings | None, budget: Budget | None, settings: Settings) -> Limits:
    """Istio: 0 and absence are the same, no limit. The idle time of TCP is also that of HTTP, if it has none
    of its own."""
    tcp = pool.tcp if pool else None
    http = pool.http if pool else None
    unlimited = _UNLIMITED
    connect = tcp.connect_timeout if tcp and tcp.connect_timeout else settings.connect_timeout
    tcp_idle = tcp.idle_timeout if tcp and tcp.idle_timeout is not None else unlimited.tcp_idle_timeout
    idle = http.idle_timeout if http and http.idle_timeout is not None else tcp_idle
    longest = tcp.max_connection_duration if tcp else None
    return Limits(
        max_connections=(tcp and tcp.max_connections) or unlimited.max_connections,
        max_pending_requests=(http and http.http1_max_pending_requests) or unlimited.max_pending_requests,
        max_requests=(http and http.http2_max_requests) or unlimited.max_requests,
        max_requests_per_connection=(http and http.max_requests_per_connection) or 0,
        max_concurrent_streams=(http and http.max_concurrent_streams) or unlimited.max_concurrent_streams,
        max_retries=(http and http.max_retries) or unlimited.max_retries,
        connect_timeout=float(connect),
        idle_timeout=float(idle),
        tcp_idle_timeout=float(tcp_idle),
        max_connection_duration=float(longest or 0),
        retry_budget=_budget(budget),
        keepalive=keepalive(tcp.tcp_keepalive if tcp else None, settings.keepalive),
    )


def _budget(budget: Budget | None) -> RetryBudget | None:
    if budget is None:
        return None
    default = RetryBudget()
    percent = default.percent if budget.percent is None else budget.percent
    return RetryBudget(percent, budget.min_retry_concurrency or default.minimum)


def keepalive(given: TcpKeepalive | None, mesh: Keepalive | None) -> Keepalive | None:
    """Return `given` over the mesh's, field by field."""
    if given is None:
        return mesh
    base = mesh or Keepalive()
    return Keepalive(
        given.probes or base.probes,
        int(given.time) if given.time else base.time,
        int(given.interval) if given.interval else base.interval,
    )


def outlier(outliers: Outliers | None) -> OutlierDetection | None:
    """Istio: gateway errors have no limit unless one is given; Envoy's defaults stand for the rest."""
    if outliers is None:
        return None
    default = OutlierDetection()
    return OutlierDetection(
        consecutive_5xx=_or(outliers.consecutive5xx_errors, default.consecutive_5xx),
        consecutive_gateway=outliers.consecutive_gateway_errors or 0,
        interval=float(outliers.interval or default.interval),
        base_ejection_time=float(outliers.base_ejection_time or default.base_ejection_time),
        max_ejection_percent=outliers.max_ejection_percent or default.max_ejection_percent,
        min_health_percent=max(0, outliers.min_health_percent),
        split_local_origin=outliers.split_external_local_origin_errors,
        consecutive_local=outliers.consecutive_local_origin_failures or default.consecutive_local,
        statuses=frozenset(outliers.outlier_detection_http_error_codes),
    )


def _or(value: T | None, default: T) -> T:
    return default if value is None else value


def tunnel(settings: TunnelSettings | None) -> str:
    """Return what HTTP proxies are asked to connect to; "" for what is not done, or not asked for."""
    if settings is None or settings.protocol == "POST":
        return ""
    host = settings.target_host
    return f"[{host}]:{settings.target_port}" if ":" in host else f"{host}:{settings.target_port}"


@dataclass(frozen=True, slots=True)
class Known:
    """What credential names stand for, and of these what a ConfigMap holds.

    `secrets` None: they mean nothing to this client. Istio: sidecars know them from rules with a workload
    selector alone, and speak plain text otherwise.
    """

    secrets: Mapping[str, Pem | None] | None
    authorities: Mapping[str, Pem | None]


def tls(
    given: ClientTLSSettings | None,
    default_sni: str,
    known: Known,
    sans: tuple[str, ...] = (),
) -> UpstreamTls:
    """Istio: any ``tls`` in a DestinationRule ends auto mTLS for that host and port.

    Args:
        sans: The names that a ServiceEntry expects of the server.
    """
    if given is None:
        return UpstreamTls(TlsMode.AUTO, sni=default_sni)
    mode = TlsMode(given.mode or "DISABLE")
    if mode is TlsMode.DISABLE:
        return UpstreamTls(mode)
    if mode is TlsMode.ISTIO_MUTUAL:
        return UpstreamTls(mode, sni=given.sni or default_sni, sans=given.subject_alt_names)
    insecure = bool(given.insecure_skip_verify)
    names = given.subject_alt_names or sans
    name = given.credential_name
    if not name:
        return UpstreamTls(mode, given.sni, names, insecure=insecure, files=_files(given, mode, insecure))
    held = known.authorities if name.startswith(CONFIG_MAP_SCHEME) else known.secrets
    if held is None:
        return UpstreamTls(TlsMode.DISABLE)
    pem = held.get(name)
    if pem is None or not suffices(given, pem):
        return UpstreamTls(mode, given.sni, names, insecure=insecure, error=NOT_SUPPLIED)
    certificate, key = (pem.certificate, pem.key) if mode is TlsMode.MUTUAL else ("", "")
    return UpstreamTls(mode, given.sni, names, pem.ca, certificate, key, insecure, credential=name)


def suffices(given: ClientTLSSettings, pem: Pem | None) -> bool:
    """Tell whether a Secret holds what is needed; Istio: authorities, too, unless nothing is verified."""
    if pem is None or not (pem.ca or given.insecure_skip_verify):
        return False
    return given.mode != "MUTUAL" or bool(pem.certificate and pem.key)


def _files(given: ClientTLSSettings, mode: TlsMode, insecure: bool) -> TlsFiles | None:
    authority = "" if insecure or given.ca_certificates == "system" else given.ca_certificates
    mutual = mode is TlsMode.MUTUAL
    files = TlsFiles(
        given.client_certificate if mutual else "",
        given.private_key if mutual else "",
        authority,
        "" if insecure else given.ca_crl,
    )
    return files if files != TlsFiles() else None
