"""devmesh label"""

from __future__ import annotations

import click

from devmesh.cli.client import Api
from devmesh.cli.failure import CliFailure
from devmesh.cli.options import api_of, mesh_option, namespace_option, output_option
from devmesh.cli.outcomes import Outcomes
from devmesh.cli.resources import Catalogue, targets


@click.command("label")
@click.argument("words", nargs=-1, required=True)
@mesh_option
@namespace_option
@click.option("--overwrite", is_flag=True, help="Labels that are there already may change.")
@output_option("json")
def command(
    words: tuple[str, ...], mesh: str | None, namespace: str, overwrite: bool, output: str | None
) -> None:
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
    chosen = targets(Catalogue(api), what)
    if any(name is None for _, name in chosen):
        raise CliFailure("say which: TYPE NAME KEY=VALUE", 2)
    with Outcomes(output) as outcomes:
        for resource, name in chosen:
            _label(api, resource.path(namespace, name or ""), f"{resource.title}/{name}", wanted, overwrite)
            outcomes.add(resource, namespace, name or "", "labeled")


def _label(api: Api, path: str, title: str, wanted: dict[str, str | None], overwrite: bool) -> None:
    labels = api.get(path)["metadata"].get("labels") or {}
    for key, new in wanted.items():
        if not overwrite and new is not None and labels.get(key, new) != new:
            raise CliFailure(f"{title} has {key}={labels[key]}; --overwrite changes it")
    patch = {"metadata": {"labels": wanted}}
    api.request("PATCH", path, patch, content_type="application/merge-patch+json")
