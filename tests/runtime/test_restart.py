"""A runtime over a store that the last one has left."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import trio

from devmesh.config.kinds import DEPLOYMENT, JOB, POD
from devmesh.config.store import Store
from devmesh.runtime.access import LogOptions
from devmesh.runtime.runtime import Runtime
from devmesh.testing.backend import FakeBackend, FakeDialer


async def configured(instance: str) -> None:
    await trio.lowlevel.checkpoint()


async def access_log(instance: str, options: LogOptions) -> AsyncIterator[bytes]:
    yield b""


async def test_pods_are_made_anew_and_what_had_ended_stays(
    autojump_clock: Any, store: Store, tmp_path: Path, make_pod: Any, make_deployment: Any
) -> None:
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "done"}]}}
    store.create(DEPLOYMENT, make_deployment("web", 2))
    store.create(POD, make_pod("bare"))
    store.create(JOB, {"metadata": {"name": "work"}, "spec": {"template": template}})

    async def live() -> FakeBackend:
        backend = FakeBackend()
        backend.exits["done"] = 0
        runtime = Runtime(
            store,
            FakeDialer(),
            backend,
            configured=configured,
            access_log=access_log,
            state_dir=tmp_path,
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(runtime.run)
            await trio.testing.wait_all_tasks_blocked()
            await trio.sleep(1)
            assert sum(i.ready for i in runtime.instances.current.values()) == 3
            nursery.cancel_scope.cancel()  # as a crash, as far as the store knows
        return backend

    await live()
    before = {pod.name: pod.uid for pod in store.list(POD)}
    [ended] = [p.name for p in store.list(POD) if p.name.startswith("work-")]

    backend = await live()

    after = {pod.name: pod.uid for pod in store.list(POD)}
    assert len(after) == 4
    assert set(before) & set(after) == {"bare", ended}
    assert ended not in backend.sandboxes
    assert "bare" in backend.sandboxes
