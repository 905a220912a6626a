"""What one proxy (the sidecar of an instance, or a gateway) does with connections."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from devmesh.model.port import Protocol
from devmesh.model.workload import Instance
from devmesh.snapshot.cluster import NO_LIMITS, Cluster, Limits, ServiceRef
from devmesh.snapshot.origin import Origin
from devmesh.snapshot.route import RouteTable, Weighted


@dataclass(frozen=True, slots=True)
class TcpRoute:
    """A whole connection goes to one of `destinations`; `sni` empty accepts every connection."""

    destinations: tuple[Weighted, ...]
    sni: tuple[str, ...] = ()
    origin: Origin | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """What was dialled, as configuration knows it.

    HTTP protocols use `routes`; TCP, TLS and the like use `tcp`. AUTO sniffs and then uses the
    one that fits.
    """

    protocol: Protocol
    routes: RouteTable | None = None
    tcp: tuple[TcpRoute, ...] = ()


@dataclass(frozen=True, slots=True)
class Outbound:
    """The client side, shared by all proxies that see the same configuration.

    A connection's original destination is looked up in `by_address` (address, port), then in
    `by_port` (Istio's 0.0.0.0_PORT listeners); neither: it passes through (`allow_any`) or is refused.
    `allow_any` also decides what an HTTP request gets whose host no virtual host knows: the
    PassthroughCluster by the route ``allow_any``, or 502 by ``block_all``; pilot writes these
    as the default virtual host of each table. `unknown` is the cluster that such connections go to.
    """

    by_address: Mapping[tuple[str, int], Target] = field(default_factory=dict)
    by_port: Mapping[int, Target] = field(default_factory=dict)
    clusters: Mapping[str, Cluster] = field(default_factory=dict)
    allow_any: bool = True
    unknown: str = "PassthroughCluster"


class MtlsMode(Enum):
    PERMISSIVE = "PERMISSIVE"
    STRICT = "STRICT"
    DISABLE = "DISABLE"


@dataclass(frozen=True, slots=True)
class ServerTls:
    """A gateway server's TLS (SIMPLE, MUTUAL, ...), chosen by SNI; secrets are PEM already.

    `routes` is the table for what comes by this server alone (Istio: another server's host is a 404
    here); None where it carries no HTTP.
    """

    mode: str
    hosts: tuple[str, ...]
    certificate_pem: str = field(default="", repr=False)
    key_pem: str = field(default="", repr=False)
    ca_pem: str = field(default="", repr=False)
    routes: RouteTable | None = None


@dataclass(frozen=True, slots=True)
class LastHop:
    """Where a proxy takes what comes for its workload, in place of the address that was called.

    `outside`: it is reached from devmesh's own network, not from inside the pod: a process of this machine
    that has the workload's place (``devmesh swap``).
    """

    address: str
    port: int
    outside: bool = False


@dataclass(frozen=True, slots=True)
class InboundPort:
    """One port of the workload that a Service names; requests arrive with `service` as destination.

    `last_hop` None is the address that was called. `tls` is a server's own TLS, in place of the mesh's.
    Istio: the connection pool of the Service's DestinationRule holds here, too, as `limits` towards the
    application.
    """

    port: int
    protocol: Protocol
    mtls: MtlsMode
    service: ServiceRef | None
    cluster: str  # "inbound|9080||"
    origin: Origin | None = None
    last_hop: LastHop | None = None
    limits: Limits = NO_LIMITS
    tls: ServerTls | None = None


@dataclass(frozen=True, slots=True)
class Inbound:
    """The server side. A port that is not listed is InboundPassthroughCluster, under `mtls`.

    `port_mtls` holds port-level modes of ports that no Service names.
    """

    ports: Mapping[int, InboundPort] = field(default_factory=dict)
    mtls: MtlsMode = MtlsMode.PERMISSIVE
    port_mtls: Mapping[int, MtlsMode] = field(default_factory=dict)
    origin: Origin | None = None

    def mode(self, port: int) -> MtlsMode:
        """Return the mode in force on `port`."""
        if port in self.ports:
            return self.ports[port].mtls
        return self.port_mtls.get(port, self.mtls)


@dataclass(frozen=True, slots=True)
class GatewayListener:
    """One port of a gateway. `port` is the Gateway server's, `local_port` where 127.0.0.1 shows it
    (0: nowhere on the host); inside the gateway's own namespace it listens on `target_port`. `shown` are
    more addresses and ports of the host."""

    port: int
    target_port: int
    protocol: Protocol
    routes: RouteTable | None = None
    tcp: tuple[TcpRoute, ...] = ()
    tls: tuple[ServerTls, ...] = ()
    local_port: int = 0
    shown: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Proxy:
    """The configuration of one proxy, found by its instance's id."""

    instance: Instance
    outbound: Outbound
    inbound: Inbound = Inbound()
    gateway: tuple[GatewayListener, ...] = ()
