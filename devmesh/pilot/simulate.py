"""What would become of a call, without a socket: by the same tables and decisions that the proxy uses."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Literal

from devmesh.model.port import Protocol
from devmesh.snapshot.cluster import Cluster, ClusterKind, Endpoint, TlsMode
from devmesh.snapshot.origin import Origin
from devmesh.snapshot.proxy import MtlsMode, Proxy, Target, TcpRoute
from devmesh.snapshot.route import Route, RouteTable, VirtualHost, Weighted
from devmesh.snapshot.snapshot import Snapshot
from devmesh.traffic.balancing import State, pick
from devmesh.traffic.chains import best_route, best_server
from devmesh.traffic.fault import abort_for, delay_for
from devmesh.traffic.hashing import hashed, key_of
from devmesh.traffic.routing import RequestHead, find_route, find_virtual_host, pick_destination, without_port

Spoken = Literal["http", "tls", "tcp"]


class UnknownCaller(LookupError):
    """No proxy has that id, pod or workload; the caller of the simulation named it wrongly."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a call.

    `status` is what the proxy itself answers; None means that the call goes to `endpoint` (or, with
    no endpoint, to the address that was dialled). `flags` are Envoy's. `mtls` tells whether
    the hop is mutual TLS, `refused` whether the server's side resets it (STRICT and plain text).
    """

    status: int | None = None
    flags: str = ""
    virtual_host: str = ""
    route: Route | None = None
    cluster: str = ""
    endpoint: Endpoint | None = None
    address: tuple[str, int] | None = None
    delay: float = 0.0
    mtls: bool = False
    refused: bool = False
    origin: Origin | None = None

    @property
    def workload(self) -> str:
        """The name of the workload that gets the call; empty where none does."""
        return self.endpoint.workload.name if self.endpoint and self.endpoint.workload else ""


def call(
    snapshot: Snapshot,
    source: str,
    to: str,
    head: RequestHead | None = None,
    *,
    sni: str = "",
    draw: float = 0.0,
    state: State | None = None,
) -> Outcome:
    """Tell what becomes of a call.

    Args:
        source: The caller: an instance's id, a pod, or a workload (also ``namespace/workload``). A
            gateway stands for a client outside that calls it.
        to: ``host:port``, resolved as the caller's DNS would.
        head: The request; its authority is `to` where it is empty. None: a connection of
            other bytes, TLS where `sni` is given.
        draw: Uniform in [0, 1): decides shares, faults and balancing.
        state: What the caller remembers of the cluster, for balancing that does.

    Raises:
        UnknownCaller: There is no such proxy.
    """
    proxy = find_proxy(snapshot, source)
    host, _, text = to.rpartition(":")
    port = int(text)
    if head is not None and not head.authority:
        head = RequestHead(head.method, head.path, to, head.scheme, head.headers)
    spoken: Spoken = "http" if head is not None else "tls" if sni else "tcp"
    if proxy.instance.gateway:
        return _at_gateway(snapshot, proxy, port, head, sni, draw, state)
    address = resolve(snapshot, host, proxy.instance.namespace)
    target = _target(proxy, address, port)
    dialled = (address, port)
    if head is not None and target.routes is not None and target.protocol in (*_HTTP, Protocol.AUTO):
        return _http(snapshot, proxy, target.routes, head, draw, state, dialled)
    return _opaque(snapshot, proxy, target.tcp, spoken, sni, draw, state, dialled)


_HTTP = (Protocol.HTTP, Protocol.HTTP2, Protocol.GRPC, Protocol.GRPC_WEB)


def find_proxy(snapshot: Snapshot, source: str) -> Proxy:
    """Return the proxy of an instance, a pod or a workload (its first instance).

    Raises:
        UnknownCaller: There is none.
    """
    if found := snapshot.proxies.get(source):
        return found
    for proxy in snapshot.proxies.values():
        instance = proxy.instance
        names = (instance.pod, instance.workload.name)
        if source in names or source in [f"{instance.namespace}/{name}" for name in names]:
            return proxy
    raise UnknownCaller(f"no workload with a proxy is called {source!r}")


def resolve(snapshot: Snapshot, host: str, namespace: str) -> str:
    """Return the first address that DNS has for a name as a pod of `namespace` asks for it, with
    Kubernetes' search domains; `host` itself where the mesh does not know it."""
    try:
        return str(ip_address(host.strip("[]")))
    except ValueError:
        pass
    domain = snapshot.mesh.domain
    name = host.lower().rstrip(".")
    for full in (name, f"{name}.{namespace}.svc.{domain}", f"{name}.svc.{domain}", f"{name}.{domain}"):
        full = snapshot.aliases.get(full, full)
        if addresses := snapshot.names.get(full):
            return addresses[0]
    return name


def _target(proxy: Proxy, address: str, port: int) -> Target:
    return proxy.outbound.target(address, port) or Target(Protocol.TCP)


def _at_gateway(
    snapshot: Snapshot,
    proxy: Proxy,
    port: int,
    head: RequestHead | None,
    sni: str,
    draw: float,
    state: State | None,
) -> Outcome:
    for listener in proxy.gateway:
        if port in (listener.port, listener.target_port, listener.local_port):
            table, routes = listener.routes, listener.tcp
            if listener.tls and (ended := best_server(listener.tls, (sni or _name(head)).lower())):
                table, routes = ended.routes, ended.tcp
                head = _by_https(head) if head is not None else None
            if head is not None and table is not None:
                return _http(snapshot, proxy, table, head, draw, state, None)
            spoken: Spoken = "tls" if sni else "tcp"
            return _opaque(snapshot, proxy, routes, spoken, sni, draw, state, None)
    return Outcome(flags="NR", refused=True)  # nothing listens


