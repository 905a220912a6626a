"""Which DestinationRule is in force for a host, and what it says of a port and a subset."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from devmesh.config.documents.destinationrule import (
    ClientTLSSettings,
    ConnectionPoolSettings,
    DestinationRuleSpec,
    LoadBalancerSettings,
    OutlierDetection,
    PortTrafficPolicy,
    ProxyProtocol,
    RetryBudget,
    Subset,
    TrafficPolicy,
    TunnelSettings,
)
from devmesh.model.host import matches, qualify, specificity
from devmesh.pilot.memo import Memo
from devmesh.pilot.resources import Loaded
from devmesh.pilot.settings import Settings
from devmesh.pilot.visibility import Selector, View, is_exported, selector
from devmesh.snapshot.origin import Origin

Loading = Loaded[DestinationRuleSpec]


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """The DestinationRules of one namespace for one host, merged.

    Istio: those of one selector that are exported to the same namespaces are one; one that is exported to
    more is merged into that, and stands by itself too. Subsets are put together (the first of a name wins)
    and the oldest that has a trafficPolicy gives it. `selector` None: for all clients; otherwise for those it
    selects, of its namespace. `credentials` are the names of Secrets that it mentions.
    """

    host: str
    namespace: str
    policy: TrafficPolicy | None
    subsets: Mapping[str, tuple[Subset, Origin]]
    export_to: tuple[str, ...]
    selector: Selector | None
    origin: Origin
    credentials: tuple[str, ...] = ()

    @property
    def is_private(self) -> bool:
        """Whether it is seen in its own namespace alone."""
        return all(target in (".", self.namespace) for target in self.export_to)

    @property
    def key(self) -> tuple[str, str, Selector | None, tuple[str, ...]]:
        return (self.namespace, self.host, self.selector, self.export_to)


@dataclass(frozen=True, slots=True)
class Policy:
    """What is in force on one port; a part that is None has Istio's defaults."""

    load_balancer: LoadBalancerSettings | None = None
    connection_pool: ConnectionPoolSettings | None = None
    outlier_detection: OutlierDetection | None = None
    tls: ClientTLSSettings | None = None
    retry_budget: RetryBudget | None = None
    proxy_protocol: ProxyProtocol | None = None
    tunnel: TunnelSettings | None = None


class DestinationRules:
    """All rules, merged and indexed."""

    def __init__(self, loaded: Sequence[Loading], settings: Settings, memo: Memo) -> None:
        self._root = settings.root
        self._exact: dict[tuple[str, str], list[Rule]] = {}
        self._wild: dict[str, list[Rule]] = {}
        every = []
        for key, rules in _groups(loaded, settings.domain):
            merged = memo.get(("rule", key), (*rules, settings), _merge, key, rules, settings)
            every.append(merged)
            if merged.host.startswith("*"):
                self._wild.setdefault(merged.namespace, []).append(merged)
            else:
                self._exact.setdefault((merged.namespace, merged.host), []).append(merged)
        self.credentials = any(rule.credentials for rule in every)  # whether any names a Secret
        self.token = memo.token("rules", tuple(every))
        for found in self._exact.values():
            found.sort(key=lambda rule: rule.selector is None)
        for found in self._wild.values():
            found.sort(key=lambda rule: (*specificity(rule.host), rule.selector is None))

    def find(self, host: str, namespace: str, view: View) -> Rule | None:
        """Return the rule for a service's `host`, which is of `namespace`, as a view sees it.

        Istio: the client's namespace is asked first, then the service's, then the root; the first that
        has a rule wins, and nothing is merged across. In each the most specific host wins, and a
        rule that selects the client comes before one for all. Clients in the root namespace (the
        gateways) ask there last, save for rules that are private to it.
        """
        own = view.namespace
        if own == self._root:
            private = (rule for rule in self._candidates(own, host) if rule.is_private)
            found = _first(private, view)
        else:
            found = _first(self._candidates(own, host), view)
        return found or self._exported(namespace, host, view) or self._exported(self._root, host, view)

    def _exported(self, namespace: str, host: str, view: View) -> Rule | None:
        """Istio: the most specific host decides before it is asked whom it is exported to."""
        shared = [rule for rule in self._candidates(namespace, host) if not rule.is_private]
        closest = (rule for rule in shared if rule.host == shared[0].host)
        return _first(
            (r for r in closest if is_exported(r.export_to, namespace, view.namespace)),
            view,
            own=namespace == view.namespace,
        )

    def _candidates(self, namespace: str, host: str) -> Iterator[Rule]:
        yield from self._exact.get((namespace, host), ())
        for rule in self._wild.get(namespace, ()):
            if matches(rule.host, host):
                yield rule


