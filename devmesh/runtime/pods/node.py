"""What every pod's life needs around it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from devmesh.config.store import Store
from devmesh.runtime.access import LogOptions
from devmesh.runtime.events import Events
from devmesh.runtime.instances import Instances
from devmesh.runtime.pods.backend import Backend
from devmesh.snapshot.network import Dialer

Configured = Callable[[str], Awaitable[None]]
"""Returns once the proxy of the instance of that id has its configuration (the snapshot names it)."""
Withdrawn = Callable[[str], Awaitable[None]]
"""Returns once nothing new is sent to the instance of that id, which is said to be not ready."""
AccessLog = Callable[[str, LogOptions], AsyncIterator[bytes]]
"""Yields the access log of the instance of that id, line by line, as `Containers.logs` does."""


@dataclass(frozen=True, slots=True)
class Node:
    """The one node of the mesh: where pods run, and whom they talk to.

    Attributes:
        pods: The folder that holds a folder for each pod.
        claims: The folder of the PersistentVolumeClaims.
        clock: Seconds since the epoch.
    """

    store: Store
    backend: Backend
    instances: Instances
    events: Events
    dialer: Dialer
    configured: Configured
    withdrawn: Withdrawn
    access_log: AccessLog
    mesh: str
    trust_domain: str
    pods: Path
    claims: Path
    clock: Callable[[], float]
    domain: str = "cluster.local"
    inject_all: bool = False
