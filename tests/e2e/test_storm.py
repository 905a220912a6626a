"""A short storm: `bench.storm` for ten seconds, which `make soak` runs for long."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.storm.cluster import Cluster
from bench.storm.run import Storm, prepare
from tests.e2e.bookinfo import Bookinfo, running


@pytest.fixture(
    params=[
        pytest.param("process", marks=[pytest.mark.netns, pytest.mark.slow]),
        pytest.param("docker", marks=[pytest.mark.docker, pytest.mark.slow]),
    ]
)
def stormy(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Bookinfo, Path]]:
    shared = tmp_path / "shared"
    source = prepare(tmp_path, shared)
    with running(f"storm-{request.param}-{os.getpid()}", request.param, tmp_path, source=source) as mesh:
        yield mesh, shared


def test_every_answer_amid_changes_and_deaths_is_one_that_istio_may_give(
    stormy: tuple[Bookinfo, Path],
) -> None:
    mesh, shared = stormy
    cluster = Cluster(mesh.status)
    storm = Storm(cluster, shared, changes=40, pause=0.15, calibrate=1.0, threads=8)
    verdict = storm.run()
    cluster.close()
    assert not verdict.failures, "\n".join(verdict.failures[:5])
    assert verdict.answers > 100
    assert storm.done["deleted"] + storm.done["killed"] > 1
