"""BackendTLSPolicies as DestinationRules: TLS towards backends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from devmesh.config import kinds
from devmesh.config.documents.configuration import ConfigMap
from devmesh.config.documents.destinationrule import (
    ClientTLSSettings,
    DestinationRuleSpec,
    PortTrafficPolicy,
    TrafficPolicy,
)
from devmesh.config.documents.gateway_api import BackendTLSPolicyValidation, PolicyTargetReference
from devmesh.config.documents.selectors import PortSelector
from devmesh.config.documents.serviceentry import ServiceEntrySpec
from devmesh.config.documents.services import ServiceSpec
from devmesh.config.store import Store
from devmesh.config.typed import typed
from devmesh.model.host import service_host
from devmesh.pilot.credentials import CONFIG_MAP_SCHEME
from devmesh.pilot.gateway_api.conditions import Problem
from devmesh.pilot.gateway_api.derived import Derived
from devmesh.pilot.gateway_api.resources import Policy
from devmesh.pilot.resources import Loaded

_NOBODY = f"{CONFIG_MAP_SCHEME}backend-tls/invalid"  # holds nothing, so that nothing goes out unverified


@dataclass(frozen=True, slots=True, eq=False)
class Backend:
    """One target of a policy. `port` 0: all ports; `problem` is of whom to trust."""

    policy: Policy
    index: int
    target: PolicyTargetReference
    hosts: tuple[str, ...] = ()
    port: int = 0
    tls: ClientTLSSettings | None = None
    target_problem: Problem | None = None
    problem: Problem | None = None


def backends(
    policies: Sequence[Policy],
    entries: Sequence[Loaded[ServiceEntrySpec]],
    store: Store,
    domain: str,
) -> Iterator[Backend]:
    """Yield all targets; of those with several policies the oldest has it."""
    taken: dict[tuple[str, int], Policy] = {}
    known = {(entry.namespace, entry.name): entry for entry in entries}
    for policy in policies:
        tls, problem = _tls(policy.spec.validation, policy.namespace, store)
        for index, target in enumerate(policy.spec.target_refs):
            hosts, port, wrong = _target(target, policy.namespace, known, store, domain)
            first = next((taken[host, port] for host in hosts if (host, port) in taken), None)
            if first is not None:
                said = f"Conflicts with BackendTLSPolicy {first.name!r} targeting the same backend"
                wrong = Problem("Conflicted", said)
            if wrong is None:
                taken.update({(host, port): policy for host in hosts})
            yield Backend(policy, index, target, hosts, port, tls, wrong, problem)


def destination_rules(*found: Sequence[Backend]) -> tuple[Derived[DestinationRuleSpec], ...]:
    """Return a DestinationRule for each host."""
    by_host: dict[str, list[Backend]] = {}
    for backend in (each for many in found for each in many):
        for host in backend.hosts if backend.target_problem is None else ():
            by_host.setdefault(host, []).append(backend)
    return tuple(_rule(host, targets) for host, targets in by_host.items())


def _rule(host: str, targets: Sequence[Backend]) -> Derived[DestinationRuleSpec]:
    whole = next((target.tls for target in targets if not target.port), None)
    ports = tuple(
        PortTrafficPolicy(port=PortSelector(number=target.port), tls=target.tls)
        for target in targets
        if target.port
    )
    policy = TrafficPolicy(tls=whole, port_level_settings=ports)
    first = targets[0].policy
    return Derived(
        first.stored,
        DestinationRuleSpec(host=host, traffic_policy=policy),
        first.created,
        "",
        ("spec.trafficPolicy", "spec.validation"),
    )


def _tls(
    validation: BackendTLSPolicyValidation, namespace: str, store: Store
) -> tuple[ClientTLSSettings, Problem | None]:
    names = tuple(san.hostname or san.uri or "" for san in validation.subject_alt_names)
    credential, problem = _authority(validation, namespace, store)
    made = ClientTLSSettings(
        mode="SIMPLE",
        sni=validation.hostname,
        subject_alt_names=names or (validation.hostname,),
        credential_name=credential,
    )
    return made, problem


def _authority(
    validation: BackendTLSPolicyValidation, namespace: str, store: Store
) -> tuple[str, Problem | None]:
    """Istio: the first ConfigMap's ``ca.crt``; without one, the system's authorities."""
    if not validation.ca_certificate_refs:
        known = validation.well_known_ca_certificates
        if known in (None, "System"):
            return "", None
        return _NOBODY, Problem("InvalidKind", f"Unknown wellKnownCACertificates: {known}")
    ref = validation.ca_certificate_refs[0]
    if (ref.group, ref.kind) != ("", "ConfigMap"):
        said = f"Certificate reference invalid: unsupported reference kind: {ref.kind}"
        return _NOBODY, Problem("InvalidKind", said)
    stored = store.get(kinds.CONFIG_MAP, namespace, ref.name)
    if stored is None:
        said = f"Certificate reference not found: there is no ConfigMap {ref.name!r}"
        return _NOBODY, Problem("InvalidCACertificateRef", said)
    if "-----BEGIN CERTIFICATE" not in typed(stored, ConfigMap).data.get("ca.crt", ""):
        said = f"Certificate invalid: ConfigMap {ref.name!r} has no certificate in ca.crt"
        return _NOBODY, Problem("InvalidCACertificateRef", said)
    return f"{CONFIG_MAP_SCHEME}{namespace}/{ref.name}", None


def _target(
    target: PolicyTargetReference,
    namespace: str,
    entries: dict[tuple[str, str], Loaded[ServiceEntrySpec]],
    store: Store,
    domain: str,
) -> tuple[tuple[str, ...], int, Problem | None]:
    ports: dict[str, int] = {}
    hosts: tuple[str, ...] = ()
    where = f"{target.kind} {namespace}/{target.name}"
    if (target.group, target.kind) == ("", "Service"):
        stored = store.get(kinds.SERVICE, namespace, target.name)
        if stored is not None:
            spec: ServiceSpec = typed(stored).spec
            ports = {port.name or "": port.port for port in spec.ports}
            hosts = (service_host(target.name, namespace, domain),)
    elif (target.group, target.kind) == ("networking.istio.io", "ServiceEntry"):
        entry = entries.get((namespace, target.name))
        if entry is not None:
            ports = {port.name: port.number for port in entry.spec.ports}
            hosts = tuple(map(str.lower, entry.spec.hosts))
    else:
        said = f"targetRefs invalid: unsupported reference kind: {target.kind}"
        return (), 0, Problem("TargetNotFound", said)
    if not hosts:
        return (), 0, Problem("TargetNotFound", f"targetRefs invalid: {where} not found")
    if not target.section_name:
        return hosts, 0, None
    number = ports.get(target.section_name, 0)
    if not number:
        said = f"targetRefs invalid: sectionName {target.section_name!r} does not exist in {where}"
        return (), 0, Problem("TargetNotFound", said)
    return hosts, number, None
