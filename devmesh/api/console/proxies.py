"""The proxies: which there are, and what each of them answers on its admin interface."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version

from devmesh.api.console.answers import Refused
from devmesh.api.console.instances import proxy_of
from devmesh.api.console.rows import ProxyRow
from devmesh.proxy.admin.http import Asked, Reply
from devmesh.proxy.admin.ports import Admin
from devmesh.snapshot.snapshot import Snapshot

Ejected = Callable[[str, tuple[str, int]], bool]


def proxies(snapshot: Snapshot) -> list[ProxyRow]:
    """Return a row for each proxy, by name. All of them have the newest snapshot: it is one process."""
    rows = [
        ProxyRow(
            name=f"{proxy.instance.pod}.{proxy.instance.namespace}",
            cluster="Kubernetes",
            cds="SYNCED",
            lds="SYNCED",
            eds="SYNCED",
            rds="SYNCED",
            ecds="NOT SENT",
            istiod="devmesh",
            version=version("devmesh"),
            snapshot=snapshot.version,
        )
        for proxy in snapshot.proxies.values()
    ]
    return sorted(rows, key=lambda row: row.name)


async def ask(
    admin: Admin | None, snapshot: Snapshot, namespace: str, name: str, method: str, target: str
) -> Reply:
    """Ask the proxy of a pod, or of a workload's first ready pod.

    Raises:
        Refused: 404: there is no such proxy.
    """
    instance = proxy_of(snapshot, namespace, name).instance.id
    if admin is None:
        raise Refused(404, "this mesh's proxies have no admin interface")
    return await admin.ask(instance, Asked.of(method, target))


def ejected_by(admin: Admin | None, instance: str) -> Ejected:
    """Return what tells, by a cluster's name and an address, whether outlier detection leaves it out."""
    if admin is None:
        return lambda cluster, key: False
    clusters = admin.view(instance).state.clusters

    def is_ejected(cluster: str, key: tuple[str, int]) -> bool:
        state = clusters.get(cluster)
        return state is not None and key in state.balancing.ejected

    return is_ejected
