"""Options that every command has, and the mesh they name."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from devmesh.cli.client import Api
from devmesh.cli.failure import CliFailure
from devmesh.config.statedir import InvalidMeshName, StateDir, mesh_name

F = TypeVar("F", bound=Callable[..., Any])


def mesh_option(function: F) -> F:
    """Add ``--mesh NAME``."""
    return click.option(
        "--mesh",
        "mesh",
        metavar="NAME",
        envvar="DEVMESH_MESH",
        help="Which mesh (default: the mesh file's name, else the folder's).",
    )(function)


def namespace_option(function: F) -> F:
    """Add ``-n NAMESPACE``."""
    return click.option(
        "-n",
        "--namespace",
        default="default",
        show_default=True,
        metavar="NAMESPACE",
        help="Which namespace.",
    )(function)


def output_option(*formats: str, default: str | None = None) -> Callable[[F], F]:
    """Add ``-o FORMAT``."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(formats),
        default=default,
        show_default=default is not None,
        help="Output format.",
    )


def find_mesh(name: str | None) -> StateDir:
    """Return the state folder of the mesh that is meant.

    Without a name: the only running one, else that of the mesh file here, else of the folder.
    """
    try:
        if name:
            return StateDir.of(mesh_name(name))
        here = StateDir.of(mesh_name(_name_here()))
    except InvalidMeshName as error:
        raise CliFailure(str(error), 2) from error
    if here.is_held():
        return here
    running = [state for state in StateDir.all() if state.is_held()]
    return running[0] if len(running) == 1 else here


def running_mesh(name: str | None) -> tuple[StateDir, dict[str, Any]]:
    """Return a running mesh's folder and what its process says of itself."""
    state = find_mesh(name)
    about = state.running()
    if about is None:
        others = ", ".join(s.name for s in StateDir.all() if s.is_held())
        hint = f"running are: {others} (--mesh NAME)" if others else "start one with `devmesh up`"
        raise CliFailure(f"mesh {state.name!r} is not running; {hint}")
    return state, about


def api_of(name: str | None) -> Api:
    """Return a client of the running mesh's API."""
    _, about = running_mesh(name)
    return Api(about["api"]["url"], Path(about["api"]["token_file"]).read_text().strip())


def print_json(value: object) -> None:
    click.echo(json.dumps(value, indent=2))


def _name_here() -> str:
    file = Path("devmesh.yaml")
    if file.is_file():
        import yaml

        try:
            document = yaml.safe_load(file.read_text())
            return str(document["metadata"]["name"])
        except (yaml.YAMLError, KeyError, TypeError):
            pass  # `devmesh up` says what is wrong with it; the folder's name will do here
    return os.path.basename(os.getcwd()) or "mesh"
