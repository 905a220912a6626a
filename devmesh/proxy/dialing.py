"""Connecting to endpoints: into which namespace, with which mark, and whether by TLS."""

from __future__ import annotations

import functools
import ipaddress
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from devmesh.model.workload import Instance
from devmesh.proxy import proxy_protocol
from devmesh.proxy.plane import Plane
from devmesh.proxy.pools import SHARED, Pool, Variant
from devmesh.proxy.reactor import Connection, Owner
from devmesh.proxy.tls import TlsConnection, Verify
from devmesh.security.contexts import ALPN_HTTP1, ALPN_HTTP2, ALPN_TCP
from devmesh.security.pem import has_name
from devmesh.snapshot.cluster import Cluster, Endpoint, TlsMode, UpstreamTls
from devmesh.snapshot.network import INBOUND_SOURCE, MARK_HOP, MARK_PROXY

if TYPE_CHECKING:
    from devmesh.proxy.side import Named

UNIX = "unix://"
"""Before the path of a unix socket. Istio: it is the pod's in which the proxy runs."""
_MESH = (TlsMode.AUTO, TlsMode.ISTIO_MUTUAL)
_WRONG_NAME = "TLS error: certificate verify failed: verify SAN list"  # Envoy's words


@dataclass(frozen=True, slots=True)
class Caller:
    """Who connects: an instance's proxy."""

    plane: Plane
    instance: Instance
    http: bool = True


def is_mesh_tls(cluster: Cluster, endpoint: Endpoint) -> bool:
    """Tell whether the hop is mutual TLS with the mesh's own certificates."""
    mode = cluster.tls.mode
    return mode is TlsMode.ISTIO_MUTUAL or (mode is TlsMode.AUTO and endpoint.mtls)


def is_name(address: str) -> bool:
    """Tell whether `address` has to be looked up."""
    return not _is_address(address) and not address.startswith(UNIX)


@functools.lru_cache(maxsize=4096)
def _is_address(address: str) -> bool:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return True


def reach(
    caller: Caller, cluster: Cluster, pool: Pool, owner: Owner, named: Named, *, http2: bool
) -> Connection | None:
    """Begin to connect to the endpoint of `pool`; see `Side.connect`.

    Raises:
        OSError: It failed at once.
    """
    plane, instance = caller.plane, caller.instance.id
    if cluster.tls.files is not None and plane.origination.settings(cluster.tls, instance) is None:
        plane.origination.read(cluster.tls, instance, lambda: named(True))
        return None
    endpoint = pool.endpoint
    address = endpoint.address
    if is_name(address):
        found = plane.resolved(address)
        if found is None:
            plane.resolve(endpoint.address, lambda: named(bool(plane.resolved(endpoint.address))))
            return None
        if not found:
            raise OSError(0, f"the name {address} has no address")
        address = found
    return connect(caller, owner, cluster, endpoint, address, pool.variant, http2=http2)


def connect(
    caller: Caller,
    owner: Owner,
    cluster: Cluster,
    endpoint: Endpoint,
    address: str,
    variant: Variant = SHARED,
    *,
    http2: bool = False,
) -> Connection:
    """Begin to connect to `endpoint`, whose name, if it has one, was found to mean `address`.

    Args:
        http2: That will be spoken.

    Raises:
        OSError: It failed at once.
    """
    plane, source = caller.plane, caller.instance
    instance, port = endpoint.instance, endpoint.port
    origin: str | None = source.id
    mark = MARK_HOP
    if instance is None:
        if address.startswith(UNIX):
            instance, mark = source.id, MARK_PROXY
        elif endpoint.name or address != endpoint.address or (address, port) in plane.feed.current.backends:
            instance, address, port = _meant(plane, address, port)
        if instance is None and is_loopback(address):
            instance, origin = _loopback(source, endpoint)
            mark = MARK_PROXY
    originates = cluster.tls.mode in (TlsMode.SIMPLE, TlsMode.MUTUAL)
    context, tls = _originating(caller, cluster.tls, variant, http2) if originates else (None, cluster.tls)
    if instance is None:
        raw = plane.reactor.dial(owner, None, address, port, mark=MARK_PROXY, origin=origin)
    else:
        raw = plane.reactor.dial(owner, instance, address, port, mark=mark, origin=origin)
        if mark == MARK_HOP:
            plane.remember_hop(source, instance, raw)
    if cluster.limits.keepalive is not None:
        alive = cluster.limits.keepalive
        raw.keep_alive(alive.probes, alive.time, alive.interval)
    if variant.addresses is not None:
        raw.send(proxy_protocol.header(cluster.proxy_protocol, *variant.addresses))
    if context is not None:
        name = tls.sni or variant.server_name
        verify = _names(tls) if tls.sans and not tls.insecure else _anyone
        return TlsConnection(raw, owner, context, server=False, server_name=name, verify=verify)
    if is_mesh_tls(cluster, endpoint):
        offered = ALPN_HTTP2 if http2 else ALPN_HTTP1 if caller.http else ALPN_TCP
        context = plane.certificates.client(source.identity, offered)
        verify = _verify(plane, tls, endpoint)
        return TlsConnection(raw, owner, context, server=False, server_name=tls.sni, verify=verify)
    return raw


