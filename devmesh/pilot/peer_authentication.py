"""Which mutual TLS mode is in force on which port of which workload (PeerAuthentication)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from devmesh.config.documents.security import MutualTLS, PeerAuthenticationSpec
from devmesh.pilot.resources import Loaded
from devmesh.pilot.visibility import selects
from devmesh.snapshot.origin import Origin
from devmesh.snapshot.proxy import MtlsMode

Policy = Loaded[PeerAuthenticationSpec]


@dataclass(frozen=True, slots=True)
class Modes:
    """The modes of one workload; `ports` holds those ports (of the workload) that have their own."""

    mode: MtlsMode = MtlsMode.PERMISSIVE
    ports: Mapping[int, MtlsMode] = field(default_factory=dict)
    origin: Origin | None = None

    def on(self, port: int) -> MtlsMode:
        return self.ports.get(port, self.mode)


class PeerAuthentications:
    """All policies, by level.

    Istio: the workload's comes before the namespace's, that before the mesh's (the root
    namespace's); PERMISSIVE without any. UNSET inherits; the oldest of a level wins. Ports count
    only together with a selector.
    """

    def __init__(self, policies: Sequence[Policy], root: str) -> None:
        self._selected: dict[str, list[Policy]] = {}
        self._wide: dict[str, Policy] = {}
        self._root = root
        for policy in policies:
            if _labels(policy):
                self._selected.setdefault(policy.namespace, []).append(policy)
            else:
                self._wide.setdefault(policy.namespace, policy)

    def modes(self, namespace: str, labels: Mapping[str, str]) -> Modes:
        """Return what is in force for the workloads of a namespace that have `labels`."""
        own = next(
            (p for p in self._selected.get(namespace, ()) if selects(_labels(p), labels)),
            None,
        )
        levels = (own, self._wide.get(namespace), self._wide.get(self._root))
        mode, origin = MtlsMode.PERMISSIVE, None
        for policy in levels:
            if policy and (found := _mode(policy.spec.mtls)):
                mode, origin = found, policy.origin("spec.mtls.mode")
                break
        ports = dict(_ports(own)) if own else {}
        return Modes(mode, ports, own.origin("spec") if own and ports else origin)


def _labels(policy: Policy) -> Mapping[str, str]:
    return policy.spec.selector.match_labels if policy.spec.selector else {}


def _ports(policy: Policy) -> Iterable[tuple[int, MtlsMode]]:
    for port, mtls in policy.spec.port_level_mtls.items():
        if found := _mode(mtls):
            yield int(port), found


def _mode(mtls: MutualTLS | None) -> MtlsMode | None:
    if mtls is None or mtls.mode in (None, "UNSET"):
        return None
    return MtlsMode(mtls.mode)
