"""Workloads whose place a process of this machine has taken (``devmesh swap``).

A swap is a WorkloadEntry with an annotation that names the workload. It is no endpoint of its own: the
workload's proxies stay what callers reach, so that identity, policies and telemetry stay the workload's,
and take their last hop to the entry's address instead of into the pod.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from devmesh.config.documents.serviceentry import WorkloadEntrySpec
from devmesh.config.finding import Finding
from devmesh.model.port import Port
from devmesh.model.workload import Instance
from devmesh.pilot.resources import Loaded
from devmesh.snapshot.proxy import LastHop

ANNOTATION = "devmesh.dev/swap"
CODE = "DM0305"
Entry = Loaded[WorkloadEntrySpec]


def is_swap(entry: Entry) -> bool:
    return ANNOTATION in entry.stored.annotations


def last_hop(entry: Entry, port: Port, number: int) -> LastHop | None:
    """Return where a port of the workload is served instead; None: in the pod, as ever.

    An entry without ports stands in for all of them, at their own numbers. One with ports does so for
    those it names, by the Service's name for a port or by the workload's number.
    """
    spec = entry.spec
    if not spec.ports:
        return LastHop(spec.address, number, outside=True)
    found = spec.ports.get(port.name) or spec.ports.get(str(number))
    return LastHop(spec.address, found, outside=True) if found else None


class Swaps:
    """The swaps by workload; the oldest of several for one workload is in force.

    Args:
        entries: All WorkloadEntries, the oldest first.
    """

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = [entry for entry in entries if is_swap(entry)]
        self._by_workload: dict[tuple[str, str, str], Entry] = {}
        for entry in self._entries:
            self._by_workload.setdefault((entry.namespace, *_workload(entry)), entry)

    def of(self, instance: Instance) -> Entry | None:
        """Return what has an instance's place."""
        if not self._by_workload or not instance.meshed or instance.gateway:
            return None
        workload = instance.workload
        return self._by_workload.get((workload.namespace, workload.kind, workload.name))

    def applied(self, instances: Iterable[Instance]) -> Iterator[Instance]:
        """Yield the instances; those that are swapped are ready whatever the pod's own containers are.

        Istio: a WorkloadEntry without a health check is ready.
        """
        for instance in instances:
            if not instance.ready and not instance.ending and self.of(instance) is not None:
                yield replace(instance, ready=True)
            else:
                yield instance

    def findings(self, instances: Iterable[Instance]) -> Iterator[Finding]:
        """Yield what is to be told of swaps that are not in force."""
        if not self._entries:
            return
        running = list(instances)
        for entry in self._entries:
            kind, name = _workload(entry)
            first = self._by_workload[entry.namespace, kind, name]
            found = [
                i
                for i in running
                if (i.namespace, i.workload.kind, i.workload.name) == (entry.namespace, kind, name)
            ]
            if first is not entry:
                yield _finding(
                    entry, f"{kind}/{name} is swapped already, by {first.name}: end one of the two"
                )
            elif not found:
                yield _finding(
                    entry, f"there is no pod of {kind}/{name}, whose proxy would lead to {entry.spec.address}"
                )
            elif all(self.of(i) is not entry for i in found):
                yield _finding(entry, f"{kind}/{name} has no proxy that could lead to {entry.spec.address}")


def _workload(entry: Entry) -> tuple[str, str]:
    """Return kind and name of the workload that an entry stands in for."""
    kind, slash, name = entry.stored.annotations[ANNOTATION].partition("/")
    return (kind, name) if slash else ("Deployment", kind)


def _finding(entry: Entry, message: str) -> Finding:
    key = entry.stored.key
    path = f"metadata.annotations.{ANNOTATION}"
    return Finding(CODE, "warning", f"not in force: {message}", key.kind.kind, key.namespace, key.name, path)
