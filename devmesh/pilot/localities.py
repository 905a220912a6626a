"""Balancing by locality: shares, and who is asked first when those nearby fail (Istio's rules)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from devmesh.config.documents.destinationrule import (
    LoadBalancerSettings,
    LocalityDistribute,
    LocalityFailover,
    LocalityLoadBalancerSetting,
    TrafficPolicy,
)
from devmesh.model.workload import Instance
from devmesh.pilot.registry import Entry, Labelled
from devmesh.pilot.resources import Resources
from devmesh.pilot.settings import Settings
from devmesh.pilot.visibility import Place
from devmesh.snapshot.balancing import Group
from devmesh.snapshot.cluster import Endpoint

REGION, ZONE = "topology.kubernetes.io/region", "topology.kubernetes.io/zone"
SUBZONE, NETWORK = "topology.istio.io/subzone", "topology.istio.io/network"
DISTRIBUTION = "networking.istio.io/traffic-distribution"
SAME_ZONE, SAME_NODE = "PreferSameZone", "PreferSameNode"
_DISTRIBUTIONS = {"preferclose": SAME_ZONE, "prefersamezone": SAME_ZONE, "prefersamenode": SAME_NODE}
_OF_PLACE = (REGION, ZONE, SUBZONE)


@dataclass(frozen=True, slots=True)
class Interest:
    """What of a client's place configuration asks for."""

    locality: bool = False
    labels: frozenset[str] = frozenset()

    def place(self, instance: Instance) -> Place:
        """Return the place of an instance."""
        labels = ((key, _label(instance.labels, instance.locality, key)) for key in sorted(self.labels))
        return Place(instance.locality if self.locality else "", tuple(labels))


def distribution_of(written: str | None, *annotations: Mapping[str, str]) -> str:
    """Return a Service's trafficDistribution: the field, else Istio's annotation of the Service, else of its
    namespace. "" means any endpoint, as what is not known does."""
    for value in (written, *(each.get(DISTRIBUTION) for each in annotations)):
        if value:
            return _DISTRIBUTIONS.get(value.lower(), "")
    return ""


def interest(resources: Resources, entries: Sequence[Entry], settings: Settings) -> Interest:
    """Return what matters of clients' places: without locality settings and outlier detection, nothing."""
    localities, labels = settings.locality is not None and bool(settings.locality.distribute), set[str]()
    localities = localities or settings.outlier is not None
    named = settings.locality.failover_priority if settings.locality is not None else ()
    labels.update(_key(text) for text in named)
    for rule in resources.destination_rules:
        for policy in _policies(rule.spec.traffic_policy, *(s.traffic_policy for s in rule.spec.subsets)):
            balancer: LoadBalancerSettings | None = policy.load_balancer
            setting = balancer.locality_lb_setting if balancer is not None else None
            localities = localities or policy.outlier_detection is not None
            if setting is not None:
                localities = True
                labels.update(_key(text) for text in setting.failover_priority)
    if any(entry.distribution for entry in entries):
        localities = True
        labels.update(_OF_PLACE)
    return Interest(localities, frozenset(labels))


@dataclass(frozen=True, slots=True)
class _Blocks:
    load_balancer: LoadBalancerSettings | None
    outlier_detection: object


def _policies(*policies: TrafficPolicy | None) -> Iterator[_Blocks]:
    for policy in policies:
        if policy is not None:
            yield _Blocks(policy.load_balancer, policy.outlier_detection)
            yield from (_Blocks(p.load_balancer, p.outlier_detection) for p in policy.port_level_settings)


@dataclass(frozen=True, slots=True)
class Setting:
    """The locality setting in force for a cluster. `forced`: without outlier detection, too."""

    written: LocalityLoadBalancerSetting
    forced: bool = False


def setting_for(
    balancer: LoadBalancerSettings | None, distribution: str, settings: Settings
) -> Setting | None:
    """Return what is in force: the rule's, else the Service's trafficDistribution, else the mesh's.

    Istio: the rule's setting replaces the mesh's as a whole; one that is not `enabled` is none.
    """
    own = balancer.locality_lb_setting if balancer is not None else None
    if own is not None:
        return None if own.enabled is False else Setting(own)
    if distribution == SAME_ZONE:
        return Setting(LocalityLoadBalancerSetting(failover_priority=(NETWORK, REGION, ZONE)), forced=True)
    if distribution == SAME_NODE:  # and there is one node
        return Setting(
            LocalityLoadBalancerSetting(failover_priority=(NETWORK, REGION, ZONE, SUBZONE)), forced=True
        )
    mesh = settings.locality
    return None if mesh is None or mesh.enabled is False else Setting(mesh)


