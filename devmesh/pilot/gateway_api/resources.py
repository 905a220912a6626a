"""The Gateway API's resources of the store, decoded, the oldest first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from devmesh.config import gateway_kinds, kinds
from devmesh.config.documents.gateway_api import (
    BackendTLSPolicySpec,
    GatewayClassSpec,
    GatewayResourceSpec,
    ListenerSetSpec,
    ReferenceGrantSpec,
)
from devmesh.config.documents.gateway_routes import (
    GRPCRouteSpec,
    HTTPRouteSpec,
    TCPRouteSpec,
    TLSRouteSpec,
)
from devmesh.config.kinds import Kind
from devmesh.config.store import Store, Stored
from devmesh.config.typed import typed
from devmesh.pilot.memo import Memo
from devmesh.pilot.problems import Problems
from devmesh.pilot.resources import Loaded

Gateway = Loaded[GatewayResourceSpec]
ListenerSet = Loaded[ListenerSetSpec]
HTTP = Loaded[HTTPRouteSpec]
GRPC = Loaded[GRPCRouteSpec]
TLS = Loaded[TLSRouteSpec]
TCP = Loaded[TCPRouteSpec]
Policy = Loaded[BackendTLSPolicySpec]
AnyRoute = HTTP | GRPC | TLS | TCP


@dataclass(frozen=True, slots=True)
class GatewayResources:
    """All of them. Each is the same object until its spec, labels or annotations change, whatever its
    status says: the status is what the compile itself writes."""

    classes: tuple[Loaded[GatewayClassSpec], ...] = ()
    gateways: tuple[Gateway, ...] = ()
    listener_sets: tuple[ListenerSet, ...] = ()
    http: tuple[HTTP, ...] = ()
    grpc: tuple[GRPC, ...] = ()
    tls: tuple[TLS, ...] = ()
    tcp: tuple[TCP, ...] = ()
    grants: tuple[Loaded[ReferenceGrantSpec], ...] = ()
    policies: tuple[Policy, ...] = ()
    namespaces: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # their labels

    @property
    def routes(self) -> tuple[AnyRoute, ...]:
        return (*self.http, *self.grpc, *self.tls, *self.tcp)

    @property
    def parts(self) -> tuple[object, ...]:
        """All objects, for a memo."""
        return (
            *self.classes,
            *self.gateways,
            *self.listener_sets,
            *self.routes,
            *self.grants,
            self.namespaces,
        )


def load(store: Store, memo: Memo, problems: Problems) -> GatewayResources:
    """Read them. What can't be decoded is told and left out."""

    def specs(kind: Kind) -> tuple[Any, ...]:
        found: list[Loaded[Any]] = []
        for stored in store.list(kind):
            with problems.contained(stored):
                found.append(_loaded(stored, memo))
        return tuple(sorted(found, key=lambda loaded: (loaded.created, loaded.namespace, loaded.name)))

    gateways = specs(gateway_kinds.KUBERNETES_GATEWAY)
    labels: Mapping[str, Mapping[str, str]] = {}
    if gateways:
        labels = {namespace.name: dict(namespace.labels) for namespace in store.list(kinds.NAMESPACE)}
    return GatewayResources(
        classes=specs(gateway_kinds.GATEWAY_CLASS),
        gateways=gateways,
        listener_sets=specs(gateway_kinds.LISTENER_SET),
        http=specs(gateway_kinds.HTTP_ROUTE),
        grpc=specs(gateway_kinds.GRPC_ROUTE),
        tls=specs(gateway_kinds.TLS_ROUTE),
        tcp=specs(gateway_kinds.TCP_ROUTE),
        grants=specs(gateway_kinds.REFERENCE_GRANT),
        policies=specs(gateway_kinds.BACKEND_TLS_POLICY),
        namespaces=memo.same("labels of namespaces", labels),
    )


def _loaded(stored: Stored, memo: Memo) -> Loaded[Any]:
    metadata = stored.metadata
    what = (stored.uid, metadata.get("generation"), dict(stored.labels), dict(stored.annotations))
    token = memo.same(("generation", stored.key), what)
    found: Loaded[Any] = memo.get(("loaded", stored.key), (token,), _decoded, stored)
    return found


def _decoded(stored: Stored) -> Loaded[Any]:
    document: Any = typed(stored)
    return Loaded(stored, document.spec, document.metadata.creation_timestamp or "")
