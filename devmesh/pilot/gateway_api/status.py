"""The status of the Gateway API's resources, with Istio's conditions, reasons and messages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from typing import Any

import msgspec

from devmesh.config import gateway_kinds, kinds
from devmesh.config.store import Key, Store, Stored
from devmesh.pilot.exposure import external
from devmesh.pilot.gateway_api.backend_tls import Backend
from devmesh.pilot.gateway_api.conditions import Fact, Problem, fact, written
from devmesh.pilot.gateway_api.listeners import (
    CONTROLLER,
    UNMANAGED,
    WAYPOINT,
    Port,
    class_controller,
    services_of,
)
from devmesh.pilot.gateway_api.parents import Attachment
from devmesh.pilot.gateway_api.resources import Gateway, GatewayResources, ListenerSet, Policy
from devmesh.pilot.gateway_api.translation import Attached, Translated
from devmesh.pilot.registry import Entry, Registry
from devmesh.pilot.settings import GATEWAY_TARGETS

Raw = dict[str, Any]
_GROUP = gateway_kinds.GROUP


class Statuses:
    """Writes the statuses of one compile."""

    def __init__(
        self,
        resources: GatewayResources,
        translated: Translated,
        backends: Sequence[Backend],
        registry: Registry,
        store: Store,
        domain: str,
    ) -> None:
        self._resources, self._translated, self._backends = resources, translated, backends
        self._registry, self._store, self._domain = registry, store, domain
        self._attached: dict[int, int] = {}
        for route in translated.routes:
            ports = {id(port) for a in route.attachments if a.problem is None for port in a.ports}
            for port in ports:
                self._attached[port] = self._attached.get(port, 0) + 1

    def all(self) -> Iterator[tuple[Key, Raw]]:
        """Yield those that say something else than what is in the store."""
        for key, make, source in self._sources():
            stored = self._store.by_key(key)
            if stored is None:
                continue
            before = stored.raw.get("status") or {}
            status = make(source, stored, before)
            if status is not None and any(before.get(field) != value for field, value in status.items()):
                yield key, status

    def _sources(self) -> Iterator[tuple[Key, Any, Any]]:
        for found in self._resources.classes:
            if found.spec.controller_name in (CONTROLLER, UNMANAGED, WAYPOINT):
                yield found.stored.key, self._of_class, found
        for gateway in self._resources.gateways:
            yield gateway.stored.key, self._of_gateway, gateway
        refused = {id(found) for found in self._translated.refused}
        owned = {id(port.owner) for port in self._translated.ports}
        for extra in self._resources.listener_sets:
            if id(extra) in refused or id(extra) in owned:
                yield extra.stored.key, self._of_set, extra
        for policy in self._resources.policies:
            yield policy.stored.key, self._of_policy, policy
        for route in self._translated.routes:
            yield route.route.stored.key, self._of_route, route

    def _of_class(self, source: object, stored: Stored, before: Raw) -> Raw:
        facts = [Fact("Accepted", True, "Accepted", "Handled by Istio controller")]
        return {"conditions": self._conditions(facts, stored, before)}

    # Gateways

    def _of_gateway(self, gateway: Gateway, stored: Stored, before: Raw) -> Raw | None:
        controller = class_controller(gateway.spec.gateway_class_name, self._resources)
        if controller == UNMANAGED:
            said = "This Gateway is remote; Istio will not program it"
            facts = [
                Fact("Accepted", True, "Accepted", "Resource accepted"),
                Fact("Programmed", True, "Programmed", said),
            ]
            return {"conditions": self._conditions(facts, stored, before)}
        if controller == WAYPOINT:
            said = "devmesh has no ambient mode: a waypoint serves nothing"
            facts = [
                Fact("Accepted", True, "Accepted", "Resource accepted"),
                Fact("Programmed", False, "Pending", said),
            ]
            return {"conditions": self._conditions(facts, stored, before)}
        if controller != CONTROLLER:
            return None
        own = [port for port in self._translated.ports if port.owner is gateway]
        every = [port for port in self._translated.ports if port.gateway is gateway]
        hosts, wrong = services_of(gateway, self._domain)
        found = _Instances(self._registry, self._store, gateway, hosts, {p.number for p in every if p.server})
        valid = sum(port.is_valid for port in own)
        accepted = fact("Accepted", wrong, "Accepted", "Resource accepted")
        if wrong is None and valid < len(own):
            said = "One or more of the Gateway's listeners are invalid"
            if not valid:
                said = "None of the Gateway's listeners are valid"
            accepted = Fact("Accepted", valid > 0, "ListenersNotValid", said)
        facts = [
            accepted,
            found.programmed(),
            Fact("ResolvedRefs", True, "ResolvedRefs", "All references resolved"),
        ]
        status: Raw = {
            "conditions": self._conditions(facts, stored, before),
            "listeners": self._listeners(own, stored, before),
        }
        if addresses := found.addresses():
            status["addresses"] = addresses
        if sets := {id(port.owner) for port in every if port.owner is not gateway}:
            status["attachedListenerSets"] = len(sets)
        return status

    def _of_set(self, found: ListenerSet, stored: Stored, before: Raw) -> Raw:
        own = [port for port in self._translated.ports if port.owner is found]
        if not own:
            said = "The parent Gateway does not allow this ListenerSet"
            facts = [
                Fact("Accepted", False, "NotAllowed", said),
                Fact("Programmed", False, "NotAllowed", said),
            ]
            return {"conditions": self._conditions(facts, stored, before), "listeners": []}
        gateway = own[0].gateway
        hosts, wrong = services_of(gateway, self._domain)
        numbers = {port.number for port in own if port.server}
        instances = _Instances(self._registry, self._store, gateway, hosts, numbers)
        if wrong is None and not any(port.is_valid for port in own):
            wrong = Problem("ListenersNotValid", "None of the ListenerSet's listeners are valid")
        facts = [
            fact("Accepted", wrong, "Accepted", "Resource accepted"),
            fact("Programmed", wrong, "", "") if wrong else instances.programmed(),
        ]
        return {
            "conditions": self._conditions(facts, stored, before),
            "listeners": self._listeners(own, stored, before),
        }

    def _listeners(self, ports: Sequence[Port], stored: Stored, before: Raw) -> list[Raw]:
        known = {found.get("name"): found for found in before.get("listeners") or ()}
        return [
            {
                "name": port.listener.name,
                "attachedRoutes": self._attached.get(id(port), 0),
                "supportedKinds": [{"group": _GROUP, "kind": kind} for kind in port.kinds],
                "conditions": self._conditions(port.facts, stored, known.get(port.listener.name, {})),
            }
            for port in ports
        ]

    # Routes

    def _of_route(self, route: Attached, stored: Stored, before: Raw) -> Raw:
        others = [p for p in before.get("parents") or () if p.get("controllerName") != CONTROLLER]
        parents = [
            self._parent(attachment, route, stored, before)
            for attachment in route.attachments
            if not attachment.foreign
        ]
        return {"parents": [*others, *parents]}

    def _parent(self, attachment: Attachment, route: Attached, stored: Stored, before: Raw) -> Raw:
        ref = msgspec.to_builtins(attachment.ref)
        known: Raw = next(
            (
                p
                for p in before.get("parents") or ()
                if p.get("parentRef") == ref and p.get("controllerName") == CONTROLLER
            ),
            {},
        )
        return {
            "parentRef": ref,
            "controllerName": CONTROLLER,
            "conditions": self._conditions(route_facts(attachment, route), stored, known),
        }

    def _of_policy(self, policy: Policy, stored: Stored, before: Raw) -> Raw:
        """Istio: one entry for each target, whoever calls it."""
        ancestors = []
        for backend in self._backends:
            if backend.policy is policy:
                ref = msgspec.to_builtins(backend.target)
                known: Raw = next(
                    (a for a in before.get("ancestors") or () if a.get("ancestorRef") == ref), {}
                )
                problem = backend.target_problem
                if problem is None and backend.problem is not None:
                    problem = Problem("NoValidCACertificate", backend.problem.message)
                said = "Configuration is valid"
                facts = (
                    fact("Accepted", problem, "Accepted", said),
                    fact("ResolvedRefs", backend.problem, "ResolvedRefs", said),
                )
                conditions = self._conditions(facts, stored, known)
                ancestors.append({"ancestorRef": ref, "controllerName": WAYPOINT, "conditions": conditions})
        return {"ancestors": ancestors}

    def _conditions(self, facts: Sequence[Fact], stored: Stored, before: Raw) -> list[Raw]:
        generation = int(stored.metadata.get("generation") or 1)
        now = self._store.timestamp()
        return written(facts, before.get("conditions") or (), generation, now)


def route_facts(attachment: Attachment, route: Attached) -> tuple[Fact, Fact]:
    """Return what is to be said of a route at one parent."""
    count = len(attachment.ports)
    said = f"Route was valid, bound to {count} parents" if count > 1 else "Route was valid"
    problem = route.mesh_problem if attachment.in_mesh else route.gateway_problem
    return (
        fact("Accepted", attachment.problem, "Accepted", said),
        fact("ResolvedRefs", problem, "ResolvedRefs", "All references resolved"),
    )


class _Instances:
    """What stands behind the Services of a Gateway (Istio: ResolveGatewayInstances)."""

    def __init__(
        self,
        registry: Registry,
        store: Store,
        gateway: Gateway,
        hosts: Sequence[str],
        numbers: set[int],
    ) -> None:
        self._hosts, self._store = hosts, store
        self._internal: list[str] = []
        self._found: dict[str, Entry] = {}
        self._warnings: list[str] = []
        self._usable = True
        for host in hosts:
            entry = registry.find(host)
            if entry is None or entry.service.namespace != gateway.namespace:
                elsewhere = ""
                if entry is not None:
                    elsewhere = (
                        f" in namespace {gateway.namespace!r}, but it was found in namespace(s) "
                        f"{entry.service.namespace!r}"
                    )
                self._warnings.append(f"hostname {host!r} not found{elsewhere}")
                self._usable = False
                continue
            self._look(host, entry, numbers)

    def _look(self, host: str, entry: Entry, numbers: set[int]) -> None:
        for number in sorted(numbers):
            target = GATEWAY_TARGETS.get(number)
            own = any(e.port == target for found in entry.endpoints.values() for e, _ in found)
            if entry.endpoints.get(number) or own:
                self._internal.append(f"{host}:{number}")
                self._found[host] = entry
            elif not any(entry.endpoints.values()):
                self._warnings.append(f"no instances found for hostname {host!r}")
            elif entry.service.port(number) is None:
                self._warnings.append(f"port {number} not found for hostname {host!r}")
                self._usable = False

    def programmed(self) -> Fact:
        names = _joined(self._internal)
        warnings = "; ".join(dict.fromkeys(self._warnings))
        if not self._hosts:
            said = "Failed to assign to any requested addresses"
            return Fact("Programmed", False, "UnsupportedAddress", said)
        if warnings:
            said = f"Failed to assign to any requested addresses: {warnings}"
            if names:
                said = (
                    f"Assigned to service(s) {names}, but failed to assign to all requested addresses: "
                    f"{warnings}"
                )
            reason = "AddressNotAssigned" if self._usable else "AddressNotUsable"
            return Fact("Programmed", False, reason, said)
        said = f"Resource programmed, assigned to service(s) {names}" if names else "Resource programmed"
        return Fact("Programmed", True, "Programmed", said)

    def addresses(self) -> list[Raw]:
        """Return the load balancer's addresses, or else the Services' names."""
        found: list[str] = []
        for entry in self._found.values():
            stored = self._store.get(kinds.SERVICE, entry.service.namespace, entry.service.name)
            found += external(stored) if stored else []
        return [{"type": _address_type(value), "value": value} for value in found or self._found]


def _address_type(value: str) -> str:
    try:
        ip_address(value)
    except ValueError:
        return "Hostname"
    return "IPAddress"


def _joined(names: Sequence[str]) -> str:
    if len(names) < 3:
        return " and ".join(names)
    return f"{', '.join(names[:-1])}, and {names[-1]}"
