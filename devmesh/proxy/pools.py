"""What a proxy remembers of its clusters between requests: connections, limits, outliers."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from devmesh.proxy.cluster_stats import ClusterStats
from devmesh.proxy.deadlines import Deadline
from devmesh.proxy.downstream_stats import HttpStats
from devmesh.proxy.reactor import Address, Reactor
from devmesh.proxy.sockets import text_of
from devmesh.snapshot.cluster import Cluster, Endpoint, Limits, TlsMode, UpstreamTls
from devmesh.traffic.balancing import State
from devmesh.traffic.hashing import Tables, signature, tables
from devmesh.traffic.limiting import Buckets
from devmesh.traffic.outlier import Detector, Ejections

if TYPE_CHECKING:
    from devmesh.proxy.exchange import Exchange
    from devmesh.proxy.http2.multiplex import Multiplex
    from devmesh.proxy.upstream import Upstream

log = logging.getLogger(__name__)

_NO_TLS = UpstreamTls(TlsMode.DISABLE)


@dataclass(frozen=True, slots=True)
class Variant:
    """What tells apart connections to one endpoint that may not be shared.

    Attributes:
        server_name: The host that is asked for by TLS; "": as the cluster says.
        addresses: Whose connections the PROXY protocol tells of: the client's address, and where it meant
            to go. None: nobody's.
    """

    server_name: str = ""
    addresses: tuple[Address, Address] | None = None


SHARED = Variant()
Key = tuple[str, int] | tuple[str, int, Variant]


class Pool:
    """The connections of one proxy to one endpoint of one cluster. The latest used is the first reused.

    Attributes:
        is_mesh_tls: They are mutual TLS by the mesh's own certificates.
        host, identity: The endpoint's, as text.
        multiplex: Its connections of HTTP/2; None: there never was one.
        sessions: Of TCP, which have connections of their own.
        cx_total, cx_connect_fail, rq_total, rq_error, rq_timeout: What Envoy counts of a host.
    """

    __slots__ = (
        "cluster",
        "connections",
        "cx_connect_fail",
        "cx_total",
        "endpoint",
        "host",
        "identity",
        "idle",
        "is_mesh_tls",
        "multiplex",
        "rq_error",
        "rq_timeout",
        "rq_total",
        "sessions",
        "variant",
        "waiting",
    )

    def __init__(self, cluster: ClusterState, endpoint: Endpoint, variant: Variant = SHARED) -> None:
        self.cluster = cluster
        self.variant = variant
        self.idle: list[Upstream] = []
        self.connections = 0
        self.sessions = self.cx_total = self.cx_connect_fail = 0
        self.rq_total = self.rq_error = self.rq_timeout = 0
        self.waiting: deque[Exchange] = deque()  # for a connection, while there are as many as allowed
        self.multiplex: Multiplex | None = None
        self.host = text_of(endpoint.key)
        self.use(endpoint)

    @property
    def own(self) -> int:
        """How many of the connections are of HTTP/1.1, or end: those that somebody may wait for."""
        shared = self.multiplex
        return self.connections if shared is None else self.connections - len(shared.connections)

    def use(self, endpoint: Endpoint) -> None:
        """Connect to `endpoint` from now on; its address and port are as before."""
        self.endpoint = endpoint
        self.identity = str(endpoint.identity) if endpoint.identity is not None else ""
        mode = self.cluster.tls.mode
        self.is_mesh_tls = mode is TlsMode.ISTIO_MUTUAL or (mode is TlsMode.AUTO and endpoint.mtls)


class ClusterState:
    """What a proxy remembers of a cluster; it outlives snapshots.

    Attributes:
        used: The cluster as it was last used.
        requests: Under way, with a connection.
        pending: Waiting for one.
        retries: Of the requests, those that were tried before, or are about to be.
        detector: Of outliers, where that is configured. `judged` and `sweep` keep it going.
    """

    __slots__ = (
        "_reactor",
        "_waiting",
        "balancing",
        "connections",
        "detector",
        "ejections",
        "pending",
        "pools",
        "requests",
        "retries",
        "stats",
        "sweeping",
        "tls",
        "used",
    )

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._waiting: list[Callable[[], None]] | None = None  # for tables that are being made
        self.balancing = State()
        self.pools: dict[Key, Pool] = {}
        self.used: Cluster | None = None
        self.requests = 0
        self.pending = 0
        self.connections = 0
        self.retries = 0
        self.stats = ClusterStats()
        self.ejections = Ejections()
        self.detector: Detector | None = None
        self.sweeping: Deadline | None = None
        self.tls = _NO_TLS

    def deadline(self, after: float, callback: Callable[[], None]) -> Deadline:
        return self._reactor.deadline(after, callback)

    def now(self) -> float:
        return self._reactor.now()

    def use(self, cluster: Cluster) -> None:
        """Follow a cluster's settings and endpoints from now on."""
        before, self.used = self.used, cluster
        if before is not None and (before.http2, before.by_client) != (cluster.http2, cluster.by_client):
            self.close_idle()  # Envoy: another cluster, with pools of its own
        if self.tls is not cluster.tls:
            self.use_tls(cluster.tls)
        if cluster.warm_up is not None:
            self.balancing.meet(cluster, self._reactor.now())
        if cluster.outlier is not None or self.detector is not None:
            self._detect(cluster)

    def _detect(self, cluster: Cluster) -> None:
        """Envoy: other settings are another detector, which begins anew."""
        if self.detector is None or self.detector.settings != cluster.outlier:
            self.balancing.ejected.clear()
            self.detector = None
            if cluster.outlier is not None:
                now = self._reactor.now()
                self.detector = Detector(cluster.outlier, self.balancing.ejected, self.ejections, now)
        if self.detector is not None:
            self.detector.watch(endpoint.key for endpoint in cluster.endpoints)
        self.balancing.changed()

    @property
    def is_in_use(self) -> bool:
        """Whether anything counts on it."""
        return bool(self.connections or self.requests or self.pending or self.retries)

    def close(self) -> None:
        """Let go of a cluster that is gone."""
        if self.sweeping is not None:
            self.sweeping.cancel()
            self.sweeping = None

    def prepare_tables(self, cluster: Cluster, then: Callable[[], None]) -> bool:
        """Tell whether a cluster that hashes can be asked; else `then` is called as soon as it can.

        Large tables are made aside. Meanwhile those of before serve.
        """
        balancing = self.balancing
        if not balancing.needs_tables(cluster):
            return True
        if self._waiting is None:
            waiting = self._waiting = []

            def made(result: Tables | Exception) -> None:
                self._waiting = None
                if isinstance(result, Exception):
                    log.error("cannot build what %s hashes by", cluster.name, exc_info=result)
                    result = Tables(signature(cluster), ())
                balancing.keep(result)
                for call in waiting:
                    call()

            self._reactor.aside(lambda: tables(cluster), made)
        if balancing.has_tables:
            return True
        self._waiting.append(then)
        return False

    # -- outlier detection: for when there is a detector --

    def answered(self, key: tuple[str, int], status: int) -> None:
        """Have a response judged."""
        detector = self.detector
        if detector is not None and detector.answered(key, status, self._reactor.now()):
            self._ejected()

    def failed(self, key: tuple[str, int], status: int) -> None:
        """Have a failure on this side judged."""
        detector = self.detector
        if detector is not None and detector.failed(key, self._reactor.now(), status):
            self._ejected()

    def connected(self, key: tuple[str, int], *, final: bool = False) -> None:
        """Have it noted that there is a connection."""
        if self.detector is not None:
            self.detector.connected(key, self._reactor.now(), final=final)

    def _ejected(self) -> None:
        self.balancing.changed()
        if self.sweeping is None:
            self._sweep_later()

    def _sweep_later(self) -> None:
        now = self._reactor.now()
        at = self.detector.next_sweep(now) if self.detector is not None else None
        self.sweeping = self._reactor.deadline(at - now, self._sweep) if at is not None else None

    def _sweep(self) -> None:
        self.sweeping = None
        if self.detector is not None:
            if self.detector.sweep(self._reactor.now()):
                self.balancing.changed()
            self._sweep_later()

    def most_retries(self, limits: Limits) -> int:
        """Return how many retries may be under way at once."""
        budget = limits.retry_budget
        if budget is None:
            return limits.max_retries
        return max(budget.minimum, int((self.requests + self.pending) * budget.percent / 100))

    def pool(self, endpoint: Endpoint, variant: Variant = SHARED) -> Pool:
        """Return the pool for `endpoint`. Where it is another than before under the same address (another
        instance, identity or way to speak), nothing that is idle is used again."""
        key: Key = endpoint.key if variant is SHARED else (*endpoint.key, variant)
        pool = self.pools.get(key)
        if pool is None:
            pool = self.pools[key] = Pool(self, endpoint, variant)
        elif pool.endpoint is not endpoint:
            old = pool.endpoint
            pool.use(endpoint)
            if (old.instance, old.identity, old.mtls) != (
                endpoint.instance,
                endpoint.identity,
                endpoint.mtls,
            ):
                self.close_idle(pool)
        return pool

    def use_tls(self, tls: UpstreamTls) -> None:
        """Speak so to the cluster from now on."""
        changed, self.tls = self.tls != tls, tls
        for pool in self.pools.values():
            pool.use(pool.endpoint)
            if changed:
                self.close_idle(pool)

    def close_idle(self, pool: Pool | None = None) -> None:
        """Close the connections, of one pool or all, that carry nothing."""
        for each in [pool] if pool is not None else list(self.pools.values()):
            idle, each.idle = each.idle, []
            for upstream in idle:
                upstream.discard()
            if each.multiplex is not None:
                each.multiplex.retire()


