"""How a proxy treats the requests of one connection: the client's side or the server's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING

from mypy_extensions import mypyc_attr

from devmesh.model.workload import Workload
from devmesh.proxy import local
from devmesh.proxy.downstream_stats import HttpStats
from devmesh.proxy.http1 import CHUNKED, UNTIL_CLOSE, Fields, Malformed, Request, Response
from devmesh.proxy.http2.heads import pairs
from devmesh.proxy.http2.hpack import Block
from devmesh.proxy.plane import Plane
from devmesh.proxy.pools import SHARED, Pool, ProxyState, Variant
from devmesh.proxy.reactor import Address, Connection, Owner
from devmesh.proxy.sockets import text_of
from devmesh.proxy.tcp import Tunnel
from devmesh.snapshot.cluster import Cluster, Endpoint
from devmesh.telemetry.record import Record
from devmesh.traffic.limiting import Buckets

if TYPE_CHECKING:
    from devmesh.proxy.ends import Carrier
    from devmesh.proxy.exchange import Exchange

HOP_BY_HOP = frozenset({"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "te"})
# What no peer may tell: these are said by the proxy itself, or meant for it alone.
_RESPONSE_DROPPED = HOP_BY_HOP | {
    "server",
    "x-envoy-upstream-service-time",
    "x-envoy-decorator-operation",
    "x-envoy-peer-metadata",
    "x-envoy-peer-metadata-id",
    "x-envoy-attempt-count",
}


Named = Callable[[bool], None]
"""Told, later, whether an endpoint's name has an address."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Side(ABC):
    """Decides about the requests of one connection, by the snapshot in force at each.

    Attributes:
        server_name: The ``server`` header of answers.
        scheme: ``https`` behind a gateway's TLS.
        instance: The id of the instance whose proxy this is.
        last_fields: Lines that are added to every response.
        http: What is counted of the clients; of the port, for all of its connections.
        by_original: Requests go to `original_endpoint`, whatever the cluster.
        may_refuse: `refuses` has to be asked before each request.
        limit_place: Where rate limits count by itself: a port, and how it is reached.
        group: What the proxy is part of (Envoy: ``--service-cluster``).
    """

    server_name = "envoy"
    scheme = "http"
    may_refuse = False
    by_original = False
    limit_place = ""
    group = ""
    _buckets: Buckets | None = None

    def __init__(self, plane: Plane, instance: str, connection: Connection, stat_prefix: str) -> None:
        self.plane = plane
        self.instance = instance
        self.state: ProxyState = plane.state(instance)
        self.http: HttpStats = self.state.http_stats(stat_prefix)
        self.remote = connection.remote
        self.remote_text = text_of(connection.remote)
        self.local_text = ""
        self.last_fields = b""
        self._server_field = (b"server", self.server_name.encode(), False)
        self._tail = f"server: {self.server_name}\r\n\r\n".encode()

    @abstractmethod
    def decide(self, exchange: Exchange) -> None:
        """Send the exchange on its way: to a cluster, to wait, or answered."""

    @abstractmethod
    def delayed(self, exchange: Exchange) -> None:
        """Go on with an exchange that an injected fault held back."""

    @abstractmethod
    def request_head(self, exchange: Exchange) -> str:
        """Return the head to send upstream, for one more try: as HTTP/1.1 writes it, empty line included."""

    @abstractmethod
    def connect(
        self, cluster: Cluster, pool: Pool, owner: Owner, named: Named, *, http2: bool = False
    ) -> Connection | None:
        """Begin to connect to the endpoint of `pool`, which is one of `cluster`; None: call again when
        `named` has been told that there is an address.

        Args:
            http2: That will be spoken.

        Raises:
            OSError: It failed at once.
        """

    def present(self, cluster: Cluster) -> Cluster:
        """Return a cluster as it is by now."""
        return cluster

    def variant(self, exchange: Exchange) -> Variant:
        """Return which connections an exchange may share, for a cluster that divides them."""
        return SHARED

    @abstractmethod
    def original_endpoint(self, cluster: Cluster) -> Endpoint | None:
        """Return where the client itself wanted to go."""

    def named_endpoint(self, exchange: Exchange) -> Endpoint | None:
        """Return where the request's own host is, for clusters that go wherever that says."""
        return None

    @abstractmethod
    def record(self, exchange: Exchange) -> Record | None:
        """Return what is told of an exchange that has ended; None: nothing."""

    @abstractmethod
    def refused(self, error: Malformed, sent: int) -> Record | None:
        """Return what is told of bytes that were no request; `sent` is the size of the answer's body."""

    def speaks(self, exchange: Exchange) -> bool:
        """Tell whether the request's version and upgrade are served here; else it has been answered."""
        request = exchange.request
        if not request.minor:
            exchange.close, exchange.route = True, None  # no route has been looked for
            exchange.reply(426, local.UPGRADE_REQUIRED, "DPE", "low_version")
            return False
        if not request.upgrade or request.upgrade == "websocket":
            return True
        if request.upgrade == "h2c":  # Envoy goes on in HTTP/1.1
            exchange.upgrade = ""
            return True
        exchange.close = True
        exchange.reply(403, b"", "", "upgrade_failed")
        return False

    def client_of(self, request: Request) -> Address:
        """Return the client's address: the connection's, where no proxy before tells another."""
        return self.remote

    @property
    def buckets(self) -> Buckets:
        """The token buckets of this connection alone."""
        if self._buckets is None:
            self._buckets = {}
        return self._buckets

    def refuses(self) -> bool:
        """Tell whether the connection may carry no more requests by the rules in force now."""
        return False

    def reply_fields(self, exchange: Exchange, fields: Fields) -> Fields:
        """Return the header fields of an answer by the proxy itself."""
        return fields

    def change_response(self, exchange: Exchange, response: Response) -> Fields:
        """Return the response's fields as routes want them changed."""
        return response.fields

    def response_head(self, exchange: Exchange, response: Response, close: bool) -> bytes:
        """Return the head to send to the client."""
        fields = self.change_response(exchange, response)
        if exchange.response_fields:
            fields = [*fields, *exchange.response_fields]
        if fields is response.fields:
            lines = response.lines = response.lines or _rendered(response, fields)
        else:
            lines = _rendered(response, fields)
        more = self.last_fields
        if response.length == UNTIL_CLOSE and exchange.request.method != "HEAD":
            more += b"transfer-encoding: chunked\r\n"
        if close:
            more += b"connection: close\r\n"
        if not response.has_date:
            more += f"date: {local.date(int(self.plane.reactor.time()))}\r\n".encode()
        if exchange.is_uploaded:  # Envoy: the time since the end of the request
            milliseconds = int((exchange.upstream_time or 0.0) * 1000)
            return b"%bx-envoy-upstream-service-time: %d\r\n%b%b" % (lines, milliseconds, more, self._tail)
        return lines + more + self._tail

    def response_block(self, exchange: Exchange, response: Response) -> Block:
        """Return the head to send to a client of HTTP/2."""
        fields = self.change_response(exchange, response)
        if exchange.response_fields:
            fields = [*fields, *exchange.response_fields]
        if fields is response.fields:
            block = response.block = response.block or _as_block(response, fields)
        else:
            block = _as_block(response, fields)
        block = block.copy()
        if exchange.is_uploaded:
            milliseconds = int((exchange.upstream_time or 0.0) * 1000)
            block.append((b"x-envoy-upstream-service-time", b"%d" % milliseconds, False))
        if exchange.route is not None and self.is_operation_told(exchange):
            block.append((b"x-envoy-decorator-operation", exchange.route.operation.encode("latin-1"), False))
        if not response.has_date:
            block.append((b"date", local.date(int(self.plane.reactor.time())).encode(), False))
        block.append(self._server_field)
        return block

    def is_operation_told(self, exchange: Exchange) -> bool:
        """Tell whether a response says what the route calls the operation, as `last_fields` does."""
        return False

    def tunnel(
        self, exchange: Exchange, client: Connection, ahead: bytes, upstream: Carrier, first: bytes
    ) -> None:
        """Carry the bytes of an upgraded connection until it ends.

        Args:
            ahead: What the client has sent before it was told that the upstream agrees.
            first: The upstream's answer.
        """
        client.send(first)
        connection = upstream.surrender()

        def ended(received: int, sent: int, flag: str) -> None:
            upstream.abandon()
            exchange.switched_back(received, sent)

        tunnel = Tunnel(client, connection, ended)
        if ahead:
            tunnel.count(len(ahead))
            connection.send(ahead)


