"""What proxies keep is kept only as long as something may come of it."""

from __future__ import annotations

from collections.abc import Iterator

from devmesh.proxy.plane import Plane
from devmesh.proxy.pools import SHARED, ClusterState, Pool
from devmesh.snapshot.cluster import Cluster, ClusterKind
from devmesh.snapshot.snapshot import Snapshot

_ONE_CLIENTS = 60.0  # seconds that connections stay idle that tell of one client (PROXY protocol)
_TO_APPLICATION = ("inbound|", "InboundPassthroughCluster")  # these go with their instance


def prune(plane: Plane, snapshot: Snapshot) -> Iterator[None]:
    """Close idle connections to clusters and endpoints that are gone, and those idle for longer than their
    cluster allows. An idle connection holds a pod's network namespace: it should not outlive the pod.

    Yields between one proxy and the next, for whoever slices the work.
    """
    for instance, state in list(plane.proxies.items()):
        proxy = snapshot.proxies.get(instance)
        for name, cluster in list(state.clusters.items()):
            if name.startswith(_TO_APPLICATION):
                continue
            known = proxy.outbound.clusters.get(name) if proxy is not None else None
            if known is not None:
                _prune_cluster(plane, cluster, known)
            else:
                cluster.close_idle()
                if not cluster.is_in_use:
                    cluster.close()
                    del state.clusters[name]
        yield
    _forget_contexts(plane, snapshot)


def _forget_contexts(plane: Plane, snapshot: Snapshot) -> None:
    """Let go of what was made of servers' secrets that have been replaced."""
    proxies = snapshot.proxies.values()
    used = {tls.secrets for proxy in proxies for listener in proxy.gateway for tls in listener.tls}
    used |= {port.tls.secrets for proxy in proxies for port in proxy.inbound.ports.values() if port.tls}
    for key in [key for key in plane.contexts if key not in used]:
        del plane.contexts[key]


def _prune_cluster(plane: Plane, cluster: ClusterState, known: Cluster) -> None:
    if cluster.used is not known and (known.warm_up is not None or cluster.detector is not None):
        cluster.use(known)  # its endpoints are new now, not when they are first asked
    now, limit = plane.reactor.now(), known.limits.idle_timeout
    there = {endpoint.key for endpoint in known.endpoints}
    for key, pool in list(cluster.pools.items()):
        is_there = pool.endpoint.key in there
        if not is_there and known.kind is not ClusterKind.ORIGINAL_DST:
            cluster.close_idle(pool)
        elif limit:
            # One client's connection can use these alone, and that has ended sooner or later.
            _prune_idle(pool, now, min(limit, _ONE_CLIENTS) if pool.variant.addresses else limit)
        if not pool.connections and not pool.waiting and (not is_there or pool.variant is not SHARED):
            del cluster.pools[key]


def _prune_idle(pool: Pool, now: float, limit: float) -> None:
    for upstream in list(pool.idle):
        if not upstream.since:
            upstream.since = now
        elif upstream.since < now - limit:
            pool.cluster.stats.upstream_cx_idle_timeout += 1
            upstream.discard()
