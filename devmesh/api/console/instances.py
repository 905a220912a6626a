"""Finds the instance or the instances that a name in a URL means."""

from __future__ import annotations

import difflib

from devmesh.api.console.answers import Refused
from devmesh.model.workload import Instance
from devmesh.snapshot.proxy import Proxy
from devmesh.snapshot.snapshot import Snapshot

_PREFIXES = (
    "deploy",
    "deployment",
    "deployments",
    "pod",
    "po",
    "pods",
    "sts",
    "statefulset",
    "ds",
    "daemonset",
)


def instances_of(snapshot: Snapshot, namespace: str | None, name: str | None) -> list[Instance]:
    """Return the instances of a pod or workload called `name` (``deploy/NAME`` does too), the ready first.

    Args:
        namespace: None: in any.
        name: None: all of them.

    Raises:
        Refused: 404, with the nearest name.
    """
    found = [i for i in snapshot.instances.values() if is_meant(i, namespace, name)]
    if not found and (name or namespace):
        raise Refused(404, _missing(snapshot, namespace, name))
    return sorted(found, key=lambda i: (not i.ready, i.pod))


def is_meant(instance: Instance, namespace: str | None, name: str | None) -> bool:
    """Tell whether an instance is among those that `instances_of` finds."""
    if namespace is not None and instance.namespace != namespace:
        return False
    return name is None or _bare(name) in (instance.pod, instance.workload.name)


def _bare(name: str) -> str:
    kind, slash, rest = name.partition("/")
    return rest if slash and kind in _PREFIXES else name


def proxy_of(snapshot: Snapshot, namespace: str, name: str) -> Proxy:
    """Return the proxy of a pod, or of a workload's first ready instance.

    Raises:
        Refused: 404: there is no such pod, or it is outside the mesh.
    """
    instances = instances_of(snapshot, namespace, name)
    for instance in instances:
        if proxy := snapshot.proxies.get(instance.id):
            return proxy
    raise Refused(
        404,
        f"{instances[0].pod} has no proxy: it runs outside the mesh; label its namespace "
        "istio-injection=enabled and restart it",
    )


def _missing(snapshot: Snapshot, namespace: str | None, name: str | None) -> str:
    inside = [i for i in snapshot.instances.values() if is_meant(i, namespace, None)]
    if namespace is not None and not inside:
        names = ", ".join(sorted({i.namespace for i in snapshot.instances.values()})) or "none"
        return f"nothing runs in namespace {namespace!r}; namespaces with pods: {names}"
    known = {n for i in inside for n in (i.workload.name, i.pod)}
    near = difflib.get_close_matches(_bare(name or ""), known, 1)
    where = f" in namespace {namespace!r}" if namespace else ""
    hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(sorted(known)) or 'none'}"
    return f"no pod or workload {name!r}{where}; {hint}"
