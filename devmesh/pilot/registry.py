"""The service registry: Services and ServiceEntries, with what is behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from devmesh.model.host import matches
from devmesh.model.identity import Identity
from devmesh.model.port import Port, Protocol
from devmesh.model.service import Service
from devmesh.model.workload import Instance, Workload
from devmesh.pilot.memo import Memo
from devmesh.pilot.peer_authentication import Modes
from devmesh.pilot.visibility import View, is_exported
from devmesh.snapshot.cluster import Endpoint, ServiceRef
from devmesh.snapshot.origin import Origin
from devmesh.snapshot.proxy import MtlsMode

TLS_MODE_LABEL = "security.istio.io/tlsMode"

NO_LABELS: Mapping[str, str] = {}
"""Always the same object, as what did not change has to be."""

Labelled = tuple[tuple[Endpoint, Mapping[str, str]], ...]
"""Endpoints, each with the labels that subsets select by."""


@dataclass(frozen=True, slots=True, eq=False)
class Backend:
    """One place behind a service. `port_of` gives its number for each port of the service.

    `labels` are what subsets select by. What is no instance may still have a workload's name and an identity.
    """

    address: str
    ports: Mapping[str, int]  # by the service port's name: where this place differs from its target
    labels: Mapping[str, str]
    instance: Instance | None = None
    weight: int = 1
    locality: str = ""
    workload: Workload | None = None
    identity: Identity | None = None
    healthy: bool = True
    name: str = ""  # what was looked up for `address`

    @property
    def speaks_mtls(self) -> bool:
        """Whether it says of itself, by Istio's label, that mutual TLS is spoken there."""
        return self.labels.get(TLS_MODE_LABEL) == "istio"

    def port_of(self, port: Port) -> int | None:
        """Return where it listens for a service's port; None: it has no such port."""
        if (own := self.ports.get(port.name)) is not None:
            return own
        if isinstance(port.target, int):
            return port.target
        return self.instance.ports.get(port.target) if self.instance else None


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One service of the registry, the same object as long as nothing about it changes.

    `backends` are the ready ones, `members` all of them. `external_name` is what an ExternalName Service
    stands for, `alias_of` the same where it is another service's host. `distribution` is a Service's
    trafficDistribution, and `subject_alt_names` are what a ServiceEntry expects of its servers' certificates.
    """

    service: Service
    origin: Origin
    headless: bool = False
    kubernetes: bool = True
    backends: tuple[Backend, ...] = ()
    members: tuple[Backend, ...] = ()
    endpoints: Mapping[int, Labelled] = field(default_factory=dict)
    alias_of: str = ""
    external_name: str = ""
    distribution: str = ""
    subject_alt_names: tuple[str, ...] = ()

    @property
    def host(self) -> str:
        return self.service.host

    @property
    def ref(self) -> ServiceRef:
        service = self.service
        return ServiceRef(service.host, service.name, service.namespace)


class Registry:
    """All entries, by host; of two with one host a Kubernetes Service comes first, then the oldest.

    `shape` stays the same object as long as services and their ports do.
    """

    def __init__(self, entries: Sequence[Entry], memo: Memo) -> None:
        self.entries = entries
        self.shape = memo.token("services", tuple(entry.service for entry in entries))
        self._memo = memo
        self._by_host: dict[str, list[Entry]] = {}
        for entry in sorted(entries, key=lambda e: not e.kubernetes):
            self._by_host.setdefault(entry.host, []).append(entry)

    def find(self, host: str) -> Entry | None:
        """Return what a destination's host stands for, whoever asks."""
        found = self._by_host.get(host)
        return found[0] if found else None

    def within(self, pattern: str) -> Sequence[Entry]:
        """Return the entries whose host a pattern covers."""
        if not pattern.startswith("*"):
            return self._by_host.get(pattern, [])
        return [e for host, found in self._by_host.items() if matches(pattern, host) for e in found]

    def covering(self, host: str) -> Entry | None:
        """Like `find`, but a ServiceEntry's wildcard host will do too."""
        if found := self.find(host):
            return found
        labels = host.split(".")
        for start in range(1, len(labels)):
            if found := self.find("*." + ".".join(labels[start:])):
                return found
        return None

    def seen_by(self, view: View) -> dict[str, Entry]:
        """Return, by host, the entries that exist for a view."""
        places = self._memo.get(("seen", view), (self.shape,), self._seen_by, view)
        entries = self.entries
        return {entries[place].host: entries[place] for place in places}

    def _seen_by(self, view: View) -> tuple[int, ...]:
        """Return the places of the entries that are exported to a view, and not hidden by a Sidecar.

        Istio: of several with one host, that of the caller's own namespace.
        """
        place = {id(entry): number for number, entry in enumerate(self.entries)}
        seen: list[int] = []
        for host, entries in self._by_host.items():
            visible = [
                entry
                for entry in entries
                if is_exported(entry.service.export_to, entry.service.namespace, view.namespace)
                and view.sees(entry.service.namespace, host)
            ]
            if visible:
                own = (e for e in visible if e.service.namespace == view.namespace)
                chosen = visible[0] if visible[0].kubernetes else next(own, visible[0])
                seen.append(place[id(chosen)])
        return tuple(seen)