def _loopback(source: Instance, endpoint: Endpoint) -> tuple[str | None, str | None]:
    """Return in whose namespace a loopback address is, and on whose behalf it is dialled.

    Istio: 127.0.0.1 and localhost are the caller's own pod, where its proxy is. Where a name of the world has
    such an address (``spec.dns.hosts``), or the host itself is named, it is this machine.
    """
    written = endpoint.name or endpoint.address
    own = not is_name(written) or written == "localhost" or written.endswith(".localhost")
    return (source.id, source.id) if own else (None, None)


@functools.lru_cache(maxsize=4096)
def is_loopback(address: str) -> bool:
    return _is_address(address) and ipaddress.ip_address(address).is_loopback


def _meant(plane: Plane, address: str, port: int) -> tuple[str | None, str, int]:
    """Return the instance, if any, the address and the port that an endpoint's address leads to.

    A ServiceEntry may name a Service or a pod: the network would lead there, a Service's address to one
    of its endpoints, as with kube-proxy.

    Raises:
        OSError: The Service has no endpoint that is ready.
    """
    snapshot = plane.feed.current
    behind = snapshot.backends.get((address, port))
    if behind is not None:
        if not behind:
            raise OSError(0, "Connection refused")
        address, port = behind[int(plane.draw() * len(behind))]
    return snapshot.by_address.get(address), address, port


def connect_to_application(
    plane: Plane, owner: Owner, instance: str | None, address: str, port: int
) -> Connection:
    """Begin to connect to the application that a proxy serves.

    Args:
        instance: In whose namespace it is; None: a process of this machine, which has its place.

    Raises:
        OSError: It failed at once.
    """
    bind = INBOUND_SOURCE if instance is not None else None
    return plane.reactor.dial(owner, instance, address, port, mark=MARK_PROXY, bind=bind)


def _verify(plane: Plane, tls: UpstreamTls, endpoint: Endpoint) -> Verify:
    expected = set(tls.sans) if tls.sans else ({str(endpoint.identity)} if endpoint.identity else None)

    def verify(session: ssl.SSLObject) -> str:
        proved = plane.certificates.peer_identity(session)
        if expected is None or str(proved) in expected:
            return ""
        return _WRONG_NAME

    return verify


def _originating(
    caller: Caller, tls: UpstreamTls, variant: Variant, http2: bool
) -> tuple[ssl.SSLContext, UpstreamTls]:
    """Return the context for TLS that a DestinationRule asks for, and its settings with what files hold.

    Raises:
        OSError: It cannot be had.
    """
    origination = caller.plane.origination
    read = origination.settings(tls, caller.instance.id)
    if read is None:
        raise OSError(0, "TLS_error: the certificates have not been read yet")
    named = bool(read.sni or variant.server_name)
    offered = ("h2",) if http2 else ("http/1.1",) if caller.http else ()
    return origination.context(read, protocols=offered, named=named), read


def _names(tls: UpstreamTls) -> Verify:
    def verify(session: ssl.SSLObject) -> str:
        return "" if has_name(session, tls.sans) else _WRONG_NAME

    return verify


def _anyone(session: ssl.SSLObject) -> str:
    return ""
