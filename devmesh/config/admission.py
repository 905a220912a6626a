"""The gate of the store: every document that users write is decoded, completed and checked here.

The API and the file loader call the same `admit`, so that kubectl and a file are told the same.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from devmesh.config import addresses, rules
from devmesh.config.decode import check
from devmesh.config.documents.meta import ObjectMeta
from devmesh.config.documents.structs import STRUCTS
from devmesh.config.effects import without_effect
from devmesh.config.kinds import JOB, SERVICE, SERVICE_ENTRY, Kind
from devmesh.config.problems import (
    HARMLESS,
    TYPE,
    UNKNOWN,
    Cause,
    Invalid,
    Malformed,
    wrong_type,
)
from devmesh.config.store import Raw, Store, Stored
from devmesh.config.typed import convert
from devmesh.config.validation import names
from devmesh.config.validation.updates import unchanged

FieldValidation = Literal["Strict", "Warn", "Ignore"]


@dataclass(frozen=True, slots=True)
class Admitted:
    """A document that may be stored: complete, in the kind's storage version; and what to warn of."""

    raw: Raw
    warnings: tuple[Cause, ...] = ()

    @property
    def said(self) -> tuple[str, ...]:
        """The warnings as kubectl prints them."""
        return tuple(str(w) if w.reason != UNKNOWN else w.message for w in self.warnings)


def admit(
    kind: Kind,
    raw: Raw,
    *,
    store: Store,
    field_validation: FieldValidation = "Strict",
    before: Stored | None = None,
) -> Admitted:
    """Decode, complete and check a document; `raw` itself is left alone.

    What a client may not set is taken away: ``status`` where that is a subresource (its updates
    go to the store's ``update(status=True)``), the uid. Versions and times are the store's.

    Args:
        field_validation: What becomes of unknown fields: refused, left out with a warning, or
            left out.
        before: The object that `raw` is to replace; None where it is new.

    Raises:
        Malformed: Unknown fields (when strict), or values of a wrong type.
        Invalid: It breaks a rule.
    """
    version = str(raw.get("apiVersion") or kind.api_version)
    clean, causes = _decoded(kind, raw)
    unknown = [c for c in causes if c.reason == UNKNOWN]
    malformed = [c for c in causes if c.reason == TYPE or (c in unknown and field_validation == "Strict")]
    if malformed:
        raise Malformed(kind, version, malformed)
    name = str(clean["metadata"].get("name") or clean["metadata"].get("generateName") or "")
    missing = [c for c in causes if c.reason not in (UNKNOWN, TYPE)]
    if missing:
        raise Invalid(kind, name, missing)
    clean |= {"apiVersion": kind.api_version, "kind": kind.kind}
    if "status" in kind.subresources:
        clean.pop("status", None)
    _complete(kind, clean, store, before)
    found = list(_checked(kind, clean, before))
    wrong = [c for c in found if c.reason not in HARMLESS]
    if wrong:
        raise Invalid(kind, name, wrong)
    told = unknown if field_validation == "Warn" else []
    return Admitted(clean, (*told, *(c for c in found if c.reason in HARMLESS)))


def _decoded(kind: Kind, raw: Raw) -> tuple[Raw, list[Cause]]:
    """Return the canonical document, and everything that does not fit."""
    if not isinstance(raw.get("metadata", {}), dict):
        return {"metadata": {}}, [wrong_type(("metadata",), raw["metadata"], "an object is expected here")]
    struct = STRUCTS.get((kind.group, kind.kind))
    if struct is not None:
        clean, causes = check(raw, struct, snake_case=kind.group.endswith("istio.io"))
        clean.setdefault("metadata", {})
        return clean, causes
    metadata, causes = check(raw.get("metadata") or {}, ObjectMeta, snake_case=False)
    causes = [Cause(("metadata", *c.path), c.reason, c.message) for c in causes]
    body = {key: value for key, value in raw.items() if value is not None}
    return {**body, "metadata": metadata}, causes


def _complete(kind: Kind, clean: Raw, store: Store, before: Stored | None) -> None:
    metadata = clean["metadata"]
    if kind.namespaced:
        metadata.setdefault("namespace", "default")
    metadata["uid"] = before.uid if before else str(uuid.uuid4())
    if before is not None:
        _keep(kind, clean, before.raw)
    if complete := rules.DEFAULTS.get(kind):
        complete(clean)
    if kind is SERVICE:
        addresses.give_service(clean, store)
    elif kind is SERVICE_ENTRY:
        addresses.give_entry(clean, store)


def _keep(kind: Kind, clean: Raw, before: Raw) -> None:
    """Keep what the server has filled in and an update leaves out."""
    if kind is JOB and "selector" not in clean["spec"]:
        clean["spec"]["selector"] = before["spec"].get("selector")
        template = clean["spec"].setdefault("template", {}).setdefault("metadata", {})
        generated = {
            key: value
            for key, value in ((before["spec"]["template"].get("metadata") or {}).get("labels") or {}).items()
            if key.endswith(("controller-uid", "job-name"))
        }
        template["labels"] = {**generated, **(template.get("labels") or {})}
    if kind is SERVICE and clean["spec"].get("type", "ClusterIP") != "ExternalName":
        for field in ("clusterIP", "clusterIPs", "healthCheckNodePort"):
            if not clean["spec"].get(field) and before["spec"].get(field):
                clean["spec"][field] = before["spec"][field]


def _checked(kind: Kind, clean: Raw, before: Stored | None) -> Iterator[Cause]:
    yield from names.metadata(clean["metadata"], namespaced=kind.namespaced, rule=rules.name_rule(kind))
    struct = STRUCTS.get((kind.group, kind.kind))
    validate: Callable[[Any], Iterator[Cause]] | None = rules.VALIDATION.get(kind)
    if struct is not None and validate is not None:
        yield from validate(convert(clean, struct))
    if before is not None:
        yield from unchanged(kind, before.raw, clean)
    yield from without_effect(kind, clean)


def served(kind: Kind, raw: Mapping[str, Any], version: str) -> Raw:
    """Return a stored document in another served version; Istio's versions share one schema."""
    group = f"{kind.group}/" if kind.group else ""
    return {**raw, "apiVersion": f"{group}{version}"}
