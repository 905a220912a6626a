"""Services, ports and subsets as clusters."""

from __future__ import annotations

from devmesh.config.documents.destinationrule import (
    ClientTLSSettings,
    ConnectionPoolSettings,
    LoadBalancerSettings,
    Subset,
)
from devmesh.config.documents.destinationrule import OutlierDetection as Outliers
from devmesh.model.port import Port, Protocol
from devmesh.model.service import Resolution
from devmesh.pilot.destination_rules import Policy, Rule, effective
from devmesh.pilot.memo import Memo
from devmesh.pilot.registry import Entry, Labelled
from devmesh.pilot.settings import Settings
from devmesh.pilot.visibility import selects
from devmesh.snapshot.cluster import (
    Balancing,
    Cluster,
    ClusterKind,
    Limits,
    OutlierDetection,
    ServiceRef,
    TlsMode,
    UpstreamTls,
)
from devmesh.snapshot.origin import Origin

PASSTHROUGH = Cluster(
    "PassthroughCluster",
    ServiceRef("", "PassthroughCluster", "unknown"),
    0,
    kind=ClusterKind.ORIGINAL_DST,
    balancing=Balancing.PASSTHROUGH,
    tls=UpstreamTls(TlsMode.DISABLE),
)
"""Where a connection goes that no configuration knows: to the address that was dialled."""
BLACK_HOLE = Cluster(
    "BlackHoleCluster", ServiceRef("", "BlackHoleCluster", "unknown"), 0, kind=ClusterKind.STATIC
)

_KINDS = {
    Resolution.CLIENT_SIDE: ClusterKind.EDS,
    Resolution.STATIC: ClusterKind.EDS,
    Resolution.DNS: ClusterKind.STRICT_DNS,
    Resolution.DNS_ROUND_ROBIN: ClusterKind.LOGICAL_DNS,
    Resolution.NONE: ClusterKind.ORIGINAL_DST,
}
_BALANCING = {
    "RANDOM": Balancing.RANDOM,
    "ROUND_ROBIN": Balancing.ROUND_ROBIN,
    "PASSTHROUGH": Balancing.PASSTHROUGH,
}
_UNLIMITED = Limits()


def cluster_name(port: int, subset: str, host: str) -> str:
    return f"outbound|{port}|{subset}|{host}"


def server_name(port: int, subset: str, host: str) -> str:
    """Return the SNI that a mesh client sends for a cluster."""
    return f"outbound_.{port}_.{subset}_.{host}"


def of_entry(
    entry: Entry, rule: Rule | None, settings: Settings, memo: Memo, *, router: bool
) -> tuple[Cluster, ...]:
    """Return the clusters of a service: one for each port, and one for each subset of each port.

    Args:
        router: For a gateway, which has no address that was dialled: it chooses among the endpoints
            of headless services too.
    """
    key = ("clusters of", entry.host, entry.service.namespace, rule and rule.key, router)
    return memo.get(key, (entry, rule, settings), _of_entry, entry, rule, settings, memo, router)


def _of_entry(
    entry: Entry, rule: Rule | None, settings: Settings, memo: Memo, router: bool
) -> tuple[Cluster, ...]:
    return tuple(
        _cluster(entry, port, rule, subset, settings, memo, router)
        for port in entry.service.ports
        if port.protocol is not Protocol.UDP
        for subset in ("", *(rule.subsets if rule else ()))
    )


def _cluster(
    entry: Entry, port: Port, rule: Rule | None, subset: str, settings: Settings, memo: Memo, router: bool
) -> Cluster:
    """Return one cluster; of a port whose endpoints are as before, the same one."""
    service = entry.service
    key = ("cluster", service.host, service.namespace, port.number, subset, rule and rule.key, router)
    endpoints = entry.endpoints.get(port.number, ())
    parts = (service, endpoints, rule, settings)
    return memo.get(key, parts, _build, entry, port, rule, subset, settings, router)


