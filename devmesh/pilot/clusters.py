"""Services, ports and subsets as clusters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from devmesh.config.documents.destinationrule import ConnectionPoolSettings, Subset
from devmesh.model.port import Port, Protocol
from devmesh.model.service import Resolution
from devmesh.pilot import traffic_policies
from devmesh.pilot.credentials import Pem
from devmesh.pilot.destination_rules import Rule, effective
from devmesh.pilot.localities import grouped, setting_for
from devmesh.pilot.memo import Memo
from devmesh.pilot.registry import Entry, Labelled
from devmesh.pilot.settings import Settings
from devmesh.pilot.visibility import NOWHERE, Place, selects
from devmesh.snapshot.balancing import Group
from devmesh.snapshot.cluster import (
    Balancing,
    Cluster,
    ClusterKind,
    Endpoint,
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
    by_client=True,
)
"""Where a connection goes that no configuration knows: to the address that was dialled."""
BY_NAME = Cluster(
    "AllowAnyDynamicDNSCluster",
    ServiceRef("", "AllowAnyDynamicDNSCluster", "unknown"),
    0,
    kind=ClusterKind.DYNAMIC,
    tls=UpstreamTls(TlsMode.DISABLE),
)
"""Where requests of hosts that nobody knows go under ALLOW_ANY_DYNAMIC_DNS: where their Host says."""
BLACK_HOLE = Cluster(
    "BlackHoleCluster", ServiceRef("", "BlackHoleCluster", "unknown"), 0, kind=ClusterKind.STATIC
)

_KINDS = {
    Resolution.CLIENT_SIDE: ClusterKind.EDS,
    Resolution.STATIC: ClusterKind.EDS,
    Resolution.DNS: ClusterKind.STRICT_DNS,
    Resolution.DNS_ROUND_ROBIN: ClusterKind.LOGICAL_DNS,
    Resolution.DYNAMIC_DNS: ClusterKind.DYNAMIC,
    Resolution.NONE: ClusterKind.ORIGINAL_DST,
}


@dataclass(frozen=True, slots=True)
class Client:
    """What of a client makes a difference to its clusters.

    Attributes:
        router: It is a gateway, which has no address that was dialled: it chooses among the endpoints of
            headless services too.
        secrets: What the credential names of the rule in force stand for; None: they mean nothing to it.
        authorities: Of those, what a ConfigMap holds, which everybody may read.
    """

    router: bool = False
    place: Place = NOWHERE
    secrets: Mapping[str, Pem | None] | None = field(default=None, hash=False)
    authorities: Mapping[str, Pem | None] = field(default_factory=dict, hash=False)


def cluster_name(port: int, subset: str, host: str) -> str:
    return f"outbound|{port}|{subset}|{host}"


def server_name(port: int, subset: str, host: str) -> str:
    """Return the SNI that a mesh client sends for a cluster."""
    return f"outbound_.{port}_.{subset}_.{host}"


def of_entry(
    entry: Entry, rule: Rule | None, settings: Settings, memo: Memo, client: Client
) -> tuple[Cluster, ...]:
    """Return the clusters of a service: one for each port, and one for each subset of each port."""
    key = ("clusters of", entry.host, entry.service.namespace, rule and rule.key, client)
    return memo.get(key, (entry, rule, settings), _of_entry, entry, rule, settings, memo, client)


def _of_entry(
    entry: Entry, rule: Rule | None, settings: Settings, memo: Memo, client: Client
) -> tuple[Cluster, ...]:
    return tuple(
        _cluster(entry, port, rule, subset, settings, memo, client)
        for port in entry.service.ports
        if port.protocol is not Protocol.UDP
        for subset in ("", *(rule.subsets if rule else ()))
    )


def _cluster(
    entry: Entry, port: Port, rule: Rule | None, subset: str, settings: Settings, memo: Memo, client: Client
) -> Cluster:
    """Return one cluster; of a port whose endpoints are as before, the same one."""
    service = entry.service
    key = ("cluster", service.host, service.namespace, port.number, subset, rule and rule.key, client)
    endpoints = entry.endpoints.get(port.number, ())
    parts = (service, endpoints, rule, settings)
    return memo.get(key, parts, _build, entry, port, rule, subset, settings, client)


def _build(
    entry: Entry, port: Port, rule: Rule | None, name: str, settings: Settings, client: Client
) -> Cluster:
    service = entry.service
    found: Subset | None = None
    origin: Origin | None = rule.origin if rule else entry.origin
    if rule and name:
        found, origin = rule.subsets[name]
    policy = effective(rule, found, port.number)
    kind = _KINDS[service.resolution]
    balancing = traffic_policies.balancing(policy.load_balancer)
    if kind is ClusterKind.ORIGINAL_DST and client.router and entry.headless:
        kind = ClusterKind.EDS
    if kind is ClusterKind.ORIGINAL_DST or (balancing is Balancing.PASSTHROUGH and not client.router):
        kind, balancing = ClusterKind.ORIGINAL_DST, Balancing.PASSTHROUGH
    endpoints = _selected(entry.endpoints.get(port.number, ()), found)
    outlier = traffic_policies.outlier(policy.outlier_detection or settings.outlier)
    members = tuple(endpoint for endpoint, _ in endpoints)
    groups: tuple[Group, ...] = ()
    by_locality = False
    by_itself = kind is ClusterKind.ORIGINAL_DST
    if not by_itself:
        setting = setting_for(policy.load_balancer, entry.distribution, settings)
        groups, by_locality = grouped(endpoints, setting, client.place, ejects=outlier is not None)
        if groups:
            members = _of_groups(groups)
    sni = server_name(port.number, name, service.host)
    secrets = traffic_policies.Known(client.secrets, client.authorities)
    pool = policy.connection_pool or settings.pool
    by_client = _is_by_client(port.protocol, pool, client)
    return Cluster(
        name=cluster_name(port.number, name, service.host),
        service=entry.ref,
        port=port.number,
        subset=name,
        kind=kind,
        endpoints=members,
        balancing=balancing,
        tls=traffic_policies.tls(policy.tls, sni, secrets, entry.subject_alt_names),
        http2=not by_client and _http2(port.protocol, pool, settings),
        by_client=by_client,
        limits=traffic_policies.limits(pool, policy.retry_budget, settings),
        outlier=outlier,
        origin=origin,
        hashing=None if by_itself else traffic_policies.hashing(policy.load_balancer),
        warm_up=None if by_itself else traffic_policies.warm_up(policy.load_balancer),
        groups=groups,
        by_locality=by_locality,
        tunnel=traffic_policies.tunnel(policy.tunnel),
        proxy_protocol=(policy.proxy_protocol.version or "V1") if policy.proxy_protocol else "",
    )


def _of_groups(groups: tuple[Group, ...]) -> tuple[Endpoint, ...]:
    return tuple(endpoint for group in groups for endpoint in group.endpoints)


def _selected(endpoints: Labelled, subset: Subset | None) -> Labelled:
    if subset is None or not subset.labels:
        return endpoints
    return tuple(pair for pair in endpoints if selects(subset.labels, pair[1]))


def _is_by_client(protocol: Protocol, pool: ConnectionPoolSettings | None, client: Client) -> bool:
    """Tell whether an endpoint is spoken to as the client speaks. Istio: at a sidecar so where nothing says
    what a port speaks; ``useClientProtocol`` says it of any."""
    if protocol is Protocol.AUTO and not client.router:
        return True
    return bool(pool and pool.http and pool.http.use_client_protocol)


def _http2(protocol: Protocol, pool: ConnectionPoolSettings | None, settings: Settings) -> bool:
    if protocol.is_http2:
        return True
    wanted = pool.http.h2_upgrade_policy if pool and pool.http else None
    if wanted in (None, "DEFAULT"):
        return settings.h2_upgrade and protocol is Protocol.HTTP
    return wanted == "UPGRADE"
