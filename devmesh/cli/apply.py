"""devmesh apply"""

from __future__ import annotations

import json
from collections.abc import Iterator

import click

from devmesh.cli.client import Api, ApiError
from devmesh.cli.documents import files_option, named, read
from devmesh.cli.failure import CliFailure
from devmesh.cli.options import api_of, mesh_option, namespace_option, output_option, print_json
from devmesh.cli.resources import Catalogue
from devmesh.config.problems import written
from devmesh.config.reading import Document


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
        try:
            resource, name = catalogue.of(document), named(document)
        except CliFailure as wrong:
            failed.append(str(wrong))
            continue
        where = str(document.metadata.get("namespace") or namespace) if resource.namespaced else ""
        path = resource.path(
            where, name, fieldManager="devmesh-apply", force="true", fieldValidation="Strict",
            dryRun="All" if dry_run else None,
        )  # fmt: skip
        before = _version(api, resource.path(where, name))
        try:
            answer = json.loads(
                api.request("PATCH", path, document.raw, content_type="application/apply-patch+yaml")
            )
        except ApiError as refused:
            failed += _wrong(document, refused)
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


def _wrong(document: Document, refused: ApiError) -> Iterator[str]:
    """Say what is wrong with a document, each thing at its line."""
    head = f"{document.kind.lower()}/{document.metadata.get('name')}"
    places = {written(path): place for path, place in document.places.items()}
    for field, message in refused.causes:
        line, column = next((places[f] for f in _upwards(field) if f in places), document.place)
        said = message if f'"{field}"' in message else f"{field}: {message}"
        yield f"{document.file}:{line}:{column}: {head}: {said}"
    if not refused.causes:
        yield f"{document.file}:{document.place[0]}:{document.place[1]}: {head}: {refused}"


def _upwards(field: str) -> Iterator[str]:
    while field:
        yield field
        field = field[: max(field.rfind("."), field.rfind("["), 0)]


def _version(api: Api, path: str) -> str | None:
    try:
        return str(api.get(path)["metadata"]["resourceVersion"])
    except ApiError as error:
        if error.code == 404:
            return None
        raise
