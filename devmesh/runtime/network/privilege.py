"""What this process may do, and so which way into namespaces it takes."""

from __future__ import annotations

from pathlib import Path

from devmesh.runtime.network.namespaces import InlineNamespaces, Namespaces
from devmesh.runtime.network.userns import UserNamespaces

_NET_ADMIN, _SYS_ADMIN = 12, 21  # linux/capability.h


def missing_capabilities() -> list[str]:
    """Return which capabilities are missing for entering namespaces (containers' too) from here."""
    effective = 0
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            effective = int(line.split()[1], 16)
    needed = {"CAP_SYS_ADMIN": _SYS_ADMIN, "CAP_NET_ADMIN": _NET_ADMIN}
    return [name for name, bit in needed.items() if not effective >> bit & 1]


def open_namespaces() -> Namespaces:
    """Return the way into namespaces that this process has; call it before the event loop runs.

    Raises:
        UserNamespacesRefused: It has none: neither root nor user namespaces.
    """
    return UserNamespaces.start() if missing_capabilities() else InlineNamespaces()
