"""Files of pods, found through the processes that run in them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from devmesh.runtime.network import pod_files
from devmesh.runtime.network.pod_files import RunningPodFiles, within


def test_links_are_followed_as_from_inside(tmp_path: Path) -> None:
    (tmp_path / "etc/..data").mkdir(parents=True)
    (tmp_path / "etc/..data/ca.crt").write_text("A")
    (tmp_path / "etc/ca.crt").symlink_to("..data/ca.crt")  # as Kubernetes writes Secrets
    (tmp_path / "abs").symlink_to("/etc/ca.crt")
    (tmp_path / "out").symlink_to("../../../../etc/..data/ca.crt")
    root = str(tmp_path)
    for path in ("/etc/ca.crt", "/abs", "/out", "etc/./../abs"):
        assert Path(within(root, path)).read_text() == "A"
    assert within(root, "/etc/missing") == f"{root}/etc/missing"


def test_links_in_a_circle_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="symbolic links"):
        within(str(tmp_path), "/a")


def here(instance: str) -> int:
    if instance == "gone":
        raise OSError("pod gone is gone")
    return os.open("/proc/self/ns/net", os.O_RDONLY)


def test_the_first_process_that_has_a_file_gives_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    roots = [tmp_path / "holder", tmp_path / "app"]
    for root in roots:
        root.mkdir()
    (roots[1] / "ca.crt").write_text("A")
    monkeypatch.setattr(pod_files, "roots_of", lambda netns: map(str, roots))
    read = RunningPodFiles(here).reader("a")
    assert read("/ca.crt") == b"A"
    with pytest.raises(FileNotFoundError, match="no process of the pod has the file /other"):
        read("/other")


def test_an_instance_that_is_gone_has_none() -> None:
    with pytest.raises(OSError, match="gone"):
        RunningPodFiles(here).reader("gone")


@pytest.mark.netns
def test_a_process_with_a_root_of_its_own_is_found(tmp_path: Path) -> None:
    command = (
        f"mount --rbind / {tmp_path} && mount -t tmpfs none {tmp_path}/mnt && "
        f"echo -n B > {tmp_path}/mnt/ca.crt && exec chroot {tmp_path} sh -c 'echo ready; exec sleep 5'"
    )
    running = subprocess.Popen(
        ["unshare", "--net", "--mount", "--map-root-user", "sh", "-c", command], stdout=subprocess.PIPE
    )
    try:
        assert running.stdout is not None
        assert running.stdout.readline() == b"ready\n"
        held = os.open(f"/proc/{running.pid}/ns/net", os.O_RDONLY)
        try:
            assert RunningPodFiles(lambda instance: held).reader("a")("/mnt/ca.crt") == b"B"
        finally:
            os.close(held)
    finally:
        running.kill()
        running.communicate()
