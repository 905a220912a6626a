"""The `devmesh` command: one module a command, imported when it is called."""

from __future__ import annotations

import importlib
import os
import sys

import click

from devmesh.cli.failure import CliFailure
from devmesh.config.statedir import NoStateFolder

# name -> (module, what `devmesh --help` says). The module has an attribute `command`.
COMMANDS: dict[str, tuple[str, str]] = {
    "up": ("devmesh.cli.up", "Start a mesh and its workloads."),
    "down": ("devmesh.cli.down", "Stop a mesh; its resources are kept unless --purge."),
    "status": ("devmesh.cli.status", "Show what runs, and where it listens."),
    "demo": ("devmesh.cli.demo", "Start Bookinfo with traffic, from what is installed."),
    "kubeconfig": ("devmesh.cli.kubeconfig", "Print a kubeconfig for kubectl."),
    "apply": ("devmesh.cli.apply", "Create or change resources from files."),
    "get": ("devmesh.cli.get", "List resources."),
    "describe": ("devmesh.cli.describe", "Show resources whole, with their events."),
    "delete": ("devmesh.cli.delete", "Delete resources."),
    "label": ("devmesh.cli.label", "Set labels."),
    "scale": ("devmesh.cli.scale", "Set how many replicas run."),
    "wait": ("devmesh.cli.wait", "Wait until resources are as asked."),
    "logs": ("devmesh.cli.logs", "Print a container's log, or the access log."),
    "exec": ("devmesh.cli.exec", "Run a command in a pod."),
    "proxy-config": ("devmesh.cli.proxy_config", "Show what a proxy decides by, as istioctl does."),
    "proxy-status": ("devmesh.cli.proxy_status", "Show the proxies, as istioctl does."),
    "swap": ("devmesh.cli.swap", "Let a process of this machine take a workload's place."),
    "graph": ("devmesh.cli.graph", "Show who calls whom, from live traffic."),
    "doctor": ("devmesh.cli.doctor", "Check what this machine allows."),
    "completion": ("devmesh.cli.completion", "Print a shell completion script."),
    "traffic": ("devmesh.cli.traffic", "Send requests at a steady rate and sum up the answers."),
    "version": ("devmesh.cli.version", "Print the version."),
}


# istioctl's short names; not listed.
SHORT = {"pc": "proxy-config", "ps": "proxy-status"}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        cmd_name = SHORT.get(cmd_name, cmd_name)
        if cmd_name not in COMMANDS:
            return None
        found = importlib.import_module(COMMANDS[cmd_name][0]).command
        assert isinstance(found, click.Command)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--mesh", metavar="NAME", help="Which mesh, of the commands that ask one; they take it too.")
def cli(mesh: str | None) -> None:
    """Istio and Kiali on a laptop, in one process, with no Kubernetes."""
    if mesh:
        os.environ["DEVMESH_MESH"] = mesh


def main() -> None:
    """Run the command line. Exit status: 0 done, 1 failed or findings, 2 wrong usage."""
    try:
        cli.main(standalone_mode=False)
    except CliFailure as failure:
        click.echo(f"devmesh: {failure}", err=True)
        sys.exit(failure.status)
    except NoStateFolder as problem:
        click.echo(f"devmesh: {problem}", err=True)
        sys.exit(1)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.ClickException as wrong:
        wrong.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has enough; say nothing more
        sys.exit(1)
