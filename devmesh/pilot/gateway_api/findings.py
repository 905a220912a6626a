"""What is to be told of Gateways and routes that are not as they were asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from devmesh.config.finding import Finding
from devmesh.pilot.gateway_api.backend_tls import Backend
from devmesh.pilot.gateway_api.listeners import (
    CONTROLLER,
    UNMANAGED,
    WAYPOINT,
    class_controller,
    is_managed,
    services_of,
)
from devmesh.pilot.gateway_api.resources import GatewayResources
from devmesh.pilot.gateway_api.status import route_facts
from devmesh.pilot.gateway_api.translation import Translated
from devmesh.pilot.resources import Loaded

PARENT, REFERENCE, LISTENER, NO_EFFECT = "DM0310", "DM0311", "DM0312", "DM0304"


def findings(
    resources: GatewayResources, translated: Translated, backends: Sequence[Backend], domain: str
) -> Iterator[Finding]:
    """Yield what the conditions say, too, for `kubectl apply` and the list of findings."""
    for gateway in resources.gateways:
        controller = class_controller(gateway.spec.gateway_class_name, resources)
        if controller == WAYPOINT:
            yield _finding(NO_EFFECT, gateway, "spec.gatewayClassName", "waypoints have no effect in devmesh")
        elif controller not in (CONTROLLER, UNMANAGED):
            said = f"no controller serves the class {gateway.spec.gateway_class_name!r}: use istio"
            yield _finding(LISTENER, gateway, "spec.gatewayClassName", said)
        elif wrong := services_of(gateway, domain)[1]:
            yield _finding(LISTENER, gateway, "spec.addresses", f"{wrong.message} ({wrong.reason})")
        elif gateway.spec.addresses and is_managed(gateway):
            said = "has no effect in devmesh, which chooses a loopback address itself"
            yield _finding(NO_EFFECT, gateway, "spec.addresses[0]", said)
    for port in translated.ports:
        for found in port.facts:
            if found.type in ("Accepted", "ResolvedRefs") and not found.holds:
                said = f"listener {port.listener.name!r}: {found.message} ({found.reason})"
                yield _finding(LISTENER, port.owner, f"spec.listeners[{port.index}]", said)
    for backend in backends:
        for index, problem in enumerate((backend.target_problem, backend.problem)):
            if problem is not None:
                path = "spec.validation" if index else f"spec.targetRefs[{backend.index}]"
                yield _finding(REFERENCE, backend.policy, path, f"{problem.message} ({problem.reason})")
    for route in translated.routes:
        for index, attachment in enumerate(route.attachments):
            path = f"spec.parentRefs[{index}]"
            if attachment.foreign:
                ref = attachment.ref
                said = f"there is no {ref.kind or 'Gateway'} {ref.name!r} that the route could attach to"
                yield _finding(PARENT, route.route, path, said)
                continue
            accepted, resolved = route_facts(attachment, route)
            if not accepted.holds:
                said = f"the route is not in force here: {accepted.message} ({accepted.reason})"
                yield _finding(PARENT, route.route, path, said)
            elif not resolved.holds:
                said = f"{resolved.message} ({resolved.reason})"
                yield _finding(REFERENCE, route.route, "spec.rules", said)


def _finding(code: str, loaded: Loaded[object], path: str, message: str) -> Finding:
    key = loaded.stored.key
    return Finding(code, "warning", message, key.kind.kind, key.namespace, key.name, path)