def grouped(
    endpoints: Labelled, setting: Setting | None, place: Place, *, ejects: bool
) -> tuple[tuple[Group, ...], bool]:
    """Return the endpoints by locality and priority, and whether localities' weights decide.

    No groups: everything is as if there were no localities. Istio: failover needs outlier detection
    (`ejects`), shares don't.
    """
    if setting is None:
        return (), False
    written = setting.written
    found = _by_locality(endpoints)
    if written.distribute:
        return tuple(_shared(found, written.distribute, place.locality)), True
    if not (ejects or setting.forced):
        return (), False
    if written.failover_priority:
        found = _by_labels(endpoints, written.failover_priority, place)
        if written.failover:
            found = _by_distance(found, written.failover, place.locality)
    else:
        found = _by_distance(found, written.failover, place.locality)
    by_locality = bool(written.failover or written.failover_priority)
    found = _without_gaps(found)
    if not by_locality and not any(group.priority for group in found):
        return (), False
    return tuple(found), by_locality


def _by_locality(endpoints: Labelled) -> list[Group]:
    found: dict[str, list[Endpoint]] = {}
    for endpoint, _ in endpoints:
        found.setdefault(endpoint.locality, []).append(endpoint)
    return [_group(members, locality) for locality, members in found.items()]


def _group(members: Sequence[Endpoint], locality: str, priority: int = 0) -> Group:
    return Group(tuple(members), priority, sum(member.weight for member in members), locality)


def _shared(
    groups: Sequence[Group], distribute: Sequence[LocalityDistribute], locality: str
) -> Iterator[Group]:
    """Istio: the first `from` that covers the client decides; who isn't among its `to` gets nothing."""
    chosen = next((each for each in distribute if covers(each.from_, locality)), None)
    if chosen is None:
        yield from groups
        return
    left = list(groups)
    for pattern, share in chosen.to.items():
        matched = [group for group in left if covers(pattern, group.locality)]
        left = [group for group in left if group not in matched]
        total = sum(group.weight for group in matched)
        for group in matched:
            weight = math.ceil(group.weight * share / total) if total else 0
            yield replace(group, weight=weight or group.weight)


def _by_distance(groups: Sequence[Group], failover: Sequence[LocalityFailover], locality: str) -> list[Group]:
    region = _parts(locality)[0]
    target = next((each.to for each in failover if each.from_ == region), None)
    found = []
    for group in groups:
        distance = _distance(locality, group.locality)
        if distance == 3 and target is not None and _parts(group.locality)[0] != target:
            distance = 4
        found.append(replace(group, priority=group.priority * 5 + distance))
    return found


def _distance(one: str, other: str) -> int:
    """Return 0 for the same subzone, 1 for the same zone, 2 for the same region, else 3."""
    mine, theirs = _parts(one), _parts(other)
    same = next((n for n in range(3) if mine[n] != theirs[n]), 3)
    return 3 - same


def _by_labels(endpoints: Labelled, priority: Sequence[str], place: Place) -> list[Group]:
    """Istio: the more of the labels, from the first on, are the client's, the sooner an endpoint is asked."""
    own = dict(place.labels)
    wanted = [(_key(text), text.partition("=")[2] if "=" in text else own.get(text, "")) for text in priority]
    found: dict[tuple[str, int], list[Endpoint]] = {}
    for endpoint, labels in endpoints:
        rank = _rank(wanted, labels, endpoint.locality)
        found.setdefault((endpoint.locality, rank), []).append(endpoint)
    return [_group(members, locality, rank) for (locality, rank), members in found.items()]


def _rank(wanted: Sequence[tuple[str, str]], labels: Mapping[str, str], locality: str) -> int:
    for number, (key, value) in enumerate(wanted):
        if key == NETWORK and number == 0:
            continue  # there is one network
        if _label(labels, locality, key) != value:
            return len(wanted) - number
    return 0


def _without_gaps(groups: Sequence[Group]) -> list[Group]:
    order = {priority: n for n, priority in enumerate(sorted({group.priority for group in groups}))}
    return [replace(group, priority=order[group.priority]) for group in groups]


def covers(pattern: str, locality: str) -> bool:
    """Tell whether a locality is within ``region/zone/subzone``, whose parts may be ``*`` or missing."""
    return all(
        want == "*" or want == have or (not want and number > 0)
        for number, (want, have) in enumerate(zip(_parts(pattern), _parts(locality), strict=True))
    )


def _parts(locality: str) -> tuple[str, str, str]:
    region, _, rest = locality.partition("/")
    zone, _, subzone = rest.partition("/")
    return region, zone, subzone


def _label(labels: Mapping[str, str], locality: str, key: str) -> str:
    """Return a label of a workload; its place counts as labels, too (Istio: AugmentLabels)."""
    if key in _OF_PLACE and (part := _parts(locality)[_OF_PLACE.index(key)]):
        return part
    return labels.get(key, "")


def _key(text: str) -> str:
    return text.partition("=")[0]
