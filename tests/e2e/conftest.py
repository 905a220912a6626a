from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.applications import Applications, applications
from tests.e2e.bookinfo import Bookinfo, running


@pytest.fixture(
    scope="session",
    params=[
        pytest.param("process", marks=[pytest.mark.netns, pytest.mark.slow]),
        pytest.param("docker", marks=[pytest.mark.docker, pytest.mark.slow]),
    ],
)
def mesh(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bookinfo]:
    """One mesh of each runtime for all tests of this folder."""
    runtime = str(request.param)
    state: Path = tmp_path_factory.mktemp(f"state-{runtime}")
    with running(f"e2e-{runtime}-{os.getpid()}", runtime, state) as found:
        yield found


@pytest.fixture
def bookinfo(mesh: Bookinfo) -> Iterator[Bookinfo]:
    """The mesh, with no rule but the sample's own."""
    mesh.clean()
    yield mesh
    mesh.clean()


@pytest.fixture(
    scope="session",
    params=[
        pytest.param("process", marks=[pytest.mark.netns, pytest.mark.slow]),
        pytest.param("docker", marks=[pytest.mark.docker, pytest.mark.slow]),
    ],
)
def apps(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Applications]:
    """A mesh of `apps/` in each runtime."""
    runtime = str(request.param)
    with applications(runtime, tmp_path_factory.mktemp(f"apps-{runtime}")) as found:
        yield found


@pytest.fixture
def clean(apps: Applications) -> Iterator[Applications]:
    """That mesh, with no rule in it."""
    yield apps
    apps.clean()
