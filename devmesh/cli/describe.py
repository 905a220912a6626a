"""devmesh describe"""

from __future__ import annotations

from typing import Any

import click

from devmesh.cli.client import Api
from devmesh.cli.options import api_of, mesh_option, namespace_option, output_option, print_json
from devmesh.cli.resources import Catalogue, targets
from devmesh.cli.table import table

HIDDEN = {"managedFields", "uid", "resourceVersion", "generation"}


@click.command("describe")
@click.argument("what", nargs=-1, required=True)
@mesh_option
@namespace_option
@click.option("-l", "--selector", help="By labels.")
@output_option("json")
def command(
    what: tuple[str, ...], mesh: str | None, namespace: str, selector: str | None, output: str | None
) -> None:
    """Show resources whole, with their events."""
    api = api_of(mesh)
    catalogue = Catalogue(api)
    objects: list[dict[str, Any]] = []
    for resource, name in targets(catalogue, what):
        answer = api.get(resource.path(namespace, name or "", labelSelector=selector))
        kind = {"kind": resource.kind}
        objects += [answer] if name else [{**kind, **item} for item in answer["items"]]
    if output == "json":
        print_json([{**one, "events": _events(api, catalogue, one)} for one in objects])
        return
    for n, one in enumerate(objects):
        if n:
            click.echo("\n")
        click.echo("\n".join(_lines({k: v for k, v in one.items() if k != "apiVersion"})))
        click.echo(_event_table(_events(api, catalogue, one)))


def _events(api: Api, catalogue: Catalogue, one: dict[str, Any]) -> list[dict[str, Any]]:
    metadata = one["metadata"]
    selector = f"involvedObject.uid={metadata.get('uid', '')}"
    path = catalogue.find("events").path(metadata.get("namespace", ""), fieldSelector=selector)
    found: list[dict[str, Any]] = api.get(path)["items"]
    return found


def _event_table(events: list[dict[str, Any]]) -> str:
    if not events:
        return "Events:  <none>"
    rows = [
        (
            e.get("type", ""),
            e.get("reason", ""),
            e.get("lastTimestamp") or "",
            e.get("count", 1),
            e.get("message", ""),
        )
        for e in events
    ]
    body = table(("TYPE", "REASON", "LAST SEEN", "COUNT", "MESSAGE"), rows)
    return "Events:\n" + "\n".join(f"  {line}" for line in body.splitlines())


def _lines(value: Any, indent: int = 0) -> list[str]:
    """Return nested values as indented lines, keys in words."""
    pad = "  " * indent
    lines: list[str] = []
    for key, inner in value.items():
        if key in HIDDEN or inner in (None, "", [], {}):
            continue
        title = key[:1].upper() + key[1:]
        if isinstance(inner, dict):
            lines += [f"{pad}{title}:", *_lines(inner, indent + 1)]
        elif isinstance(inner, list):
            lines.append(f"{pad}{title}:")
            lines += _list(inner, indent + 1)
        else:
            lines.append(f"{pad}{title}:  {inner}")
    return lines


def _list(items: list[Any], indent: int) -> list[str]:
    lines: list[str] = []
    for item in items:
        if isinstance(item, dict):
            inner = _lines(item, indent + 1)
            if inner:
                inner[0] = "  " * indent + "- " + inner[0].lstrip()
            lines += inner
        else:
            lines.append("  " * indent + f"- {item}")
    return lines
