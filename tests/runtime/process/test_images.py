"""What is run where a manifest names an image."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from devmesh.runtime.pods.backend import ContainerSpec, ImageProblem, StartProblem
from devmesh.runtime.process.images import Program, Programs, image_matches
from devmesh.runtime.process.sandbox import _argv
from devmesh.runtime.process.spawn import dropped_capabilities


@pytest.mark.parametrize(
    ("pattern", "image", "matches"),
    [
        ("*/bookinfo-reviews:*", "docker.io/istio/bookinfo-reviews:1.20", True),
        ("*/bookinfo-reviews:*", "docker.io/istio/bookinfo-reviews", True),
        ("*/bookinfo-reviews:*", "docker.io/istio/bookinfo-ratings:1", False),
        ("redis", "redis:7", True),
        ("redis", "bitnami/redis:7", False),
        ("registry:5000/app", "registry:5000/app:1", True),
        ("app:latest", "app", True),
        ("app:1", "app:2", False),
    ],
)
def test_a_glob_covers_names_with_their_tags(pattern: str, image: str, matches: bool) -> None:
    assert image_matches(pattern, image) is matches


def test_programs_are_relative_to_the_mesh_file(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    entry = {"match": "app", "process": {"command": ["{python}", "a.py"], "workdir": "src"}}
    found = Programs.of([{"match": "other", "build": {}}, entry], tmp_path).find("app")
    assert isinstance(found.handle, Program)
    assert found.handle.command == (sys.executable, "a.py")
    assert found.handle.workdir == tmp_path / "src"


def test_what_cannot_be_run_says_what_to_write(tmp_path: Path) -> None:
    with pytest.raises(ImageProblem, match=r'match: "\*redis:\*"'):
        Programs.of([], tmp_path).find("docker.io/redis:7@sha256:0")
    entry = {"match": "app", "process": {"command": ["x"], "workdir": "nowhere"}}
    with pytest.raises(ImageProblem, match="nowhere is not a folder"):
        Programs.of([entry], tmp_path).find("app")


@pytest.mark.parametrize(
    ("command", "args", "argv"),
    [
        pytest.param(None, None, ("serve", "--all"), id="the image's own"),
        pytest.param(None, ("--one",), ("serve", "--all", "--one"), id="arguments are added"),
        pytest.param(("sh", "-c"), ("x",), ("sh", "-c", "x"), id="the manifest's command"),
    ],
)
def test_a_manifests_command_goes_first(
    tmp_path: Path, command: tuple[str, ...] | None, args: tuple[str, ...] | None, argv: tuple[str, ...]
) -> None:
    program = Program("app", ("serve", "--all"), tmp_path)
    image = Programs([program]).find("app")
    assert _argv(ContainerSpec("main", image, command=command, args=args), program) == argv


def test_no_command_at_all_is_told(tmp_path: Path) -> None:
    program = Program("app", (), tmp_path)
    with pytest.raises(StartProblem, match="no command"):
        _argv(ContainerSpec("main", Programs([program]).find("app")), program)


def test_capabilities_are_a_containers() -> None:
    net_bind, net_admin, sys_admin = 10, 12, 21
    assert {net_admin, sys_admin} <= set(dropped_capabilities((), ()))
    assert net_bind not in dropped_capabilities((), ())
    assert net_admin not in dropped_capabilities(("CAP_NET_ADMIN",), ())
    assert net_bind in dropped_capabilities((), ("ALL",))
    assert net_bind not in dropped_capabilities(("NET_BIND_SERVICE",), ("ALL",))
    assert dropped_capabilities(("ALL",), ()) == ()
