"""ServiceEntries as entries of the registry, one for each host."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from devmesh.config.documents.serviceentry import ServiceEntry, ServiceEntrySpec, WorkloadEntrySpec
from devmesh.config.documents.serviceentry import ServicePort as EntryPort
from devmesh.config.typed import typed
from devmesh.model.identity import Identity
from devmesh.model.port import Port, protocol_of
from devmesh.model.service import Resolution, Service
from devmesh.pilot.localities import distribution_of
from devmesh.pilot.memo import Memo
from devmesh.pilot.problems import Problems
from devmesh.pilot.registry import NO_LABELS, Backend, Entry, Instances, ready
from devmesh.pilot.resources import Loaded, Resources
from devmesh.pilot.settings import Settings
from devmesh.pilot.workload_entries import WorkloadEntries

Loading = Loaded[ServiceEntrySpec]

_RESOLUTIONS = {
    "STATIC": Resolution.STATIC,
    "DNS": Resolution.DNS,
    "DYNAMIC_DNS": Resolution.DYNAMIC_DNS,
    "DNS_ROUND_ROBIN": Resolution.DNS_ROUND_ROBIN,
}


def entries(
    resources: Resources,
    instances: Instances,
    workload_entries: WorkloadEntries,
    settings: Settings,
    memo: Memo,
    problems: Problems,
) -> Iterator[Entry]:
    """Yield the entry of each host, without its endpoints.

    Istio: entries of one namespace for the same host are one service, with the ports and endpoints of all.
    """
    found: dict[tuple[str, str], Entry] = {}
    for loaded in resources.service_entries:
        with problems.contained(loaded.stored):
            for host in loaded.spec.hosts:
                entry = _entry(loaded, host.lower(), instances, workload_entries, settings, memo)
                key = (loaded.namespace, entry.host)
                found[key] = _merged(found[key], entry, memo) if key in found else entry
    yield from found.values()


def _entry(
    loaded: Loading,
    host: str,
    instances: Instances,
    workload_entries: WorkloadEntries,
    settings: Settings,
    memo: Memo,
) -> Entry:
    service = memo.get(
        ("service entry", loaded.stored.key, host),
        (loaded, settings),
        _service,
        loaded,
        host,
        settings,
    )
    members = tuple(_members(loaded, host, instances, workload_entries))
    return Entry(
        service,
        loaded.origin(),
        kubernetes=False,
        backends=ready(members),
        members=members,
        distribution=distribution_of(None, loaded.stored.annotations),
        subject_alt_names=loaded.spec.subject_alt_names,
    )


def _merged(first: Entry, second: Entry, memo: Memo) -> Entry:
    mine, other = first.service, second.service
    numbers = {port.number for port in mine.ports}
    ports = (*mine.ports, *(port for port in other.ports if port.number not in numbers))
    addresses = tuple(dict.fromkeys((*mine.addresses, *other.addresses)))
    ranges = tuple(dict.fromkeys((*mine.ranges, *other.ranges)))
    service = memo.get(
        ("service entries", mine.host, mine.namespace, ports, addresses, ranges),
        (mine, other),
        lambda: replace(mine, ports=ports, addresses=addresses, ranges=ranges),
    )
    return replace(
        first,
        service=service,
        backends=(*first.backends, *second.backends),
        members=(*first.members, *second.members),
    )


def _service(loaded: Loading, host: str, settings: Settings) -> Service:
    spec = loaded.spec
    return Service(
        host=host,
        name=host,
        namespace=loaded.namespace,
        ports=tuple(_port(port) for port in spec.ports),
        addresses=addresses(loaded, host),
        resolution=_RESOLUTIONS.get(spec.resolution or "NONE", Resolution.NONE),
        external=spec.location != "MESH_INTERNAL",
        export_to=spec.export_to or settings.service_export_to,
        ranges=_ranges(loaded),
    )


def addresses(loaded: Loading, host: str) -> tuple[str, ...]:
    """Return a host's virtual addresses: those written, else the one that was given out (in the status)."""
    if loaded.spec.addresses:
        plain = (address.removesuffix("/32") for address in loaded.spec.addresses)
        return tuple(address for address in plain if "/" not in address)
    status = typed(loaded.stored, ServiceEntry).status
    given = status.addresses if status else ()
    return tuple(address.value for address in given if address.host.lower() == host)


def _ranges(loaded: Loading) -> tuple[str, ...]:
    return tuple(address for address in loaded.spec.addresses if "/" in address.removesuffix("/32"))


def _port(port: EntryPort) -> Port:
    protocol = protocol_of("", port.protocol or None, number=port.number)
    return Port(port.name, port.number, protocol, port.target_port or port.number)


def _members(
    loaded: Loading, host: str, instances: Instances, workload_entries: WorkloadEntries
) -> Iterator[Backend]:
    spec = loaded.spec
    for endpoint in spec.endpoints:
        yield _backend(endpoint, loaded.namespace, instances, workload_entries.trust_domain)
    if spec.workload_selector and spec.workload_selector.labels:
        labels = spec.workload_selector.labels
        for instance in instances.selected(loaded.namespace, labels):
            for address in instance.addresses[:1]:
                yield Backend(address, {}, instance.labels, instance)
        yield from workload_entries.selected(loaded.namespace, labels)
    elif not spec.endpoints and spec.resolution in ("DNS", "DNS_ROUND_ROBIN") and not host.startswith("*"):
        yield Backend(host, {}, NO_LABELS)


def _backend(endpoint: WorkloadEntrySpec, namespace: str, instances: Instances, trust_domain: str) -> Backend:
    account = endpoint.service_account
    return Backend(
        endpoint.address,
        endpoint.ports,
        endpoint.labels,
        instances.by_address.get(endpoint.address),
        endpoint.weight or 1,
        endpoint.locality or endpoint.labels.get("istio-locality", "").replace(".", "/"),
        identity=Identity(trust_domain, namespace, account) if account else None,
    )
