import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from devmesh.config.statedir import (
    LOCK_DESCRIPTOR,
    AlreadyRunning,
    InvalidMeshName,
    NoStateFolder,
    StateDir,
    mesh_name,
)


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StateDir:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return StateDir.of("bookinfo")


@pytest.mark.parametrize(
    ("text", "name"), [("bookinfo", "bookinfo"), ("My App!", "my-app"), ("--x--", "x"), ("a" * 80, "a" * 63)]
)
def test_a_folder_names_its_mesh(text: str, name: str) -> None:
    assert mesh_name(text) == name


def test_a_name_needs_a_letter() -> None:
    with pytest.raises(InvalidMeshName, match="--mesh"):
        mesh_name("...")


def test_one_process_holds_the_folder(state: StateDir) -> None:
    with state.lock():
        assert state.is_held()
        with pytest.raises(AlreadyRunning, match="devmesh --mesh bookinfo down"):
            state.lock()
    assert not state.is_held()


def test_what_a_dead_process_wrote_is_not_believed(state: StateDir) -> None:
    with state.lock():
        state.write_run({"pid": 1})
        assert state.running() == {"pid": 1}
    assert state.running() is None


def test_only_the_owner_can_read_it(state: StateDir) -> None:
    state.create()
    state.write_run({"pid": 1})
    assert stat.S_IMODE(state.path.stat().st_mode) == 0o700
    assert stat.S_IMODE(state.run_file.stat().st_mode) == 0o600


def test_all_meshes_are_found_by_name(state: StateDir) -> None:
    for name in ("b", "a"):
        StateDir.of(name).create()
    assert [found.name for found in StateDir.all()] == ["a", "b"]


def test_a_lock_is_handed_on_to_another_process(state: StateDir) -> None:
    program = (
        "from devmesh.config.statedir import StateDir\n"
        "with StateDir.of('bookinfo').lock():\n"
        "    print('held', flush=True); input()\n"
    )
    with state.lock() as lock:
        child = subprocess.Popen(
            [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            pass_fds=[lock.fileno()], env={**os.environ, LOCK_DESCRIPTOR: str(lock.fileno())},
        )  # fmt: skip
    assert child.stdout
    assert child.stdout.readline() == "held\n"
    assert state.is_held()
    child.communicate("\n")
    assert (child.returncode, state.is_held()) == (0, False)


def test_who_holds_the_folder_is_known_from_the_start(state: StateDir) -> None:
    sleeper = subprocess.Popen(["sleep", "60"])
    with state.lock():
        assert state.holder() is None
        state.write_holder(sleeper.pid)
        assert state.holder() is None, "the number is another process's by now"
    sleeper.kill()
    sleeper.wait()
    devmesh = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "devmesh"])
    with state.lock():
        state.write_holder(devmesh.pid)
        assert state.holder() == devmesh.pid
    assert state.holder() is None
    devmesh.kill()
    devmesh.wait()


def test_what_a_killed_mesh_wrote_about_itself_is_gone_once_another_begins(state: StateDir) -> None:
    state.create()
    state.write_run({"pid": 1})
    with state.lock():
        assert state.running() is None


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    state = StateDir.of("bookinfo")
    assert not state.is_held()
    with pytest.raises(NoStateFolder, match=r"file/devmesh/bookinfo cannot be written: .*XDG_STATE_HOME"):
        state.lock()
