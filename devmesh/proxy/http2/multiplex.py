"""The connections of HTTP/2 to one endpoint: who gets a stream, and when there is another connection."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from devmesh.proxy.http2.client import Http2Client
from devmesh.proxy.plane import Plane
from devmesh.proxy.pools import Pool
from devmesh.snapshot.cluster import Cluster, Limits

if TYPE_CHECKING:
    from devmesh.proxy.exchange import Exchange
    from devmesh.proxy.side import Side


class Multiplex:
    """As Envoy's pool: streams go to the connection that is there; another is made only when it is full.

    Attributes:
        limits: Of the cluster, as it was last used.
        connections: Those that come up or are up and may be given streams.
        waiting: Exchanges that get the next room.
    """

    __slots__ = ("_named", "connections", "limits", "plane", "pool", "waiting")

    def __init__(self, plane: Plane, pool: Pool) -> None:
        self.plane = plane
        self.pool = pool
        self.limits = Limits()
        self.connections: list[Http2Client] = []
        self.waiting: deque[Exchange] = deque()
        self._named = False  # the endpoint's name is being looked up

    def with_room(self) -> Http2Client | None:
        """Return a connection that a stream can be opened on now."""
        for connection in self.connections:
            if connection.has_room:
                return connection
        return None

    def wait(self, exchange: Exchange) -> None:
        """Tell `exchange` when there is room (`Exchange.carried_by`), and see to it that there will be."""
        self.waiting.append(exchange)
        coming = sum(each.most for each in self.connections if not each.is_up)
        if len(self.waiting) <= coming or self._named:
            return
        state = self.pool.cluster
        if state.connections >= self.limits.max_connections:
            state.stats.upstream_cx_overflow += 1
            if self.connections:
                return
        self._dial(exchange.side, exchange.cluster)

    def serve(self) -> None:
        """Give what room there is to those who wait."""
        waiting = self.waiting
        while waiting and (connection := self.with_room()) is not None:
            waiting.popleft().carried_by(connection)

    def unreachable(self, reason: str, *, timeout: bool) -> None:
        """A connection could not be made: nobody waits on (as Envoy has it)."""
        state = self.pool.cluster
        self.pool.cx_connect_fail += 1
        state.stats.upstream_cx_connect_fail += 1
        state.stats.upstream_cx_connect_timeout += timeout
        for exchange in list(self.waiting):
            state.stats.upstream_rq_pending_failure_eject += 1
            exchange.failed("connect-failure", reason, started=False)

    def closed(self, connection: Http2Client) -> None:
        """A connection has ended."""
        if connection in self.connections:
            self.connections.remove(connection)
        pool = self.pool
        pool.connections -= 1
        pool.cluster.connections -= 1
        if connection.is_up and self.waiting and not self.connections:
            first = self.waiting[0]
            self._dial(first.side, first.cluster)
        if pool.waiting:
            pool.waiting.popleft().connection_free()

    def retire(self) -> None:
        """Use no connection for anything new: the endpoint is another now, or gone."""
        old, self.connections = self.connections, [each for each in self.connections if not each.is_up]
        for connection in old:
            if connection.is_up:
                connection.drain()

    def _dial(self, side: Side, cluster: Cluster) -> None:
        pool, state = self.pool, self.pool.cluster
        client = Http2Client(self)

        def named(found: bool) -> None:
            self._named = False
            if found and self.waiting:
                self._dial(side, cluster)
            else:
                for exchange in list(self.waiting):
                    exchange.named(found)

        try:
            connection = side.connect(cluster, pool, client, named, http2=True)
        except OSError as error:
            self.unreachable(error.strerror or str(error), timeout=False)
            return
        if connection is None:
            self._named = True
            return
        pool.connections += 1
        state.connections += 1
        pool.cx_total += 1
        state.stats.upstream_cx_total += 1
        self.connections.append(client)
        client.attach(connection, self.limits.connect_timeout)
