"""devmesh wait"""

from __future__ import annotations

import time
from typing import Any

import click

from devmesh.cli.client import Api, ApiError
from devmesh.cli.failure import CliFailure
from devmesh.cli.options import api_of, mesh_option, namespace_option, output_option
from devmesh.cli.outcomes import Outcomes
from devmesh.cli.resources import Catalogue, Resource, targets
from devmesh.cli.traffic import seconds


@click.command("wait")
@click.argument("what", nargs=-1, required=True)
@mesh_option
@namespace_option
@click.option("--for", "condition", required=True, help="condition=NAME[=VALUE], or delete.")
@click.option("-l", "--selector", help="By labels.")
@click.option("--timeout", default="30s", show_default=True, help="How long to wait at most.")
@output_option("json")
def command(
    what: tuple[str, ...],
    mesh: str | None,
    namespace: str,
    condition: str,
    selector: str | None,
    timeout: str,
    output: str | None,
) -> None:
    """Wait until resources are as asked: wait deploy/NAME --for condition=Available."""
    kind, _, rest = condition.partition("=")
    if kind not in ("condition", "delete") or (kind == "condition" and not rest):
        raise CliFailure(f"--for {condition}: write condition=NAME, condition=NAME=VALUE, or delete", 2)
    api = api_of(mesh)
    deadline = time.monotonic() + seconds(timeout)
    with Outcomes(output) as outcomes:
        for resource, name in targets(Catalogue(api), what):
            names = [name] if name else _names(api, resource, namespace, selector)
            if not names:
                raise CliFailure("no matching resources found")
            for one in names:
                while not _is_met(api, resource.path(namespace, one), kind, rest):
                    if time.monotonic() > deadline:
                        raise CliFailure(f"timed out waiting for {condition} of {resource.title}/{one}")
                    time.sleep(0.1)
                outcomes.add(resource, namespace, one, "condition met")


def _names(api: Api, resource: Resource, namespace: str, selector: str | None) -> list[str]:
    items = api.get(resource.path(namespace, labelSelector=selector))["items"]
    return [item["metadata"]["name"] for item in items]


def _is_met(api: Api, path: str, kind: str, rest: str) -> bool:
    try:
        found: dict[str, Any] = api.get(path)
    except ApiError as error:
        if error.code == 404 and kind == "delete":
            return True
        raise
    if kind == "delete":
        return False
    name, _, value = rest.partition("=")
    return any(
        c["type"].lower() == name.lower() and c["status"].lower() == (value or "true").lower()
        for c in (found.get("status") or {}).get("conditions") or ()
    )
