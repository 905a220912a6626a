"""Copies of requests, sent to a mirror's cluster; nobody waits for the answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devmesh.proxy.exchange import Exchange
from devmesh.proxy.http1 import Fields, Response
from devmesh.proxy.reactor import Connection
from devmesh.snapshot.cluster import Cluster
from devmesh.snapshot.route import Route, Weighted
from devmesh.traffic.routing import without_port

if TYPE_CHECKING:
    from devmesh.proxy.side import Side

_ROUTE = Route(name="default")


class Nobody:
    """A downstream that takes everything and does nothing with it."""

    pending = 0

    def inform(self, response: Response) -> None: ...

    def answer(self, exchange: Exchange, response: Response, piece: bytes, ended: bool) -> None: ...

    def answer_more(self, piece: bytes, ended: bool, trailers: Fields | None) -> None: ...

    def reply(self, exchange: Exchange, status: int, body: bytes, fields: Fields) -> None: ...

    def finished(self, *, reusable: bool) -> None: ...

    def cut(self) -> None: ...

    def hold(self) -> None: ...

    def unhold(self) -> None: ...

    def surrender(self) -> tuple[Connection, bytes]:
        raise RuntimeError("a mirrored request cannot change its protocol")


def mirrored(side: Side, exchange: Exchange, cluster: Cluster) -> Exchange:
    """Return a copy of `exchange`, ready to be forwarded to `cluster`.

    Envoy: the host gets ``-shadow`` appended, before its port.
    """
    copy = Exchange(side, Nobody(), exchange.request)
    copy.is_copy = True
    copy.route, copy.cluster, copy.weighted = _ROUTE, cluster, Weighted(cluster.name)
    copy.path, copy.trace, copy.request_id = exchange.path, exchange.trace, exchange.request_id
    bare = without_port(exchange.authority)
    copy.authority = f"{bare}-shadow{exchange.authority[len(bare) :]}"
    before, _, after = exchange.head.partition(f"host: {exchange.authority}\r\n")
    copy.head = f"{before}host: {copy.authority}\r\n{after}"
    return copy
