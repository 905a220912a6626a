"""devmesh doctor"""

from __future__ import annotations

import dataclasses

import click

from devmesh.cli.failure import CliFailure
from devmesh.cli.options import output_option, print_json

MARKS = {"ok": ("ok  ", "green"), "warn": ("warn", "yellow"), "fail": ("FAIL", "red")}


@click.command("doctor")
@output_option("json")
def command(output: str | None) -> None:
    """Check what this machine allows, and say how to mend the rest. Exit status 1 where something fails."""
    from devmesh.runtime.doctor import examine

    checks = examine()
    if output == "json":
        print_json([dataclasses.asdict(check) for check in checks])
    else:
        for check in checks:
            mark, colour = MARKS[check.status]
            click.echo(f"{click.style(mark, fg=colour)}  {check.name}: {check.detail}")
            if check.status != "ok" and check.fix:
                click.echo(f"      fix: {check.fix}")
    if any(check.status == "fail" for check in checks):
        raise CliFailure("some checks failed: the fixes are above")
