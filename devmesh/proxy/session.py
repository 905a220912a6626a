"""One TCP connection through a proxy: where it goes, what is told of it."""

from __future__ import annotations

import logging
from collections.abc import Callable

from devmesh.proxy import tunnelling
from devmesh.proxy.deadlines import Deadline
from devmesh.proxy.plane import Plane
from devmesh.proxy.pools import ClusterState, Pool
from devmesh.proxy.reactor import Connection, Owner
from devmesh.proxy.sockets import text_of
from devmesh.proxy.tcp import Tunnel
from devmesh.proxy.upstream import CONNECT_TIMEOUT
from devmesh.snapshot.cluster import Endpoint, Limits
from devmesh.telemetry.record import Record
from devmesh.traffic.outlier import RESET, TIMEOUT

log = logging.getLogger(__name__)

REPORT_EVERY = 5.0  # seconds (Istio: tcp_reporting_duration)

Connect = Callable[[Owner], Connection]


class TcpSession(Owner):
    """Connects to the other side, then carries bytes.

    Args:
        first: What was read from the client already.
        record: Filled as far as is known; the session's from now on.
        through: The other side is an HTTP proxy, which is asked to connect to this (``host:port``).
    """

    def __init__(
        self,
        plane: Plane,
        client: Connection,
        record: Record,
        limits: Limits,
        state: ClusterState | None = None,
        endpoint: Endpoint | None = None,
        first: bytes = b"",
        through: str = "",
    ) -> None:
        self._plane = plane
        self._client = client
        self._record = record
        self._limits = limits
        self._state = state
        self._endpoint = endpoint
        self._first = first
        self._through = through
        self._pool: Pool | None = None
        self._answer = b""  # of the HTTP proxy, so far
        self._began = self._moved_at = plane.reactor.now()
        self._tunnel: Tunnel | None = None
        self._upstream: Connection | None = None
        self._told = (0, 0)
        self._timer: Deadline | None = None
        self._to_end: Deadline | None = None
        client.owner = self
        client.pause()
        if state is not None and endpoint is not None:
            state.connections += 1
            state.stats.upstream_cx_total += 1
            state.balancing.begin(endpoint)
            self._pool = state.pool(endpoint)
            self._pool.cx_total += 1
            self._pool.sessions += 1
            if limits.max_connection_duration:
                self._to_end = plane.reactor.deadline(limits.max_connection_duration, self._too_long)

    def connect(self, connect: Connect) -> None:
        """Begin; `connect` may raise OSError."""
        try:
            self._upstream = connect(self)
        except OSError as error:
            self._judge(RESET)
            self.fail("UF,URX", error.strerror or str(error))
            return
        self._timer = self._plane.reactor.deadline(self._limits.connect_timeout, self._too_slow)

    def fail(self, flags: str, reason: str = "", details: str = "", *, reset: bool = False) -> None:
        """There is nowhere to go: the client's connection ends, by a reset if that is asked for."""
        record = self._record
        record.flags, record.transport_failure, record.details = flags, reason, details
        self._plane.sink.opened(record)
        self._finish(0, 0)
        if reset:
            self._client.abort()
        else:
            self._client.close()

    # -- as the owner of the connection that is being made, and of the client's meanwhile --

    def connected(self) -> None:
        upstream = self._upstream
        assert upstream is not None
        if self._through:
            upstream.send(tunnelling.request(self._through))
        else:
            self._open(upstream)

    def readable(self) -> None:
        """The HTTP proxy answers; the client is not read yet."""
        upstream = self._upstream
        data = upstream.recv() if upstream is not None else None
        if upstream is None or data is None:
            return
        self._answer += data
        try:
            end = tunnelling.end_of_head(self._answer)
        except tunnelling.Refused as error:
            self.lost(str(error))
            return
        if end is not None:
            self._open(upstream, self._answer[end:])
        elif not data:
            self.lost("the HTTP proxy closed the connection")

    def _open(self, upstream: Connection, rest: bytes = b"") -> None:
        """Carry bytes from now on; `rest` came already."""
        client = self._client
        self._cancel()
        state, endpoint = self._state, self._endpoint
        if state is not None and endpoint is not None and state.detector is not None:
            state.connected(endpoint.key, final=True)
        self._record.upstream_local = text_of(upstream.local)
        self._plane.sink.opened(self._record)
        self._tunnel = Tunnel(client, upstream, self._ended)
        if self._first:
            self._tunnel.count(len(self._first))
            upstream.send(self._first)
            self._first = b""
        if rest:
            self._tunnel.count(0, len(rest))
            client.send(rest)
        self._timer = self._plane.reactor.deadline(REPORT_EVERY, self._report)

    def lost(self, reason: str) -> None:
        self._cancel()
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.close()
            self._judge(TIMEOUT if reason == CONNECT_TIMEOUT else RESET)
        self.fail("UF,URX", reason)

    # --

    def _judge(self, status: int) -> None:
        """There is no connection: count that, and have outlier detection hear of it."""
        state, endpoint = self._state, self._endpoint
        if state is not None and endpoint is not None:
            state.stats.upstream_cx_connect_fail += 1
            if self._pool is not None:
                self._pool.cx_connect_fail += 1
            state.stats.upstream_cx_connect_timeout += status == TIMEOUT
            if state.detector is not None:
                state.failed(endpoint.key, status)

    def _too_long(self) -> None:
        """Istio: `maxConnectionDuration` ends the client's connection, whatever it carries."""
        self._to_end = None
        if self._tunnel is not None:
            self._tunnel.end("DT")
        elif self._upstream is not None:
            upstream, self._upstream = self._upstream, None
            self._cancel()
            upstream.close()
            self.fail("DT")

    def _ended(self, received: int, sent: int, flag: str) -> None:
        self._cancel()
        self._record.flags = flag
        self._progress(received, sent)
        self._finish(received, sent)

    def _finish(self, received: int, sent: int) -> None:
        record = self._record
        record.duration = self._plane.reactor.now() - self._began
        record.bytes_received, record.bytes_sent = received, sent
        if self._to_end is not None:
            self._to_end.cancel()
        if self._state is not None and self._endpoint is not None:
            self._state.connections -= 1
            self._state.balancing.end(self._endpoint)
            if self._pool is not None:
                self._pool.sessions -= 1
        self._plane.sink.closed(record)

    def _report(self) -> None:
        tunnel = self._tunnel
        if tunnel is None:
            return
        now = self._plane.reactor.now()
        if self._progress(tunnel.received, tunnel.sent):
            self._moved_at = now
        elif now - self._moved_at >= self._limits.tcp_idle_timeout > 0:
            self._timer = None
            tunnel.end("")
            return
        self._timer = self._plane.reactor.deadline(REPORT_EVERY, self._report)

    def _progress(self, received: int, sent: int) -> bool:
        """Tell what moved since the last time; whether anything did."""
        before, self._told = self._told, (received, sent)
        if before == self._told:
            return False
        self._plane.sink.progress(self._record, received - before[0], sent - before[1])
        return True

    def _too_slow(self) -> None:
        self._timer = None
        self.lost(CONNECT_TIMEOUT)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
