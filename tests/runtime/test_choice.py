"""Which runtime `devmesh up` takes, and what it says of the other."""

from __future__ import annotations

import pytest

from devmesh import mesh
from devmesh.mesh import CannotStart, choose_runtime
from devmesh.runtime.dockerd import Daemon

HERE = Daemon("/run/docker.sock", "27.1", "Debian", is_rootless=False)
DESKTOP = Daemon("/run/docker.sock", "27.1", "Docker Desktop", is_rootless=False)
ROOTLESS = Daemon("/run/user/1000/docker.sock", "27.1", "Debian", is_rootless=True)


@pytest.fixture(autouse=True)
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mesh, "missing_capabilities", list)


def test_an_engine_whose_namespaces_can_be_entered_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Daemon, "ask", lambda: HERE)
    assert choose_runtime("auto")[0] == "docker"
    assert choose_runtime("process") == ("process", "")


@pytest.mark.parametrize(
    ("daemon", "why"),
    [(DESKTOP, "Docker Desktop.*virtual machine"), (ROOTLESS, "Debian.*rootless")],
    ids=["desktop", "rootless"],
)
def test_an_engine_whose_namespaces_cannot_be_entered_is_left_alone(
    daemon: Daemon, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Daemon, "ask", lambda: daemon)
    runtime, reason = choose_runtime("auto")
    assert runtime == "process"
    with pytest.raises(CannotStart, match=why) as refused:
        choose_runtime("docker")
    assert reason in str(refused.value)
