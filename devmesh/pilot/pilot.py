"""The pilot at work: compiles when asked, publishes what came out, keeps the old where nothing did."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from devmesh.config.store import Store
from devmesh.model.workload import Instance
from devmesh.pilot.compiler import Compiled, compile_mesh
from devmesh.pilot.resolving import Resolved
from devmesh.pilot.settings import LocalPorts
from devmesh.snapshot.feed import SnapshotFeed

log = logging.getLogger(__name__)


class Pilot:
    """Holds the last compile, so that the next one reuses what has not changed.

    Args:
        feed: Where snapshots go; the pilot alone publishes there.
        ports: Asked at each compile where the ingress gateway is on 127.0.0.1.
        resolved: Asked at each compile for the addresses of the names that the last one wanted.
    """

    def __init__(
        self,
        store: Store,
        feed: SnapshotFeed,
        *,
        ports: Callable[[], LocalPorts] = LocalPorts,
        resolved: Callable[[], Resolved] = dict,
    ) -> None:
        self._store = store
        self._feed = feed
        self._ports = ports
        self._resolved = resolved
        self.last = Compiled(feed.current)
        self.error: Exception | None = None
        """Why the newest state could not be compiled at all; None where it was."""

    def update(self, instances: Sequence[Instance]) -> Compiled:
        """Compile the store as it is now with `instances`, and publish the snapshot.

        Synchronous and quick (a few ms where little has changed). A bug that spoils the whole
        compile is logged and kept in `error`; the old snapshot stays in force and is returned.
        """
        try:
            compiled = compile_mesh(
                self._store,
                instances,
                version=self._feed.current.version + 1,
                ports=self._ports(),
                resolved=self._resolved(),
                previous=self.last,
            )
        except Exception as error:
            log.exception("cannot compile the mesh: the snapshot of before stays in force")
            self.error = error
            return self.last
        self.error = None
        self.last = compiled
        self._feed.publish(compiled.snapshot)
        return compiled
