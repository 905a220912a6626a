"""Files as a source of resources: loaded, owned, watched.

Who owns an object: a document is applied only where its hash differs from the one last applied
from that file; one that vanished from its file takes its object along if nobody else has changed
that since; what kubectl or the console wrote stays until the document changes.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import trio

from devmesh.config.admission import admit
from devmesh.config.finding import Finding
from devmesh.config.inert_kinds import CUSTOM_RESOURCE_DEFINITION
from devmesh.config.kinds import NAMESPACE, Kinds
from devmesh.config.loading import Resource, Source, check, custom_kinds, read_source, resource_of
from devmesh.config.problems import Refused
from devmesh.config.reading import STDIN, Unreadable, files_of, same_twice
from devmesh.config.store import AlreadyExists, Conflict, Key, NotFound, Raw, Store, Stored
from devmesh.config.watching import changes_of

log = logging.getLogger(__name__)

_INJECTION = "istio-injection"
_UNINJECTED = {"kube-system", "kube-public", "kube-node-lease", "istio-system"}
_KEPT_ANNOTATIONS = "deployment.kubernetes.io/"
_SLICE = 0.002


class FileSource:
    """The files that a mesh was given.

    Args:
        paths: Files, folders, patterns, ``-``.
        base: What relative paths are relative to, and how files are named in messages and
            managers; default: the working directory.
    """

    def __init__(self, store: Store, paths: Sequence[str], *, base: Path | None = None) -> None:
        self.findings: list[Finding] = []
        self._store = store
        self._paths = tuple(paths)
        self._base = (base or Path.cwd()).resolve()
        self._stdin: Source | None = None
        self._good: dict[str, tuple[Resource, ...]] = {}
        self._given_anew = trio.Event()

    def load(self) -> list[Finding]:
        """Read all files and apply what changed; return what there is to say, errors first."""
        for _ in self._apply(*self._read()):
            pass
        return self.findings

    async def run(self, report: Callable[[list[Finding]], None]) -> None:
        """Follow the files, and apply them when they are saved; `report` what is said then.

        A file that can't be used keeps its last good state. Ends by cancellation.
        """
        while True:
            self._given_anew = trio.Event()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._follow, report)
                await self._given_anew.wait()
                nursery.cancel_scope.cancel()
            await self._reload(report)

    def give(self, paths: Sequence[str]) -> None:
        """Take other files from now on; what only the others had goes with them. `run` applies them."""
        if tuple(paths) != self._paths:
            self._paths = tuple(paths)
            self._given_anew.set()

    async def _follow(self, report: Callable[[list[Finding]], None]) -> None:
        async for _ in changes_of(self._paths, self._base):
            await self._reload(report)

    async def _reload(self, report: Callable[[list[Finding]], None]) -> None:
        before = self.findings
        await self.reload()
        if self.findings != before:
            report(self.findings)

    async def reload(self) -> None:
        """Do what `load` does without holding up the loop."""
        read = await trio.to_thread.run_sync(self._read)
        started = trio.current_time()
        for _ in self._apply(*read):
            if trio.current_time() - started > _SLICE:
                await trio.lowlevel.checkpoint()
                started = trio.current_time()

    # Reading

    def _read(self) -> tuple[list[Source], list[Finding]]:
        findings: list[Finding] = []
        sources: list[Source] = []
        seen: set[str] = set()
        for given in self._paths:
            try:
                paths = files_of([given], self._base)
            except Unreadable as error:
                findings.append(error.finding)
                continue
            for path in paths:
                shown = self._shown(path)
                if shown not in seen:
                    seen.add(shown)
                    sources.append(self._source(path, shown))
        return sources, findings

    def _source(self, path: str, shown: str) -> Source:
        if path != STDIN:
            return read_source(path, shown)
        self._stdin = self._stdin or read_source(STDIN, shown)
        return self._stdin

    def _shown(self, path: str) -> str:
        if path == STDIN:
            return "<stdin>"
        absolute = os.path.abspath(path)
        relative = os.path.relpath(absolute, self._base)
        return absolute if relative.startswith("..") else relative

    # Applying

    def _apply(self, sources: list[Source], findings: list[Finding]) -> Iterator[None]:
        """Apply in steps; whoever iterates may pause in between."""
        kinds = Kinds([*self._store.kinds, *custom_kinds(sources)])
        resolved: list[tuple[Source, list[Resource]]] = []
        broken: set[str] = set()
        for source in sources:
            resources, wrong = self._resolve(source, kinds)
            findings += wrong
            broken |= {source.file for _ in wrong}
            resolved.append((source, resources))
        twice = same_twice([(r.document, str(r.key)) for _, resources in resolved for r in resources])
        findings += twice
        broken |= {finding.file for finding in twice}
        usable: list[tuple[Source, list[Resource]]] = []
        for source, resources in resolved:
            # What is wrong is told of all of a file's documents, not of the first alone.
            said = [finding for r in resources for finding in self._check(source, r)]
            findings += said
            if source.file not in broken and not any(finding.severity == "error" for finding in said):
                usable.append((source, resources))
            yield
        findings += self._kept(sources, [source for source, _ in usable])
        yield from self._write(sources, usable, findings)
        order = {"error": 0, "warning": 1, "info": 2}
        self.findings = sorted(findings, key=lambda f: (order[f.severity], f.file, f.line))

    def _resolve(self, source: Source, kinds: Kinds) -> tuple[list[Resource], list[Finding]]:
        if source.documents is None:
            return [], [source.finding] if source.finding else []
        found = [resource_of(document, kinds) for document in source.documents]
        wrong = [item for item in found if isinstance(item, Finding)]
        return [item for item in found if isinstance(item, Resource)], wrong

    def _check(self, source: Source, resource: Resource) -> list[Finding]:
        before = self._before(resource) if self._is_changed(source, resource) else None
        return check(resource, self._store, before)

    def _is_changed(self, source: Source, resource: Resource) -> bool:
        return self._store.applied.from_file(source.file).get(resource.name) != resource.document.digest

    def _before(self, resource: Resource) -> Stored | None:
        # A kind of this load's own CustomResourceDefinition is not the store's yet.
        key = resource.key
        kind = self._store.kinds.plural(key.kind.group, key.kind.plural)
        return self._store.get(kind, key.namespace, key.name) if kind else None

    def _kept(self, sources: list[Source], usable: list[Source]) -> Iterator[Finding]:
        for source in sources:
            if source not in usable and self._store.applied.from_file(source.file):
                message = "the file has errors: its last good state stays in force"
                yield Finding("DM0011", "info", message, file=source.file)

    def _write(
        self, sources: list[Source], usable: list[tuple[Source, list[Resource]]], findings: list[Finding]
    ) -> Iterator[None]:
        present = {resource.name for _, resources in usable for resource in resources}
        changed = [
            (source, resource)
            for source, resources in usable
            for resource in resources
            if self._is_changed(source, resource)
        ]
        for source, resource in sorted(changed, key=lambda pair: not pair[1].is_early):
            finding = self._put(source, resource)
            if finding is not None:
                findings.append(finding)
            yield
        for source, resources in usable:
            findings += self._absent(source, resources)
        unusable = {source.file for source in sources} - {source.file for source, _ in usable}
        yield from self._delete_vanished(present, {s.file: r for s, r in usable}, unusable)

    def _put(self, source: Source, resource: Resource) -> Finding | None:
        key, store = resource.key, self._store
        kind = store.kinds.plural(key.kind.group, key.kind.plural) or key.kind
        try:
            if kind.namespaced:
                self._need_namespace(key.namespace, source.manager)
            before = store.get(kind, key.namespace, key.name)
            raw = admit(kind, resource.document.raw, store=store, before=before).raw
            raw = _completed(raw, before, resource)
            if before is None:
                store.create(kind, raw, manager=source.manager)
            else:
                store.update(kind, raw, manager=source.manager)
        except (Refused, Conflict, NotFound, AlreadyExists) as error:
            return resource.document.finding("DM0012", "error", f"cannot be applied: {error}")
        store.applied.remember(source.file, resource.name, resource.document.digest)
        return None

    def _need_namespace(self, name: str, manager: str) -> None:
        if self._store.get(NAMESPACE, "", name) is None:
            raw = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            admitted = admit(NAMESPACE, raw, store=self._store).raw
            self._store.create(NAMESPACE, _injected(admitted), manager=manager)

    def _absent(self, source: Source, resources: list[Resource]) -> Iterator[Finding]:
        for resource in resources:
            if not self._is_changed(source, resource) and self._before(resource) is None:
                message = (
                    "was deleted by others, and stays so until the document changes (or after down --purge)"
                )
                yield resource.document.finding("DM0013", "info", message)

    def _delete_vanished(
        self,
        present: set[tuple[str, str, str, str]],
        usable: dict[str, list[Resource]],
        unusable: set[str],
    ) -> Iterator[None]:
        applied = self._store.applied
        for file in applied.files():
            if file in unusable:
                continue
            here = {resource.name for resource in usable.get(file, ())}
            vanished = [name for name in applied.from_file(file) if name not in here]
            # Namespaces and definitions last: what is in them goes by itself first.
            vanished.sort(key=lambda name: name[1] in (NAMESPACE.kind, CUSTOM_RESOURCE_DEFINITION.kind))
            for name in vanished:
                applied.forget(file, name)
                if name not in present:
                    self._delete(name, f"file:{file}")
                yield

    def _delete(self, name: tuple[str, str, str, str], manager: str) -> None:
        group, kind_name, namespace, object_name = name
        kind = next((k for k in self._store.kinds if (k.group, k.kind) == (group, kind_name)), None)
        key = Key(kind, namespace, object_name) if kind else None
        if key is not None and self._store.by_key(key) and self._store.manager_of(key) == manager:
            try:
                self._store.delete(key, manager=manager)
            except Conflict as error:
                log.warning("object stays", extra={"key": str(key), "why": str(error)})


def _completed(raw: Raw, before: Stored | None, resource: Resource) -> Raw:
    """Add what a document leaves to devmesh: the injection label, controllers' annotations."""
    if resource.key.kind is NAMESPACE and before is None:
        return _injected(raw)
    if before is None:
        return raw
    metadata = dict(raw["metadata"])
    kept = {k: v for k, v in before.annotations.items() if k.startswith(_KEPT_ANNOTATIONS)}
    if kept:
        metadata["annotations"] = {**kept, **(metadata.get("annotations") or {})}
    if resource.key.kind is NAMESPACE and _INJECTION in before.labels:
        metadata["labels"] = {_INJECTION: before.labels[_INJECTION], **(metadata.get("labels") or {})}
    return {**raw, "metadata": metadata}


def _injected(namespace: Raw) -> Raw:
    metadata: dict[str, Any] = namespace["metadata"]
    labels = metadata.get("labels") or {}
    if metadata["name"] in _UNINJECTED or _INJECTION in labels or "istio.io/rev" in labels:
        return namespace
    return {**namespace, "metadata": {**metadata, "labels": {**labels, _INJECTION: "enabled"}}}
