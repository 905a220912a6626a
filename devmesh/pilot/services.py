"""Kubernetes' Services as entries of the registry."""

from __future__ import annotations

from collections.abc import Iterator

from devmesh.config import kinds
from devmesh.config.addresses import virtual_address
from devmesh.config.documents.endpoints import Endpoints
from devmesh.config.documents.endpointslices import EndpointSlice
from devmesh.config.documents.services import ServicePort, ServiceSpec
from devmesh.config.store import Store
from devmesh.config.typed import typed
from devmesh.model.host import service_host
from devmesh.model.port import Port, protocol_of
from devmesh.model.service import Resolution, Service
from devmesh.pilot.localities import distribution_of
from devmesh.pilot.memo import Memo
from devmesh.pilot.problems import Problems
from devmesh.pilot.registry import NO_LABELS, Backend, Entry, Instances, ready
from devmesh.pilot.resources import Loaded, Resources
from devmesh.pilot.settings import Settings
from devmesh.pilot.workload_entries import WorkloadEntries

SERVICE_LABEL = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
# Controllers that write slices from pods and from Endpoints, which are read themselves.
_OURS = ("endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io")
EXPORT_TO = "networking.istio.io/exportTo"


def entries(
    resources: Resources,
    store: Store,
    instances: Instances,
    workload_entries: WorkloadEntries,
    settings: Settings,
    memo: Memo,
    problems: Problems,
) -> Iterator[Entry]:
    """Yield the entry of each Service, without its endpoints."""
    known = _known(resources, settings)
    taken = {spec.cluster_ip for spec in (s.spec for s in resources.services) if spec.cluster_ip}
    for loaded in resources.services:
        with problems.contained(loaded.stored):
            address = _address(loaded, taken)
            service = memo.get(
                ("service", loaded.stored.key, address),
                (loaded, settings),
                _service,
                loaded,
                address,
                settings,
            )
            alias = _alias(loaded.spec)
            members = _members(loaded, store, instances, workload_entries)
            if alias and alias not in known:
                members = (Backend(alias, {}, NO_LABELS),)
            yield Entry(
                service,
                loaded.origin(),
                headless=loaded.spec.cluster_ip == "None",
                backends=ready(members, even_not=bool(loaded.spec.publish_not_ready_addresses)),
                members=members,
                alias_of=alias if alias in known else "",
                external_name=alias,
                distribution=_distribution(loaded, store),
            )


def _address(loaded: Loaded[ServiceSpec], taken: set[str]) -> str:
    """Return the virtual address; admission gives one, so that only unusual stores lack it."""
    spec = loaded.spec
    if spec.type == "ExternalName" or spec.cluster_ip == "None":
        return ""
    if spec.cluster_ip:
        return spec.cluster_ip
    address = virtual_address(f"{loaded.name}.{loaded.namespace}", taken)
    taken.add(address)
    return address


def _distribution(loaded: Loaded[ServiceSpec], store: Store) -> str:
    namespace = store.get(kinds.NAMESPACE, "", loaded.namespace)
    above = namespace.annotations if namespace is not None else {}
    return distribution_of(loaded.spec.traffic_distribution, loaded.stored.annotations, above)


def _known(resources: Resources, settings: Settings) -> frozenset[str]:
    """Return the hosts of all Services and ServiceEntries. What else an ExternalName Service may name is of
    the world: it is looked up as a ServiceEntry's name would be."""
    own = {service_host(s.name, s.namespace, settings.domain) for s in resources.services}
    return frozenset(own.union(*(entry.spec.hosts for entry in resources.service_entries)))


def _alias(spec: ServiceSpec) -> str:
    return (spec.external_name or "").lower().rstrip(".") if spec.type == "ExternalName" else ""


def _service(loaded: Loaded[ServiceSpec], address: str, settings: Settings) -> Service:
    spec = loaded.spec
    export_to = loaded.stored.annotations.get(EXPORT_TO)
    others = [ip for ip in spec.cluster_ips if ip not in (address, "None")] if address else []
    return Service(
        host=service_host(loaded.name, loaded.namespace, settings.domain),
        name=loaded.name,
        namespace=loaded.namespace,
        ports=tuple(_port(port) for port in spec.ports),
        addresses=(address, *others) if address else (),
        resolution=Resolution.NONE if spec.cluster_ip == "None" else Resolution.CLIENT_SIDE,
        selector=spec.selector,
        export_to=_names(export_to) if export_to else settings.service_export_to,
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _port(port: ServicePort) -> Port:
    target = port.target_port or port.port
    if isinstance(target, str) and target.isdigit():
        target = int(target)
    name = port.name or ""
    protocol = protocol_of(name, port.app_protocol, port.protocol or "TCP", port.port)
    return Port(name, port.port, protocol, target)


def _members(
    loaded: Loaded[ServiceSpec], store: Store, instances: Instances, workload_entries: WorkloadEntries
) -> tuple[Backend, ...]:
    spec = loaded.spec
    if not spec.selector:
        return _manual(store, loaded, instances)
    pods = [
        Backend(address, {}, instance.labels, instance)
        for instance in instances.selected(loaded.namespace, spec.selector)
        for address in instance.addresses[:1]
    ]
    return (*pods, *workload_entries.selected(loaded.namespace, spec.selector))


def _manual(store: Store, loaded: Loaded[ServiceSpec], instances: Instances) -> tuple[Backend, ...]:
    """Return what the Endpoints object and the EndpointSlices of a Service without a selector name."""
    found: dict[tuple[str, tuple[tuple[str, int], ...]], Backend] = {}
    written = (*_of_endpoints(store, loaded), *_of_slices(store, loaded))
    for address, ports, healthy in written:
        instance = instances.by_address.get(address)
        labels = instance.labels if instance else NO_LABELS
        made = Backend(address, ports, labels, instance, healthy=healthy)
        found.setdefault((address, tuple(sorted(ports.items()))), made)
    return tuple(found.values())


Written = tuple[str, dict[str, int], bool]
"""An address, its ports by name, and whether it is ready."""


def _of_endpoints(store: Store, loaded: Loaded[ServiceSpec]) -> Iterator[Written]:
    stored = store.get(kinds.ENDPOINTS, loaded.namespace, loaded.name)
    for subset in typed(stored, Endpoints).subsets if stored else ():
        ports = {port.name or "": port.port for port in subset.ports}
        yield from ((address.ip, ports, True) for address in subset.addresses)
        yield from ((address.ip, ports, False) for address in subset.not_ready_addresses)


def _of_slices(store: Store, loaded: Loaded[ServiceSpec]) -> Iterator[Written]:
    """Yield what slices name that users wrote. Istio: host names (FQDN) are left out; unknown is ready."""
    for stored in store.list(kinds.ENDPOINT_SLICE, loaded.namespace):
        if stored.labels.get(SERVICE_LABEL) != loaded.name or stored.labels.get(MANAGED_BY) in _OURS:
            continue
        made = typed(stored, EndpointSlice)
        if made.address_type == "FQDN":
            continue
        ports = {port.name or "": port.port for port in made.ports if port.port}
        for endpoint in made.endpoints:
            ready = endpoint.conditions is None or endpoint.conditions.ready is not False
            yield from ((address, ports, ready) for address in endpoint.addresses[:1])
