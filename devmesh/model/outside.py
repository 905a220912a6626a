"""Names of the world outside that a mesh answers itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from devmesh.model.host import matches, specificity


class OutsideNames:
    """Stand-ins: where names that are not the mesh's lead instead of where the world would have them.

    Args:
        hosts: Addresses by name, in lower case; ``*.suffix`` is a wildcard. Of several that cover a
            name, the most specific one holds.
    """

    def __init__(self, hosts: Mapping[str, Sequence[str]] | None = None) -> None:
        self.replace(hosts or {})

    def replace(self, hosts: Mapping[str, Sequence[str]]) -> None:
        """Take other stand-ins in place of all."""
        self._hosts = {name.lower(): tuple(addresses) for name, addresses in hosts.items()}
        self._wildcards = sorted((name for name in self._hosts if name.startswith("*")), key=specificity)

    def addresses(self, name: str) -> tuple[str, ...] | None:
        """Return the addresses of `name` (lower case, no dot at its end); None: the world knows."""
        found = self._hosts.get(name)
        if found is None:
            for pattern in self._wildcards:
                if matches(pattern, name):
                    return self._hosts[pattern]
        return found
