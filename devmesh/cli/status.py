"""devmesh status"""

from __future__ import annotations

from typing import Any

import click

from devmesh.cli.failure import CliFailure
from devmesh.cli.options import api_of, mesh_option, output_option, print_json, running_mesh
from devmesh.cli.table import table
from devmesh.config.finding import Finding


@click.command("status")
@mesh_option
@output_option("json")
def command(mesh: str | None, output: str | None) -> None:
    """Show what runs, where it listens, and what is wrong with its resources and files.

    Exit status 1 where nothing runs, or a workload is not ready.
    """
    _, about = running_mesh(mesh)
    api = api_of(mesh)
    status: dict[str, Any] = api.get("/devmesh/v1/status")
    status["api"] = about["api"]
    status["findings"] = api.get("/devmesh/v1/findings")
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
    wrong = [finding for finding in status["findings"] if finding["severity"] != "info"]
    for number, finding in enumerate(wrong):
        click.echo(("\n" if number == 0 else "") + f"{finding['severity']:<10} {Finding(**finding)}")
    waiting = [w["name"] for w in status["workloads"] if w["ready"] < w["replicas"]]
    if waiting:
        raise CliFailure(f"not ready: {', '.join(waiting)}; see `devmesh describe pod`")
