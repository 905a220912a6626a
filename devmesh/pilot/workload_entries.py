"""WorkloadEntries as places behind Services and ServiceEntries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from devmesh.config.documents.serviceentry import WorkloadEntry, WorkloadEntrySpec
from devmesh.config.documents.workloadgroup import WorkloadGroupSpec
from devmesh.config.typed import typed
from devmesh.model.identity import Identity
from devmesh.model.workload import Instance, Workload
from devmesh.pilot.memo import Memo
from devmesh.pilot.registry import Backend, Instances
from devmesh.pilot.resources import Loaded
from devmesh.pilot.swaps import is_swap
from devmesh.pilot.visibility import selects

Entry = Loaded[WorkloadEntrySpec]
Group = Loaded[WorkloadGroupSpec]
GROUP = "istio.io/autoRegistrationGroup"
"""The annotation by which an entry belongs to a WorkloadGroup, as Istio writes it."""
_HEALTH_CHECKED = "proxy.istio.io/health-checks-enabled"


class WorkloadEntries:
    """All that are no swaps, found by label."""

    def __init__(
        self,
        entries: Sequence[Entry],
        groups: Sequence[Group],
        instances: Instances,
        trust_domain: str,
        memo: Memo,
    ) -> None:
        by_name = {(group.namespace, group.name): group for group in groups}
        self.trust_domain = trust_domain
        self._by_namespace: dict[str, list[tuple[Workload, Backend]]] = {}
        for entry in entries:
            if is_swap(entry) or not entry.spec.address:
                continue
            instance = instances.by_address.get(entry.spec.address)
            group = by_name.get((entry.namespace, entry.stored.annotations.get(GROUP, "")))
            key, parts = ("workload entry", entry.stored.key, trust_domain), (entry, group, instance)
            made = memo.get(key, parts, _backend, entry, group, instance, trust_domain)
            self._by_namespace.setdefault(entry.namespace, []).append(made)

    def selected(self, namespace: str, labels: Mapping[str, str]) -> Iterator[Backend]:
        """Yield those of a namespace that have all `labels`; no labels select none.

        Istio: Services select WorkloadEntries as they do pods, and ServiceEntries both.
        """
        if labels:
            for workload, backend in self._by_namespace.get(namespace, ()):
                if selects(labels, workload.labels):
                    yield backend


def _backend(
    entry: Entry, group: Group | None, instance: Instance | None, trust_domain: str
) -> tuple[Workload, Backend]:
    spec = _in_group(entry.spec, group.spec) if group else entry.spec
    labels = {**spec.labels, **entry.stored.labels}  # Istio: those of the metadata come first
    workload = Workload(entry.name, entry.namespace, "WorkloadEntry", labels)
    account = spec.service_account
    return workload, Backend(
        spec.address,
        spec.ports,
        labels,
        instance,
        spec.weight or 1,
        spec.locality or labels.get("istio-locality", "").replace(".", "/"),
        workload=workload,
        identity=Identity(trust_domain, entry.namespace, account) if account else None,
        healthy=_is_healthy(entry, group),
    )


def _in_group(spec: WorkloadEntrySpec, group: WorkloadGroupSpec) -> WorkloadEntrySpec:
    """Return an entry with what its group's template has and it leaves out."""
    template = group.template or WorkloadEntrySpec()
    labels = group.metadata.labels if group.metadata else {}
    return msgspec.structs.replace(
        spec,
        ports={**template.ports, **spec.ports},
        labels={**labels, **template.labels, **spec.labels},
        locality=spec.locality or template.locality,
        weight=spec.weight or template.weight,
        service_account=spec.service_account or template.service_account,
    )


def _is_healthy(entry: Entry, group: Group | None) -> bool:
    """Istio: where health is checked, the status says how it is, and nothing yet is not healthy."""
    probe = group.spec.probe if group is not None else None
    asked = probe is not None and probe.exec is None
    if entry.stored.annotations.get(_HEALTH_CHECKED) != "true" and not asked:
        return True
    status = typed(entry.stored, WorkloadEntry).status
    return any(c.type == "Healthy" and c.status == "True" for c in (status.conditions if status else ()))
