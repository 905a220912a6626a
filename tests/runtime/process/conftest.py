"""A runtime of real processes in real namespaces."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio

from devmesh.config.kinds import BUILT_IN, NAMESPACE, POD, Kinds
from devmesh.config.store import Raw, Store
from devmesh.runtime.access import LogOptions
from devmesh.runtime.network.fabric import Fabric
from devmesh.runtime.network.namespaces import InlineNamespaces
from devmesh.runtime.network.userns import UserNamespaces
from devmesh.runtime.process.backend import ProcessBackend
from devmesh.runtime.process.images import Programs
from devmesh.runtime.runtime import Runtime

SECONDS = 5.0  # what any wait in these tests may take at most


@dataclass
class Place:
    """A running runtime. `src` is the folder that images' programs run in."""

    store: Store
    runtime: Runtime
    fabric: Fabric
    src: Path
    state: Path

    async def until(self, holds: Callable[[], Any]) -> Any:
        """Wait until something holds, and return it."""
        with trio.fail_after(SECONDS):
            while not (found := holds()):  # noqa: ASYNC110 (processes tell nobody)
                await trio.sleep(0.005)
            return found

    def status(self, pod: str) -> Raw:
        stored = self.store.get(POD, "default", pod)
        return (stored.raw.get("status") or {}) if stored else {}

    def is_ready(self, pod: str) -> bool:
        conditions = self.status(pod).get("conditions") or ()
        return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

    async def run(self, name: str, *containers: Raw, wait: bool = True, **spec: Any) -> Raw:
        """Create a pod, and wait until it is ready."""
        found = [{"name": "main", "image": "app", **c} for c in containers]
        self.store.create(POD, {"metadata": {"name": name}, "spec": {"containers": found, **spec}})
        if wait:
            await self.until(lambda: self.is_ready(name))
        return self.status(name)

    async def sh(self, pod: str, script: str, container: str = "main") -> tuple[int, str]:
        """Run a shell script in a container; return its exit status and all it has written."""
        command = ["sh", "-c", f"({script}) 2>&1"]
        session = await self.runtime.exec("default", pod, container, command, stdin=False, tty=False)
        try:
            with trio.fail_after(SECONDS):
                output = b"".join([bytes(piece) async for piece in session.stdout])
                return await session.wait(), output.decode()
        finally:
            await session.aclose()

    async def log(self, pod: str, container: str = "main", **options: Any) -> str:
        pieces = self.runtime.logs("default", pod, container, LogOptions(**options))
        return b"".join([piece async for piece in pieces]).decode()


Start = Callable[[], Awaitable[Place]]


@pytest.fixture(params=["root", "user"])
async def place(
    request: pytest.FixtureRequest, tmp_path: Path, nursery: trio.Nursery
) -> AsyncIterator[Place]:
    store = Store(Kinds(BUILT_IN))
    store.create(NAMESPACE, {"metadata": {"name": "default"}})
    fabric = Fabric(InlineNamespaces() if request.param == "root" else UserNamespaces.start())
    src = tmp_path / "src"
    src.mkdir()
    images = [{"match": "app", "process": {"command": ["sleep", "1000"], "workdir": "src"}}]
    backend = ProcessBackend(fabric, Programs.of(images, tmp_path))

    async def configured(instance: str) -> None:
        await trio.lowlevel.checkpoint()

    async def access_log(instance: str, options: LogOptions) -> AsyncIterator[bytes]:
        yield b""

    runtime = Runtime(
        store,
        fabric,
        backend,
        configured=configured,
        access_log=access_log,
        state_dir=tmp_path / "state",
    )
    await nursery.start(fabric.run)
    await nursery.start(runtime.run)
    yield Place(store, runtime, fabric, src, tmp_path / "state")
    with trio.CancelScope(shield=True), trio.move_on_after(SECONDS):
        await runtime.stop(0.2)
