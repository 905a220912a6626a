"""Defaults of namespaces, Secrets, claims."""

from __future__ import annotations

import base64
from typing import Any

Raw = dict[str, Any]


def namespace(raw: Raw) -> None:
    metadata = raw["metadata"]
    if name := metadata.get("name"):
        metadata.setdefault("labels", {})["kubernetes.io/metadata.name"] = name
    raw.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])
    raw.setdefault("status", {}).setdefault("phase", "Active")


def secret(raw: Raw) -> None:
    raw.setdefault("type", "Opaque")
    plain = raw.pop("stringData", None)
    if plain:
        written = {key: base64.b64encode(value.encode()).decode() for key, value in plain.items()}
        raw["data"] = {**(raw.get("data") or {}), **written}


def claim(raw: Raw) -> None:
    raw["spec"].setdefault("volumeMode", "Filesystem")
    raw.setdefault("status", {}).setdefault("phase", "Pending")
