"""devmesh kubeconfig"""

from __future__ import annotations

from pathlib import Path

import click

from devmesh.cli.options import mesh_option, running_mesh


@click.command("kubeconfig")
@mesh_option
@click.option("--path", "as_path", is_flag=True, help="Write it beside the mesh's state and print its path.")
def command(mesh: str | None, as_path: bool) -> None:
    """Print a kubeconfig for kubectl and other clients; it stays valid when the mesh starts again."""
    _, about = running_mesh(mesh)
    path = Path(about["kubeconfig"])
    text = path.read_text()
    if as_path:
        click.echo(path)
    else:
        click.echo(text, nl=False)
