"""What in the routing configuration points to nothing (codes as in Kiali)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from devmesh.config.documents.destinationrule import DestinationRuleSpec
from devmesh.config.documents.virtualservice import Destination, VirtualServiceSpec
from devmesh.config.finding import Finding, Severity
from devmesh.model.host import matches, qualify
from devmesh.pilot.destination_rules import DestinationRules
from devmesh.pilot.gateway_names import MESH, gateway_name
from devmesh.pilot.memo import Memo
from devmesh.pilot.registry import Entry, Instances, Registry
from devmesh.pilot.resources import Loaded, Resources
from devmesh.pilot.settings import Settings
from devmesh.pilot.tables import speaks_http
from devmesh.pilot.virtual_services import VirtualServices
from devmesh.pilot.visibility import View, selects


class Analysis:
    """Checks the routing configuration of one compile; what has not changed is not checked again."""

    def __init__(
        self,
        resources: Resources,
        registry: Registry,
        rules: DestinationRules,
        virtual_services: VirtualServices,
        instances: Instances,
        settings: Settings,
        memo: Memo,
    ) -> None:
        self._resources = resources
        self._registry = registry
        self._rules = rules
        self._virtual_services = virtual_services
        self._instances = instances
        self._settings = settings
        self._memo = memo

    def findings(self) -> Iterator[Finding]:
        """Yield what has no effect or a surprising one."""
        memo, registry = self._memo, self._registry
        gateways = memo.token("gateways", self._resources.gateways)
        parts = (registry.shape, self._rules.token, gateways, self._settings)
        for vs in self._resources.virtual_services:
            key = ("analysis", vs.stored.key)
            yield from memo.get(key, (vs, *parts), self._all, self._of_virtual_service, vs)
        token = self._virtual_services.token
        yield from memo.get("shared hosts", (token,), self._all, self._shared_hosts)
        used = memo.get("subsets in use", (token, self._settings), self._subsets_in_use)
        for rule in self._resources.destination_rules:
            host = qualify(rule.spec.host, rule.namespace, self._settings.domain)
            entries = registry.within(host)
            near = registry.shape if not entries else None
            made_of = (rule, used, near, self._settings, *entries)
            key = ("analysis", rule.stored.key)
            yield from memo.get(key, made_of, self._all, self._of_rule, rule, host, entries, used)
        yield from self._of_gateways()

    @staticmethod
    def _all(check: Callable[..., Iterator[Finding]], *args: object) -> tuple[Finding, ...]:
        return tuple(check(*args))

    def _of_virtual_service(self, vs: Loaded[VirtualServiceSpec]) -> Iterator[Finding]:
        gateways = {f"{g.namespace}/{g.name}" for g in self._resources.gateways}
        for index, name in enumerate(vs.spec.gateways):
            full = gateway_name(name, vs.namespace)
            if full not in gateways and full != MESH:
                yield _finding(
                    "KIA1102",
                    "error",
                    vs,
                    f"spec.gateways[{index}]",
                    f"there is no Gateway {full}: create it, or correct the name (namespace/name)",
                )
        for path, destination in _destinations(vs):
            yield from self._destination(vs, path, destination)
        if MESH in (vs.spec.gateways or (MESH,)):
            yield from self._inferred_ports(vs)

    def _inferred_ports(self, vs: Loaded[VirtualServiceSpec]) -> Iterator[Finding]:
        """Istio: a sidecar's HTTP route without a port goes to the port that was called, nowhere else."""
        hosts = [qualify(host, vs.namespace, self._settings.domain) for host in vs.spec.hosts]
        entries = [entry for host in hosts for entry in self._registry.within(host)]
        called = {p.number for e in entries for p in e.service.ports if speaks_http(p)}
        for index, rule in enumerate(vs.spec.http):
            if rule.match and all(block.port for block in rule.match):
                continue
            for number, found in enumerate(rule.route):
                target = found.destination
                if target is None or (target.port and target.port.number):
                    continue
                entry = self._registry.covering(self._host(target, vs.namespace))
                ports = {p.number for p in entry.service.ports} if entry else called
                if missing := sorted(called - ports):
                    yield _finding(
                        "DM0303",
                        "warning",
                        vs,
                        f"spec.http[{index}].route[{number}].destination.port",
                        f"without a port, calls on port {_listed(missing)} go to that port of {target.host}, "
                        f"which has only {_listed(sorted(ports))}: they get 503 (NC); write port.number",
                    )

    def _destination(self, vs: Loaded[object], path: str, destination: Destination) -> Iterator[Finding]:
        if not destination.host:
            return
        host = self._host(destination, vs.namespace)
        entry = self._registry.covering(host)
        if entry is None:
            yield _finding(
                "KIA1101",
                "error",
                vs,
                f"{path}.host",
                f"no Service and no ServiceEntry has the host {host}: requests get 503 (NC) until one does"
                + _nearest(host, self._registry),
            )
            return
        ports = {port.number for port in entry.service.ports}
        if destination.port and destination.port.number and destination.port.number not in ports:
            yield _finding(
                "IST0101",
                "error",
                vs,
                f"{path}.port.number",
                f"{host} has no port {destination.port.number}, but {_listed(ports)}: requests get 503 (NC)",
            )
        if destination.subset:
            yield from self._subset(vs, path, host, entry.service.namespace, destination.subset)

    def _subset(
        self, vs: Loaded[object], path: str, host: str, namespace: str, subset: str
    ) -> Iterator[Finding]:
        rule = self._rules.find(host, namespace, View(vs.namespace))
        if rule is None or subset not in rule.subsets:
            where = f"DestinationRule {rule.namespace}/{rule.origin.name}" if rule else "no DestinationRule"
            known = f" (it has {_listed(rule.subsets)})" if rule and rule.subsets else ""
            verb = "does not define" if rule else "defines"
            yield _finding(
                "KIA1107",
                "warning",
                vs,
                f"{path}.subset",
                f"{where} {verb} the subset {subset!r} of {host}{known}: requests get 503 (NC)",
            )

    def _shared_hosts(self) -> Iterator[Finding]:
        owners: dict[tuple[str, str], Loaded[object]] = {}
        for vs in self._virtual_services.all:
            if MESH not in vs.gateways or vs.gateway_api:
                continue
            for index, host in enumerate(vs.hosts):
                first = owners.setdefault((host, ",".join(vs.export_to)), vs.loaded)
                if first is not vs.loaded:
                    yield _finding(
                        "KIA1106",
                        "warning",
                        vs.loaded,
                        f"spec.hosts[{index}]",
                        f"{host} belongs to VirtualService {first.namespace}/{first.name} already, which is "
                        "older: in sidecars this one has no effect for it",
                    )

    def _subsets_in_use(self) -> frozenset[tuple[str, str]]:
        return frozenset(
            (self._host(destination, vs.namespace), destination.subset)
            for vs in self._resources.virtual_services
            for _, destination in _destinations(vs)
            if destination.subset
        )

    def _of_rule(
        self,
        rule: Loaded[DestinationRuleSpec],
        host: str,
        entries: Sequence[Entry],
        used: frozenset[tuple[str, str]],
    ) -> Iterator[Finding]:
        if not entries and not host.startswith("*") and self._registry.covering(host) is None:
            yield _finding(
                "KIA0202",
                "error",
                rule,
                "spec.host",
                f"no Service and no ServiceEntry has the host {host}: the rule has no effect"
                + _nearest(host, self._registry),
            )
        members = [b for e in entries for b in e.members if b.instance or b.labels]
        for index, subset in enumerate(rule.spec.subsets):
            if not subset.labels or not members or any(selects(subset.labels, m.labels) for m in members):
                continue
            labels = ", ".join(f"{key}={value}" for key, value in subset.labels.items())
            referenced = any(matches(host, to) and subset.name == name for to, name in used)
            yield _finding(
                "KIA0203",
                "warning" if referenced else "info",
                rule,
                f"spec.subsets[{index}].labels",
                f"nothing behind {host} has the labels {labels}: requests to the subset "
                f"{subset.name!r} get 503 (UH)",
            )

    def _host(self, destination: Destination, namespace: str) -> str:
        return qualify(destination.host, namespace, self._settings.domain)

    def _of_gateways(self) -> Iterator[Finding]:
        workloads = [i for i in self._instances.all.values() if i.gateway]
        for gateway in self._resources.gateways:
            if not any(selects(gateway.spec.selector, i.labels) for i in workloads):
                labels = ", ".join(f"{key}={value}" for key, value in gateway.spec.selector.items())
                yield _finding(
                    "KIA0302",
                    "warning",
                    gateway,
                    "spec.selector",
                    f"no gateway workload has the labels {labels}: nothing listens (the ingress gateway "
                    "has istio=ingressgateway)",
                )


def _destinations(vs: Loaded[VirtualServiceSpec]) -> Iterator[tuple[str, Destination]]:
    spec = vs.spec
    for kind in ("http", "tls", "tcp"):
        for index, rule in enumerate(getattr(spec, kind)):
            for number, found in enumerate(rule.route):
                if found.destination:
                    yield f"spec.{kind}[{index}].route[{number}].destination", found.destination
            if kind == "http" and rule.mirror:
                yield f"spec.http[{index}].mirror", rule.mirror
            for number, mirror in enumerate(rule.mirrors if kind == "http" else ()):
                if mirror.destination:
                    yield f"spec.http[{index}].mirrors[{number}].destination", mirror.destination


def _finding(code: str, severity: Severity, loaded: Loaded[object], path: str, message: str) -> Finding:
    key = loaded.stored.key
    return Finding(code, severity, message, key.kind.kind, key.namespace, key.name, path)


def _listed(things: Iterable[object]) -> str:
    return ", ".join(str(thing) for thing in things) or "none"


def _nearest(host: str, registry: Registry) -> str:
    import difflib  # only where something is wrong

    near = difflib.get_close_matches(host, [entry.host for entry in registry.entries], 1, 0.8)
    return f" (did you mean {near[0]}?)" if near else ""
