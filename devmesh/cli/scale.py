"""devmesh scale"""

from __future__ import annotations

import click

from devmesh.cli.failure import CliFailure
from devmesh.cli.options import api_of, mesh_option, namespace_option, output_option
from devmesh.cli.outcomes import Outcomes
from devmesh.cli.resources import Catalogue, targets


@click.command("scale")
@click.argument("what", nargs=-1, required=True)
@mesh_option
@namespace_option
@click.option("--replicas", type=click.IntRange(min=0), required=True, help="How many.")
@output_option("json")
def command(
    what: tuple[str, ...], mesh: str | None, namespace: str, replicas: int, output: str | None
) -> None:
    """Set how many replicas run: scale deploy/NAME --replicas 3."""
    api = api_of(mesh)
    chosen = targets(Catalogue(api), what)
    if any(name is None for _, name in chosen):
        raise CliFailure("say which: deploy/NAME", 2)
    patch = {"spec": {"replicas": replicas}}
    with Outcomes(output) as outcomes:
        for resource, name in chosen:
            path = resource.path(namespace, name or "", "scale")
            api.request("PATCH", path, patch, content_type="application/merge-patch+json")
            outcomes.add(resource, namespace, name or "", "scaled")
