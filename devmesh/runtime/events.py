"""What happened to an object, for ``kubectl describe``: objects of kind Event, counted when they repeat."""

from __future__ import annotations

import time
from typing import Literal

from devmesh.config.kinds import EVENT
from devmesh.config.store import Key, NotFound, Store, Stored

KEPT_SECONDS = 3600.0
"""How long an Event stays after it last happened (kube-apiserver: --event-ttl)."""

Level = Literal["Normal", "Warning"]


class Events:
    """Records events in the store. `component` is whom ``kubectl describe`` names as their source."""

    def __init__(self, store: Store, node: str = "devmesh") -> None:
        self._store = store
        self._node = node
        self._last = 0
        self._known: dict[tuple[str, str, str, str], Key] = {}

    def record(
        self,
        about: Stored,
        level: Level,
        reason: str,
        message: str,
        *,
        container: str | None = None,
        init: bool = False,
        component: str = "kubelet",
    ) -> None:
        """Note that something happened to `about` (one of its containers); a repetition is counted.

        Nothing happens where the object's namespace has gone.
        """
        field = f"spec.{'initContainers' if init else 'containers'}{{{container}}}" if container else ""
        same = (about.uid, reason, message, field)
        now = self._store.timestamp()
        before = self._store.by_key(self._known[same]) if same in self._known else None
        if before is not None:
            counted = {**before.raw, "count": before.raw["count"] + 1, "lastTimestamp": now}
            self._store.update(EVENT, counted)
            return
        involved = {
            "kind": about.key.kind.kind,
            "namespace": about.namespace,
            "name": about.name,
            "uid": about.uid,
            "apiVersion": about.key.kind.api_version,
            "resourceVersion": str(about.version),
        }
        if field:
            involved["fieldPath"] = field
        namespace = about.namespace or "default"
        raw = {
            "metadata": {"name": f"{about.name}.{self._moment():016x}", "namespace": namespace},
            "involvedObject": involved,
            "reason": reason,
            "message": message,
            "type": level,
            "count": 1,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "source": {"component": component, "host": self._node},
            "reportingComponent": component,
            "reportingInstance": self._node,
        }
        try:
            self._known[same] = self._store.create(EVENT, raw).key
        except NotFound:
            return

    def _moment(self) -> int:
        """Return a number that grows: kubectl shows events of one second in the order of their names."""
        self._last = max(self._last + 1, time.time_ns())
        return self._last

    def expire(self, oldest: str) -> None:
        """Forget what has not happened since `oldest` (a timestamp as Kubernetes writes it)."""
        for stored in self._store.list(EVENT):
            happened = stored.raw.get("lastTimestamp") or stored.metadata["creationTimestamp"]
            if happened < oldest:
                self._store.remove(stored.key)
        self._known = {same: key for same, key in self._known.items() if self._store.by_key(key)}
