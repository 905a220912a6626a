"""devmesh status"""

from __future__ import annotations

from typing import Any

import click

from devmesh.cli.failure import CliFailure
from devmesh.cli.options import api_of, mesh_option, output_option, print_json, running_mesh
from devmesh.cli.table import table


@click.command("status")
@mesh_option
@output_option("json")
def command(mesh: str | None, output: str | None) -> None:
    """Show what runs, and where it listens. Exit status 1 where nothing runs."""
    _, about = running_mesh(mesh)
    status: dict[str, Any] = api_of(mesh).get("/devmesh/v1/status")
    status["api"] = about["api"]
    if output == "json":
        print_json(status)
        return
    click.echo(f"mesh       {status['mesh']}  ({status['runtime']}, pid {status['pid']})")
    click.echo(f"dashboard  {about['dashboard']}")
    for name, address in status["gateways"].items():
        click.echo(f"gateway    {name}://{address}")
    click.echo()
    rows = [
        (w["namespace"], w["name"], f"{w['ready']}/{w['replicas']}", "yes" if w["meshed"] else "no")
        for w in status["workloads"]
    ]
    click.echo(table(("NAMESPACE", "WORKLOAD", "READY", "MESHED"), rows))
    waiting = [w["name"] for w in status["workloads"] if w["ready"] < w["replicas"]]
    if waiting:
        raise CliFailure(f"not ready: {', '.join(waiting)}; see `devmesh describe pod`")
