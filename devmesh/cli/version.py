"""devmesh version"""

from __future__ import annotations

import platform
from importlib import metadata

import click

from devmesh.cli.options import output_option, print_json


@click.command("version")
@output_option("json")
def command(output: str | None) -> None:
    """Print the version of devmesh and of what it runs on."""
    about = {
        "devmesh": metadata.version("devmesh"),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
    }
    if output == "json":
        print_json(about)
    else:
        click.echo(f"devmesh {about['devmesh']} (Python {about['python']}, {about['platform']})")
