"""docs/cli.md, made of the commands' own help: ``python -m devmesh.cli.reference > docs/cli.md``."""

from __future__ import annotations

import click

from devmesh.cli.main import COMMANDS, cli

WIDTH = 100


def reference() -> str:
    """Return the page."""
    parts = [
        "# The command line\n",
        "Made of the commands' own help by `python -m devmesh.cli.reference`.\n",
        "Exit status: 0 done, 1 failed or findings, 2 wrong usage. Data goes to standard output, talk to",
        "standard error; there is no colour off a terminal.\n",
    ]
    root = cli.make_context("devmesh", [], resilient_parsing=True)
    for name in COMMANDS:
        command = cli.get_command(root, name) if isinstance(cli, click.Group) else None
        assert command is not None
        context = click.Context(command, root, info_name=name, terminal_width=WIDTH, max_content_width=WIDTH)
        parts.append(f"## devmesh {name}\n\n```\n{command.get_help(context)}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    print(reference(), end="")