class ProxyState:
    """What one proxy remembers, by the names of its clusters.

    Attributes:
        http: What is counted of clients, by Envoy's ``stat_prefix``.
        accepted: Connections that arrived, by listener.
        buckets: The token buckets of its rate limits.
        limited: What rate limits count, by ``stat_prefix``.
        began: When it was first heard of, by the reactor's clock.
        draining: Clients are told to go, since the listeners will be closed.
        failing: Health checks are told that it is not well (Envoy: ``/healthcheck/fail``).
        closing: One of the two: connections end with the next answer.
    """

    __slots__ = (
        "_reactor",
        "accepted",
        "began",
        "buckets",
        "closing",
        "clusters",
        "draining",
        "failing",
        "http",
        "instance",
        "limited",
    )

    def __init__(self, instance: str, reactor: Reactor) -> None:
        self.instance = instance
        self._reactor = reactor
        self.clusters: dict[str, ClusterState] = {}
        self.http: dict[str, HttpStats] = {}
        self.accepted: dict[str, int] = {}
        self.buckets: Buckets = {}
        self.limited: dict[str, dict[str, int]] = {}
        self.began = reactor.now()
        self.draining = self.failing = self.closing = False

    def http_stats(self, prefix: str) -> HttpStats:
        stats = self.http.get(prefix)
        if stats is None:
            stats = self.http[prefix] = HttpStats()
        return stats

    def drain(self) -> None:
        """Tell clients to go from now on."""
        self.draining = self.closing = True

    def fail(self, failing: bool) -> None:
        """Tell health checks and clients that it is not well, or is again."""
        self.failing = failing
        self.closing = failing or self.draining

    def reset_counters(self) -> None:
        """Begin to count anew."""
        for state in self.clusters.values():
            state.stats.reset()
            state.ejections.reset()
            state.balancing.panics = 0
        for stats in self.http.values():
            stats.reset()
        for counted in (self.accepted, *self.limited.values()):
            for name in counted:
                counted[name] = 0

    def cluster(self, name: str) -> ClusterState:
        state = self.clusters.get(name)
        if state is None:
            state = self.clusters[name] = ClusterState(self._reactor)
        return state

    def restart(self) -> None:
        """Be as new, save for what is under way."""
        self.close_idle()
        self.reset_counters()
        self.draining = False
        self.fail(False)
        self.began = self._reactor.now()

    def close_idle(self) -> None:
        for state in self.clusters.values():
            state.close_idle()
