"""What resources of the Gateway API are translated to."""

from __future__ import annotations

from dataclasses import dataclass

from devmesh.pilot.resources import Loaded, S_co
from devmesh.snapshot.origin import Origin


@dataclass(frozen=True, slots=True, eq=False)
class Derived(Loaded[S_co]):
    """A spec that stands for (a part of) the resource in `stored`.

    Args:
        alias: Its own name, where several come of one resource.
        paths: What a path in the spec begins with, and what that is called in the resource.
        services: For a Gateway: the hosts of the Services whose instances serve it, wherever they are.
    """

    alias: str = ""
    paths: tuple[str, str] = ("", "")
    services: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        return self.alias or self.stored.name

    def origin(self, path: str = "") -> Origin:
        """Return where something of the spec was written."""
        before, after = self.paths
        if before and path.startswith(before):
            path = after + path[len(before) :]
        return Origin(self.stored.key.kind.kind, self.stored.namespace, self.stored.name, path)
