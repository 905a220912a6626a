"""From documents to resources that can be applied: kinds known, objects named, content checked."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from devmesh.config.admission import admit
from devmesh.config.custom_kinds import custom_kind
from devmesh.config.finding import Finding
from devmesh.config.inert_kinds import CUSTOM_RESOURCE_DEFINITION
from devmesh.config.kinds import NAMESPACE, Kind, Kinds
from devmesh.config.problems import HARMLESS, NO_EFFECT, TYPE, UNKNOWN, Cause, Refused
from devmesh.config.reading import Document, Unreadable, read_file
from devmesh.config.store import Key, Store, Stored

MESH_GROUP = "devmesh.dev"


@dataclass(frozen=True, slots=True)
class Resource:
    """A document whose kind is known."""

    document: Document
    key: Key

    @property
    def name(self) -> tuple[str, str, str, str]:
        key = self.key
        return key.kind.group, key.kind.kind, key.namespace, key.name

    @property
    def is_early(self) -> bool:
        """Whether others need it first."""
        return self.key.kind in (NAMESPACE, CUSTOM_RESOURCE_DEFINITION)


@dataclass(frozen=True, slots=True)
class Source:
    """What a file holds; None in place of documents where it cannot be read."""

    file: str
    documents: tuple[Document, ...] | None
    finding: Finding | None = None

    @property
    def manager(self) -> str:
        return f"file:{self.file}"


def read_source(path: str, shown: str) -> Source:
    """Read a file. Touches nothing else, so that it may run on a thread."""
    try:
        return Source(shown, tuple(read_file(path, shown=shown)))
    except Unreadable as error:
        return Source(shown, None, error.finding)


def custom_kinds(sources: Iterable[Source]) -> Iterator[Kind]:
    """Yield the kinds that CustomResourceDefinitions among the documents define."""
    for source in sources:
        for document in source.documents or ():
            if document.kind == CUSTOM_RESOURCE_DEFINITION.kind:
                kind = custom_kind(document.raw) if isinstance(document.raw.get("spec"), dict) else None
                if kind is not None:
                    yield kind


def resource_of(document: Document, kinds: Kinds) -> Resource | Finding:
    """Name the object that a document is about, or say why that can't be done."""
    if not document.api_version or not document.kind:
        missing = "apiVersion" if not document.api_version else "kind"
        return document.finding(
            "DM0004", "error", f"has no {missing}: every resource has apiVersion and kind"
        )
    kind = kinds.named(document.api_version, document.kind)
    if kind is None:
        return document.finding("DM0004", "error", _unknown_kind(document, kinds), ("kind",))
    name = document.metadata.get("name")
    if not isinstance(name, str) or not name:
        return document.finding("DM0007", "error", "metadata.name: Required value", ("metadata",))
    namespace = document.metadata.get("namespace") or "default" if kind.namespaced else ""
    if not isinstance(namespace, str):
        return document.finding(
            "DM0006", "error", "metadata.namespace: must be text", ("metadata", "namespace")
        )
    return Resource(document, Key(kind, namespace, name))


def _unknown_kind(document: Document, kinds: Kinds) -> str:
    group = document.api_version.rpartition("/")[0]
    if group == MESH_GROUP:
        return "a mesh file is given by itself (devmesh up -f devmesh.yaml), not among resources"
    same = [kind for kind in kinds if kind.kind == document.kind]
    hint = f"; {document.kind} is in {', '.join(kind.api_version for kind in same)}" if same else ""
    if not same:
        near = difflib.get_close_matches(document.kind, [kind.kind for kind in kinds], n=1, cutoff=0.7)
        hint = f' (did you mean "{near[0]}"?)' if near else "; a CustomResourceDefinition would make it known"
    return f'no matches for kind "{document.kind}" in version "{document.api_version}"{hint}'


def check(resource: Resource, store: Store, before: Stored | None) -> list[Finding]:
    """Find what admission has to say of a resource, errors and warnings, with their places."""
    kind, document = resource.key.kind, resource.document
    try:
        admitted = admit(kind, document.raw, store=store, before=before)
    except Refused as refused:
        return [_finding(kind, document, cause) for cause in refused.causes]
    return [_finding(kind, document, cause) for cause in admitted.warnings]


def _finding(kind: Kind, document: Document, cause: Cause) -> Finding:
    severity = "warning" if cause.reason in HARMLESS else "error"
    codes = {UNKNOWN: "DM0005", TYPE: "DM0006", NO_EFFECT: "DM0009"}
    other = "DM0010" if severity == "warning" else "IST0106" if "istio.io" in kind.group else "DM0007"
    code = codes.get(cause.reason, other)
    return document.finding(code, severity, cause.message, cause.path, cause.field)
