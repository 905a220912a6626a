"""Foreign workloads are asked how they are."""

from __future__ import annotations

import socket
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from devmesh.config.kinds import BUILT_IN, NAMESPACE, WORKLOAD_ENTRY, WORKLOAD_GROUP, Kinds
from devmesh.config.store import Store
from devmesh.runtime.workload_health import GROUP, WorkloadHealth


def dial(address: str, port: int) -> socket.socket:
    made = socket.socket()
    made.setblocking(False)
    made.connect_ex((address, port))
    return made


@pytest.fixture
def store() -> Store:
    found = Store(Kinds(BUILT_IN))
    found.create(NAMESPACE, {"metadata": {"name": "default"}})
    return found


def group(store: Store, probe: dict[str, Any]) -> None:
    meta = {"name": "vms", "namespace": "default"}
    store.create(WORKLOAD_GROUP, {"metadata": meta, "spec": {"template": {}, "probe": probe}})


def entry(store: Store, **annotations: str) -> None:
    meta = {"name": "vm", "namespace": "default", "annotations": annotations}
    store.create(WORKLOAD_ENTRY, {"metadata": meta, "spec": {"address": "127.0.0.1"}})


def healthy(store: Store) -> str | None:
    stored = store.get(WORKLOAD_ENTRY, "default", "vm")
    conditions = (stored.raw.get("status") or {}).get("conditions") or () if stored else ()
    return next((str(c["status"]) for c in conditions if c["type"] == "Healthy"), None)


async def until(store: Store, status: str | None) -> None:
    with trio.fail_after(5):
        while healthy(store) != status:
            await store.changed()


async def test_an_entry_is_healthy_once_its_port_answers(store: Store, nursery: trio.Nursery) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        await nursery.start(WorkloadHealth(store, dial).run)
        group(store, {"tcpSocket": {"port": server.getsockname()[1]}, "periodSeconds": 1})
        entry(store, **{GROUP: "vms"})
        await until(store, "True")


async def test_an_entry_that_does_not_answer_is_not_healthy(
    store: Store, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    group(store, {"tcpSocket": {"port": 1}, "periodSeconds": 1, "failureThreshold": 1})
    entry(store, **{GROUP: "vms"})
    await nursery.start(WorkloadHealth(store, dial).run)
    await until(store, "False")


async def test_without_a_group_or_a_way_to_ask_nothing_is_said(store: Store, nursery: trio.Nursery) -> None:
    group(store, {"exec": {"command": ["true"]}})
    entry(store, **{GROUP: "vms"})
    health = WorkloadHealth(store, dial)
    await nursery.start(health.run)
    await trio.testing.wait_all_tasks_blocked()
    assert healthy(store) is None


async def test_a_probe_that_is_gone_is_no_longer_asked(store: Store, nursery: trio.Nursery) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        group(store, {"tcpSocket": {"port": server.getsockname()[1]}, "periodSeconds": 1})
        entry(store, **{GROUP: "vms"})
        health = WorkloadHealth(store, dial)
        await nursery.start(health.run)
        await until(store, "True")
        found = store.get(WORKLOAD_GROUP, "default", "vms")
        assert found is not None
        store.delete(found.key)
        await trio.testing.wait_all_tasks_blocked()
        assert not health._asking