def _build(
    entry: Entry, port: Port, rule: Rule | None, name: str, settings: Settings, router: bool
) -> Cluster:
    service = entry.service
    found: Subset | None = None
    origin: Origin | None = rule.origin if rule else entry.origin
    if rule and name:
        found, origin = rule.subsets[name]
    policy = effective(rule, found, port.number)
    kind = _KINDS[service.resolution]
    balancing = _balancing(policy.load_balancer)
    if kind is ClusterKind.ORIGINAL_DST and router and entry.headless:
        kind = ClusterKind.EDS
    if kind is ClusterKind.ORIGINAL_DST or (balancing is Balancing.PASSTHROUGH and not router):
        kind, balancing = ClusterKind.ORIGINAL_DST, Balancing.PASSTHROUGH
    endpoints = _selected(entry.endpoints.get(port.number, ()), found)
    return Cluster(
        name=cluster_name(port.number, name, service.host),
        service=entry.ref,
        port=port.number,
        subset=name,
        kind=kind,
        endpoints=tuple(endpoint for endpoint, _ in endpoints),
        balancing=balancing,
        tls=_tls(policy.tls, port.number, name, service.host),
        http2=_http2(port.protocol, policy, settings),
        limits=_limits(policy.connection_pool, settings),
        outlier=_outlier(policy.outlier_detection),
        origin=origin,
    )


def _selected(endpoints: Labelled, subset: Subset | None) -> Labelled:
    if subset is None or not subset.labels:
        return endpoints
    return tuple(pair for pair in endpoints if selects(subset.labels, pair[1]))


def _balancing(settings: LoadBalancerSettings | None) -> Balancing:
    simple = settings.simple if settings else None
    return _BALANCING.get(simple or "", Balancing.LEAST_REQUEST)


def _http2(protocol: Protocol, policy: Policy, settings: Settings) -> bool:
    if protocol.is_http2:
        return True
    pool = policy.connection_pool
    wanted = pool.http.h2_upgrade_policy if pool and pool.http else None
    if wanted in (None, "DEFAULT"):
        return settings.h2_upgrade and protocol is Protocol.HTTP
    return wanted == "UPGRADE"


def _limits(pool: ConnectionPoolSettings | None, settings: Settings) -> Limits:
    """Istio: 0 and absence are the same, no limit."""
    tcp = pool.tcp if pool else None
    http = pool.http if pool else None
    unlimited = _UNLIMITED
    connect = tcp.connect_timeout if tcp and tcp.connect_timeout else settings.connect_timeout
    tcp_idle = tcp.idle_timeout if tcp and tcp.idle_timeout is not None else unlimited.tcp_idle_timeout
    idle = http.idle_timeout if http and http.idle_timeout is not None else tcp_idle
    return Limits(
        max_connections=(tcp and tcp.max_connections) or unlimited.max_connections,
        max_pending_requests=(http and http.http1_max_pending_requests) or unlimited.max_pending_requests,
        max_requests=(http and http.http2_max_requests) or unlimited.max_requests,
        max_requests_per_connection=(http and http.max_requests_per_connection) or 0,
        max_retries=(http and http.max_retries) or unlimited.max_retries,
        connect_timeout=float(connect),
        idle_timeout=float(idle),
        tcp_idle_timeout=float(tcp_idle),
    )


def _outlier(outliers: Outliers | None) -> OutlierDetection | None:
    if outliers is None:
        return None
    default = OutlierDetection()
    consecutive = outliers.consecutive5xx_errors
    return OutlierDetection(
        consecutive_5xx=default.consecutive_5xx if consecutive is None else consecutive,
        consecutive_gateway=outliers.consecutive_gateway_errors or 0,
        interval=float(outliers.interval or default.interval),
        base_ejection_time=float(outliers.base_ejection_time or default.base_ejection_time),
        max_ejection_percent=outliers.max_ejection_percent or default.max_ejection_percent,
        min_health_percent=outliers.min_health_percent,
    )


def _tls(tls: ClientTLSSettings | None, port: int, subset: str, host: str) -> UpstreamTls:
    """Istio: any ``tls`` in a DestinationRule ends auto mTLS for that host and port."""
    sni = server_name(port, subset, host)
    if tls is None:
        return UpstreamTls(TlsMode.AUTO, sni=sni)
    mode = TlsMode(tls.mode or "DISABLE")
    if mode is TlsMode.DISABLE:
        return UpstreamTls(mode)
    if mode is TlsMode.ISTIO_MUTUAL:
        return UpstreamTls(mode, sni=tls.sni or sni, sans=tls.subject_alt_names)
    return UpstreamTls(mode, sni=tls.sni, sans=tls.subject_alt_names, insecure=bool(tls.insecure_skip_verify))
