"""Whether a request is within its limits: descriptors, token buckets, quotas."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import ceil
from typing import NamedTuple

from devmesh.snapshot.rate_limits import (
    Action,
    Allowance,
    Bucket,
    Descriptor,
    DestinationCluster,
    GenericKey,
    HeaderTest,
    HeaderValueMatch,
    LocalLimit,
    Quota,
    QuotaNode,
    RemoteAddress,
    RequestHeader,
    Rule,
    SourceCluster,
)

_MOST_WINDOWS, _MOST_BUCKETS = 100_000, 10_000


class Facts(NamedTuple):
    """What descriptors are made of. `header` takes lower-case names, those of pseudo headers too."""

    header: Callable[[str], str | None]
    remote: str = ""
    source_cluster: str = ""
    destination_cluster: str = ""


class Left(NamedTuple):
    """What is left of a limit: `limit` requests, of which `remaining`, and seconds until there are more."""

    limit: int
    remaining: int
    reset: int


# -- descriptors --


def descriptors(rules: Iterable[Rule], stage: int, facts: Facts) -> list[Descriptor]:
    """Return the descriptors of a request. Envoy: a rule one of whose actions finds nothing makes none."""
    made = [_descriptor(rule, facts) for rule in rules if rule.stage == stage]
    return [descriptor for descriptor in made if descriptor is not None]


def _descriptor(rule: Rule, facts: Facts) -> Descriptor | None:
    entries = []
    for action in rule.actions:
        entry = _entry(action, facts)
        if entry is None:
            return None
        if entry[0]:
            entries.append(entry)
    return tuple(entries) or None


_SKIPPED = ("", "")


def _entry(action: Action, facts: Facts) -> tuple[str, str] | None:
    """Return an action's entry; None: there is no descriptor. An entry without a key is left out."""
    match action:
        case RequestHeader(name, key, skip_if_absent):
            value = facts.header(name)
            if value is None:
                return _SKIPPED if skip_if_absent else None
            return key, value
        case HeaderValueMatch(key, value, headers, expect):
            holds = all(_holds(test, facts) for test in headers)
            return (key, value) if holds is expect else None
        case GenericKey(key, value):
            return key, value
        case RemoteAddress():
            return ("remote_address", facts.remote) if facts.remote else None
        case SourceCluster():
            return "source_cluster", facts.source_cluster
        case DestinationCluster():
            return "destination_cluster", facts.destination_cluster


def _holds(test: HeaderTest, facts: Facts) -> bool:
    value = facts.header(test.name)
    if value is None:
        if not test.absent_is_empty or test.test is None:
            return test.inverted
        value = ""
    return (test.test is None or test.test(value)) is not test.inverted


# -- token buckets --


class Tokens:
    """A bucket's state. Envoy: it fills all the time, not at the end of each interval."""

    __slots__ = ("_at", "_bucket", "_level")

    def __init__(self, bucket: Bucket, now: float) -> None:
        self._bucket = bucket
        self._level = float(bucket.size)
        self._at = now

    def take(self, now: float) -> bool:
        """Take a token, if there is one."""
        self._fill(now)
        if self._level < 1:
            return False
        self._level -= 1
        return True

    def left(self, now: float) -> Left:
        """Return what is left; `reset` is 0 while anything is."""
        self._fill(now)
        wait = 0 if self._level >= 1 else ceil(round((1 - self._level) / self._rate, 6))
        return Left(self._bucket.size, int(self._level), wait)

    @property
    def _rate(self) -> float:
        return self._bucket.fill / self._bucket.interval

    def _fill(self, now: float) -> None:
        self._level = min(float(self._bucket.size), self._level + (now - self._at) * self._rate)
        self._at = now


Buckets = dict[tuple[LocalLimit, str, Descriptor], Tokens]
"""By the limit, the place that it holds in, and the descriptor (as the request has it); () is the default."""


def take(
    limit: LocalLimit, place: str, found: Iterable[Descriptor], buckets: Buckets, now: float
) -> tuple[bool, Left | None]:
    """Take the tokens that a request needs; tell whether it is within the limit, and what is left of the
    bucket that decided.

    Envoy: the buckets of all descriptors that are configured, the slowest first; then the default one.
    """
    if limit.bucket is None:
        return True, None
    if len(buckets) >= _MOST_BUCKETS:
        buckets.clear()  # of values that a client makes up, say
    matched = [
        (bucket, descriptor)
        for descriptor in found
        for wanted, bucket in limit.buckets
        if _is_meant(wanted, descriptor)
    ]
    matched.sort(key=lambda each: each[0].fill / each[0].interval)
    if not matched or limit.takes_default:
        matched.append((limit.bucket, ()))
    tokens = None
    for bucket, descriptor in matched:
        key = (limit, place, descriptor)
        tokens = buckets.get(key)
        if tokens is None:
            tokens = buckets[key] = Tokens(bucket, now)
        if not tokens.take(now):
            return False, tokens.left(now)
    return True, tokens.left(now) if tokens is not None else None


def _is_meant(wanted: Descriptor, found: Descriptor) -> bool:
    return len(wanted) == len(found) and all(
        key == other and value in ("", theirs)
        for (key, value), (other, theirs) in zip(wanted, found, strict=True)
    )


# -- quotas --


class Quotas:
    """What has been used of quotas, by all proxies together. Windows are whole units of the clock, as the
    reference rate-limit service has them."""

    def __init__(self) -> None:
        self._used: dict[tuple[str, Descriptor, int], tuple[int, int]] = {}  # (window, requests)

    def take(self, quota: Quota, found: Iterable[Descriptor], now: float) -> tuple[bool, Left | None]:
        """Count a request under each of its descriptors; tell whether all allow it, and what is left of the
        tightest."""
        allowed, tightest = True, None
        for descriptor in found:
            allowance = find_allowance(quota.root, descriptor)
            if allowance is None or allowance.requests is None:
                continue
            used, reset = self._count(quota.domain, descriptor, allowance, now)
            if used > allowance.requests and not allowance.shadow:
                allowed = False
            left = Left(allowance.requests, max(0, allowance.requests - used), reset)
            if tightest is None or left.remaining < tightest.remaining:
                tightest = left
        return allowed, tightest

    def _count(
        self, domain: str, descriptor: Descriptor, allowance: Allowance, now: float
    ) -> tuple[int, int]:
        unit = allowance.unit
        window = int(now // unit)
        if len(self._used) >= _MOST_WINDOWS:
            self._used = {key: kept for key, kept in self._used.items() if kept[0] >= int(now // key[2])}
        key = (domain, descriptor, unit)
        at, used = self._used.get(key, (window, 0))
        used = used + 1 if at == window else 1
        self._used[key] = (window, used)
        return used, int((window + 1) * unit - now) or 1


def find_allowance(root: QuotaNode, descriptor: Descriptor) -> Allowance | None:
    """Return what is granted to a descriptor: its entries lead from level to level, and the last one's
    counts."""
    node: QuotaNode | None = root
    for key, value in descriptor:
        children = node.children if node is not None else {}
        node = children.get(f"{key}_{value}") or _by_prefix(children, key, value) or children.get(key)
        if node is None:
            return None
    return node.allowance if node is not None else None


def _by_prefix(children: object, key: str, value: str) -> QuotaNode | None:
    assert isinstance(children, dict)
    for name, node in children.items():
        if name.endswith("*") and f"{key}_{value}".startswith(name[:-1]):
            found: QuotaNode = node
            return found
    return None
