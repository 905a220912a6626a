"""Who sees what: exportTo, Sidecars, and the groups of proxies that see the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from devmesh.config.documents.sidecar import SidecarSpec
from devmesh.config.documents.virtualservice import Destination
from devmesh.model.host import matches, qualify
from devmesh.model.workload import Instance
from devmesh.pilot.resources import Loaded, Resources
from devmesh.pilot.settings import Settings


@dataclass(frozen=True, slots=True)
class Place:
    """Where a client is, as far as that makes a difference: its locality, and those of its labels that a
    `failoverPriority` names."""

    locality: str = ""
    labels: tuple[tuple[str, str], ...] = ()


NOWHERE = Place()
"""The place of a client whose place makes no difference."""


PASSTHROUGH = "PassthroughCluster"
Selector = frozenset[tuple[str, str]]
"""Labels that all have to be there."""


def selector(labels: Mapping[str, str]) -> Selector:
    return frozenset(labels.items())


def selects(labels: Mapping[str, str], of: Mapping[str, str]) -> bool:
    """Tell whether all `labels` are among those `of` something; no labels select everything."""
    return all(of.get(key) == value for key, value in labels.items())


def is_exported(export_to: Sequence[str], owner: str, viewer: str) -> bool:
    """Tell whether a resource of namespace `owner` is seen from namespace `viewer`.

    Istio: ``*`` everywhere, ``.`` in its own namespace, ``~`` nowhere, else the names of namespaces.
    """
    return "*" in export_to or viewer in export_to or (owner == viewer and "." in export_to)


@dataclass(frozen=True, slots=True)
class Egress:
    """The hosts that one egress listener of a Sidecar lets its workloads see.

    `port` 0 is every port. Each host is (namespace or ``*`` or ``~``, pattern). What is `excluded` is not
    seen whatever the hosts say.
    """

    port: int
    hosts: tuple[tuple[str, str], ...]
    excluded: tuple[tuple[str, str], ...] = ()

    def sees(self, namespace: str, host: str, port: int = 0) -> bool:
        if self.port and port and self.port != port:
            return False
        if any(where in ("*", namespace) and matches(pattern, host) for where, pattern in self.excluded):
            return False
        return any(
            where in ("*", namespace) and (matches(pattern, host) or matches(host, pattern))
            for where, pattern in self.hosts
        )


@dataclass(frozen=True, slots=True)
class View:
    """What a group of proxies has in common, so that they share one Outbound.

    `matched` holds those selectors of VirtualServices and DestinationRules (source labels, workload
    selectors) that fit these proxies: other labels make no difference. `egress` None sees everything.
    `place` is where they are, as far as configuration asks.
    """

    namespace: str
    matched: frozenset[Selector] = frozenset()
    router: bool = False  # a gateway
    allow_any: bool = True
    egress: tuple[Egress, ...] | None = None
    place: Place = NOWHERE
    by_name: bool = False  # requests that nobody knows go where their Host says
    unknown: str = PASSTHROUGH  # the cluster of what nobody knows, where that is allowed

    def sees(self, namespace: str, host: str, port: int = 0) -> bool:
        """Tell whether the Sidecar in force lets a host of `namespace` be seen."""
        return self.egress is None or any(e.sees(namespace, host, port) for e in self.egress)


def selectors_in_use(resources: Resources) -> frozenset[Selector]:
    """Return the label selectors by which configuration tells callers apart."""
    found: set[Selector] = set()
    for loaded in resources.virtual_services:
        spec = loaded.spec
        found |= {selector(m.source_labels) for route in spec.http for m in route.match if m.source_labels}
        found |= {selector(m.source_labels) for route in spec.tls for m in route.match if m.source_labels}
        found |= {selector(m.source_labels) for route in spec.tcp for m in route.match if m.source_labels}
    for rule in resources.destination_rules:
        if rule.spec.workload_selector and rule.spec.workload_selector.match_labels:
            found.add(selector(rule.spec.workload_selector.match_labels))
    return frozenset(found)


def view_of(
    instance: Instance,
    in_use: Iterable[Selector],
    sidecars: Sequence[Loaded[SidecarSpec]],
    settings: Settings,
    place: Place = NOWHERE,
) -> View:
    """Return the view of an instance's proxy."""
    labels = instance.labels.items()
    matched = frozenset(wanted for wanted in in_use if wanted <= labels)
    sidecar = None if instance.gateway else sidecar_for(instance, sidecars, settings.root)
    allow_any, egress, unknown = settings.allow_any, None, PASSTHROUGH
    by_name = settings.by_name and not instance.gateway
    if sidecar is not None:
        policy = sidecar.spec.outbound_traffic_policy
        if policy is not None:
            # Istio: a policy without a mode is proto's zero, REGISTRY_ONLY.
            allow_any, by_name = policy.mode not in (None, "REGISTRY_ONLY"), False
            if allow_any and policy.egress_proxy is not None:
                unknown = _cluster(policy.egress_proxy, instance.namespace, settings.domain)
        egress = _egress(sidecar, instance.namespace, settings.domain)
    return View(instance.namespace, matched, instance.gateway, allow_any, egress, place, by_name, unknown)


def _cluster(destination: Destination, namespace: str, domain: str) -> str:
    port = destination.port.number if destination.port else 0
    return f"outbound|{port}|{destination.subset}|{qualify(destination.host, namespace, domain)}"


def sidecar_for(
    instance: Instance, sidecars: Sequence[Loaded[SidecarSpec]], root: str
) -> Loaded[SidecarSpec] | None:
    """Return the Sidecar in force for an instance.

    Istio: one that selects it, else its namespace's, else the root namespace's; the oldest of each.
    """
    own = [s for s in sidecars if s.namespace == instance.namespace]
    for sidecar in own:
        wanted = sidecar.spec.workload_selector
        if wanted and wanted.labels and selects(wanted.labels, instance.labels):
            return sidecar
    everywhere = [s for s in sidecars if s.namespace == root]
    return next((s for s in (*own, *everywhere) if not _labels(s)), None)


def _labels(sidecar: Loaded[SidecarSpec]) -> Mapping[str, str]:
    return sidecar.spec.workload_selector.labels if sidecar.spec.workload_selector else {}


def _egress(sidecar: Loaded[SidecarSpec], namespace: str, domain: str) -> tuple[Egress, ...] | None:
    if not sidecar.spec.egress:
        return None
    return tuple(
        Egress(
            listener.port.number if listener.port else 0,
            tuple(_egress_host(host, namespace, domain) for host in listener.hosts if not _excludes(host)),
            tuple(_egress_host(host, namespace, domain) for host in listener.hosts if _excludes(host)),
        )
        for listener in sidecar.spec.egress
    )


def _excludes(text: str) -> bool:
    """Tell whether a host is one that is excluded; ``~/*`` alone, where nothing is seen, is none."""
    return text.startswith("~") and text != "~/*"


def _egress_host(text: str, namespace: str, domain: str) -> tuple[str, str]:
    where, slash, pattern = text.partition("/")
    if not slash:
        where, pattern = "*", text
    if _excludes(text):
        where = where.removeprefix("~") or "*"
    where = namespace if where == "." else where
    return where, qualify(pattern, namespace if where in ("*", "~") else where, domain)
