"""How VirtualServices name gateways."""

from __future__ import annotations

MESH = "mesh"
"""All sidecars."""


def gateway_name(text: str, namespace: str) -> str:
    """Return a gateway as ``namespace/name``, or ``mesh``. Istio: a bare name is of the own namespace."""
    if text == MESH or "/" in text:
        return text
    if text.endswith(".svc.cluster.local") or text.count(".") == 1:  # the historical name.namespace
        name, namespace = text.split(".")[:2]
        return f"{namespace}/{name}"
    return f"{namespace}/{text}"
