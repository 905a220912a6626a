"""Connections that arrive at a workload: mutual TLS, plain text, or something of the application's own."""

from __future__ import annotations

import ssl

from devmesh.model.port import Protocol
from devmesh.proxy.arriving import Terminated, serve
from devmesh.proxy.client_hello import ClientHello, Kind, kind_of, read_client_hello
from devmesh.proxy.dialing import connect_to_application
from devmesh.proxy.inbound import PASSTHROUGH, Peer, ServerSide, last_hop
from devmesh.proxy.plane import Plane
from devmesh.proxy.reactor import Address, Connection
from devmesh.proxy.session import TcpSession
from devmesh.proxy.sniffing import FirstBytes
from devmesh.proxy.sockets import text_of
from devmesh.proxy.tls import TlsConnection
from devmesh.security.contexts import ALPN_MESH
from devmesh.security.pem import BadCertificate, server_context
from devmesh.snapshot.cluster import NO_LIMITS, Endpoint, ServiceRef
from devmesh.snapshot.proxy import MtlsMode, Proxy
from devmesh.telemetry.record import Record

_UNNAMED = ServiceRef("", PASSTHROUGH, "unknown")


class InboundArrival:
    """One connection to a port of a workload.

    Istio: STRICT resets what isn't mesh TLS; PERMISSIVE takes mesh TLS, plain text, and passes an
    application's own TLS through; DISABLE passes everything through, save where a Sidecar has TLS of its
    own for the port.
    """

    def __init__(self, plane: Plane, proxy: Proxy, connection: Connection, original: Address) -> None:
        self._plane, self._proxy = plane, proxy
        self._connection, self._original = connection, original
        self._workload = plane.recognize(proxy.instance.id, connection)
        self._mode = proxy.inbound.mode(original[1])
        port = proxy.inbound.ports.get(original[1])
        self._protocol = port.protocol if port else Protocol.AUTO
        self._service = port.service if port and port.service else _UNNAMED
        self._cluster = port.cluster if port else PASSTHROUGH
        self._limits = port.limits if port else NO_LIMITS
        self._tls = port.tls if port else None
        self._last_hop = last_hop(proxy.instance.id, port, original)

    def start(self) -> None:
        reactor = self._plane.reactor
        if self._tls is not None:
            FirstBytes(reactor, self._connection, self._greeted)
            return
        if self._mode is MtlsMode.DISABLE:
            self._speak(self._connection, Peer(workload=self._workload), b"")
            return
        waits = self._mode is MtlsMode.STRICT or self._protocol.is_http
        timeout = 0.0 if waits else self._plane.feed.current.mesh.sniff_timeout
        FirstBytes(reactor, self._connection, self._sniffed, timeout)

    def _sniffed(self, data: bytes, over: bool) -> bool:
        kind = kind_of(data)
        if kind is None and not over:
            return False
        hello: ClientHello | None = None
        if kind is Kind.TLS:
            try:
                hello = read_client_hello(data)
            except ValueError:
                over = True
            if hello is None and not over:
                return False
        strict = self._mode is MtlsMode.STRICT
        if hello is not None and (strict or not ALPN_MESH.isdisjoint(hello.protocols)):
            self._terminate(data, hello)
        elif strict:
            self._connection.abort()
        elif kind is Kind.TLS:
            self._tcp(self._connection, Peer(workload=self._workload), data)
        else:
            self._speak(self._connection, Peer(workload=self._workload), data)
        return True

    def _greeted(self, data: bytes, over: bool) -> bool:
        """End a Sidecar's own TLS. Envoy: no filter chain is found for what isn't TLS."""
        kind = kind_of(data)
        try:
            hello = read_client_hello(data) if kind is Kind.TLS else None
        except ValueError:
            hello, over = None, True
        if hello is not None:
            self._terminate(data, hello)
            return True
        if over or kind not in (None, Kind.TLS):
            self._connection.abort()
            return True
        return False

    def _context(self) -> ssl.SSLContext:
        """Return the context of the port's TLS.

        Raises:
            OSError: The certificates are missing or unusable, which has been told when it was applied.
        """
        plane, tls = self._plane, self._tls
        if tls is None:
            return plane.certificates.server(self._proxy.instance.identity)
        made = plane.contexts.get(tls.secrets)
        if made is None:
            try:
                made = server_context(tls)
            except BadCertificate as error:
                made = error
            plane.contexts[tls.secrets] = made
        if isinstance(made, Exception):
            raise OSError(str(made))
        return made

    def _terminate(self, data: bytes, hello: ClientHello) -> None:
        try:
            context = self._context()
        except OSError:
            self._connection.abort()
            return

        def verified(connection: Connection) -> None:
            assert isinstance(connection, TlsConnection)
            self._speak(connection, self._peer(connection.session, hello), b"")

        waiting = Terminated(self._plane, verified)
        connection = TlsConnection(self._connection, waiting, context, server=True, first=data)
        waiting.of(connection)
        connection.start()

    def _peer(self, session: ssl.SSLObject, hello: ClientHello) -> Peer:
        certificates = self._plane.certificates
        fingerprint = certificates.peer_hash(session)
        return Peer(
            bool(fingerprint),
            certificates.peer_identity(session),
            fingerprint,
            self._workload,
            hello.server_name,
        )

    def _speak(self, connection: Connection, peer: Peer, first: bytes) -> None:
        """Serve what is spoken inside, or without, TLS."""
        if self._protocol.is_http or self._protocol is Protocol.AUTO:

            def sniffed(data: bytes, over: bool) -> bool:
                kind = kind_of(data)
                if kind is None and not over:
                    return False
                if kind in (Kind.HTTP1, Kind.HTTP2) or self._protocol.is_http:
                    side = ServerSide(self._plane, self._proxy, connection, self._original, peer)
                    serve(side, connection, kind, data)
                else:
                    self._tcp(connection, peer, data)
                return True

            is_http = self._protocol.is_http
            timeout = 0.0 if is_http else self._plane.feed.current.mesh.sniff_timeout
            FirstBytes(self._plane.reactor, connection, sniffed, timeout, first)
        else:
            self._tcp(connection, peer, first)

    def _tcp(self, connection: Connection, peer: Peer, first: bytes) -> None:
        plane, instance = self._plane, self._proxy.instance
        where, application = self._last_hop
        record = Record(
            "destination",
            instance.id,
            peer.workload,
            instance.workload,
            self._service,
            plane.reactor.time(),
            protocol="tcp",
        )
        record.upstream_cluster = self._cluster
        record.upstream_host, record.downstream_local = text_of(application), text_of(self._original)
        record.downstream_remote = text_of(connection.remote)
        record.server_name = peer.server_name
        if peer.mtls:
            record.mtls = True
            record.source_principal = str(peer.identity or "")
            record.destination_principal = str(instance.identity)
        limits, state = self._limits, plane.state(instance.id).cluster(self._cluster)
        if state.connections >= limits.max_connections:
            state.stats.upstream_cx_overflow += 1
            TcpSession(plane, connection, record, limits).fail("UO", details="overflow")
            return
        session = TcpSession(plane, connection, record, limits, state, Endpoint(*application), first)
        session.connect(lambda owner: connect_to_application(plane, owner, where, *application))
