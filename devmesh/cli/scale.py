"""devmesh scale"""

from __future__ import annotations

import click

from devmesh.cli.failure import CliFailure
from devmesh.cli.options import api_of, mesh_option, namespace_option
from devmesh.cli.resources import Catalogue, targets


@click.command("scale")
@click.argument("what", nargs=-1, required=True)
@mesh_option
@namespace_option
@click.option("--replicas", type=click.IntRange(min=0), required=True, help="How many.")
def command(what: tuple[str, ...], mesh: str | None, namespace: str, replicas: int) -> None:
    """Set how many replicas run: scale deploy/NAME --replicas 3."""
    api = api_of(mesh)
    for resource, name in targets(Catalogue(api), what):
        if name is None:
            raise CliFailure("say which: deploy/NAME", 2)
        path = resource.path(namespace, name, "scale")
        api.request(
            "PATCH", path, {"spec": {"replicas": replicas}}, content_type="application/merge-patch+json"
        )
        click.echo(f"{resource.title}/{name} scaled")
