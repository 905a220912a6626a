"""devmesh apply"""

from __future__ import annotations

import json

import click

from devmesh.cli.client import Api, ApiError
from devmesh.cli.documents import files_option, read
from devmesh.cli.failure import CliFailure
from devmesh.cli.options import api_of, mesh_option, namespace_option, output_option, print_json
from devmesh.cli.resources import Catalogue


@click.command("apply")
@files_option(required=True)
@mesh_option
@namespace_option
@click.option("-R", "--recursive", is_flag=True, help="Folders with what is below them.")
@click.option("--dry-run", is_flag=True, help="Check only; nothing is changed.")
@output_option("json")
def command(
    paths: tuple[str, ...],
    mesh: str | None,
    namespace: str,
    recursive: bool,
    dry_run: bool,
    output: str | None,
) -> None:
    """Create resources, or change them to what the files say. Exit status 1 if any was refused."""
    api = api_of(mesh)
    catalogue = Catalogue(api)
    failed: list[str] = []
    results = []
    for document in read(paths, recursive=recursive):
        resource = catalogue.of(document)
        metadata = document.setdefault("metadata", {})
        where = metadata.get("namespace") or namespace if resource.namespaced else ""
        name = metadata.get("name", "")
        path = resource.path(
            where, name, fieldManager="devmesh-apply", force="true", fieldValidation="Strict",
            dryRun="All" if dry_run else None,
        )  # fmt: skip
        before = _version(api, resource.path(where, name))
        try:
            answer = json.loads(
                api.request("PATCH", path, document, content_type="application/apply-patch+yaml")
            )
        except ApiError as refused:
            failed.append(f"{resource.title}/{name}: {refused}")
            continue
        after = answer["metadata"].get("resourceVersion")
        done = "created" if before is None else "unchanged" if before == after else "configured"
        results.append({"kind": resource.kind, "namespace": where, "name": name, "result": done})
        if output is None:
            click.echo(f"{resource.title}/{name} {done}{' (dry run)' if dry_run else ''}")
    if output == "json":
        print_json(results)
    if failed:
        raise CliFailure("\n".join(failed))


def _version(api: Api, path: str) -> str | None:
    try:
        return str(api.get(path)["metadata"]["resourceVersion"])
    except ApiError as error:
        if error.code == 404:
            return None
        raise
