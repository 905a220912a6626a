"""Kinds that users define: a CustomResourceDefinition makes its kind known."""

from __future__ import annotations

from typing import Any

from devmesh.config.kind import Kind


def custom_kind(raw: dict[str, Any]) -> Kind | None:
    """Return the kind that a CustomResourceDefinition defines; None where it is no whole definition."""
    try:
        return _kind(raw["spec"])
    except (KeyError, TypeError, AttributeError, ValueError):
        return None


def _kind(spec: dict[str, Any]) -> Kind:
    """Read a definition.

    Raises:
        KeyError, TypeError, AttributeError, ValueError: It is none.
    """
    names = spec["names"]
    versions = [version for version in spec["versions"] if version.get("served", True)]
    (storage,) = [str(version["name"]) for version in versions if version.get("storage")]
    with_status = any("status" in (version.get("subresources") or {}) for version in versions)
    return Kind(
        _text(spec["group"]),
        _text(names["kind"]),
        _text(names["plural"]),
        (storage, *(str(v["name"]) for v in versions if v["name"] != storage)),
        tuple(map(_text, names.get("shortNames") or ())),
        namespaced=spec.get("scope") == "Namespaced",
        categories=tuple(map(_text, names.get("categories") or ())),
        subresources=("status",) if with_status else (),
        effect=False,
        custom=True,
    )


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(value)
    return value
