"""What routes attach to, and why some may not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from devmesh.config import kinds
from devmesh.config.documents.gateway_routes import ParentReference, TCPRouteSpec
from devmesh.config.documents.serviceentry import ServiceEntrySpec
from devmesh.config.gateway_kinds import GROUP
from devmesh.config.store import Store
from devmesh.model.host import matches, service_host
from devmesh.pilot.gateway_api.conditions import Problem
from devmesh.pilot.gateway_api.listeners import Port
from devmesh.pilot.gateway_api.resources import AnyRoute
from devmesh.pilot.resources import Loaded

# Istio: of what several listeners say, the first of these is told.
_ORDER = ("NotAllowedByListeners", "NoMatchingListenerHostname", "NoMatchingParent")


@dataclass(frozen=True, slots=True, eq=False)
class Attachment:
    """One parentRef of a route, and what came of it.

    `ports` are the listeners that take the route, `hosts` the hosts of the Service or ServiceEntry that
    it is for. A `foreign` one is no parent of ours: nothing is said about it.
    """

    ref: ParentReference
    ports: tuple[Port, ...] = ()
    hosts: tuple[str, ...] = ()
    owner: str = ""  # the namespace of the Service or ServiceEntry
    problem: Problem | None = None
    foreign: bool = False

    @property
    def in_mesh(self) -> bool:
        return self.ref.kind in ("Service", "ServiceEntry")


class Parents:
    """Attaches routes.

    Args:
        ports: The listeners of each Gateway and ListenerSet, by kind, namespace and name.
    """

    def __init__(
        self,
        ports: Mapping[tuple[str, str, str], Sequence[Port]],
        entries: Sequence[Loaded[ServiceEntrySpec]],
        store: Store,
        domain: str,
    ) -> None:
        self._ports, self._store, self._domain = ports, store, domain
        self._entries = {(entry.namespace, entry.name): entry for entry in entries}

    def of(self, route: AnyRoute) -> tuple[Attachment, ...]:
        """Return what comes of each parentRef."""
        return tuple(self._attach(route, ref) for ref in route.spec.parent_refs)

    def _attach(self, route: AnyRoute, ref: ParentReference) -> Attachment:
        namespace = ref.namespace or route.namespace
        group = GROUP if ref.group is None else ref.group
        match (group, ref.kind or "Gateway"):
            case ("", "Service"):
                if self._store.get(kinds.SERVICE, namespace, ref.name) is None:
                    problem = Problem("NoMatchingParent", f"parent service: {ref.name!r} not found")
                    return Attachment(ref, problem=problem)
                return Attachment(
                    ref, hosts=(service_host(ref.name, namespace, self._domain),), owner=namespace
                )
            case ("networking.istio.io", "ServiceEntry"):
                entry = self._entries.get((namespace, ref.name))
                if entry is None:
                    problem = Problem("NoMatchingParent", f"parent service entry: {ref.name!r} not found")
                    return Attachment(ref, problem=problem)
                return Attachment(ref, hosts=tuple(map(str.lower, entry.spec.hosts)), owner=namespace)
            case (found, "Gateway" | "ListenerSet" as kind) if found == GROUP:
                ports = self._ports.get((kind, namespace, ref.name))
                if ports is None:
                    return Attachment(ref, foreign=True)
                return _at_gateway(route, ref, ports)
        return Attachment(ref, foreign=True)


def _at_gateway(route: AnyRoute, ref: ParentReference, ports: Sequence[Port]) -> Attachment:
    taken = []
    problems: list[Problem] = []
    for port in ports:
        problem = _refused(route, ref, port)
        if problem is None:
            taken.append(port)
        else:
            problems.append(problem)
    if taken:
        return Attachment(ref, ports=tuple(taken))
    if not problems:
        return Attachment(ref, problem=Problem("NoMatchingParent", "the parent has no listener"))
    worst = min((p.reason for p in problems), key=_ORDER.index)
    said = dict.fromkeys(p.message for p in problems if p.reason == worst)
    return Attachment(ref, problem=Problem(worst, "; ".join(said)))


def _refused(route: AnyRoute, ref: ParentReference, port: Port) -> Problem | None:
    if ref.port is not None and ref.port != port.number:
        return Problem("NoMatchingParent", f"port {ref.port} not found")
    if ref.section_name and ref.section_name != port.listener.name:
        return Problem("NoMatchingParent", f"sectionName {ref.section_name!r} not found")
    if not any(hosts_at(route, port)):
        return Problem(
            "NoMatchingListenerHostname", f"no hostnames matched parent hostname {port.listener.hostname!r}"
        )
    if port.namespaces is not None and route.namespace not in port.namespaces:
        return Problem(
            "NotAllowedByListeners",
            f"hostnames matched parent hostname {port.listener.hostname or ''!r}, but namespace "
            f"{route.namespace!r} is not allowed by the parent",
        )
    kind = route.stored.key.kind.kind
    if kind not in port.kinds:
        return Problem("NotAllowedByListeners", f"kind {GROUP}/{kind} is not allowed")
    return None


def hosts_at(route: AnyRoute, port: Port) -> Iterator[str]:
    """Yield the hosts that a route has at a listener: of its own and the listener's the narrower ones.

    Istio: ``*.com`` covers ``a.b.com``, too.
    """
    spec = route.spec
    own = ("*",) if isinstance(spec, TCPRouteSpec) or not spec.hostnames else spec.hostnames
    for host in map(str.lower, own):
        if matches(port.hostname, host):
            yield host
        elif matches(host, port.hostname):
            yield port.hostname


def is_isolated(host: str, port: Port, others: Sequence[Port]) -> bool:
    """Tell whether a host at a listener belongs to another one of the same port that is more specific
    (Gateway API: HTTP listener isolation)."""
    if not port.hostname.startswith("*"):
        return False
    return any(
        other is not port
        and other.number == port.number
        and other.listener.protocol == port.listener.protocol
        and len(other.hostname) >= len(port.hostname)
        and other.hostname != port.hostname
        and matches(other.hostname, host)
        for other in others
    )
