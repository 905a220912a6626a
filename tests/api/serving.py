"""An API that is served in a thread of its own, and clients of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import trio

from devmesh.api.app import Deps, build_app
from devmesh.api.credentials import Credentials, kubeconfig, load_credentials, sign_token
from devmesh.api.guard import Guard
from devmesh.api.kube.deps import KubeDeps
from devmesh.api.server import bind, serve
from devmesh.config.kinds import BUILT_IN, NAMESPACE, Kinds
from devmesh.config.store import Store
from devmesh.testing.containers import FakeContainers, FakeSession

T = TypeVar("T")


def find_kubectl() -> str | None:
    beside = Path(sys.executable).with_name("kubectl")
    return str(beside) if beside.exists() else shutil.which("kubectl")


def new_store() -> Store:
    store = Store(Kinds(BUILT_IN))
    for name in ("default", "kube-system", "istio-system"):
        store.create(NAMESPACE, {"metadata": {"name": name}, "status": {"phase": "Active"}})
    return store


async def run_here(session: FakeSession, command: Sequence[str]) -> int:
    """Run a command on this machine, as if it were in the container."""
    given = await session.read_input() if session.input else b""
    done = await trio.run_process(
        list(command), stdin=given, capture_stdout=True, capture_stderr=True, check=False
    )
    if done.stdout:
        await session.out.send_all(done.stdout)
    if done.stderr:
        await session.err.send_all(done.stderr)
    return done.returncode


async def copy_input(session: FakeSession, command: Sequence[str]) -> int:
    assert session.input
    while piece := await session.input.receive_some():
        await session.out.send_all(piece)
    return 0


async def upper(stream: trio.SocketStream) -> None:
    async with stream:
        async for piece in stream:
            await stream.send_all(piece.upper())


@dataclass
class Served:
    """The API while it is served; `run` calls a function on its trio thread."""

    store: Store
    containers: FakeContainers
    credentials: Credentials
    port: int
    tls_port: int
    home: Path
    token: trio.lowlevel.TrioToken
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, function: Callable[..., T], *args: Any) -> T:
        return trio.from_thread.run_sync(function, *args, trio_token=self.token)

    def kubectl(self, *args: str, given: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        binary = find_kubectl()
        assert binary
        done = subprocess.run(
            [binary, *args], env=self.environment, input=given, capture_output=True, text=True, timeout=30
        )
        assert not check or done.returncode == 0, done.stderr
        return done

    def start(self, *args: str) -> subprocess.Popen[str]:
        binary = find_kubectl()
        assert binary
        return subprocess.Popen(
            [binary, *args], env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def get(self, *args: str) -> Any:
        return json.loads(self.kubectl("get", *args, "-o", "json").stdout)


@contextmanager
def serving(home: Path) -> Iterator[Served]:
    """Serve an API whose secrets, and whose clients' caches, lie in `home`."""
    ready, stop = threading.Event(), trio.Event()
    found: list[Served] = []

    async def main() -> None:
        credentials = load_credentials(home)
        store = new_store()
        async with trio.open_nursery() as nursery:
            containers = FakeContainers(nursery, {"cat": copy_input, "sh": run_here, "tar": run_here})
            deps = KubeDeps(store, containers, sign=partial(sign_token, credentials))
            bound = bind("127.0.0.1", 0, 0)
            guard = Guard(build_app(Deps(deps)), credentials.token, {bound.port, bound.tls_port})
            await nursery.start(
                partial(
                    serve,
                    guard,
                    bound,
                    streams=deps.streams,
                    shutdown=stop,
                    tls=credentials.server_context(),
                )
            )
            config = home / "kubeconfig"
            config.write_text(kubeconfig("test", credentials, bound.tls_port))
            environment = {**os.environ, "KUBECONFIG": str(config), "HOME": str(home), "NO_PROXY": "*"}
            token = trio.lowlevel.current_trio_token()
            found.append(
                Served(
                    store,
                    containers,
                    credentials,
                    bound.port,
                    bound.tls_port,
                    home,
                    token,
                    environment,
                )
            )
            ready.set()
            await stop.wait()
            await trio.sleep(0.1)
            nursery.cancel_scope.cancel()

    thread = threading.Thread(target=trio.run, args=(main,))
    thread.start()
    assert ready.wait(20)
    try:
        yield found[0]
    finally:
        found[0].run(stop.set)
        thread.join(10)
    assert not thread.is_alive()
