"""devmesh graph"""

from __future__ import annotations

import click

from devmesh.cli.options import api_of, mesh_option, output_option, print_json
from devmesh.cli.traffic import seconds


@click.command("graph")
@mesh_option
@click.option("--window", default="60s", show_default=True, help="Of the last 30s, 10m, 1h.")
@click.option("-w", "--watch", is_flag=True, help="Print it again each second.")
@output_option("text", "json", "dot", "mermaid", default="text")
def command(mesh: str | None, window: str, watch: bool, output: str) -> None:
    """Show who calls whom, how often, how fast and how well, from live traffic."""
    import time

    api = api_of(mesh)
    path = f"/devmesh/v1/graph?window={round(seconds(window))}"
    while True:
        if output == "json":
            print_json(api.get(path))
        else:
            text = api.request("GET", f"{path}&format={output}").decode()
            if watch:
                click.clear()
            click.echo(text.rstrip("\n"))
        if not watch:
            return
        time.sleep(1)
