"""What is written survives the process, however it ends."""

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from devmesh.config import kinds
from devmesh.config.kinds import BUILT_IN, Kinds
from devmesh.config.store import Expired, Store

WRITER = """
import sys
from pathlib import Path
from devmesh.config import kinds
from devmesh.config.kinds import BUILT_IN, Kinds
from devmesh.config.store import Store
store = Store(Kinds(BUILT_IN), Path(sys.argv[1]))
store.create(kinds.NAMESPACE, {"metadata": {"name": "default"}})
n = 0
while True:
    store.create(kinds.CONFIG_MAP, {"metadata": {"name": f"n{n}"}, "data": {"n": str(n)}}, manager="kubectl")
    print(n, flush=True)
    n += 1
"""


def open_store(path: Path) -> Store:
    return Store(Kinds(BUILT_IN), path)


def filled(path: Path) -> Store:
    store = open_store(path)
    store.create(kinds.NAMESPACE, {"metadata": {"name": "default"}})
    return store


def test_what_was_written_is_there_again(tmp_path: Path) -> None:
    store = filled(tmp_path / "store.db")
    before = store.create(kinds.CONFIG_MAP, {"metadata": {"name": "a"}, "data": {"x": "1"}}, manager="file:a")
    store.applied.remember("a.yaml", ("", "ConfigMap", "default", "a"), "digest")
    store.close()
    again = open_store(tmp_path / "store.db")
    after = again.by_key(before.key)
    assert after is not None
    assert after.raw == before.raw
    assert again.manager_of(before.key) == "file:a"
    assert again.applied.from_file("a.yaml") == {("", "ConfigMap", "default", "a"): "digest"}
    assert [change.name for change in again.history] == ["default", "a"]
    again.close()


@pytest.mark.slow
def test_a_kill_loses_nothing_that_was_written(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout
    last = -1
    deadline = time.monotonic() + 10
    while last < 200 and time.monotonic() < deadline:
        last = int(writer.stdout.readline())
    os.kill(writer.pid, signal.SIGKILL)
    last = max([last, *map(int, writer.stdout.read().split())])
    writer.stdout.close()
    writer.wait()
    store = open_store(path)
    names = {stored.name for stored in store.list(kinds.CONFIG_MAP)}
    assert names >= {f"n{n}" for n in range(last + 1)}
    assert len(names) <= last + 2
    store.close()


def test_versions_go_on_above_all_that_were_handed_out(tmp_path: Path) -> None:
    store = filled(tmp_path / "store.db")
    for n in range(20):
        store.create(kinds.EVENT, {"metadata": {"name": f"e{n}"}})  # these are not kept
    before = store.version
    store.close()
    again = open_store(tmp_path / "store.db")
    assert again.version > before
    with pytest.raises(Expired):
        list(again.events_after(before))
    assert again.list(kinds.EVENT) == []
    again.close()


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "mesh" / "store.db"
    filled(path).close()
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("damage", [b"this is no database" * 100, b"SQLite format 3\x00" + b"\xff" * 4000])
def test_a_damaged_file_is_set_aside(tmp_path: Path, damage: bytes, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "store.db"
    path.write_bytes(damage)
    filled(path).close()
    assert "set aside" in caplog.text
    (aside,) = tmp_path.glob("store.broken-*")
    assert aside.read_bytes() == damage


def test_what_lost_its_owner_in_a_crash_is_collected(tmp_path: Path) -> None:
    store = filled(tmp_path / "store.db")
    gone = {"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": "gone"}
    store.create(kinds.SECRET, {"metadata": {"name": "s", "ownerReferences": [gone]}})
    store.close()
    again = open_store(tmp_path / "store.db")
    assert again.list(kinds.SECRET) == []
    again.close()


def test_custom_kinds_are_known_before_their_objects_are_read(tmp_path: Path) -> None:
    store = filled(tmp_path / "store.db")
    spec = {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"kind": "Toaster", "plural": "toasters"},
        "versions": [{"name": "v1", "served": True, "storage": True}],
    }
    store.create(
        kinds.CUSTOM_RESOURCE_DEFINITION, {"metadata": {"name": "toasters.example.com"}, "spec": spec}
    )
    store.create(store.kinds.get("Toaster"), {"metadata": {"name": "t"}})
    store.close()
    again = open_store(tmp_path / "store.db")
    assert [s.name for s in again.list(again.kinds.get("Toaster"))] == ["t"]
    again.close()


def test_a_checkpoint_does_not_disturb_the_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("devmesh.config.database._WRITES_PER_CHECKPOINT", 10)
    store = filled(tmp_path / "store.db")
    for n in range(100):
        store.create(kinds.CONFIG_MAP, {"metadata": {"name": f"n{n}"}})
    store.close()
    again = open_store(tmp_path / "store.db")
    assert len(again.list(kinds.CONFIG_MAP)) == 100
    again.close()


def test_history_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("devmesh.config.database.KEPT_CHANGES", 50)
    store = filled(tmp_path / "store.db")
    for n in range(300):
        store.create(kinds.CONFIG_MAP, {"metadata": {"name": f"n{n}"}})
    store.close()
    again = open_store(tmp_path / "store.db")
    assert len(list(again.history)) < 200
    again.close()
