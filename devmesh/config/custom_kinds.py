"""Kinds that users define: a CustomResourceDefinition makes its kind known."""

from __future__ import annotations

from typing import Any

from devmesh.config.kind import Kind


def custom_kind(raw: dict[str, Any]) -> Kind | None:
    """Return the kind that a CustomResourceDefinition defines; None where it names none."""
    spec = raw.get("spec") or {}
    names = spec.get("names") or {}
    versions = [v for v in spec.get("versions") or () if v.get("served", True) and v.get("name")]
    storage = next((v["name"] for v in versions if v.get("storage")), None)
    if not (spec.get("group") and names.get("kind") and names.get("plural") and storage):
        return None
    with_status = any("status" in (v.get("subresources") or {}) for v in versions)
    return Kind(
        spec["group"],
        names["kind"],
        names["plural"],
        (storage, *(v["name"] for v in versions if v["name"] != storage)),
        tuple(names.get("shortNames") or ()),
        namespaced=spec.get("scope") == "Namespaced",
        categories=tuple(names.get("categories") or ()),
        subresources=("status",) if with_status else (),
        effect=False,
        custom=True,
    )
