"""Connections that arrive at a gateway's listener."""

from __future__ import annotations

import ssl
from collections.abc import Callable

from devmesh.proxy.arriving import TcpArrival, Terminated, serve
from devmesh.proxy.client_hello import ClientHello, Kind, kind_of, read_client_hello
from devmesh.proxy.forwarded import client_certificate
from devmesh.proxy.outbound import ClientSide
from devmesh.proxy.plane import Plane
from devmesh.proxy.proxy_protocol import read_header
from devmesh.proxy.reactor import Connection
from devmesh.proxy.sniffing import FirstBytes
from devmesh.proxy.tls import TlsConnection
from devmesh.security.contexts import ALPN_MESH
from devmesh.security.pem import BadCertificate, complaint, server_context
from devmesh.snapshot.proxy import GatewayListener, Proxy, ServerTls
from devmesh.snapshot.rate_limits import Limiting
from devmesh.snapshot.route import RouteTable
from devmesh.traffic.chains import best_route, best_server, name_rank

_ASKING = ("MUTUAL", "OPTIONAL_MUTUAL", "ISTIO_MUTUAL")  # for the client's certificate
_OFFERED = ("h2", "http/1.1")
_HTTP2 = ("h2", "istio-h2")


def listener_of(proxy: Proxy, target_port: int, bind: str = "") -> GatewayListener | None:
    wanted = (target_port, bind)
    return next((each for each in proxy.gateway if (each.target_port, each.bind) == wanted), None)


class GatewayArrival:
    """One connection to a gateway."""

    def __init__(self, plane: Plane, proxy: Proxy, listener: GatewayListener, connection: Connection) -> None:
        self._plane, self._proxy = plane, proxy
        self._listener, self._connection = listener, connection

    def start(self) -> None:
        if self._proxy.topology.proxy_protocol:
            FirstBytes(self._plane.reactor, self._connection, self._introduced)
        else:
            self._begin(b"")

    def _introduced(self, data: bytes, over: bool) -> bool:
        """Envoy: a connection without a PROXY header is closed."""
        try:
            header = read_header(data)
        except ValueError:
            self._connection.abort()
            return True
        if header is None:
            return False
        if header.remote is not None:
            self._connection.show(remote=header.remote, local=header.local)
        self._begin(data[header.size :])
        return True

    def _begin(self, first: bytes) -> None:
        listener = self._listener
        if listener.tls or any(route.sni for route in listener.tcp):
            FirstBytes(self._plane.reactor, self._connection, self._greeted, first=first)
        elif listener.protocol.is_http:
            FirstBytes(self._plane.reactor, self._connection, self._spoken, first=first)
        else:
            self._tcp(self._connection, first, "")

    def _spoken(self, data: bytes, over: bool) -> bool:
        kind = kind_of(data)
        if kind is None and not over:
            return False
        self._http(self._connection, "", self._shared_table, kind, first=data)
        return True

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
        self._pick(hello, data)
        return True

    def _pick(self, hello: ClientHello, data: bytes) -> None:
        """Take the filter chain whose names fit best, whether TLS ends there or goes on."""
        name = hello.server_name
        tls = best_server(self._listener.tls, name)
        ended = name_rank(tls.hosts, name) if tls is not None else None
        route = best_route(self._listener.tcp, name, is_mesh=not ALPN_MESH.isdisjoint(hello.protocols))
        passed = name_rank(route.sni, name) if route is not None else None
        if tls is not None and ended is not None and (passed is None or ended >= passed):
            self._terminate(tls, data, name)
        elif route is not None:
            arrival = TcpArrival(self._plane, self._proxy, self._connection, None, name)
            arrival.take(route, data)
        else:
            self._connection.abort()

    def _terminate(self, tls: ServerTls, data: bytes, name: str) -> None:
        plane = self._plane
        try:
            context = self._context(tls)
        except OSError:
            self._connection.abort()  # its secret is missing or unusable, which the analysis has said
            return

        def verified(connection: Connection) -> None:
            assert isinstance(connection, TlsConnection)
            session = connection.session
            if tls.rules.look_at_client and complaint(tls.rules, session):
                connection.abort()
            elif tls.routes is None:
                arrival = TcpArrival(plane, self._proxy, connection, None, name)
                arrival.route(tls.tcp, b"")
            else:
                kind = Kind.HTTP2 if session.selected_alpn_protocol() in _HTTP2 else None
                self._http(connection, name, _own_table(self._listener, tls), kind, self._told(tls, session))

        waiting = Terminated(plane, verified)
        connection = TlsConnection(self._connection, waiting, context, server=True, first=data)
        waiting.of(connection)
        connection.start()

    def _told(self, tls: ServerTls, session: ssl.SSLObject) -> str:
        if tls.mode not in _ASKING:
            return ""
        own = str(self._proxy.instance.identity) if tls.mode == "ISTIO_MUTUAL" else ""
        return client_certificate(self._plane.certificates, session, own)

    def _context(self, tls: ServerTls) -> ssl.SSLContext:
        """Return the context of a server.

        Raises:
            OSError: Its secret is missing, or cannot be used.
        """
        plane = self._plane
        if tls.mode == "ISTIO_MUTUAL":
            return plane.certificates.server(self._proxy.instance.identity)
        key = tls.secrets
        made = plane.contexts.get(key)
        if made is None:
            try:
                made = server_context(tls, _OFFERED if tls.routes is not None else ())
            except (BadCertificate, ssl.SSLError, ValueError) as error:
                made = error
            plane.contexts[key] = made
        if isinstance(made, Exception):
            raise OSError(str(made))
        return made

    def _shared_table(self, proxy: Proxy) -> RouteTable | None:
        listener = listener_of(proxy, self._listener.target_port, self._listener.bind)
        return listener.routes if listener else None

    def _limits(self, proxy: Proxy) -> Limiting | None:
        listener = listener_of(proxy, self._listener.target_port, self._listener.bind)
        return listener.limiting if listener else None

    def _http(
        self,
        connection: Connection,
        name: str,
        table: Callable[[Proxy], RouteTable | None],
        kind: Kind | None,
        said: str = "",
        first: bytes = b"",
    ) -> None:
        side = ClientSide(
            self._plane,
            self._proxy,
            connection,
            table,
            gateway=True,
            scheme="https" if self._listener.tls else "http",
            server_name=name,
            xfcc=said,
            limits=self._limits,
            stat_prefix=f"outbound_{self._listener.bind or '0.0.0.0'}_{self._listener.target_port}",
        )
        serve(side, connection, kind, first)

    def _tcp(self, connection: Connection, first: bytes, name: str) -> None:
        TcpArrival(self._plane, self._proxy, connection, None, name).route(self._listener.tcp, first)


def _own_table(listener: GatewayListener, tls: ServerTls) -> Callable[[Proxy], RouteTable | None]:
    """Return what finds a server's own routes (Istio: other servers' hosts are 404 on its connections)."""
    target, bind, hosts = listener.target_port, listener.bind, tls.hosts

    def table(proxy: Proxy) -> RouteTable | None:
        found = listener_of(proxy, target, bind)
        return next((each.routes for each in found.tls if each.hosts == hosts), None) if found else None

    return table