def _http(
    snapshot: Snapshot,
    proxy: Proxy,
    table: RouteTable,
    head: RequestHead,
    draw: float,
    state: State | None,
    dialled: tuple[str, int] | None,
) -> Outcome:
    host = find_virtual_host(table, head.authority)
    route = find_route(host, head) if host else None
    if host is None or route is None:
        return Outcome(404, "NR", host.name if host else "")
    delay, flags = 0.0, []
    if route.fault is not None:
        delay = delay_for(route.fault, draw)
        flags = ["DI"] if delay else []
        if abort := abort_for(route.fault, draw):
            return _answer(abort[0], ",".join([*flags, "FI"]), host, route, delay)
    if route.redirect is not None:
        return _answer(route.redirect.status, ",".join(flags), host, route, delay)
    if route.direct is not None:
        return _answer(route.direct.status, ",".join(flags), host, route, delay)
    name = pick_destination(route.destinations, draw).cluster
    cluster = proxy.outbound.clusters.get(name)
    sent = _send(snapshot, cluster, name, draw, state, dialled, _hash(proxy, cluster, head))
    return Outcome(
        route.not_found if cluster is None else sent.status,
        ",".join([*flags, *filter(None, [sent.flags])]),
        host.name,
        route,
        name,
        sent.endpoint,
        sent.address,
        delay,
        sent.mtls,
        sent.refused,
        route.origin,
    )


def _answer(status: int, flags: str, host: VirtualHost, route: Route, delay: float) -> Outcome:
    return Outcome(status, flags, host.name, route, delay=delay, origin=route.origin)


def _opaque(
    snapshot: Snapshot,
    proxy: Proxy,
    routes: tuple[TcpRoute, ...],
    spoken: Spoken,
    sni: str,
    draw: float,
    state: State | None,
    dialled: tuple[str, int] | None,
) -> Outcome:
    if not routes and dialled is not None:
        routes = (TcpRoute((Weighted(proxy.outbound.unknown),)),)
    served = tuple(route for route in routes if spoken == "tls" or not route.sni)
    route = best_route(served, sni.lower(), dialled[0] if dialled else "", is_mesh=True)
    if route is None:
        return Outcome(flags="NR", refused=True)
    name = pick_destination(route.destinations, draw).cluster
    cluster = proxy.outbound.clusters.get(name)
    sent = _send(snapshot, cluster, name, draw, state, dialled, _hash(proxy, cluster, None))
    return Outcome(
        None,
        sent.flags,
        cluster=name,
        endpoint=sent.endpoint,
        address=sent.address,
        mtls=sent.mtls,
        refused=sent.refused or bool(sent.status),
        origin=route.origin,
    )


def _by_https(head: RequestHead) -> RequestHead:
    return RequestHead(head.method, head.path, head.authority, "https", head.headers)


def _name(head: RequestHead | None) -> str:
    """Return the server name of a client that asks for what the request's authority says."""
    return without_port(head.authority) if head is not None else ""


def _send(
    snapshot: Snapshot,
    cluster: Cluster | None,
    name: str,
    draw: float,
    state: State | None,
    dialled: tuple[str, int] | None,
    key: int | None,
) -> Outcome:
    if cluster is None:
        return Outcome(503, "NC", cluster=name)
    if cluster.kind is ClusterKind.ORIGINAL_DST:
        endpoint = next((e for e in cluster.endpoints if e.key == dialled), None)
        return _reached(snapshot, cluster, endpoint, dialled)
    if cluster.kind is ClusterKind.DYNAMIC:
        return _reached(snapshot, cluster, None, None)
    endpoint = pick(cluster, state or State(), draw, key=key)
    if endpoint is None:
        return Outcome(503, "UH", cluster=name)
    return _reached(snapshot, cluster, endpoint, endpoint.key)


def _hash(proxy: Proxy, cluster: Cluster | None, head: RequestHead | None) -> int | None:
    """Return what a call is hashed by, where its cluster hashes; a cookie that would be made is chance."""
    wanted = cluster.hashing if cluster is not None else None
    if wanted is None:
        return None
    source = proxy.instance.addresses[0]
    if head is None:
        return hashed(source) if wanted.source_ip else None
    return key_of(wanted, head.headers, head.path, source, lambda cookie: "")


def _reached(
    snapshot: Snapshot, cluster: Cluster, endpoint: Endpoint | None, address: tuple[str, int] | None
) -> Outcome:
    mtls = is_mutual(cluster, endpoint)
    refused = not mtls and address is not None and _mode(snapshot, *address) is MtlsMode.STRICT
    return Outcome(cluster=cluster.name, endpoint=endpoint, address=address, mtls=mtls, refused=refused)


def _mode(snapshot: Snapshot, address: str, port: int) -> MtlsMode:
    """Return what is in force where a connection arrives; nothing is where no sidecar is."""
    proxy = snapshot.proxies.get(snapshot.by_address.get(address, ""))
    return MtlsMode.DISABLE if proxy is None or proxy.instance.gateway else proxy.inbound.mode(port)


def is_mutual(cluster: Cluster, endpoint: Endpoint | None) -> bool:
    """Tell whether a hop is the mesh's own mutual TLS."""
    mode = cluster.tls.mode
    return mode is TlsMode.ISTIO_MUTUAL or (mode is TlsMode.AUTO and endpoint is not None and endpoint.mtls)
