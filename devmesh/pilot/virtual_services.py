"""Which VirtualService owns a host, for sidecars and for gateways; delegates are put in place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from devmesh.config.documents.virtualservice import (
    HTTPMatchRequest,
    HTTPRoute,
    L4MatchAttributes,
    TCPRoute,
    TLSMatchAttributes,
    TLSRoute,
    VirtualServiceSpec,
)
from devmesh.model.host import matches, qualify, specificity
from devmesh.pilot.delegates import Written, delegates_of, with_delegates
from devmesh.pilot.gateway_names import MESH, gateway_name
from devmesh.pilot.memo import Memo
from devmesh.pilot.problems import Problems
from devmesh.pilot.resources import Loaded
from devmesh.pilot.settings import Settings
from devmesh.pilot.visibility import Selector, View, is_exported, selector

Loading = Loaded[VirtualServiceSpec]


@dataclass(frozen=True, slots=True, eq=False)
class VirtualService:
    """A VirtualService with its names resolved: the same object as long as it doesn't change."""

    loaded: Loading
    hosts: tuple[str, ...]
    gateways: frozenset[str]  # "mesh", or namespace/name
    export_to: tuple[str, ...]
    http: tuple[Written, ...]
    sources: frozenset[Selector]  # the callers that its matches tell apart
    by_namespace: bool  # its matches tell callers' namespaces apart
    gateway_api: bool = False  # it stands for routes of the Gateway API

    @property
    def namespace(self) -> str:
        return self.loaded.namespace

    def seen_by(self, view: View) -> bool:
        """Istio: a Sidecar's hosts choose among VirtualServices, too, by their namespace and hosts."""
        if not is_exported(self.export_to, self.namespace, view.namespace):
            return False
        return view.egress is None or any(view.sees(self.namespace, host) for host in self.hosts)


class VirtualServices:
    """All of them, the oldest first, indexed by host for sidecars and by gateway.

    Args:
        derived: What the Gateway API's routes are translated to.
    """

    def __init__(
        self,
        loaded: Sequence[Loading],
        settings: Settings,
        memo: Memo,
        problems: Problems,
        derived: Sequence[VirtualService] = (),
    ) -> None:
        self.all: list[VirtualService] = []
        delegates = {(vs.namespace, vs.name): vs for vs in loaded if not vs.spec.hosts}
        for vs in loaded:
            if not vs.spec.hosts:
                continue
            with problems.contained(vs.stored):
                used = delegates_of(vs, delegates)
                parts = (vs, settings, *used)
                self.all.append(memo.get(("vs", vs.stored.key), parts, _resolve, vs, delegates, settings))
        if derived:
            self.all = sorted([*self.all, *derived], key=lambda vs: vs.loaded.order)
        self._exact: dict[str, list[VirtualService]] = {}
        self._wild: list[tuple[str, VirtualService]] = []
        for found in self.all:
            if MESH in found.gateways:
                self._index(found)
        self._wild.sort(key=lambda pair: specificity(pair[0]))
        self.token = memo.token("virtual services", tuple(self.all))

    def _index(self, vs: VirtualService) -> None:
        for host in vs.hosts:
            if host.startswith("*"):
                self._wild.append((host, vs))
            else:
                self._exact.setdefault(host, []).append(vs)

    def owner(self, host: str, view: View) -> VirtualService | None:
        """Return the VirtualService that steers calls to a host from sidecars of a view.

        Istio: the most specific host wins, and among equals the oldest has it entirely; but a Gateway API
        route of the caller's own namespace comes before them all.
        """
        found: VirtualService | None = None
        for vs in self._exact.get(host, ()):
            if (vs.http or not vs.gateway_api) and vs.seen_by(view):
                if vs.gateway_api and vs.namespace == view.namespace:
                    return vs
                found = found or vs
        if found is not None:
            return found
        for pattern, vs in self._wild:
            if matches(pattern, host) and vs.seen_by(view):
                return vs
        return None

    def all_for(self, host: str, view: View) -> list[VirtualService]:
        """Return all that name a host, the oldest first: for connections, Istio looks at each."""
        found = {id(vs): vs for vs in self._exact.get(host, ()) if vs.seen_by(view)}
        found |= {id(vs): vs for p, vs in self._wild if matches(p, host) and vs.seen_by(view)}
        own = view.namespace
        return sorted(
            found.values(), key=lambda vs: (not (vs.gateway_api and vs.namespace == own), *vs.loaded.order)
        )

    def mesh_hosts(self, view: View, *, several: bool) -> Iterator[tuple[str, VirtualService]]:
        """Yield the hosts that sidecars know, each with its oldest owner; the most specific first.

        Args:
            several: Only those of VirtualServices with more than one host.
        """
        for host, found in self._exact.items():
            # Istio: a Gateway API route is for the Service that it names, and makes no other host.
            owner = next((vs for vs in found if not vs.gateway_api and vs.seen_by(view)), None)
            if owner is not None and (len(owner.hosts) > 1 or not several):
                yield host, owner
        for pattern, vs in self._wild:
            if not vs.gateway_api and vs.seen_by(view) and (len(vs.hosts) > 1 or not several):
                yield pattern, vs

    def destinations(self, view: View, domain: str) -> Iterator[str]:
        """Yield the hosts that the rules of a view's VirtualServices lead to."""
        for vs in self.all:
            if MESH in vs.gateways and vs.seen_by(view):
                spec = vs.loaded.spec
                rules: list[HTTPRoute | TLSRoute | TCPRoute]
                rules = [*(written.route for written in vs.http), *spec.tls, *spec.tcp]
                targets = (found.destination for rule in rules for found in rule.route)
                yield from (qualify(d.host, vs.namespace, domain) for d in targets if d)

    def of_gateway(self, gateway: str, view: View) -> Iterator[VirtualService]:
        """Yield those bound to a gateway (namespace/name), the oldest first."""
        return (vs for vs in self.all if gateway in vs.gateways and vs.seen_by(view))


def _resolve(
    loaded: Loading, delegates: dict[tuple[str, str], Loading], settings: Settings
) -> VirtualService:
    spec = loaded.spec
    http = tuple(with_delegates(loaded, delegates, settings))
    http_blocks = [match for written in http for match in written.route.match]
    tcp_blocks = [match for route in spec.tcp for match in route.match]
    tls_blocks = [match for route in spec.tls for match in route.match]
    blocks: list[HTTPMatchRequest | L4MatchAttributes | TLSMatchAttributes]
    blocks = [*http_blocks, *tcp_blocks, *tls_blocks]
    return VirtualService(
        loaded,
        tuple(qualify(host, loaded.namespace, settings.domain) for host in spec.hosts),
        frozenset(gateway_name(name, loaded.namespace) for name in spec.gateways or (MESH,)),
        spec.export_to or settings.virtual_service_export_to,
        http,
        frozenset(selector(block.source_labels) for block in blocks if block.source_labels),
        any(block.source_namespace for block in blocks),
    )
