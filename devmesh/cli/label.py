"""devmesh label"""

from __future__ import annotations

import click

from devmesh.cli.failure import CliFailure
from devmesh.cli.options import api_of, mesh_option, namespace_option
from devmesh.cli.resources import Catalogue, targets


@click.command("label")
@click.argument("words", nargs=-1, required=True)
@mesh_option
@namespace_option
@click.option("--overwrite", is_flag=True, help="Labels that are there already may change.")
def command(words: tuple[str, ...], mesh: str | None, namespace: str, overwrite: bool) -> None:
    """Set labels: label TYPE NAME KEY=VALUE..., or KEY- to take one away."""
    changes = [word for word in words if "=" in word or word.endswith("-")]
    what = words[: len(words) - len(changes)]
    if not changes or not what:
        raise CliFailure("say which labels: TYPE NAME KEY=VALUE, or KEY-", 2)
    wanted: dict[str, str | None] = {}
    for change in changes:
        key, equals, value = change.partition("=")
        wanted[key if equals else key.removesuffix("-")] = value if equals else None
    api = api_of(mesh)
    for resource, name in targets(Catalogue(api), what):
        if name is None:
            raise CliFailure("say which: TYPE NAME KEY=VALUE", 2)
        path = resource.path(namespace, name)
        labels = api.get(path)["metadata"].get("labels") or {}
        for key, new in wanted.items():
            if not overwrite and new is not None and labels.get(key, new) != new:
                raise CliFailure(f"{resource.title}/{name} has {key}={labels[key]}; --overwrite changes it")
        patch = {"metadata": {"labels": wanted}}
        api.request("PATCH", path, patch, content_type="application/merge-patch+json")
        click.echo(f"{resource.title}/{name} labeled")
