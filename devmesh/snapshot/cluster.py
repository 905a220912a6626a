"""Groups of endpoints that a request can be sent to, and how."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from devmesh.model.identity import Identity
from devmesh.model.workload import Workload
from devmesh.snapshot.balancing import Group, Hashing, WarmUp
from devmesh.snapshot.origin import Origin


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address to connect to.

    `instance` is the instance in whose network namespace the socket is made; None is a place
    outside the mesh; `name` is what was looked up for its address, where that was a name. `mtls` says that
    the hop is mutual TLS (auto mTLS was decided when compiled: the endpoint is meshed and its
    PeerAuthentication does not say DISABLE). In a DNS cluster
    `address` may be a name, which whoever connects resolves as a cluster's DNS would: Services, then the
    world outside, but never the virtual address of the very ServiceEntry. An ORIGINAL_DST cluster
    lists the endpoints it knows; the one that was dialled is looked up by `key` (address, port).
    """

    address: str
    port: int
    instance: str | None = None
    workload: Workload | None = None
    identity: Identity | None = None
    mtls: bool = False
    weight: int = 1
    locality: str = ""
    name: str = ""
    key: tuple[str, int] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", (self.address, self.port))


class Balancing(Enum):
    LEAST_REQUEST = "LEAST_REQUEST"  # Istio's default
    ROUND_ROBIN = "ROUND_ROBIN"
    RANDOM = "RANDOM"
    PASSTHROUGH = "PASSTHROUGH"
    RING_HASH = "RING_HASH"
    MAGLEV = "MAGLEV"


class ClusterKind(Enum):
    """How the endpoints are found (Envoy's discovery types)."""

    EDS = "EDS"
    STATIC = "STATIC"
    STRICT_DNS = "STRICT_DNS"
    LOGICAL_DNS = "LOGICAL_DNS"
    ORIGINAL_DST = "ORIGINAL_DST"
    DYNAMIC = "DYNAMIC"  # the name that the request asks for (dynamic_forward_proxy)


@dataclass(frozen=True, slots=True)
class ServiceRef:
    """What telemetry says of the destination service (Istio's destination_service* labels)."""

    host: str
    name: str
    namespace: str


@dataclass(frozen=True, slots=True)
class Keepalive:
    """TCP keep-alive: probes without an answer, seconds of silence, seconds between them; 0: the system's."""

    probes: int = 0
    time: int = 0
    interval: int = 0


@dataclass(frozen=True, slots=True)
class RetryBudget:
    """Retries under way may be `percent` of the requests under way, and `minimum` in any case."""

    percent: float = 20.0
    minimum: int = 3


@dataclass(frozen=True, slots=True)
class Limits:
    """Connection pool limits (DestinationRule's names; Istio's defaults: unlimited). Times in seconds.

    `retry_budget`, where given, is in place of `max_retries`. `max_connection_duration` 0: no limit.
    """

    max_connections: int = 2**32 - 1
    max_pending_requests: int = 2**32 - 1
    max_requests: int = 2**32 - 1
    max_requests_per_connection: int = 0  # 0: no limit
    max_retries: int = 2**32 - 1
    connect_timeout: float = 10.0
    idle_timeout: float = 3600.0
    tcp_idle_timeout: float = 3600.0
    max_connection_duration: float = 0.0
    retry_budget: RetryBudget | None = None
    keepalive: Keepalive | None = None
    max_concurrent_streams: int = 2**31 - 1  # of HTTP/2, on one connection


NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class OutlierDetection:
    """DestinationRule's outlierDetection; 0 for a count means that detector is off. Times in seconds.

    `split_local_origin`: failures to connect, resets and time-outs are counted by `consecutive_local`
    alone; otherwise they count as 503 and 504. `statuses`, where given, are the errors, and nothing else is.
    """

    consecutive_5xx: int = 5
    consecutive_gateway: int = 0
    interval: float = 10.0
    base_ejection_time: float = 30.0
    max_ejection_percent: int = 10
    min_health_percent: int = 0
    split_local_origin: bool = False
    consecutive_local: int = 5
    statuses: frozenset[int] = frozenset()