def _first(rules: Iterable[Rule], view: View, *, own: bool = True) -> Rule | None:
    """Return the first rule that is for the clients of a view; selectors choose in their namespace only."""
    for rule in rules:
        if rule.selector is None or (own and rule.selector in view.matched):
            return rule
    return None


_Key = tuple[str, str, Selector | None, tuple[str, ...]]


def _groups(loaded: Sequence[Loading], domain: str) -> Iterator[tuple[_Key, list[Loading]]]:
    """Yield the rules that are merged, from the oldest; one rule may be in several groups."""
    found: dict[tuple[str, str, Selector | None], dict[frozenset[str], list[Loading]]] = {}
    for rule in loaded:
        host, selected = qualify(rule.spec.host, rule.namespace, domain), _selector(rule)
        groups = found.setdefault((rule.namespace, host, selected), {})
        exports = frozenset((".",) if selected else rule.spec.export_to)
        for others, rules in groups.items():
            if exports == others or (others and exports > others):
                rules.append(rule)
        groups.setdefault(exports, [rule])
    for (namespace, host, selected), groups in found.items():
        for exports, rules in groups.items():
            yield (namespace, host, selected, tuple(sorted(exports))), rules


def _selector(rule: Loading) -> Selector | None:
    wanted = rule.spec.workload_selector
    return selector(wanted.match_labels) if wanted and wanted.match_labels else None


def _merge(key: _Key, rules: list[Loading], settings: Settings) -> Rule:
    namespace, host, selected, exports = key
    subsets: dict[str, tuple[Subset, Origin]] = {}
    for rule in rules:
        for index, subset in enumerate(rule.spec.subsets):
            subsets.setdefault(subset.name, (subset, rule.origin(f"spec.subsets[{index}]")))
    first = next((rule for rule in rules if rule.spec.traffic_policy), rules[0])
    return Rule(
        host,
        namespace,
        first.spec.traffic_policy,
        subsets,
        exports or settings.destination_rule_export_to,
        selected,
        first.origin(),
        tuple(sorted({name for rule in rules for name in _credentials(rule.spec)})),
    )


def _credentials(spec: DestinationRuleSpec) -> Iterator[str]:
    for policy in (spec.traffic_policy, *(subset.traffic_policy for subset in spec.subsets)):
        if policy is None:
            continue
        for tls in (policy.tls, *(port.tls for port in policy.port_level_settings)):
            if tls is not None and tls.credential_name:
                yield tls.credential_name


def effective(rule: Rule | None, subset: Subset | None, port: int) -> Policy:
    """Return what is in force for a subset (None: the whole service) on a service's port.

    Istio: the settings of a port *replace* the rule's, they don't merge, save for the blocks that ports
    don't have; a subset replaces block by block what stands above it; its own settings of the port replace
    all again.
    """
    if rule is None:
        return Policy()
    policy = _over(Policy(), rule.policy, port)
    return policy if subset is None else _over(policy, subset.traffic_policy, port)


def _over(above: Policy, own: TrafficPolicy | None, port: int) -> Policy:
    if own is None:
        return above
    budget = own.retry_budget or above.retry_budget
    proxy_protocol = own.proxy_protocol or above.proxy_protocol
    tunnel = own.tunnel or above.tunnel
    on_port = _on_port(own, port)
    if on_port is not None:
        return Policy(
            on_port.load_balancer,
            on_port.connection_pool,
            on_port.outlier_detection,
            on_port.tls,
            budget,
            proxy_protocol,
            tunnel,
        )
    return Policy(
        own.load_balancer or above.load_balancer,
        own.connection_pool or above.connection_pool,
        own.outlier_detection or above.outlier_detection,
        own.tls or above.tls,
        budget,
        proxy_protocol,
        tunnel,
    )


def _on_port(policy: TrafficPolicy, port: int) -> PortTrafficPolicy | None:
    for settings in policy.port_level_settings:
        if settings.port and settings.port.number == port:
            return settings
    return None
