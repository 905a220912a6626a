"""Rate limits, as Istio's EnvoyFilters ask for them: local ones of one proxy, and those of a service.

The words are Envoy's. A *rule* makes one descriptor of a request, a list of keys and values; descriptors
find what is limited. A local limit has token buckets in the proxy; a global one asks a service, or
devmesh's own `Quota` in its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from devmesh.snapshot.match import StringMatch
from devmesh.snapshot.origin import Origin
from devmesh.snapshot.route import NO_OPS, HeaderOps, Route

Entry = tuple[str, str]
Descriptor = tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class RequestHeader:
    """The value of a header, ``:path`` and its like too. Without it there is no descriptor, or, with
    `skip_if_absent`, one without this entry."""

    name: str
    key: str
    skip_if_absent: bool = False


@dataclass(frozen=True, slots=True)
class HeaderTest:
    """A condition on a header; `test` None: that it is there."""

    name: str
    test: StringMatch | None = None
    inverted: bool = False
    absent_is_empty: bool = False


@dataclass(frozen=True, slots=True)
class HeaderValueMatch:
    """`value`, where all of `headers` hold (or, with `expect` False, not all)."""

    key: str
    value: str
    headers: tuple[HeaderTest, ...]
    expect: bool = True


@dataclass(frozen=True, slots=True)
class GenericKey:
    key: str
    value: str


@dataclass(frozen=True, slots=True)
class RemoteAddress:
    """The client's address."""


@dataclass(frozen=True, slots=True)
class SourceCluster:
    """What the proxy is part of (``productpage.default``)."""


@dataclass(frozen=True, slots=True)
class DestinationCluster:
    """The name of the cluster that the route leads to."""


Action = RequestHeader | HeaderValueMatch | GenericKey | RemoteAddress | SourceCluster | DestinationCluster


@dataclass(frozen=True, slots=True)
class Rule:
    """Makes a descriptor: an entry by each action. It counts for filters of the same `stage`."""

    actions: tuple[Action, ...]
    stage: int = 0


@dataclass(frozen=True, slots=True)
class Bucket:
    """Tokens, one a request: at most `size`, and `fill` more in every `interval` seconds."""

    size: int
    fill: int = 1
    interval: float = 1.0


@dataclass(frozen=True, slots=True)
class LocalLimit:
    """A limit that one proxy keeps by itself (``envoy.filters.http.local_ratelimit``).

    Attributes:
        bucket: None: nothing is limited.
        buckets: Those of single descriptors; an empty value stands for any.
        rules: In place of the route's.
        enabled, enforced: Percent of the requests that are counted, and of those over the limit that are
            refused.
        response_headers: Of refusals. `request_headers`: of what passes since the limit isn't enforced.
        takes_default: What falls under a descriptor takes a token of `bucket` too.
        per_connection: Each connection has its own buckets.
        tells: Answers say how much is left (``x-ratelimit-*``).
        exhausted: To gRPC's clients a refusal is RESOURCE_EXHAUSTED, not UNAVAILABLE.
        place: Of the route, where it is one's own: each has its own buckets.
        first: It is asked before all else is done with a request, and not just before routing.
    """

    stat_prefix: str
    bucket: Bucket | None = None
    buckets: tuple[tuple[Descriptor, Bucket], ...] = ()
    rules: tuple[Rule, ...] = ()
    stage: int = 0
    enabled: float = 0.0
    enforced: float = 0.0
    status: int = 429
    response_headers: HeaderOps = NO_OPS
    request_headers: HeaderOps = NO_OPS
    takes_default: bool = True
    per_connection: bool = False
    tells: bool = False
    exhausted: bool = False
    first: bool = False
    place: str = ""
    origin: Origin | None = None


@dataclass(frozen=True, slots=True)
class Allowance:
    """`requests` in every `unit` of seconds; `requests` None: as many as they like. `name` is for people.

    `shadow`: more than that is counted, and never refused.
    """

    requests: int | None
    unit: int
    name: str = ""
    shadow: bool = False


@dataclass(frozen=True, slots=True)
class QuotaNode:
    """One level of the reference rate-limit service's configuration.

    `children` are found by ``key_value``, then by ``key``, which every value has its own count of.
    """

    allowance: Allowance | None = None
    children: Mapping[str, QuotaNode] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Quota:
    """What devmesh itself grants in place of a rate-limit service. `origin` is the ConfigMap."""

    domain: str
    root: QuotaNode
    origin: Origin | None = None


@dataclass(frozen=True, slots=True)
class GlobalLimit:
    """A limit that a service keeps for all proxies (``envoy.filters.http.ratelimit``). Times in seconds.

    Attributes:
        cluster: Where the service is. `quota` is asked in its place, where there is one.
        denies: Requests get `error_status` while the service fails; otherwise they pass.
        says_limited: Refusals have ``x-envoy-ratelimited``.
        tells, exhausted, first: See `LocalLimit`.
    """

    domain: str
    cluster: str
    authority: str = ""
    timeout: float = 0.02
    denies: bool = False
    stage: int = 0
    status: int = 429
    error_status: int = 500
    response_headers: HeaderOps = NO_OPS
    says_limited: bool = True
    tells: bool = False
    exhausted: bool = False
    first: bool = False
    quota: Quota | None = None
    origin: Origin | None = None


@dataclass(frozen=True, slots=True)
class RouteLimits:
    """What a route adds: the rules of its requests, and a local limit in place of the listener's."""

    rules: tuple[Rule, ...] = ()
    local: LocalLimit | None = None


NO_ROUTE_LIMITS = RouteLimits()


@dataclass(frozen=True, slots=True)
class Limiting:
    """The limits of one listener, in the order in which they are asked.

    `otherwise` is for requests whose route adds nothing: at a workload's own port, for all.
    """

    local: tuple[LocalLimit, ...] = ()
    shared: tuple[GlobalLimit, ...] = ()
    otherwise: RouteLimits = NO_ROUTE_LIMITS

    def of(self, route: Route | None) -> RouteLimits:
        """Return what a route adds."""
        return self.otherwise if route is None or route.limits is None else route.limits
