from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.tasks.mesh import Tasks, tasks


@pytest.fixture(
    scope="session",
    params=[
        pytest.param("process", marks=[pytest.mark.netns, pytest.mark.slow]),
        pytest.param("docker", marks=[pytest.mark.docker, pytest.mark.slow]),
    ],
)
def workloads(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tasks]:
    """A mesh of the tasks' workloads in each runtime."""
    runtime = str(request.param)
    with tasks(runtime, tmp_path_factory.mktemp(f"tasks-{runtime}")) as found:
        yield found


@pytest.fixture
def mesh(workloads: Tasks) -> Iterator[Tasks]:
    """That mesh, with no rule in it."""
    yield workloads
    workloads.clean()
