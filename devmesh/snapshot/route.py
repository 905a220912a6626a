"""Where HTTP requests go: route tables, virtual hosts, routes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from devmesh.snapshot.match import StringMatch
from devmesh.snapshot.origin import Origin
from devmesh.snapshot.route_index import WORTH, RouteIndex

if TYPE_CHECKING:
    from devmesh.snapshot.rate_limits import RouteLimits


@dataclass(frozen=True, slots=True)
class Match:
    """One ``match`` block: every condition given has to hold.

    `path` sees the path without its query. Header names are in lower case; `without` are
    headers that must be absent or fail their test. What is fixed for a proxy (source labels,
    namespace, gateways, port) was decided when the table was compiled.
    """

    path: StringMatch | None = None
    method: StringMatch | None = None
    scheme: StringMatch | None = None
    authority: StringMatch | None = None
    headers: tuple[tuple[str, StringMatch], ...] = ()
    without: tuple[tuple[str, StringMatch], ...] = ()
    query: tuple[tuple[str, StringMatch], ...] = ()
    name: str = ""


@dataclass(frozen=True, slots=True)
class HeaderOps:
    """Changes to headers, applied in the order remove, set, add (Istio's HeaderOperations; values may
    hold Envoy's command operators such as ``%REQ(x)%``, which the proxy expands). ``host`` and pseudo
    headers are never among them."""

    remove: tuple[str, ...] = ()
    set: tuple[tuple[str, str], ...] = ()
    add: tuple[tuple[str, str], ...] = ()


NO_OPS = HeaderOps()


@dataclass(frozen=True, slots=True)
class Weighted:
    """One destination of a route; `cluster` is a name in the proxy's clusters.

    Its header operations come before the route's (Envoy: the most specific first, so that the route's
    ``set`` wins), its `authority` where the route's rewrite has none. The only destination of a
    route has none of them: pilot has put them behind the route's (Istio).
    """

    cluster: str
    weight: int = 1
    request_headers: HeaderOps = NO_OPS
    response_headers: HeaderOps = NO_OPS
    authority: str | None = None


@dataclass(frozen=True, slots=True)
class Rewrite:
    """Envoy: `prefix` replaces what the path match consumed (`matched`, "" for a whole path)."""

    path: str | None = None
    matched: str | None = None  # the prefix that `path` replaces; None: the whole path is replaced
    regex: Any = None  # compiled RE2 pattern; with `substitution` in place of `path`
    substitution: str = ""
    authority: str | None = None


@dataclass(frozen=True, slots=True)
class Redirect:
    """Answers at once with a Location (Istio's HTTPRedirect; 301 by default)."""

    status: int = 301
    path: str | None = None
    prefix: str | None = None  # with `matched`: replaces the matched prefix
    matched: str | None = None
    authority: str | None = None
    scheme: str | None = None
    port: int | None = None  # None: from the request, dropped where it is the scheme's default
    port_from_request: bool = False


@dataclass(frozen=True, slots=True)
class DirectResponse:
    status: int
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Fault:
    """Istio's HTTPFaultInjection: percentages are 0 to 100, durations seconds."""

    delay: float = 0.0
    delay_percent: float = 0.0
    abort_status: int = 0
    abort_grpc_status: int | None = None
    abort_percent: float = 0.0


@dataclass(frozen=True, slots=True)
class Retry:
    """Retries after the first try; `per_try_timeout` None means the route's own timeout.

    `on` holds Envoy's conditions (``connect-failure``, ``refused-stream``, ``5xx`` ...), `codes`
    the statuses for ``retriable-status-codes``.
    """

    attempts: int = 2
    on: frozenset[str] = frozenset()
    codes: frozenset[int] = frozenset()
    per_try_timeout: float | None = None
    base_interval: float = 0.025
    max_interval: float = 0.25
    other_hosts: bool = True
    ignore_previous: bool = True


@dataclass(frozen=True, slots=True)
class Mirror:
    """A copy of the request is sent to `cluster` and its answer thrown away (Host gets ``-shadow``)."""

    cluster: str
    percent: float = 100.0


@dataclass(frozen=True, slots=True)
class Cors:
    origins: tuple[StringMatch, ...] = ()
    methods: str = ""
    headers: str = ""
    expose: str = ""
    max_age: str = ""
    credentials: bool | None = None
    forward_unmatched: bool = True


@dataclass(frozen=True, slots=True)
class Route:
    """What is done with the requests that any of `matches` accepts; no matches means all of them.

    Exactly one of `destinations`, `redirect`, `direct` is given. `timeout` is None where there is
    none (Istio's default). `operation` is Envoy's decorator (``reviews.default.svc.cluster.local:9080/*``).
    `limits` is what it adds to the listener's rate limits.
    `not_found` is what is answered where the cluster isn't there (Envoy: cluster_not_found_response_code).
    """

    name: str = "default"
    matches: tuple[Match, ...] = ()
    destinations: tuple[Weighted, ...] = ()
    redirect: Redirect | None = None
    direct: DirectResponse | None = None
    rewrite: Rewrite | None = None
    timeout: float | None = None
    retry: Retry | None = None
    fault: Fault | None = None
    mirrors: tuple[Mirror, ...] = ()
    cors: Cors | None = None
    request_headers: HeaderOps = NO_OPS
    response_headers: HeaderOps = NO_OPS
    operation: str = ""
    origin: Origin | None = None
    not_found: int = 503
    limits: RouteLimits | None = None


@dataclass(frozen=True, slots=True)
class VirtualHost:
    """The routes of one name. `name` is Envoy's (``reviews.default.svc.cluster.local:9080``).

    `index` finds those that may accept a path, where there are many.
    """

    name: str
    domains: tuple[str, ...]
    routes: tuple[Route, ...]
    index: RouteIndex | None = field(init=False, default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if len(self.routes) > WORTH:
            object.__setattr__(self, "index", RouteIndex(self.routes))


@dataclass(frozen=True, slots=True)
class RouteTable:
    """All virtual hosts of one port (Envoy: RouteConfiguration; `name` is the port, ``9080``).

    `exact` maps each domain without a wildcard, lower case, with and without ``:port``;
    `suffixes` holds ``.suffix`` of each ``*.suffix``, longest first; `default` is the one for ``*``.
    No virtual host accepting is the proxy's 404 NR.
    """

    name: str
    exact: Mapping[str, VirtualHost] = field(default_factory=dict, hash=False)
    suffixes: tuple[tuple[str, VirtualHost], ...] = ()
    default: VirtualHost | None = None

    @property
    def virtual_hosts(self) -> tuple[VirtualHost, ...]:
        """All virtual hosts, each once."""
        every = (*self.exact.values(), *(host for _, host in self.suffixes), self.default)
        return tuple({id(host): host for host in every if host is not None}.values())

    @classmethod
    def of(cls, name: str, virtual_hosts: tuple[VirtualHost, ...]) -> RouteTable:
        """Build the indexes; of two virtual hosts with one domain the first keeps it."""
        exact: dict[str, VirtualHost] = {}
        suffixes: dict[str, VirtualHost] = {}
        default = None
        for host in virtual_hosts:
            for domain in host.domains:
                if domain == "*":
                    default = default or host
                elif domain.startswith("*"):
                    suffixes.setdefault(domain[1:].lower(), host)
                else:
                    exact.setdefault(domain.lower(), host)
        ordered = sorted(suffixes.items(), key=lambda item: -len(item[0]))
        return cls(name, exact, tuple(ordered), default)