def group_of(workload: Workload) -> str:
    """Return what Istio calls the group of a workload's proxies."""
    return f"{workload.canonical_service}.{workload.namespace}"


def _rendered(response: Response, fields: Fields) -> bytes:
    """Return a response's head without what is said anew to each client."""
    lines = [f"HTTP/1.1 {response.status} {local.reason(response.status)}\r\n"]  # Envoy drops the server's
    lines += [f"{name}: {value}\r\n" for name, value in fields if name not in _RESPONSE_DROPPED]
    if response.length == CHUNKED or response.headers.get("transfer-encoding", "").lower() == "chunked":
        lines.append("transfer-encoding: chunked\r\n")
    return "".join(lines).encode("latin-1")


def _as_block(response: Response, fields: Fields) -> Block:
    block = [(b":status", b"%d" % response.status, False)]
    return block + pairs([field for field in fields if field[0] not in _RESPONSE_DROPPED])


def sent_on(request: Request, dropped: frozenset[str]) -> str:
    """Return the lines of a request's fields, without those that are `dropped` and those that its
    Connection names."""
    held = request.derived.get(id(dropped))
    if held is not None:
        return str(held[1])
    lines = "".join([f"{name}: {value}\r\n" for name, value in kept(request, dropped)])
    request.derived[id(dropped)] = (dropped, lines)
    return lines


def kept(request: Request, dropped: frozenset[str]) -> Fields:
    """Return the fields that are sent on."""
    connection = request.headers.get("connection")
    if connection is not None:
        named = {option.strip() for option in connection.lower().split(",")}
        dropped = dropped | (named - _NEVER_NAMED)
    if request.headers.get("expect", "").lower() == "100-continue":
        dropped = dropped | {"expect"}  # it has been answered here
    return [field for field in request.fields if field[0] not in dropped]


# Connection may not take from a request what says whose it is, or where it ends.
_NEVER_NAMED = {"close", "keep-alive", "host", "content-length", "authorization", "cookie"}


_BODILESS = frozenset(("GET", "HEAD", "DELETE", "TRACE", "CONNECT"))  # Envoy says no length of these


def framing(request: Request, upgrade: str) -> str:
    """Return the lines that say how the request's body is sent, and what connection it wants."""
    lines = ""
    if request.length <= 0 and "content-length" not in request.headers:
        if request.length:
            lines = "transfer-encoding: chunked\r\n"
        elif request.method not in _BODILESS:
            lines = "content-length: 0\r\n"
    if "te" in request.headers and "trailers" in map(str.strip, request.headers["te"].lower().split(",")):
        lines += "te: trailers\r\n"
    if upgrade:
        lines += f"connection: Upgrade\r\nupgrade: {request.headers.get('upgrade', '')}\r\n"
    return lines
