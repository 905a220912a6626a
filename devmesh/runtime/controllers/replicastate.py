"""A ReplicaSet's pods, counted."""

from __future__ import annotations

from devmesh.config.kinds import POD
from devmesh.config.store import Store, Stored
from devmesh.runtime.controllers.objects import availability, is_active, is_ready, owned


def current_state(store: Store, replicas: Stored) -> tuple[int, int, int]:
    """Return how many pods there are, are ready, and are available."""
    pods = [pod for pod in owned(store, POD, replicas) if is_active(pod)]
    minimum = float(replicas.raw["spec"].get("minReadySeconds") or 0)
    available, _ = availability(pods, minimum, store.timestamp())
    return len(pods), sum(map(is_ready, pods)), available
