"""DestinationRule: what happens once the destination is known."""

from __future__ import annotations

from typing import Literal

from msgspec import field

from devmesh.config.documents.message import Message
from devmesh.config.documents.meta import ObjectMeta
from devmesh.config.documents.scalars import Duration, Int32, UInt32, UInt64
from devmesh.config.documents.selectors import IstioStatus, LabelsToMatch, PortSelector

SimpleLB = Literal["UNSPECIFIED", "LEAST_CONN", "RANDOM", "PASSTHROUGH", "ROUND_ROBIN", "LEAST_REQUEST"]


class CookieAttribute(Message, frozen=True, kw_only=True):
    """An attribute of the cookie that is set."""

    name: str = ""
    value: str = ""


class HTTPCookie(Message, frozen=True, kw_only=True):
    """The cookie that is the key."""

    name: str = ""
    path: str = ""
    ttl: Duration | None = None
    attributes: tuple[CookieAttribute, ...] = ()


class RingHash(Message, frozen=True, kw_only=True):
    """Hash ring."""

    minimum_ring_size: UInt64 = 0


class MagLev(Message, frozen=True, kw_only=True):
    """Maglev table."""

    table_size: UInt64 = 0


class ConsistentHashLB(Message, frozen=True, kw_only=True):
    """The same key, the same endpoint."""

    http_header_name: str | None = None
    http_cookie: HTTPCookie | None = None
    use_source_ip: bool | None = None
    http_query_parameter_name: str | None = None
    ring_hash: RingHash | None = None
    maglev: MagLev | None = None
    minimum_ring_size: UInt64 = 0


class LocalityDistribute(Message, frozen=True, kw_only=True):
    """Shares by locality."""

    from_: str = ""
    to: dict[str, UInt32] = field(default_factory=dict)


class LocalityFailover(Message, frozen=True, kw_only=True):
    """Where a region's calls go when it fails."""

    from_: str = ""
    to: str = ""


class LocalityLoadBalancerSetting(Message, frozen=True, kw_only=True):
    """Balancing by locality."""

    distribute: tuple[LocalityDistribute, ...] = ()
    failover: tuple[LocalityFailover, ...] = ()
    failover_priority: tuple[str, ...] = ()
    enabled: bool | None = None


class ZoneFailover(Message, frozen=True, kw_only=True):
    """Where a zone's calls go when it fails."""

    from_: str = ""
    to: str = ""


class ZoneAwareLoadBalancerSetting(Message, frozen=True, kw_only=True):
    """Balancing by zone."""

    enabled: bool | None = None
    failover: tuple[ZoneFailover, ...] = ()
    failover_priority: tuple[str, ...] = ()
    min_cluster_size: UInt64 | None = None


class WarmupConfiguration(Message, frozen=True, kw_only=True):
    """How a new endpoint gets its share gradually."""

    duration: Duration | None = None
    minimum_percent: float | None = None
    aggression: float | None = None


class LoadBalancerSettings(Message, frozen=True, kw_only=True):
    """How an endpoint is chosen."""

    simple: SimpleLB | None = None
    consistent_hash: ConsistentHashLB | None = None
    locality_lb_setting: LocalityLoadBalancerSetting | None = None
    zone_aware_lb_setting: ZoneAwareLoadBalancerSetting | None = None
    warmup_duration_secs: Duration | None = None
    warmup: WarmupConfiguration | None = None


class TcpKeepalive(Message, frozen=True, kw_only=True):
    """Keep-alive probes of sockets."""

    probes: UInt32 = 0
    time: Duration | None = None
    interval: Duration | None = None


class TCPSettings(Message, frozen=True, kw_only=True):
    """Limits and times of connections."""

    max_connections: Int32 = 0
    connect_timeout: Duration | None = None
    tcp_keepalive: TcpKeepalive | None = None
    max_connection_duration: Duration | None = None
    idle_timeout: Duration | None = None


class ConnectionKeepalive(Message, frozen=True, kw_only=True):
    """PING frames on HTTP/2 connections."""

    interval: Duration | None = None
    timeout: Duration | None = None