class Instances:
    """The instances, found by label and by address."""

    def __init__(self, instances: Iterable[Instance]) -> None:
        self.all: dict[str, Instance] = {}
        self.by_address: dict[str, Instance] = {}
        self._by_label: dict[tuple[str, str, str], list[Instance]] = {}
        for instance in instances:
            self.all[instance.id] = instance
            for address in instance.addresses:
                self.by_address[address] = instance
            for key, value in instance.labels.items():
                self._by_label.setdefault((instance.namespace, key, value), []).append(instance)

    def selected(self, namespace: str, labels: Mapping[str, str]) -> Sequence[Instance]:
        """Return those of a namespace that have all `labels`; no labels select none, as for a Service."""
        lists = [self._by_label.get((namespace, key, value), []) for key, value in labels.items()]
        if not lists:
            return []
        shortest = min(lists, key=len)
        return [i for i in shortest if all(i.labels.get(k) == v for k, v in labels.items())]


def ready(members: Iterable[Backend], *, even_not: bool = False) -> tuple[Backend, ...]:
    """Return those that get requests; `even_not` is publishNotReadyAddresses."""
    return tuple(m for m in members if even_not or (m.instance.ready if m.instance else m.healthy))


def with_endpoints(entry: Entry, memo: Memo, modes: Callable[[Instance], Modes], *, auto_mtls: bool) -> Entry:
    """Return `entry` with the endpoints of each port; unchanged ones are the same objects as before."""
    by_port = {
        port.number: _endpoints(entry, port, memo, modes, auto_mtls)
        for port in entry.service.ports
        if port.protocol is not Protocol.UDP  # its numbers may be TCP's too, and no proxy speaks it
    }
    parts = (entry.service, *by_port.values(), *(backend.instance for backend in entry.members))
    key = ("entry", entry.host, entry.service.namespace, entry.distribution)
    return memo.get(key, parts, _with, entry, by_port)


def _with(entry: Entry, endpoints: Mapping[int, Labelled]) -> Entry:
    return replace(entry, endpoints=endpoints)


def _endpoints(
    entry: Entry, port: Port, memo: Memo, modes: Callable[[Instance], Modes], auto_mtls: bool
) -> Labelled:
    found = tuple(_endpoints_of(entry, port, memo, modes, auto_mtls))
    key = ("endpoints", entry.host, entry.service.namespace, port.number)
    return memo.get(key, tuple(e for pair in found for e in pair), lambda: found)


def _endpoints_of(
    entry: Entry, port: Port, memo: Memo, modes: Callable[[Instance], Modes], auto_mtls: bool
) -> Iterator[tuple[Endpoint, Mapping[str, str]]]:
    for backend in entry.backends:
        number = backend.port_of(port)
        if number is None:
            continue
        instance = backend.instance
        speaks = _speaks_mtls(instance) if instance is not None else backend.speaks_mtls
        mtls = (
            auto_mtls
            and speaks
            and not entry.service.external
            and (instance is None or modes(instance).on(number) is not MtlsMode.DISABLE)
        )
        key = ("endpoint", backend.address, number, mtls, backend.weight, backend.locality, backend.name)
        made = memo.get(key, (instance, backend.workload), _endpoint, backend, number, mtls)
        yield made, backend.labels


def _speaks_mtls(instance: Instance) -> bool:
    """Istio: sidecars do, gateways don't, and pods can say that they do not."""
    return (
        instance.meshed and not instance.gateway and instance.labels.get(TLS_MODE_LABEL, "istio") == "istio"
    )


def _endpoint(backend: Backend, port: int, mtls: bool) -> Endpoint:
    instance = backend.instance
    return Endpoint(
        address=backend.address,
        port=port,
        instance=instance.id if instance else None,
        workload=instance.workload if instance else backend.workload,
        identity=instance.identity if instance and instance.meshed else backend.identity,
        mtls=mtls,
        weight=backend.weight,
        locality=backend.locality or (instance.locality if instance else ""),
        name=backend.name,
    )
