"""devmesh demo"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click

from devmesh.cli.failure import CliFailure
from devmesh.cli.options import running_mesh
from devmesh.cli.traffic import seconds

MESH = "bookinfo"


@click.command("demo")
@click.option(
    "--mesh", default=MESH, show_default=True, metavar="NAME", envvar="DEVMESH_MESH", help="Its name."
)
@click.option(
    "--runtime", type=click.Choice(["auto", "docker", "process"]), default="auto", show_default=True
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    default=4.0,
    show_default=True,
    help="Pages per second.",
)
@click.option("--duration", default="1h", show_default=True, help="How long traffic flows.")
@click.option("--port", default=20001, show_default=True, help="Of the dashboard; 0 is chosen.")
@click.option("--tls-port", default=20443, show_default=True, help="Of the API for kubectl; 0 is chosen.")
@click.option("--http-port", default=8080, show_default=True, help="Of the ingress gateway; 0 is chosen.")
@click.option(
    "--https-port", default=8443, show_default=True, help="Of the ingress gateway's TLS; 0 is chosen."
)
@click.pass_context
def command(
    ctx: click.Context,
    mesh: str,
    runtime: str,
    rate: float,
    duration: str,
    port: int,
    tls_port: int,
    http_port: int,
    https_port: int,
) -> None:
    """Start Bookinfo in the background, with traffic, and print where to look.

    `devmesh down --mesh bookinfo` ends it all, the traffic too.
    """
    from devmesh.cli.up import command as up

    seconds(duration)  # wrong ones are told before anything starts
    sample = sample_folder()
    ctx.invoke(
        up,
        paths=(str(sample),),
        mesh=mesh,
        runtime=runtime,
        detach=True,
        port=port,
        tls_port=tls_port,
        http_port=http_port,
        https_port=https_port,
    )
    _, about = running_mesh(mesh)
    page = f"http://{about['gateways']['http']}/productpage"
    _start_traffic(page, rate, duration)
    click.echo(f"page       {page}   ({rate:g} requests a second flow for {duration})")
    click.echo("\nnext:")
    click.echo(f"  export KUBECONFIG=$(devmesh kubeconfig --mesh {mesh} --path)")
    click.echo(f"  kubectl apply -f {_shown(sample / 'networking' / 'virtual-service-reviews-50-v3.yaml')}")
    click.echo(f"  devmesh graph --mesh {mesh}")
    click.echo(f"  devmesh down --mesh {mesh}")


def sample_folder() -> Path:
    """Return where the sample is: in the wheel, or in a checkout.

    Raises:
        CliFailure: It is in neither.
    """
    import devmesh

    package = Path(devmesh.__file__).parent
    for folder in (package / "samples" / "bookinfo", package.parent / "samples" / "bookinfo"):
        if (folder / "devmesh.yaml").is_file():
            return folder
    raise CliFailure(f"the Bookinfo sample is not beside {package}: install devmesh again")


def _start_traffic(page: str, rate: float, duration: str) -> None:
    """Leave a load generator running that ends by itself, soon where nobody answers any more."""
    words = ["traffic", page, "--rate", str(rate), "--duration", duration, "--until-unreachable", "20", "-q"]
    subprocess.Popen(
        [sys.executable, "-m", "devmesh", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _shown(path: Path) -> str:
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative
