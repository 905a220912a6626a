"""The Gateway API's part of one compile."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from devmesh.config import kinds
from devmesh.config.documents.destinationrule import DestinationRuleSpec
from devmesh.config.documents.gateway_api import Listener, ListenerEntry
from devmesh.config.documents.serviceentry import ServiceEntrySpec
from devmesh.config.finding import Finding
from devmesh.config.store import Key, Raw, Store
from devmesh.pilot.credentials import Credentials
from devmesh.pilot.gateway_api.backend_tls import Backend, backends, destination_rules
from devmesh.pilot.gateway_api.deployment import Wanted, objects
from devmesh.pilot.gateway_api.derived import Derived
from devmesh.pilot.gateway_api.findings import findings
from devmesh.pilot.gateway_api.listeners import CONTROLLER, class_controller
from devmesh.pilot.gateway_api.references import References
from devmesh.pilot.gateway_api.resources import Gateway, GatewayResources, ListenerSet, load
from devmesh.pilot.gateway_api.status import Statuses
from devmesh.pilot.gateway_api.translation import Translated, Translation
from devmesh.pilot.memo import Memo
from devmesh.pilot.problems import Problems
from devmesh.pilot.registry import Registry
from devmesh.pilot.resources import Loaded


class GatewayApi:
    """Translates, and tells what became of it; all of it is kept as long as nothing that counts changes."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        entries: Sequence[Loaded[ServiceEntrySpec]],
        domain: str,
        memo: Memo,
        problems: Problems,
    ) -> None:
        self._store, self._registry, self._domain, self._memo = store, registry, domain, memo
        self.resources: GatewayResources = load(store, memo, problems)
        self.translated = Translated()
        if self.resources.gateways or self.resources.routes:
            services = memo.same("Services", frozenset(s.key for s in store.list(kinds.SERVICE)))
            targets = memo.token("targets", (*self.resources.grants, registry.shape, services, domain))
            parts = (*self.resources.parts, *entries, *self._referred(), targets)
            self.translated = memo.get("gateway api", parts, self._translate, entries, problems, targets)

        self.backends: tuple[Backend, ...] = ()
        if self.resources.policies:
            held = (*store.list(kinds.CONFIG_MAP), *store.list(kinds.SERVICE))
            parts = (*self.resources.policies, *entries, *held, domain)
            self.backends = memo.get("backend policies", parts, self._backends, entries)

    @property
    def rules(self) -> tuple[Derived[DestinationRuleSpec], ...]:
        """The DestinationRules that the policies come to."""
        return self._memo.get("backend rules", self.backends, destination_rules, self.backends)

    def _backends(self, entries: Sequence[Loaded[ServiceEntrySpec]]) -> tuple[Backend, ...]:
        return tuple(backends(self.resources.policies, entries, self._store, self._domain))

    def _translate(
        self, entries: Sequence[Loaded[ServiceEntrySpec]], problems: Problems, targets: object
    ) -> Translated:
        references = References(self.resources.grants, self._registry, self._store, self._domain)
        credentials = Credentials(self._store)
        return Translation(
            self.resources,
            references,
            targets,
            entries,
            self._store,
            credentials.find,
            self._memo,
            problems,
        ).translate()

    def _referred(self) -> Iterator[object]:
        """Yield the Secrets that listeners name, as they are now."""
        owners: list[Gateway | ListenerSet]
        owners = [*self.resources.gateways, *self.resources.listener_sets]
        for owner in owners:
            listeners: tuple[Listener | ListenerEntry, ...] = owner.spec.listeners
            for listener in listeners:
                for ref in listener.tls.certificate_refs if listener.tls else ():
                    namespace = ref.namespace or owner.namespace
                    yield self._store.get(kinds.SECRET, namespace, ref.name)

    def wanted(self) -> tuple[Wanted, ...]:
        """Return the objects that are to be there for the Gateways."""
        if not self.resources.gateways:
            return ()
        return self._memo.get("gateway objects", (self.translated,), self._wanted)

    def _wanted(self) -> tuple[Wanted, ...]:
        return tuple(
            made
            for gateway in self.resources.gateways
            if class_controller(gateway.spec.gateway_class_name, self.resources) == CONTROLLER
            for made in objects(gateway, [p for p in self.translated.ports if p.gateway is gateway])
        )

    def statuses(self) -> Mapping[Key, Raw]:
        """Return what is to be written into statuses: nothing where they say it already."""
        found: Iterable[tuple[Key, dict[str, Any]]] = Statuses(
            self.resources, self.translated, self.backends, self._registry, self._store, self._domain
        ).all()
        return dict(found)

    def findings(self) -> tuple[Finding, ...]:
        parts = (self.translated, *self.resources.gateways, *self.backends)
        return self._memo.get("gateway findings", parts, self._findings)

    def _findings(self) -> tuple[Finding, ...]:
        return tuple(findings(self.resources, self.translated, self.backends, self._domain))
