"""devmesh delete"""

from __future__ import annotations

import click

from devmesh.cli.client import ApiError
from devmesh.cli.documents import files_option, named, read
from devmesh.cli.failure import CliFailure
from devmesh.cli.options import api_of, mesh_option, namespace_option, output_option
from devmesh.cli.outcomes import Outcomes
from devmesh.cli.resources import Catalogue, Resource, targets


@click.command("delete")
@click.argument("what", nargs=-1)
@files_option(required=False)
@mesh_option
@namespace_option
@click.option("-l", "--selector", help="By labels.")
@click.option("--all", "all_", is_flag=True, help="All of that type.")
@click.option("--ignore-not-found", is_flag=True, help="What isn't there is no failure.")
@click.option("--grace-period", type=int, help="Seconds a pod gets to end by itself.")
@output_option("json")
def command(
    what: tuple[str, ...],
    paths: tuple[str, ...],
    mesh: str | None,
    namespace: str,
    selector: str | None,
    all_: bool,
    ignore_not_found: bool,
    grace_period: int | None,
    output: str | None,
) -> None:
    """Delete resources: delete TYPE NAME, delete TYPE -l LABELS, delete -f PATH."""
    api = api_of(mesh)
    catalogue = Catalogue(api)
    chosen: list[tuple[Resource, str, str]] = []
    for document in read(paths):
        resource = catalogue.of(document)
        where = str(document.metadata.get("namespace") or namespace)
        chosen.append((resource, where, named(document)))
    for resource, name in targets(catalogue, what) if what else []:
        if name:
            chosen.append((resource, namespace, name))
        elif selector or all_:
            items = api.get(resource.path(namespace, labelSelector=selector))["items"]
            chosen += [(resource, namespace, item["metadata"]["name"]) for item in items]
        else:
            raise CliFailure("say which: a name, -l LABELS, or --all", 2)
    if not what and not paths:
        raise CliFailure("say what: TYPE NAME, or -f PATH", 2)
    failed = []
    with Outcomes(output) as outcomes:
        for resource, where, name in chosen:
            path = resource.path(where if resource.namespaced else "", name, gracePeriodSeconds=grace_period)
            try:
                api.request("DELETE", path)
                outcomes.add(resource, where, name, "deleted", f'{resource.title} "{name}" deleted')
            except ApiError as refused:
                if not (ignore_not_found and refused.code == 404):
                    failed.append(str(refused))
    if failed:
        raise CliFailure("\n".join(failed))