class HTTPSettings(Message, frozen=True, kw_only=True):
    """Limits of requests."""

    http1_max_pending_requests: Int32 = 0
    http2_max_requests: Int32 = 0
    max_requests_per_connection: Int32 = 0
    max_retries: Int32 = 0
    idle_timeout: Duration | None = None
    h2_upgrade_policy: Literal["DEFAULT", "DO_NOT_UPGRADE", "UPGRADE"] | None = None
    use_client_protocol: bool = False
    max_concurrent_streams: Int32 = 0
    http2_keep_alive: ConnectionKeepalive | None = None


class ConnectionPoolSettings(Message, frozen=True, kw_only=True):
    """How many connections and requests at once (circuit breaking)."""

    tcp: TCPSettings | None = None
    http: HTTPSettings | None = None


class OutlierDetection(Message, frozen=True, kw_only=True):
    """When an endpoint is left out for a while."""

    consecutive_errors: Int32 = 0
    split_external_local_origin_errors: bool = False
    consecutive_local_origin_failures: UInt32 | None = None
    consecutive_gateway_errors: UInt32 | None = None
    consecutive5xx_errors: UInt32 | None = None
    interval: Duration | None = None
    base_ejection_time: Duration | None = None
    max_ejection_percent: Int32 = 0
    min_health_percent: Int32 = 0
    outlier_detection_http_error_codes: tuple[UInt32, ...] = ()


class ClientTLSSettings(Message, frozen=True, kw_only=True):
    """TLS towards the destination."""

    mode: Literal["DISABLE", "SIMPLE", "MUTUAL", "ISTIO_MUTUAL"] | None = None
    client_certificate: str = ""
    private_key: str = ""
    ca_certificates: str = ""
    credential_name: str = ""
    subject_alt_names: tuple[str, ...] = ()
    sni: str = ""
    insecure_skip_verify: bool | None = None
    ca_crl: str = ""


class PortTrafficPolicy(Message, frozen=True, kw_only=True):
    """The policy of one port; it replaces the other, it does not merge."""

    port: PortSelector | None = None
    load_balancer: LoadBalancerSettings | None = None
    connection_pool: ConnectionPoolSettings | None = None
    outlier_detection: OutlierDetection | None = None
    tls: ClientTLSSettings | None = None


class TunnelSettings(Message, frozen=True, kw_only=True):
    """Send connections through an HTTP proxy."""

    protocol: str = ""
    target_host: str = ""
    target_port: UInt32 = 0


class ProxyProtocol(Message, frozen=True, kw_only=True):
    """Send a PROXY protocol header."""

    version: Literal["V1", "V2"] | None = None


class RetryBudget(Message, frozen=True, kw_only=True):
    """How many retries may be under way, in relation to requests."""

    percent: float | None = None
    min_retry_concurrency: UInt32 = 0
    budget_interval: Duration | None = None


class TrafficPolicy(Message, frozen=True, kw_only=True):
    """Balancing, pools, outliers and TLS."""

    load_balancer: LoadBalancerSettings | None = None
    connection_pool: ConnectionPoolSettings | None = None
    outlier_detection: OutlierDetection | None = None
    tls: ClientTLSSettings | None = None
    port_level_settings: tuple[PortTrafficPolicy, ...] = ()
    tunnel: TunnelSettings | None = None
    proxy_protocol: ProxyProtocol | None = None
    retry_budget: RetryBudget | None = None


class Subset(Message, frozen=True, kw_only=True):
    """Some of the endpoints, by label."""

    name: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    traffic_policy: TrafficPolicy | None = None


class DestinationRuleSpec(Message, frozen=True, kw_only=True):
    """A host, its traffic policy and its subsets."""

    host: str = ""
    traffic_policy: TrafficPolicy | None = None
    subsets: tuple[Subset, ...] = ()
    export_to: tuple[str, ...] = ()
    workload_selector: LabelsToMatch | None = None


class DestinationRule(Message, frozen=True, kw_only=True):
    """What happens to calls once their destination is known: subsets, balancing, pools, TLS."""

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: DestinationRuleSpec = field(default_factory=DestinationRuleSpec)
    status: IstioStatus | None = None
