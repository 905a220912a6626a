"""Connections that arrive at a gateway's listener."""

from __future__ import annotations

import ssl

from devmesh.model.host import matches
from devmesh.model.port import Protocol
from devmesh.proxy.arriving import TcpArrival, Terminated, serve
from devmesh.proxy.client_hello import Kind, kind_of, read_client_hello
from devmesh.proxy.outbound import ClientSide
from devmesh.proxy.plane import Plane
from devmesh.proxy.reactor import Connection
from devmesh.proxy.sniffing import FirstBytes
from devmesh.proxy.tls import TlsConnection
from devmesh.security.contexts import load_chain
from devmesh.snapshot.proxy import GatewayListener, Proxy, ServerTls
from devmesh.snapshot.route import RouteTable


def listener_of(proxy: Proxy, target_port: int) -> GatewayListener | None:
    return next((each for each in proxy.gateway if each.target_port == target_port), None)


class GatewayArrival:
    """One connection to a gateway."""

    def __init__(self, plane: Plane, proxy: Proxy, listener: GatewayListener, connection: Connection) -> None:
        self._plane, self._proxy = plane, proxy
        self._listener, self._connection = listener, connection

    def start(self) -> None:
        listener = self._listener
        if listener.tls or any(route.sni for route in listener.tcp):
            FirstBytes(self._plane.reactor, self._connection, self._greeted)
        elif listener.protocol.is_http:

            def sniffed(data: bytes, over: bool) -> bool:
                kind = kind_of(data)
                if kind is None and not over:
                    return False
                self._http(self._connection, "", "", kind, data)
                return True

            FirstBytes(self._plane.reactor, self._connection, sniffed)
        else:
            self._tcp(self._connection, b"", "")

    def _greeted(self, data: bytes, over: bool) -> bool:
        if kind_of(data) is None and not over:
            return False
        try:
            hello = read_client_hello(data) if kind_of(data) is Kind.TLS else None
        except ValueError:
            hello, over = None, True
        if hello is None:
            if kind_of(data) is Kind.TLS and not over:
                return False
            self._connection.abort()  # Envoy: no filter chain is found for what isn't TLS
            return True
        tls = next((each for each in self._listener.tls if _serves(each, hello.server_name)), None)
        if tls is not None:
            self._terminate(tls, data, hello.server_name)
        elif self._listener.tcp:
            self._tcp(self._connection, data, hello.server_name)
        else:
            self._connection.abort()
        return True

    def _terminate(self, tls: ServerTls, data: bytes, name: str) -> None:
        plane = self._plane
        try:
            context = self._context(tls)
        except OSError:
            self._connection.abort()  # its secret is missing or unusable, which the analysis has said
            return

        def verified(connection: Connection) -> None:
            assert isinstance(connection, TlsConnection)
            if self._listener.protocol in (Protocol.HTTPS, Protocol.HTTP):
                agreed = connection.session.selected_alpn_protocol()
                kind = Kind.HTTP2 if agreed == "h2" else None
                self._http(connection, name, _certificate(plane, tls, connection.session), kind, b"")
            else:
                self._tcp(connection, b"", name)

        waiting = Terminated(plane, verified)
        connection = TlsConnection(self._connection, waiting, context, server=True, first=data)
        waiting.of(connection)
        connection.start()

    def _context(self, tls: ServerTls) -> ssl.SSLContext:
        plane = self._plane
        if tls.mode == "ISTIO_MUTUAL":
            return plane.certificates.server(self._proxy.instance.identity)
        made = plane.contexts.get(tls)
        if made is None:
            try:
                made = _make(tls)
                if self._listener.protocol.is_http or self._listener.protocol is Protocol.HTTPS:
                    made.set_alpn_protocols(["h2", "http/1.1"])
            except (ssl.SSLError, ValueError) as error:
                made = error
            plane.contexts[tls] = made
        if isinstance(made, Exception):
            raise OSError(str(made))
        return made

    def _http(self, connection: Connection, name: str, xfcc: str, kind: Kind | None, first: bytes) -> None:
        target_port = self._listener.target_port

        def table(proxy: Proxy) -> RouteTable | None:
            listener = listener_of(proxy, target_port)
            return listener.routes if listener else None

        side = ClientSide(
            self._plane,
            self._proxy,
            connection,
            table,
            gateway=True,
            scheme="https" if self._listener.tls else "http",
            server_name=name,
            xfcc=xfcc,
            stat_prefix=f"outbound_0.0.0.0_{target_port}",
        )
        serve(side, connection, kind, first)

    def _tcp(self, connection: Connection, first: bytes, name: str) -> None:
        TcpArrival(self._plane, self._proxy, connection, None, name).route(self._listener.tcp, first)


def _serves(tls: ServerTls, name: str) -> bool:
    """Tell whether a server's hosts (maybe ``namespace/host``) cover the name asked for."""
    hosts = [host.rpartition("/")[2].lower() for host in tls.hosts]
    return not hosts or any(matches(host, name) for host in hosts)


def _make(tls: ServerTls) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not tls.certificate_pem:
        raise ValueError("it has no certificate")
    load_chain(context, tls.certificate_pem + "\n" + tls.key_pem)
    if tls.mode in ("MUTUAL", "OPTIONAL_MUTUAL"):
        context.load_verify_locations(cadata=tls.ca_pem)
        context.verify_mode = ssl.CERT_REQUIRED if tls.mode == "MUTUAL" else ssl.CERT_OPTIONAL
    context.options |= ssl.OP_NO_RENEGOTIATION
    return context


def _certificate(plane: Plane, tls: ServerTls, session: ssl.SSLObject) -> str:
    """Return x-forwarded-client-cert's value for a client that showed a certificate (SANITIZE_SET)."""
    if tls.mode not in ("MUTUAL", "OPTIONAL_MUTUAL", "ISTIO_MUTUAL"):
        return ""
    fingerprint = plane.certificates.peer_hash(session)
    if not fingerprint:
        return ""
    identity = plane.certificates.peer_identity(session)
    return f"Hash={fingerprint}" + (f";URI={identity}" if identity else "")
