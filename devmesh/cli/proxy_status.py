"""devmesh proxy-status"""

from __future__ import annotations

import click

from devmesh.cli.options import api_of, mesh_option, output_option, print_json
from devmesh.cli.table import table

_COLUMNS = ("NAME", "CLUSTER", "CDS", "LDS", "EDS", "RDS", "ECDS", "ISTIOD", "VERSION")


@click.command("proxy-status")
@mesh_option
@output_option("short", "json", default="short")
def command(mesh: str | None, output: str) -> None:
    """Show the proxies, and whether they have the newest configuration, as istioctl does.

    In devmesh they always have: configuration and proxies are one process.
    """
    rows = api_of(mesh).get("/devmesh/v1/proxies")
    if output == "json":
        print_json(rows)
        return
    click.echo(table(_COLUMNS, [[row[column.lower()] for column in _COLUMNS] for row in rows]))
