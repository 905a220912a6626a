"""devmesh down"""

from __future__ import annotations

import os
import shutil
import signal
import time

import click

from devmesh.cli.failure import CliFailure
from devmesh.cli.options import find_mesh, mesh_option
from devmesh.config.statedir import AlreadyRunning, StateDir

GRACE = 60.0  # seconds until a mesh that does not end by itself is killed


@click.command("down")
@mesh_option
@click.option("--all", "all_", is_flag=True, help="Every mesh.")
@click.option("--purge", is_flag=True, help="Forget its resources, credentials and logs too.")
def command(mesh: str | None, all_: bool, purge: bool) -> None:
    """Stop a mesh and everything it started. Its resources are kept for the next `up`."""
    for state in list(StateDir.all()) if all_ else [find_mesh(mesh)]:
        stopped, swept = stop_and_sweep(state) if state.path.is_dir() else (False, sweep(state))
        if purge:
            shutil.rmtree(state.path, ignore_errors=True)
        what = "stopped" if stopped else f"swept up {swept} leftovers" if swept else "was not running"
        click.echo(f"mesh {state.name} {what}{', and is forgotten' if purge else ''}", err=True)


def stop(state: StateDir) -> bool:
    """End the process that holds `state` and wait for it; False where none does."""
    if not state.is_held():
        return False
    pid = _holder(state)
    if pid is None:
        raise CliFailure(
            f"mesh {state.name!r} is held by a process that has not said who it is; see {state.path}"
        )
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + GRACE
    while state.is_held():
        if time.monotonic() > deadline:
            click.echo(f"it did not end within {GRACE:.0f} s: killing it", err=True)
            os.kill(pid, signal.SIGKILL)
            deadline = time.monotonic() + 5
        time.sleep(0.02)
    return True


def _holder(state: StateDir) -> int | None:
    deadline = time.monotonic() + 5
    while state.is_held() and time.monotonic() < deadline:
        if pid := state.holder():
            return pid
        time.sleep(0.02)  # it has only just begun
    return None


def stop_and_sweep(state: StateDir) -> tuple[bool, int]:
    """End a mesh, and remove what is left; return whether one ran, and how many things were left."""
    stopped = stop(state)
    while True:
        try:
            with state.lock():  # nobody may start it while its things are removed
                return stopped, sweep(state)
        except AlreadyRunning:
            stopped = stop(state) or stopped


def sweep(state: StateDir) -> int:
    """Remove what a mesh that was killed has left behind; return how many things."""
    from devmesh.mesh import sweep_leftovers

    return sweep_leftovers(state)
