"""One proxy as the admin interface sees it: configuration, what it remembers, what may be done to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from devmesh.proxy.plane import Plane
from devmesh.proxy.pools import ClusterState, ProxyState
from devmesh.security.contexts import SecretInfo
from devmesh.snapshot.cluster import Cluster, ClusterKind, Endpoint, ServiceRef, TlsMode, UpstreamTls
from devmesh.snapshot.proxy import Proxy
from devmesh.snapshot.snapshot import Snapshot

Listening = tuple[str, str, int]
"""Something that is open: its name (Envoy's), address, port."""


class Controls(Protocol):
    """What can be done to a proxy."""

    def drain(self, instance: str, *, inbound_only: bool) -> None:
        """Close the listeners, so that new connections are refused; those there go on."""

    def restart(self, instance: str) -> None:
        """Begin as a new proxy would: listeners open, idle connections gone, counters at 0."""

    def listening(self, instance: str) -> list[Listening]:
        """Return what is open."""


@dataclass(frozen=True, slots=True)
class View:
    """What the commands read.

    Attributes:
        proxy: None: the instance is not in the configuration (yet, or any more).
        now: Seconds since the epoch.
        secret: What the proxy proves itself with.
        metrics: Returns ``istio_*`` of this proxy in Prometheus' text format, in pieces.
    """

    instance: str
    plane: Plane
    snapshot: Snapshot
    proxy: Proxy | None
    state: ProxyState
    controls: Controls
    now: float
    secret: SecretInfo | None
    metrics: Callable[[Proxy], Iterable[str]]

    def clusters(self) -> Iterator[tuple[Cluster, ClusterState]]:
        """Yield every cluster with what is remembered of it, by name; an unused one's state is empty."""
        known: dict[str, Cluster] = {}
        if self.proxy is not None:
            known.update(self.proxy.outbound.clusters)
            for port, inbound in self.proxy.inbound.ports.items():
                known[inbound.cluster] = inbound_cluster(self.proxy, port)
        for name, state in list(self.state.clusters.items()):
            if name not in known and state.used is not None:
                known[name] = state.used  # gone from the configuration, its last requests go on
        unused = ClusterState(self.plane.reactor)
        for name in sorted(known):
            yield known[name], self.state.clusters.get(name, unused)


def inbound_cluster(proxy: Proxy, port: int) -> Cluster:
    """Return the cluster of one of the proxy's own ports, as it is shown."""
    found = proxy.inbound.ports[port]
    address = proxy.instance.addresses[0] if proxy.instance.addresses else "127.0.0.1"
    return Cluster(
        found.cluster,
        found.service or ServiceRef("", "", proxy.instance.namespace),
        port,
        kind=ClusterKind.ORIGINAL_DST,
        endpoints=(Endpoint(address, port),),
        tls=UpstreamTls(TlsMode.DISABLE),
    )
