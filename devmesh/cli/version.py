"""devmesh version"""

from __future__ import annotations

import platform
from importlib import metadata, util

import click

from devmesh.cli.options import output_option, print_json


@click.command("version")
@output_option("json")
def command(output: str | None) -> None:
    """Print the version of devmesh and of what it runs on."""
    about = {
        "devmesh": metadata.version("devmesh"),
        "core": "compiled" if is_compiled() else "pure Python",
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
    }
    if output == "json":
        print_json(about)
    else:
        core = f"core {about['core']}"
        click.echo(f"devmesh {about['devmesh']} ({core}, Python {about['python']}, {about['platform']})")


def is_compiled() -> bool:
    """Tell whether the data plane runs as extensions; see ``hatch_build.py``."""
    found = util.find_spec("devmesh.proxy.exchange")
    return found is not None and not (found.origin or "").endswith(".py")
