"""From resources and instances to a Snapshot: a pure function that reuses what it made before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from devmesh.config import kinds
from devmesh.config.finding import Finding
from devmesh.config.store import Key, Raw, Store
from devmesh.model.workload import Instance
from devmesh.pilot import (
    destination_findings,
    mesh_config,
    names,
    pending,
    service_entries,
    services,
    traffic_policies,
)
from devmesh.pilot.analysis import Analysis
from devmesh.pilot.credentials import Credentials
from devmesh.pilot.destination_rules import DestinationRules, effective
from devmesh.pilot.envoy_filters.applying import EnvoyFilters
from devmesh.pilot.gateway_api.compilation import GatewayApi
from devmesh.pilot.gateway_api.deployment import Wanted
from devmesh.pilot.gateways import Gateways
from devmesh.pilot.inbound import Serving, inbound, services_of
from devmesh.pilot.ingress import Ingresses
from devmesh.pilot.listeners import Listeners
from devmesh.pilot.localities import interest
from devmesh.pilot.memo import Memo
from devmesh.pilot.peer_authentication import Modes, PeerAuthentications
from devmesh.pilot.problems import Problems
from devmesh.pilot.proxy_files import ProxyFiles
from devmesh.pilot.registry import Backend, Entry, Instances, Registry, with_endpoints
from devmesh.pilot.resolving import Resolved, expanded, wanted
from devmesh.pilot.resources import Resources, load
from devmesh.pilot.routes import Compiling
from devmesh.pilot.settings import LocalPorts, Settings
from devmesh.pilot.sidecar_ingress import Sidecar, server_tls
from devmesh.pilot.swaps import Swaps
from devmesh.pilot.topology import topology_of
from devmesh.pilot.virtual_services import VirtualServices
from devmesh.pilot.visibility import View, selectors_in_use, sidecar_for, view_of
from devmesh.pilot.workload_entries import WorkloadEntries
from devmesh.snapshot.cluster import NO_LIMITS, Limits
from devmesh.snapshot.proxy import GatewayListener, Outbound, Proxy, ServerTls, Topology
from devmesh.snapshot.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Compiled:
    """What a compile gives.

    `statuses` holds what is to be merged into the status of resources. `names` are those that are to be
    looked up for the next compile. `memo` and `problems` are for
    the next compile, which goes on with the very same memo. `wanted` are objects that are to be made.
    """

    snapshot: Snapshot
    findings: tuple[Finding, ...] = ()
    statuses: Mapping[Key, Raw] = field(default_factory=dict)
    wanted: tuple[Wanted, ...] = ()
    names: frozenset[str] = frozenset()
    memo: Memo = field(default_factory=Memo, repr=False)
    problems: Problems = field(default_factory=Problems, repr=False)


def compile_mesh(
    store: Store,
    instances: Sequence[Instance],
    *,
    version: int,
    ports: LocalPorts | None = None,
    resolved: Resolved | None = None,
    previous: Compiled | None = None,
) -> Compiled:
    """Compile everything in `store`, with `instances` behind it.

    A resource that shows a bug is left out with an error among the findings; the rest is compiled.

    Args:
        version: Of the snapshot.
        ports: Where the ingress gateway is on 127.0.0.1.
        resolved: What is known of the `names` that compiles before wanted to know.
        previous: The last result, whose unchanged parts are used again.
    """
    memo = previous.memo if previous else Memo()
    memo.begin()
    problems = Problems.after(previous.problems if previous else None, store)
    compilation = _Compilation(store, instances, ports or LocalPorts(), resolved or {}, memo, problems)
    snapshot = compilation.snapshot(version)
    problems.extend(compilation.analyze())
    problems.extend(compilation.surprises())
    problems.extend(pending.findings(compilation.resources, memo))
    problems.extend(compilation.swaps.findings(instances))
    api = compilation.gateway_api
    problems.extend(api.findings())
    problems.extend(compilation.ingresses.translated.findings)
    statuses = {**api.statuses(), **compilation.ingresses.statuses()}
    names = wanted(compilation.registry.entries, compilation.settings.domain)
    return Compiled(snapshot, problems.all(), statuses, api.wanted(), names, memo, problems)


class _Compilation:
    """The steps of one compile, in order; each reads what those before made."""

    def __init__(
        self,
        store: Store,
        instances: Sequence[Instance],
        ports: LocalPorts,
        resolved: Resolved,
        memo: Memo,
        problems: Problems,
    ) -> None:
        self.store, self.ports, self.memo, self.problems = store, ports, memo, problems
        self.resolved = resolved
        self.settings: Settings = mesh_config.settings(store, memo, problems)
        self.resources: Resources = load(store, memo, problems)
        self.swaps = Swaps(self.resources.workload_entries)
        self.instances = Instances(
            memo.same(("instance", found.id), found) for found in self.swaps.applied(instances)
        )
        self.modes = self._modes()
        self.registry = Registry(self._entries(), memo)
        self.services = services_of(self.registry.entries)
        self.gateway_api = GatewayApi(
            store, self.registry, self.resources.service_entries, self.settings.domain, memo, problems
        )
        derived = self.gateway_api.translated
        self.ingresses = Ingresses(self.resources.ingresses, store, self.registry, self.settings, memo)
        made = (*derived.virtual_services, *self.ingresses.translated.virtual_services)
        rules = sorted(
            (*self.resources.destination_rules, *self.gateway_api.rules), key=lambda rule: rule.order
        )
        self.rules = DestinationRules(rules, self.settings, memo)
        self.virtual_services = VirtualServices(
            self.resources.virtual_services, self.settings, memo, problems, made
        )
        gateways = (*self.resources.gateways, *derived.gateways, *self.ingresses.translated.gateways)
        self.gateways = sorted(gateways, key=lambda g: g.order)
        self.compiling = Compiling(self.registry, self.settings)
        self._outbounds: dict[View, Outbound] = {}
        self.envoy_filters = EnvoyFilters(
            self.resources.envoy_filters, self.registry, store, self.settings.root, memo, problems
        )

    def _modes(self) -> Mapping[str, Modes]:
        policies = PeerAuthentications(self.resources.peer_authentications, self.settings.root)
        return {
            instance.id: policies.modes(instance.namespace, instance.labels)
            for instance in self.instances.all.values()
        }

    def _entries(self) -> Sequence[Entry]:
        trust_domain = self.settings.mesh.trust_domain
        places = WorkloadEntries(
            self.resources.workload_entries,
            self.resources.workload_groups,
            self.instances,
            trust_domain,
            self.memo,
        )
        rest = (self.instances, places, self.settings, self.memo, self.problems)
        found = [
            *services.entries(self.resources, self.store, *rest),
            *service_entries.entries(self.resources, *rest),
        ]
        return [
            with_endpoints(
                expanded(entry, self.resolved), self.memo, self._modes_of, auto_mtls=self.settings.auto_mtls
            )
            for entry in found
        ]

    def _modes_of(self, instance: Instance) -> Modes:
        return self.modes[instance.id]

    def snapshot(self, version: int) -> Snapshot:
        entries = self.registry.entries
        instances = self.instances.all
        # Those of delegates together with their roots' are no one resource's own.
        merged = (vs.sources for vs in self.virtual_services.all)
        in_use = selectors_in_use(self.resources).union(*merged)
        where = interest(self.resources, self.registry.entries, self.settings)
        proxies = {
            instance.id: self._proxy(
                instance,
                view_of(instance, in_use, self.resources.sidecars, self.settings, where.place(instance)),
            )
            for instance in instances.values()
            if instance.meshed
        }
        return Snapshot(
            version=version,
            proxies=proxies,
            instances=instances,
            by_address={address: i.id for address, i in self.instances.by_address.items()},
            services=names.services(entries),
            names=names.names(entries),
            backends=names.backends(entries),
            datagrams=names.datagrams(entries),
            mesh=self.settings.mesh,
            aliases=names.aliases(entries),
        )

    def _proxy(self, instance: Instance, view: View) -> Proxy:
        outbound = self._outbounds.get(view) or self._outbound(view)
        behind = self.services.get(instance.id, [])
        if not instance.gateway:
            accepted = inbound(instance, self._serving(instance, behind, view), self.memo)
            accepted = self.envoy_filters.inbound(instance, accepted)
            parts = (instance, outbound, accepted)
            return self.memo.get(("proxy", instance.id), parts, Proxy, *parts)
        listeners = self._gateways(view).listeners(instance, behind, outbound.clusters)
        listeners = self.envoy_filters.gateway(instance, listeners)
        topology = topology_of(instance, self.settings.topology, self.store, self.problems)
        topology = self.memo.same(("topology", instance.id), topology)
        return self.memo.get(
            ("proxy", instance.id),
            (instance, outbound, listeners, topology),
            _gateway_proxy,
            instance,
            outbound,
            listeners,
            topology,
        )

    def _limits(self, view: View, entry: Entry, port: int) -> Limits:
        """Return what the connection pool of a service allows towards the application behind it."""
        rule = self.rules.find(entry.host, entry.service.namespace, view)
        policy = effective(rule, None, port)
        pool = policy.connection_pool or self.settings.pool
        if pool is None and policy.retry_budget is None:
            return NO_LIMITS
        return traffic_policies.limits(pool, policy.retry_budget, self.settings)

    def _serving(self, instance: Instance, behind: list[tuple[Entry, Backend]], view: View) -> Serving:
        return Serving(
            behind,
            self.modes[instance.id],
            self.settings,
            partial(self._limits, view),
            partial(self._server_tls, instance),
            sidecar_for(instance, self.resources.sidecars, self.settings.root),
            self.swaps.of(instance),
        )

    def _server_tls(self, instance: Instance, sidecar: Sidecar, index: int) -> ServerTls:
        pod = self.store.get(kinds.POD, instance.namespace, instance.pod)
        return server_tls(sidecar, index, instance, ProxyFiles(self.store, pod, instance), self.problems)

    def _outbound(self, view: View) -> Outbound:
        entries = self.registry.seen_by(view)
        if view.egress is not None:  # Istio: a Sidecar does not hide what its VirtualServices lead to
            for host in self.virtual_services.destinations(view, self.settings.domain):
                if (entry := self.registry.find(host)) is not None:
                    entries.setdefault(host, entry)
        made = Listeners(
            view,
            entries,
            self.virtual_services,
            self.rules,
            self.compiling,
            self.memo,
            self.problems,
            Credentials(self.store),
        ).outbound()
        self._outbounds[view] = made
        return made

    def _gateways(self, view: View) -> Gateways:
        return Gateways(
            view,
            self.gateways,
            self.virtual_services,
            self.compiling,
            Credentials(self.store),
            self.ports,
            self.memo,
            self.problems,
        )

    def surprises(self) -> Iterable[Finding]:
        return destination_findings.findings(
            self.resources.destination_rules,
            self.registry,
            self.instances,
            Credentials(self.store),
            self.settings.domain,
            self.memo,
        )

    def analyze(self) -> Iterable[Finding]:
        return Analysis(
            self.resources,
            self.registry,
            self.rules,
            self.virtual_services,
            self.instances,
            self.settings,
            self.memo,
        ).findings()


def _gateway_proxy(
    instance: Instance, outbound: Outbound, listeners: tuple[GatewayListener, ...], topology: Topology
) -> Proxy:
    return Proxy(instance, outbound, gateway=listeners, topology=topology)
