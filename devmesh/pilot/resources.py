"""The resources of the store, decoded, in the order in which Istio lets them win."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from devmesh.config import kinds
from devmesh.config.documents.destinationrule import DestinationRuleSpec
from devmesh.config.documents.envoyfilter import EnvoyFilterSpec
from devmesh.config.documents.gateway import GatewaySpec
from devmesh.config.documents.ingress import IngressSpec
from devmesh.config.documents.security import PeerAuthenticationSpec
from devmesh.config.documents.serviceentry import ServiceEntrySpec, WorkloadEntrySpec
from devmesh.config.documents.services import ServiceSpec
from devmesh.config.documents.sidecar import SidecarSpec
from devmesh.config.documents.virtualservice import VirtualServiceSpec
from devmesh.config.documents.workloadgroup import WorkloadGroupSpec
from devmesh.config.kinds import Kind
from devmesh.config.store import Store, Stored
from devmesh.config.typed import typed
from devmesh.pilot.memo import Memo
from devmesh.pilot.problems import Problems
from devmesh.snapshot.origin import Origin

S_co = TypeVar("S_co", covariant=True)


@dataclass(frozen=True, slots=True, eq=False)
class Loaded(Generic[S_co]):
    """A resource with its spec. The same object for as long as the resource does not change."""

    stored: Stored
    spec: S_co
    created: str

    @property
    def name(self) -> str:
        return self.stored.name

    @property
    def namespace(self) -> str:
        return self.stored.namespace

    @property
    def order(self) -> tuple[str, str, str]:
        """Istio: the oldest wins, then the name, then the namespace decides."""
        return (self.created, self.name, self.namespace)

    def origin(self, path: str = "") -> Origin:
        return Origin(self.stored.key.kind.kind, self.namespace, self.name, path)


@dataclass(frozen=True, slots=True)
class Resources:
    """Everything a compile reads from the store but Endpoints and Secrets."""

    services: tuple[Loaded[ServiceSpec], ...] = ()
    virtual_services: tuple[Loaded[VirtualServiceSpec], ...] = ()
    destination_rules: tuple[Loaded[DestinationRuleSpec], ...] = ()
    gateways: tuple[Loaded[GatewaySpec], ...] = ()
    ingresses: tuple[Loaded[IngressSpec], ...] = ()
    service_entries: tuple[Loaded[ServiceEntrySpec], ...] = ()
    workload_entries: tuple[Loaded[WorkloadEntrySpec], ...] = ()
    workload_groups: tuple[Loaded[WorkloadGroupSpec], ...] = ()
    sidecars: tuple[Loaded[SidecarSpec], ...] = ()
    peer_authentications: tuple[Loaded[PeerAuthenticationSpec], ...] = ()
    envoy_filters: tuple[Loaded[EnvoyFilterSpec], ...] = ()


def load(store: Store, memo: Memo, problems: Problems) -> Resources:
    """Read the kinds that routing depends on. What can't be decoded is told and left out."""

    def specs(kind: Kind) -> tuple[Any, ...]:
        found = []
        for stored in store.list(kind):
            with problems.contained(stored):
                found.append(memo.get(("loaded", stored.key), (stored,), _load, stored))
        return tuple(sorted(found, key=lambda loaded: loaded.order))

    return Resources(
        services=specs(kinds.SERVICE),
        virtual_services=specs(kinds.VIRTUAL_SERVICE),
        destination_rules=specs(kinds.DESTINATION_RULE),
        gateways=specs(kinds.GATEWAY),
        ingresses=specs(kinds.INGRESS),
        service_entries=specs(kinds.SERVICE_ENTRY),
        workload_entries=specs(kinds.WORKLOAD_ENTRY),
        workload_groups=specs(kinds.WORKLOAD_GROUP),
        sidecars=specs(kinds.SIDECAR),
        peer_authentications=specs(kinds.PEER_AUTHENTICATION),
        envoy_filters=specs(kinds.ENVOY_FILTER),
    )


def _load(stored: Stored) -> Loaded[Any]:
    document: Any = typed(stored)
    return Loaded(stored, document.spec, document.metadata.creation_timestamp or "")
