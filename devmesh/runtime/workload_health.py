"""The health of WorkloadEntries that belong to a WorkloadGroup with a probe.

In Istio the agent beside the workload asks; there is none beside a foreign process: devmesh asks from here.
"""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

import trio

from devmesh.config.kinds import WORKLOAD_ENTRY, WORKLOAD_GROUP
from devmesh.config.store import Key, Raw, Store, Stored
from devmesh.runtime.pods.probes import Target, watch

log = logging.getLogger(__name__)

GROUP = "istio.io/autoRegistrationGroup"
_HERE = ("localhost", "host.docker.internal", "host.containers.internal")
_NOT_ASKED = ("exec",)  # nothing can be run there

Dial = Callable[[str, int], socket.socket]


class WorkloadHealth:
    """Asks, as the probes of the groups say, and writes the condition Healthy.

    Args:
        dial: Begins a connection as devmesh itself would.
    """

    def __init__(self, store: Store, dial: Dial) -> None:
        self._store = store
        self._dial = dial
        self._asking: dict[tuple[Key, str], trio.CancelScope] = {}

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Ask until cancelled."""
        async with trio.open_nursery() as nursery:
            task_status.started()
            while True:
                wanted = {(entry.key, json.dumps(probe)): (entry, probe) for entry, probe in self._wanted()}
                for gone in self._asking.keys() - wanted.keys():
                    self._asking.pop(gone).cancel()
                for new in wanted.keys() - self._asking.keys():
                    scope = self._asking[new] = trio.CancelScope()
                    nursery.start_soon(self._ask, scope, *wanted[new])
                await self._store.changed()

    def _wanted(self) -> list[tuple[Stored, Raw]]:
        """Return the entries that are to be asked, each with the address and the probe."""
        found = []
        for entry in self._store.list(WORKLOAD_ENTRY):
            name, address = entry.annotations.get(GROUP), (entry.raw.get("spec") or {}).get("address", "")
            group = self._store.get(WORKLOAD_GROUP, entry.namespace, name) if name else None
            probe = ((group.raw.get("spec") or {}) if group else {}).get("probe")
            if probe and address and not any(probe.get(way) for way in _NOT_ASKED):
                found.append((entry, {**probe, "address": address}))
        return found

    async def _ask(self, scope: trio.CancelScope, entry: Stored, probe: Raw) -> None:
        key = entry.key

        async def told(good: bool) -> None:
            await trio.lowlevel.checkpoint()
            self._write(key, good)

        def failed(why: str) -> None:
            log.debug("%s is not healthy: %s", key, why)

        with scope:
            address = await _numeric(str(probe["address"]))
            target = Target(address, {}, self._dial, None)
            await watch(probe, target, told, failed, eager=True)

    def _write(self, key: Key, good: bool) -> None:
        stored = self._store.by_key(key)
        if stored is None:
            return
        status = stored.raw.get("status") or {}
        others = [c for c in status.get("conditions") or () if c.get("type") != "Healthy"]
        before: Raw = next((c for c in status.get("conditions") or () if c.get("type") == "Healthy"), {})
        word = "True" if good else "False"
        if before.get("status") != word:
            told: dict[str, Any] = {
                "type": "Healthy",
                "status": word,
                "lastTransitionTime": self._store.timestamp(),
            }
            self._store.patch_status(key, {**status, "conditions": [*others, told]})


async def _numeric(address: str) -> str:
    """Return an address for a name; the name itself where it has none, so that asking fails."""
    if address in _HERE:
        return "127.0.0.1"
    try:
        return str(ip_address(address))
    except ValueError:
        pass
    try:
        found = await trio.socket.getaddrinfo(address, None, type=socket.SOCK_STREAM)
    except OSError:
        return address
    return str(found[0][4][0])
