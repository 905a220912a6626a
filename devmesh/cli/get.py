"""devmesh get"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click

from devmesh.cli.client import Api
from devmesh.cli.failure import CliFailure
from devmesh.cli.options import api_of, mesh_option, namespace_option, output_option, print_json
from devmesh.cli.resources import Catalogue, Resource, targets
from devmesh.cli.table import table

AS_TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


@click.command("get")
@click.argument("what", nargs=-1, required=True)
@mesh_option
@namespace_option
@click.option("-A", "--all-namespaces", is_flag=True, help="In every namespace.")
@click.option("-l", "--selector", help="By labels: app=reviews,version!=v1.")
@click.option("--field-selector", help="By fields: metadata.name=reviews.")
@click.option("-w", "--watch", is_flag=True, help="Go on printing changes.")
@click.option("--no-headers", is_flag=True, help="Print no header line.")
@output_option("json", "yaml", "name", "wide")
def command(
    what: tuple[str, ...],
    mesh: str | None,
    namespace: str,
    all_namespaces: bool,
    selector: str | None,
    field_selector: str | None,
    watch: bool,
    no_headers: bool,
    output: str | None,
) -> None:
    """List resources: get TYPE, get TYPE NAME, get TYPE/NAME, get TYPE,TYPE."""
    api = api_of(mesh)
    chosen = targets(Catalogue(api), what)
    where = "" if all_namespaces else namespace
    query = {"labelSelector": selector, "fieldSelector": field_selector}
    if output in ("json", "yaml", "name"):
        _print_objects(_objects(api, chosen, where, query), output)
        return
    empty = True
    for resource, name in chosen:
        found = api.get(resource.path(where, name or "", **query), Accept=AS_TABLE)
        if not found["rows"]:
            continue
        if not empty:
            click.echo()
        empty = False
        prefix = resource.title if len(chosen) > 1 and name is None else ""
        click.echo(_as_text(found, resource, all_namespaces, output == "wide", no_headers, prefix))
    if watch and len(chosen) == 1:
        resource, name = chosen[0]
        query["fieldSelector"] = f"metadata.name={name}" if name else field_selector
        _follow(api, resource, where, query, all_namespaces, output == "wide")
    elif empty:
        click.echo("No resources found" + ("" if all_namespaces else f" in {namespace} namespace."), err=True)


def _objects(
    api: Api, chosen: list[tuple[Resource, str | None]], where: str, query: dict[str, str | None]
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for resource, name in chosen:
        answer = api.get(resource.path(where, name or "", **query))
        if name:
            found.append(answer)
        else:
            kind = {"apiVersion": answer["apiVersion"], "kind": resource.kind}
            found += [{**kind, **item} for item in answer["items"]]
    return found


def _print_objects(objects: list[dict[str, Any]], output: str) -> None:
    if output == "name":
        for one in objects:
            group = one["apiVersion"].rpartition("/")[0]
            click.echo(f"{one['kind'].lower()}{'.' + group if group else ''}/{one['metadata']['name']}")
        return
    whole = objects[0] if len(objects) == 1 else {"apiVersion": "v1", "kind": "List", "items": objects}
    if output == "json":
        print_json(whole)
    else:
        from devmesh.cli.yaml_text import write_yaml

        click.echo(write_yaml(whole), nl=False)


def _as_text(
    found: dict[str, Any], resource: Resource, namespaces: bool, wide: bool, no_headers: bool, prefix: str
) -> str:
    shown = [i for i, column in enumerate(found["columnDefinitions"]) if wide or not column.get("priority")]
    with_namespace = namespaces and resource.namespaced
    header = ["NAMESPACE"] * with_namespace + [found["columnDefinitions"][i]["name"].upper() for i in shown]
    rows = []
    for row in found["rows"]:
        cells = ["<none>" if row["cells"][i] in (None, "") else row["cells"][i] for i in shown]
        if prefix:
            cells[0] = f"{prefix}/{cells[0]}"
        rows.append([row["object"]["metadata"].get("namespace", "")] * with_namespace + cells)
    text = table(header, rows)
    return text.partition("\n")[2] if no_headers else text


def _follow(
    api: Api, resource: Resource, where: str, query: dict[str, str | None], namespaces: bool, wide: bool
) -> None:
    path = resource.path(where, watch="true", **query)
    for event in _lines(api.stream(path, headers={"Accept": AS_TABLE})):
        if event["type"] == "ERROR":
            raise CliFailure(event["object"].get("message", "the watch ended"))
        if event["type"] != "BOOKMARK":
            click.echo(_as_text(event["object"], resource, namespaces, wide, True, ""))


def _lines(pieces: Iterator[bytes]) -> Iterator[dict[str, Any]]:
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        yield from (json.loads(line) for line in whole if line)
