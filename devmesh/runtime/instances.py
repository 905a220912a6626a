"""The instances that run now, for the pilot."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from devmesh.config.kinds import NODE, Kind
from devmesh.config.store import Raw, Store, Stored
from devmesh.model.identity import Identity
from devmesh.model.workload import Instance, Workload
from devmesh.runtime.pods.admission import is_gateway, is_meshed

_TOPOLOGY = ("topology.kubernetes.io/region", "topology.kubernetes.io/zone", "topology.istio.io/subzone")
LOCALITY_LABEL = "istio-locality"


class Instances:
    """All instances, by id. Pods' runners write here; the pilot reads and subscribes."""

    def __init__(self) -> None:
        self._instances: dict[str, Instance] = {}
        self._subscribers: list[Callable[[], None]] = []

    @property
    def current(self) -> Mapping[str, Instance]:
        """The instances now. The mapping changes; take a copy to keep it."""
        return self._instances

    def get(self, instance: str) -> Instance | None:
        return self._instances.get(instance)

    def subscribe(self, subscriber: Callable[[], None]) -> None:
        """Call `subscriber`, which must be quick, after each change."""
        self._subscribers.append(subscriber)

    def put(self, instance: Instance) -> None:
        if self._instances.get(instance.id) != instance or _maps_differ(
            self._instances[instance.id], instance
        ):
            self._instances[instance.id] = instance
            self._tell()

    def remove(self, instance: str) -> None:
        if self._instances.pop(instance, None) is not None:
            self._tell()

    def _tell(self) -> None:
        for subscriber in self._subscribers:
            subscriber()


def _maps_differ(before: Instance, after: Instance) -> bool:
    return before.ports != after.ports or before.labels != after.labels


def describe(
    store: Store,
    pod: Stored,
    addresses: tuple[str, ...],
    *,
    ready: bool,
    trust_domain: str,
    ending: bool = False,
) -> Instance:
    """Return the instance that a pod is."""
    spec = pod.raw["spec"]
    kind, name = top_owner(store, pod)
    return Instance(
        id=pod.uid,
        pod=pod.name,
        workload=Workload(name, pod.namespace, kind, dict(pod.labels)),
        identity=Identity(trust_domain, pod.namespace, spec.get("serviceAccountName") or "default"),
        addresses=addresses,
        ready=ready,
        meshed=is_meshed(pod.raw),
        gateway=is_gateway(pod.raw),
        ports=_named_ports(spec),
        locality=_locality(store, pod),
        proxy_config=pod.annotations.get("proxy.istio.io/config", ""),
        ending=ending,
    )


def top_owner(store: Store, pod: Stored) -> tuple[str, str]:
    """Return kind and name of what the mesh calls the pod's workload.

    Istio: the controller's controller for a ReplicaSet (a Deployment) and a Job (a CronJob), else
    the controller; a pod without one is its own workload.
    """
    owner, kind, name = pod.controller, "Pod", pod.name
    while owner is not None:
        kind, name = owner["kind"], owner["name"]
        found = _find(store, kind, pod.namespace, name)
        owner = found.controller if found else None
    return kind, name


def _find(store: Store, kind: str, namespace: str, name: str) -> Stored | None:
    known: Kind | None = next((k for k in store.kinds if k.kind == kind), None)
    return store.get(known, namespace, name) if known else None


def _named_ports(spec: Raw) -> dict[str, int]:
    containers = [*spec.get("containers", ()), *(spec.get("initContainers") or ())]
    return {
        port["name"]: int(port["containerPort"])
        for container in containers
        for port in container.get("ports") or ()
        if port.get("name")
    }


def _locality(store: Store, pod: Stored) -> str:
    """Return ``region/zone/subzone``.

    Istio: the pod's label `istio-locality` (dots for slashes), else the node's topology labels. Since here is
    one node alone, a pod may have those itself.
    """
    if own := pod.labels.get(LOCALITY_LABEL):
        return own.replace(".", "/")
    node = store.get(NODE, "", pod.raw["spec"].get("nodeName", ""))
    labels = {**(node.labels if node is not None else {}), **pod.labels}
    return "/".join(labels.get(key, "") for key in _TOPOLOGY).rstrip("/")
