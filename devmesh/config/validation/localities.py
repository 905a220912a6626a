"""Balancing by locality (Istio: the validating webhook)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from devmesh.config.documents.destinationrule import LocalityLoadBalancerSetting
from devmesh.config.problems import Cause, MapKey, Path, forbidden, invalid, warning

_TOPOLOGY = {"topology.kubernetes.io/region", "topology.kubernetes.io/zone", "topology.istio.io/subzone"}


def locality_setting(setting: LocalityLoadBalancerSetting, path: Path, *, ejects: bool) -> Iterator[Cause]:
    """Check a setting; `ejects` tells whether there is an outlier detection beside it."""
    if setting.distribute and setting.failover:
        yield forbidden((*path, "failover"), "not beside distribute")
        return
    if setting.failover and _TOPOLOGY & set(setting.failover_priority):
        yield forbidden((*path, "failoverPriority"), "no topology labels beside failover")
    for n, shares in enumerate(setting.distribute):
        at: Path = (*path, "distribute", n, "to")
        for locality, share in shares.to.items():
            if not 1 <= share <= 100:
                yield invalid((*at, MapKey(locality)), share, "must be between 1 and 100, inclusive")
        if sum(shares.to.values()) != 100:
            yield invalid(at, sum(shares.to.values()), "the shares must add up to 100")
        yield from _localities(shares.to, at)
    yield from _localities([shares.from_ for shares in setting.distribute], (*path, "distribute"))
    if (setting.failover or setting.failover_priority) and not ejects:
        yield warning(path, "failover happens only where outlierDetection is given too")
    for n, failover in enumerate(setting.failover):
        at = (*path, "failover", n)
        if failover.from_ == failover.to:
            yield invalid((*at, "to"), failover.to, "must be another region than from")
        for field, region in (("from", failover.from_), ("to", failover.to)):
            if "/" in region or "*" in region:
                yield invalid((*at, field), region, "a region alone, without zone and wildcard")


def _localities(localities: Iterable[str], path: Path) -> Iterator[Cause]:
    """Each is REGION[/ZONE[/SUBZONE]], may end in ``*``, and covers none of the others."""
    seen: list[list[str]] = []
    for locality in localities:
        parts = locality.split("/", 2)
        if not all(parts):
            yield invalid(path, locality, "neither region, zone nor subzone may be empty")
        elif "*" in locality[:-1]:
            yield invalid(path, locality, "a wildcard stands at the end")
        else:
            wanted = parts[:-1] if parts[-1] == "*" else parts
            if any(_overlap(wanted, other) for other in seen):
                yield invalid(path, locality, "overlaps with one before it")
            seen.append(wanted)


def _overlap(one: list[str], other: list[str]) -> bool:
    shared = min(len(one), len(other))
    return one[:shared] == other[:shared]
