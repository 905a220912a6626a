"""Unix sockets, reached as the processes of a pod see them."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from devmesh.runtime.network import pod_sockets
from devmesh.runtime.network.pod_sockets import PodSockets


def make(family: int, kind: int) -> socket.socket:
    made = socket.socket(family, kind)
    made.setblocking(False)
    return made


@pytest.fixture
def netns() -> Iterator[int]:
    descriptor = os.open("/proc/self/ns/net", os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def listening(address: str) -> socket.socket:
    server = socket.socket(socket.AF_UNIX)
    server.bind(address)
    server.listen()
    return server


def test_a_path_is_below_the_root_of_a_process(
    tmp_path: Path, netns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def roots_of(inode: int) -> Iterator[str]:
        asked.append(inode)
        return iter([str(tmp_path / "holder"), str(tmp_path)])

    monkeypatch.setattr(pod_sockets, "roots_of", roots_of)
    (tmp_path / "run").mkdir()
    sockets = PodSockets()
    with pytest.raises(FileNotFoundError, match="No such file"):
        sockets.connect(make, netns, "unix:///run/app.sock")
    with listening(str(tmp_path / "run/app.sock")):
        for _ in range(3):
            sockets.connect(make, netns, "unix:///run/app.sock").close()
    assert len(asked) == 2  # what was found is kept
    with pytest.raises(ConnectionRefusedError):
        sockets.connect(make, netns, "unix:///run/app.sock")


def test_an_abstract_name_is_its_network_namespaces(netns: int) -> None:
    name = f"devmesh-test-{os.getpid()}"
    with listening(f"\0{name}"):
        PodSockets().connect(make, netns, f"unix://@{name}").close()
    with pytest.raises(ConnectionRefusedError):
        PodSockets().connect(make, netns, f"unix://@{name}")
