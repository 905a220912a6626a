"""The mesh file, while the mesh runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import trio

from devmesh.config.finding import Finding
from devmesh.config.meshfile import MeshFile
from devmesh.config.meshfile_source import MeshFileSource

MESH = """apiVersion: devmesh.dev/v1alpha1
kind: Mesh
metadata: {{name: {name}}}
spec: {{runtime: {runtime}, resources: [{resources}]}}
"""


class Followed:
    def __init__(self, path: Path) -> None:
        self.path = path / "devmesh.yaml"
        self.write()
        self.source = MeshFileSource(MeshFile.open([str(self.path)], path))
        self.changes: list[MeshFile] = []
        self.reports: list[list[Finding]] = []

    def write(self, resources: str = "a.yaml", runtime: str = "auto", name: str = "shop") -> None:
        self.path.write_text(MESH.format(resources=resources, runtime=runtime, name=name))

    async def until(self, condition: Callable[[], bool]) -> None:
        with trio.fail_after(5):
            while not condition():  # noqa: ASYNC110 (the disk tells no event)
                await trio.sleep(0.01)


@pytest.fixture
async def followed(tmp_path: Path, nursery: trio.Nursery) -> AsyncIterator[Followed]:
    made = Followed(tmp_path)
    nursery.start_soon(made.source.run, made.changes.append, made.reports.append)
    await trio.sleep(0.1)  # until the folder is watched
    yield made
    nursery.cancel_scope.cancel()


async def test_a_saved_mesh_file_is_taken(followed: Followed) -> None:
    before = followed.source.current
    followed.write("b.yaml")
    await followed.until(lambda: bool(followed.changes))
    assert followed.changes == [before]
    assert [Path(r).name for r in followed.source.current.resources] == ["b.yaml"]
    assert followed.source.findings == []


async def test_what_is_settled_at_the_start_is_told_until_it_is_taken_back(followed: Followed) -> None:
    followed.write("b.yaml", runtime="process", name="other")
    await followed.until(lambda: bool(followed.reports))
    assert [(f.code, f.severity, f.path) for f in followed.reports[0]] == [
        ("DM0014", "info", "spec.runtime"),
        ("DM0014", "info", "metadata.name"),
    ]
    followed.write("b.yaml")
    await followed.until(lambda: not followed.source.findings)
    assert followed.reports[-1] == []


async def test_a_broken_mesh_file_keeps_its_last_good_state(followed: Followed) -> None:
    before = followed.source.current
    followed.write("b.yaml", runtime="dokcer")
    await followed.until(lambda: bool(followed.reports))
    wrong, kept = followed.reports[0]
    assert (wrong.severity, wrong.file, wrong.line, wrong.path) == (
        "error",
        "devmesh.yaml",
        4,
        "spec.runtime",
    )
    assert "last good state" in kept.message
    assert (followed.source.current, followed.changes) == (before, [])
    followed.write()
    await followed.until(lambda: not followed.source.findings)


async def test_a_mesh_file_that_is_gone_is_told(followed: Followed) -> None:
    followed.path.unlink()
    await followed.until(lambda: bool(followed.reports))
    assert followed.reports[0][0].severity == "error"
    assert followed.changes == []


async def test_without_a_mesh_file_nothing_is_followed(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n")
    source = MeshFileSource(MeshFile.open(["a.yaml"], tmp_path))
    await source.run(print, print)
    assert source.findings == []
