import stat
from pathlib import Path

import pytest

from devmesh.config.statedir import AlreadyRunning, InvalidMeshName, StateDir, mesh_name


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
