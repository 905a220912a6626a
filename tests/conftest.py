"""What tests need of the machine, and that CI skips none."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess

import pytest
from hypothesis import HealthCheck, settings

# `make soak` asks for many more examples of each property.
settings.register_profile(
    "soak",
    max_examples=int(os.environ.get("DEVMESH_EXAMPLES", "2000")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@functools.cache
def _without_namespaces() -> str | None:
    if os.geteuid() != 0:
        return "needs root to make network namespaces"
    done = subprocess.run(["unshare", "--net", "true"], capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else f"no network namespaces: {done.stderr.strip()}"


@functools.cache
def _without_docker() -> str | None:
    if shutil.which("docker") is None:
        return "docker is not installed"
    done = subprocess.run(["docker", "version"], capture_output=True, text=True, check=False)
    if done.returncode:
        return f"no Docker engine answers: {done.stderr.strip().splitlines()[-1]}"
    return _without_namespaces()


@functools.cache
def _without_browser() -> str | None:
    return None if shutil.which("chromium") else "chromium is not installed"


_NEEDS = {"netns": _without_namespaces, "docker": _without_docker, "browser": _without_browser}


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker, missing in _NEEDS.items():
        if item.get_closest_marker(marker) and (reason := missing()):
            pytest.skip(reason)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """In CI a skipped test is a failure: there everything that is needed was installed."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and exitstatus == 0 and reporter and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
