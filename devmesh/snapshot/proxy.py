"""What one proxy (the sidecar of an instance, or a gateway) does with connections."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Network, IPv6Network, ip_address

from devmesh.model.port import Protocol
from devmesh.model.workload import Instance
from devmesh.snapshot.cluster import NO_LIMITS, Cluster, Limits, ServiceRef
from devmesh.snapshot.origin import Origin
from devmesh.snapshot.rate_limits import Limiting
from devmesh.snapshot.route import RouteTable, Weighted

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class TcpRoute:
    """A whole connection goes to one of `destinations`.

    `sni` empty accepts every name, `subnets` empty every address that was dialled. Of several routes that
    accept a connection the most specific one takes it (Envoy: filter chain match; `devmesh.traffic.chains`).
    `mesh_only`: no other clients than those of the mesh (their TLS offers Istio's ALPN; AUTO_PASSTHROUGH).
    """

    destinations: tuple[Weighted, ...]
    sni: tuple[str, ...] = ()
    origin: Origin | None = None
    subnets: tuple[str, ...] = ()
    mesh_only: bool = False


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

    A connection's original destination is looked up in `by_address` (address, port), then among the
    networks of `by_range` for its port (the smallest first), then in `by_port` (Istio's 0.0.0.0_PORT
    listeners); neither: it passes through (`allow_any`) or is refused.
    `allow_any` also decides what an HTTP request gets whose host no virtual host knows: the
    PassthroughCluster by the route ``allow_any``, or 502 by ``block_all``; pilot writes these
    as the default virtual host of each table. `unknown` is the cluster that such connections go to.
    """

    by_address: Mapping[tuple[str, int], Target] = field(default_factory=dict)
    by_port: Mapping[int, Target] = field(default_factory=dict)
    clusters: Mapping[str, Cluster] = field(default_factory=dict)
    allow_any: bool = True
    unknown: str = "PassthroughCluster"
    by_range: Mapping[int, tuple[tuple[Network, Target], ...]] = field(default_factory=dict)

    def target(self, address: str, port: int) -> Target | None:
        """Return what configuration knows of an address that was dialled."""
        found = self.by_address.get((address, port))
        if found is None and port in self.by_range:
            dialled = ip_address(address)
            found = next((target for network, target in self.by_range[port] if dialled in network), None)
        return found or self.by_port.get(port)


class MtlsMode(Enum):
    PERMISSIVE = "PERMISSIVE"
    STRICT = "STRICT"
    DISABLE = "DISABLE"


@dataclass(frozen=True, slots=True)
class TlsRules:
    """How TLS is spoken with clients, and which of them are let in.

    Attributes:
        minimum, maximum: Istio's names (``TLSV1_2``).
        ciphers: OpenSSL's names, for TLS 1.2 and older; empty: the default ones.
        sans: The client's certificate has one of these names.
        hashes, spkis: SHA-256 of the client's certificate (hexadecimal), of its public key (base64): one of
            all these fits.
        crl_pem: Certificates that are no longer good.
    """

    minimum: str = "TLSV1_2"
    maximum: str = "TLSV1_3"
    ciphers: tuple[str, ...] = ()
    sans: tuple[str, ...] = ()
    hashes: tuple[str, ...] = ()
    spkis: tuple[str, ...] = ()
    crl_pem: str = ""

    @property
    def look_at_client(self) -> bool:
        """Whether more is asked of a client's certificate than that somebody trusted signed it."""
        return bool(self.sans or self.hashes or self.spkis)


@dataclass(frozen=True, slots=True)
class ServerTls:
    """A gateway server's TLS (SIMPLE, MUTUAL, ...), chosen by SNI; secrets are PEM already.

    `more_pems` are further certificates, each with its key (for clients that want another algorithm).
    `routes` is the table for what comes by this server alone (Istio: another server's host is a 404
    here); None where it carries no HTTP, whose connections take `tcp`. `credential` is the name of the
    Secret that it is from.
    """

    mode: str
    hosts: tuple[str, ...]
    certificate_pem: str = field(default="", repr=False)
    key_pem: str = field(default="", repr=False)
    ca_pem: str = field(default="", repr=False)
    routes: RouteTable | None = None
    tcp: tuple[TcpRoute, ...] = ()
    more_pems: tuple[str, ...] = field(default=(), repr=False)
    rules: TlsRules = TlsRules()
    credential: str = ""

    @property
    def secrets(self) -> tuple[object, ...]:
        """What a TLS context is made of, without the routes, which change more often."""
        pems = (self.certificate_pem, self.key_pem, self.ca_pem, self.more_pems)
        return (self.mode, *pems, self.rules)


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
    limiting: Limiting | None = None


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
    (0: nowhere on the host); inside the gateway's own namespace it listens on `target_port` of `bind`
    (empty: of every address). `shown` are more addresses and ports of the host. Plain HTTP uses `routes`; a
    connection with TLS goes to one of `tls`, which have routes of their own, or by `tcp` as it is."""

    port: int
    target_port: int
    protocol: Protocol
    routes: RouteTable | None = None
    tcp: tuple[TcpRoute, ...] = ()
    tls: tuple[ServerTls, ...] = ()
    local_port: int = 0
    shown: tuple[tuple[str, int], ...] = ()
    bind: str = ""
    limiting: Limiting | None = None


@dataclass(frozen=True, slots=True)
class Topology:
    """What stands before a gateway (Istio: gatewayTopology).

    Attributes:
        trusted_hops: How many proxies before it are trusted to tell, in x-forwarded-for, whose request it is.
        client_cert: What becomes of x-forwarded-client-cert (Istio's words).
        proxy_protocol: Every connection begins with a PROXY header.
    """

    trusted_hops: int = 0
    client_cert: str = "SANITIZE_SET"
    proxy_protocol: bool = False


@dataclass(frozen=True, slots=True)
class Proxy:
    """The configuration of one proxy, found by its instance's id."""

    instance: Instance
    outbound: Outbound
    inbound: Inbound = Inbound()
    gateway: tuple[GatewayListener, ...] = ()
    topology: Topology = Topology()
