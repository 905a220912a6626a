"""What is written survives the process, however it ends."""

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

import pytest

from devmesh.config import kinds
from devmesh.config.database import StoreUnwritable
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


def fill_disk(store: Store) -> sqlite3.Connection:
    """Let SQLite find no room for another page, as on a full disk; return its connection."""
    assert store._held._db
    database = store._held._db._db
    (pages,) = database.execute("pragma page_count").fetchone()
    database.execute(f"pragma max_page_count = {pages}")
    return database


LARGE = {"x": "y" * 100_000}


def test_a_full_disk_refuses_what_others_write_and_keeps_all_the_rest(tmp_path: Path) -> None:
    store = filled(tmp_path / "store.db")
    pod = store.create(kinds.POD, {"metadata": {"name": "a"}, "spec": {}})
    database = fill_disk(store)

    with pytest.raises(StoreUnwritable, match=r"store.db cannot be written: .*full; make room"):
        store.create(kinds.CONFIG_MAP, {"metadata": {"name": "a"}, "data": LARGE}, manager="kubectl")
    assert store.get(kinds.CONFIG_MAP, "default", "a") is None
    store.patch_status(pod.key, LARGE)
    own = store.create(kinds.CONFIG_MAP, {"metadata": {"name": "own"}, "data": LARGE}).raw
    assert (store.by_key(pod.key) or pod).raw["status"] == LARGE

    database.execute("pragma max_page_count = 100000")
    store.create(kinds.CONFIG_MAP, {"metadata": {"name": "b"}}, manager="kubectl")
    store.close()
    again = open_store(tmp_path / "store.db")
    assert (again.by_key(pod.key) or pod).raw["status"] == LARGE
    assert {stored.name for stored in again.list(kinds.CONFIG_MAP)} == {"own", "b"}
    assert (again.get(kinds.CONFIG_MAP, "default", "own") or pod).raw == own
    again.close()


def test_a_store_that_cannot_be_written_is_not_taken_for_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "store.db"
    filled(path).close()
    before = path.read_bytes()

    def full(*args: object, **kwargs: object) -> NoReturn:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr("devmesh.config.database.sqlite3.connect", full)
    with pytest.raises(StoreUnwritable, match="disk is full"):
        open_store(path)
    assert (path.read_bytes(), [file.name for file in tmp_path.iterdir()]) == (before, ["store.db"])
