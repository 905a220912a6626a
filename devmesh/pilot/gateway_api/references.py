"""What references lead to, and whether a ReferenceGrant allows those across namespaces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from devmesh.config import kinds
from devmesh.config.documents.gateway_api import ReferenceGrantSpec
from devmesh.config.documents.gateway_routes import (
    BackendObjectReference,
    BackendRef,
    GRPCBackendRef,
    HTTPBackendRef,
)
from devmesh.config.documents.selectors import PortSelector
from devmesh.config.documents.virtualservice import Destination
from devmesh.config.gateway_kinds import GROUP
from devmesh.config.store import Store
from devmesh.model.host import service_host
from devmesh.pilot.gateway_api.conditions import Problem
from devmesh.pilot.registry import Registry
from devmesh.pilot.resources import Loaded

Backend = BackendRef | HTTPBackendRef | GRPCBackendRef | BackendObjectReference
NOWHERE = Destination(host="backend.invalid", port=PortSelector(number=65535))
"""No cluster is of this name, so that HTTP requests get a 500 and connections are closed."""
ISTIO = "networking.istio.io"


class References:
    """Resolves references of routes and Gateways."""

    def __init__(
        self, grants: Sequence[Loaded[ReferenceGrantSpec]], registry: Registry, store: Store, domain: str
    ) -> None:
        self._allowed = frozenset(grant for loaded in grants for grant in _pairs(loaded))
        self._registry = registry
        self._store = store
        self.domain = domain

    def is_allowed(self, kind: str, namespace: str, to: tuple[str, str, str, str]) -> bool:
        """Tell whether a resource of the Gateway API may refer to something.

        Args:
            kind, namespace: Of what refers.
            to: The group, kind, namespace and name that it refers to.
        """
        group, of_kind, where, name = to
        return where == namespace or any(
            (GROUP, kind, namespace, group, of_kind, where, which) in self._allowed for which in ("", name)
        )

    def backend(
        self, ref: Backend, kind: str, namespace: str, *, in_mesh: bool
    ) -> tuple[Destination, Problem | None]:
        """Return where a backendRef of a route leads, and what is wrong with it.

        Istio: routes of the mesh need no ReferenceGrant; one that is missing hides whether the backend is
        there.

        Args:
            kind, namespace: Of the route.
        """
        group, of_kind = ref.group or "", ref.kind or "Service"
        where = ref.namespace or namespace
        if not in_mesh and not self.is_allowed(kind, namespace, (group, of_kind, where, ref.name)):
            return NOWHERE, Problem(
                "RefNotPermitted",
                f"backendRef {ref.name}/{where} not accessible to a {kind} in namespace {namespace!r} "
                "(missing a ReferenceGrant?)",
            )
        problem: Problem | None = None
        if (group, of_kind) == ("", "Service"):
            if "." in ref.name:
                return NOWHERE, Problem(
                    "InvalidDestination",
                    "service name invalid; the name of the Service must be used, not the hostname.",
                    hard=True,
                )
            host = service_host(ref.name, where, self.domain)
            found = self._store.get(kinds.SERVICE, where, ref.name) is not None
        elif (group, of_kind) == (ISTIO, "Hostname"):
            if ref.namespace is not None:
                return NOWHERE, Problem(
                    "InvalidDestination", "namespace may not be set with Hostname type", hard=True
                )
            host = ref.name.lower()
            found = self._registry.covering(host) is not None
        else:
            said = f"referencing unsupported backendRef: group {group!r} kind {of_kind!r}"
            return NOWHERE, Problem("InvalidKind", said)
        if not found:
            problem = Problem("BackendNotFound", f"backend({host}) not found")
        if ref.port is None:
            return NOWHERE, Problem("InvalidDestination", "port is required in backendRef", hard=True)
        return Destination(host=host, port=PortSelector(number=ref.port)), problem


def _pairs(loaded: Loaded[ReferenceGrantSpec]) -> Iterator[tuple[str, str, str, str, str, str, str]]:
    for source in loaded.spec.from_:
        for target in loaded.spec.to:
            yield (
                source.group,
                source.kind,
                source.namespace,
                target.group,
                target.kind,
                loaded.namespace,
                target.name or "",
            )