class TlsMode(Enum):
    """How a client side speaks to a cluster: AUTO is decided by the endpoint (its `mtls`)."""

    AUTO = "AUTO"
    DISABLE = "DISABLE"
    SIMPLE = "SIMPLE"
    MUTUAL = "MUTUAL"
    ISTIO_MUTUAL = "ISTIO_MUTUAL"


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Paths in the client's pod of what its connections need; empty: not given."""

    certificate: str = ""
    key: str = ""
    ca: str = ""
    crl: str = ""


@dataclass(frozen=True, slots=True)
class UpstreamTls:
    """ClientTLSSettings, with secrets already read (PEM); `sans` empty: the endpoints' own identities.

    SIMPLE and MUTUAL: without an `sni` it is the request's host, and without `sans`, too, the server has to
    be of that name; no `ca_pem`: the system's authorities. `files` are read by who connects. With an `error`
    nobody can connect, for that reason. `credential` is the name of the Secret that it is from.
    """

    mode: TlsMode = TlsMode.AUTO
    sni: str = ""
    sans: tuple[str, ...] = ()
    ca_pem: str = field(default="", repr=False)
    certificate_pem: str = field(default="", repr=False)
    key_pem: str = field(default="", repr=False)
    insecure: bool = False
    files: TlsFiles | None = None
    crl_pem: str = field(default="", repr=False)
    error: str = ""
    credential: str = ""

    @property
    def names_host(self) -> bool:
        """Whether the request's host is the name that is asked for, so that connections are not shared
        between hosts (Envoy: auto_sni)."""
        return not self.sni and self.mode in (TlsMode.SIMPLE, TlsMode.MUTUAL)


@dataclass(frozen=True, slots=True)
class Cluster:
    """One subset of one port of one service, as seen by one client.

    Named as in Istio: ``outbound|9080|v1|reviews.default.svc.cluster.local``,
    ``inbound|9080||``, PassthroughCluster, BlackHoleCluster.

    `http2`: that is what its endpoints are spoken to in; with `by_client`, where the client speaks it (Envoy:
    use_downstream_protocol_config).

    `groups`, where there are any, hold the endpoints that are used, by locality and priority; with
    `by_locality` their weights decide (Envoy: locality_weighted_lb_config), else the endpoints alone.
    `proxy_protocol` (V1, V2): connections begin with its header, which tells the client's address. With a
    `tunnel` (``host:port``) the endpoints are HTTP proxies, which TCP connections ask to connect there.
    """

    name: str
    service: ServiceRef
    port: int
    subset: str = ""
    kind: ClusterKind = ClusterKind.EDS
    endpoints: tuple[Endpoint, ...] = ()
    balancing: Balancing = Balancing.LEAST_REQUEST
    tls: UpstreamTls = UpstreamTls()
    http2: bool = False
    by_client: bool = False
    limits: Limits = NO_LIMITS
    outlier: OutlierDetection | None = None
    origin: Origin | None = None
    hashing: Hashing | None = None
    warm_up: WarmUp | None = None
    groups: tuple[Group, ...] = ()
    by_locality: bool = False
    proxy_protocol: str = ""
    tunnel: str = ""
    weighted: bool = field(init=False, compare=False, repr=False)  # the endpoints' weights differ
    plain: bool = field(init=False, compare=False, repr=False)  # nothing but `balancing` decides
    divided: bool = field(init=False, compare=False, repr=False)  # not all may share a connection

    def __post_init__(self) -> None:
        first = self.endpoints[0].weight if self.endpoints else 1
        weighted = any(e.weight != first for e in self.endpoints)
        object.__setattr__(self, "weighted", weighted)
        plain = not weighted and not self.groups and self.hashing is None and self.warm_up is None
        object.__setattr__(self, "plain", plain)
        object.__setattr__(self, "divided", bool(self.proxy_protocol) or self.tls.names_host)
