"""What in the routing configuration points to nothing (codes as in Kiali)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from devmesh.config.documents.virtualservice import Destination, VirtualServiceSpec
from devmesh.config.finding import Finding, Severity
from devmesh.model.host import matches, qualify
from devmesh.pilot.destination_rules import DestinationRules
from devmesh.pilot.registry import Instances, Registry
from devmesh.pilot.resources import Loaded, Resources
from devmesh.pilot.settings import Settings
from devmesh.pilot.virtual_services import MESH, VirtualServices, gateway_name
from devmesh.pilot.visibility import View, selects


def findings(
    resources: Resources,
    registry: Registry,
    rules: DestinationRules,
    virtual_services: VirtualServices,
    instances: Instances,
    settings: Settings,
) -> Sequence[Finding]:
    """Return what has no effect or a surprising one."""
    check = _Check(resources, registry, rules, virtual_services, instances, settings)
    return (*check.virtual_services(), *check.destination_rules(), *check.gateways())


class _Check:
    def __init__(
        self,
        resources: Resources,
        registry: Registry,
        rules: DestinationRules,
        virtual_services: VirtualServices,
        instances: Instances,
        settings: Settings,
    ) -> None:
        self._resources = resources
        self._registry = registry
        self._rules = rules
        self._virtual_services = virtual_services
        self._instances = instances
        self._settings = settings

    def virtual_services(self) -> Iterator[Finding]:
        gateways = {f"{g.namespace}/{g.name}" for g in self._resources.gateways}
        for vs in self._resources.virtual_services:
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
        yield from self._shared_hosts()

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
            if MESH not in vs.gateways:
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

    def destination_rules(self) -> Iterator[Finding]:
        used = {(self._host(d, vs.namespace), d.subset) for vs in self._all() for _, d in _destinations(vs)}
        for rule in self._resources.destination_rules:
            host = qualify(rule.spec.host, rule.namespace, self._settings.domain)
            entries = [e for e in self._registry.entries if matches(host, e.host)]
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
                if subset.labels and members and not any(selects(subset.labels, m.labels) for m in members):
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

    def _all(self) -> Sequence[Loaded[VirtualServiceSpec]]:
        return self._resources.virtual_services

    def _host(self, destination: Destination, namespace: str) -> str:
        return qualify(destination.host, namespace, self._settings.domain)

    def gateways(self) -> Iterator[Finding]:
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
