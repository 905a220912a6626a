"""What is left of pods when devmesh is killed: nothing."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = [pytest.mark.netns, pytest.mark.slow]

_SECONDS = 10.0
_PROGRAM = """
    import sys, trio
    from pathlib import Path
    from devmesh.config.kinds import BUILT_IN, NAMESPACE, POD, Kinds
    from devmesh.config.store import Store
    from devmesh.runtime.network.fabric import Fabric
    from devmesh.runtime.network.namespaces import InlineNamespaces
    from devmesh.runtime.process.backend import ProcessBackend
    from devmesh.runtime.process.images import Programs
    from devmesh.runtime.runtime import Runtime

    async def nothing(*a):
        await trio.lowlevel.checkpoint()

    async def main(folder):
        store = Store(Kinds(BUILT_IN), folder / "store.db")
        if not store.list(NAMESPACE):
            store.create(NAMESPACE, {"metadata": {"name": "default"}})
        fabric = Fabric(InlineNamespaces())
        command = ["sh", "-c", "setsid sleep 65432 & exec sleep 65432"]
        process = {"command": command, "workdir": "."}
        programs = Programs.of([{"match": "app", "process": process}], folder)
        backend = ProcessBackend(fabric, programs)
        runtime = Runtime(
            store, fabric, backend, configured=nothing, access_log=nothing, state_dir=folder
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(fabric.run)
            await nursery.start(runtime.run)
            if not store.list(POD):
                spec = {"containers": [{"name": "main", "image": "app"}]}
                store.create(POD, {"metadata": {"name": "a"}, "spec": spec})
            await trio.sleep_forever()

    trio.run(main, Path(sys.argv[1]))
"""


def sleepers() -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"\x0065432\0" in entry.read_bytes():
                found.append(entry.parent.name)
        except OSError:
            continue
    return found


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + _SECONDS
    while not holds():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.01)


def start(folder: Path) -> subprocess.Popen[bytes]:
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", textwrap.dedent(_PROGRAM), str(folder)]
    return subprocess.Popen(command, cwd=root)


def test_kill_leaves_no_process_and_the_next_run_begins_anew(tmp_path: Path) -> None:
    first = start(tmp_path)
    try:
        until(lambda: len(sleepers()) == 2)
    finally:
        first.kill()
        first.wait()
    until(lambda: sleepers() == [])

    second = start(tmp_path)
    try:
        until(lambda: len(sleepers()) == 2)
    finally:
        second.kill()
        second.wait()
    until(lambda: sleepers() == [])
    assert "devmesh" not in Path("/proc/self/mountinfo").read_text().replace(str(tmp_path), "")
