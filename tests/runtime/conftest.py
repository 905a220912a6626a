"""A runtime over a store in memory, with a backend that does what tests say."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio

from devmesh.config.kinds import BUILT_IN, NAMESPACE, POD, Kind, Kinds
from devmesh.config.store import Raw, Store, Stored
from devmesh.runtime.access import LogOptions
from devmesh.runtime.runtime import Runtime
from devmesh.testing.backend import FakeBackend, FakeContainer, FakeDialer

_MOMENT = 0.11
_EPOCH = 1_800_000_000.0


@dataclass
class World:
    """Everything around a runtime, and words for what tests do with it."""

    store: Store
    backend: FakeBackend
    dialer: FakeDialer
    runtime: Runtime
    configured: set[str] = field(default_factory=set)
    withdrawn: dict[str, bool] = field(default_factory=dict)
    configures_all: bool = True
    slow_to_withdraw: float = 0.0

    async def settled(self) -> None:
        """Wait until nothing more happens within a moment (that which pods have to drain)."""
        await trio.testing.wait_all_tasks_blocked()
        await trio.sleep(_MOMENT)
        await trio.testing.wait_all_tasks_blocked()

    def put(self, kind: Kind, raw: Raw) -> Stored:
        """Create or update, as kubectl apply."""
        metadata = raw["metadata"]
        namespace = metadata.get("namespace", "default") if kind.namespaced else ""
        before = self.store.get(kind, namespace, metadata["name"])
        if before is None:
            return self.store.create(kind, raw)
        return self.store.update(kind, {**before.raw, **raw, "metadata": {**before.metadata, **metadata}})

    def pods(self, **labels: str) -> list[Stored]:
        return [p for p in self.store.list(POD) if labels.items() <= dict(p.labels).items()]

    def pod(self, name: str) -> Stored:
        found = self.store.get(POD, "default", name)
        assert found is not None, f"no pod {name}"
        return found

    def container(self, pod: str | Stored, name: str | None = None) -> FakeContainer:
        return self.backend.container(pod if isinstance(pod, str) else pod.name, name)

    def events(self, about: str) -> list[tuple[str, str]]:
        """Return (reason, message) of what happened to the objects of that name."""
        from devmesh.config.kinds import EVENT

        found = [e.raw for e in self.store.list(EVENT) if e.raw["involvedObject"]["name"] == about]
        return [(e["reason"], e["message"]) for e in found]


@pytest.fixture
def store(autojump_clock: trio.testing.MockClock) -> Store:
    store = Store(Kinds(BUILT_IN), clock=lambda: _EPOCH + autojump_clock.current_time())
    store.create(NAMESPACE, {"metadata": {"name": "default"}})
    return store


@pytest.fixture
async def world(
    store: Store, tmp_path: Path, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> World:
    backend, dialer = FakeBackend(), FakeDialer()

    async def configured(instance: str) -> None:
        while not made.configures_all and instance not in made.configured:  # noqa: ASYNC110
            await trio.sleep(0.01)

    async def withdrawn(instance: str) -> None:
        found = runtime.instances.get(instance)
        made.withdrawn[instance] = found is None or not found.ready
        await trio.sleep(made.slow_to_withdraw)

    async def access_log(instance: str, options: LogOptions) -> AsyncIterator[bytes]:
        yield b"[access] " + instance.encode()

    runtime = Runtime(
        store,
        dialer,
        backend,
        configured=configured,
        withdrawn=withdrawn,
        access_log=access_log,
        state_dir=tmp_path,
        config_maps={"kube-root-ca.crt": {"ca.crt": "CA"}},
        clock=lambda: _EPOCH + autojump_clock.current_time(),
    )
    made = World(store, backend, dialer, runtime)
    await nursery.start(runtime.run)
    return made


def pod_raw(name: str, *containers: Raw, **spec: Any) -> Raw:
    """Return a pod; a container without a name is ``main``, one without an image ``app``."""
    found = [{"name": "main", "image": "app", **c} for c in containers or ({},)]
    return {"metadata": {"name": name}, "spec": {"containers": found, **spec}}


def deployment_raw(name: str, replicas: int = 1, image: str = "app", **spec: Any) -> Raw:
    return {
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": image}]},
            },
            **spec,
        },
    }


@pytest.fixture
def make_pod() -> Callable[..., Raw]:
    return pod_raw


@pytest.fixture
def make_deployment() -> Callable[..., Raw]:
    return deployment_raw
