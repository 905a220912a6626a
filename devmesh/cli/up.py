"""devmesh up"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from devmesh.cli.failure import CliFailure
from devmesh.cli.options import mesh_option
from devmesh.cli.progress import Progress, unready
from devmesh.cli.traffic import seconds
from devmesh.config.finding import Finding
from devmesh.config.statedir import (
    LOCK_DESCRIPTOR,
    AlreadyRunning,
    InvalidMeshName,
    NoStateFolder,
    StateDir,
    mesh_name,
)

if TYPE_CHECKING:
    from devmesh.config.meshfile import MeshFile
    from devmesh.mesh import Mesh, Settings

CHILD = "DEVMESH_DETACHED"
POLL = 0.05
STOPPING = 10.0  # seconds that a mesh which no longer answers may take until it has ended
LITTLE = 64 << 10  # bytes free on a disk that is as good as full
PORT = click.IntRange(0, 65535)


@click.command("up")
@click.option(
    "-f", "--file", "paths", multiple=True, metavar="PATH",
    help="A mesh file, manifests, a folder, or - for standard input; may repeat (default: ./devmesh.yaml).",
)  # fmt: skip
@mesh_option
@click.option(
    "--runtime", type=click.Choice(["auto", "docker", "process"]),
    help="How workloads run (default: the mesh file's, else auto: Docker where an engine answers).",
)  # fmt: skip
@click.option("-d", "--detach", is_flag=True, help="Return when every workload is ready; the mesh goes on.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Whether -d waits for the workloads.")
@click.option("--wait-timeout", default="120s", show_default=True, help="How long -d waits.")
@click.option("--port", type=PORT, default=20001, show_default=True, help="Dashboard and API; 0 is chosen.")
@click.option(
    "--tls-port", type=PORT, default=20443, show_default=True, help="The API for kubectl; 0 is chosen."
)
@click.option(
    "--http-port", type=PORT, help="Ingress gateway (default: the mesh file's, else 8080); 0 is chosen."
)
@click.option("--https-port", type=PORT, help="Its TLS (default: the mesh file's, else 8443); 0 is chosen.")
def command(
    paths: tuple[str, ...],
    mesh: str | None,
    runtime: str | None,
    detach: bool,
    wait: bool = True,
    wait_timeout: str = "120s",
    port: int = 20001,
    tls_port: int = 20443,
    http_port: int | None = None,
    https_port: int | None = None,
) -> None:
    """Start a mesh: its workloads, their proxies, the ingress gateway, the API and the dashboard.

    Without -d it runs until Ctrl-C. Resources that kubectl wrote in an earlier run are there again.
    """
    file, state = _open(paths, mesh)
    if detach:
        _detach(state, sys.argv[1:] if sys.argv[1:2] == ["up"] else _words(
            paths, state.name, runtime, port, tls_port, http_port, https_port
        ), seconds(wait_timeout), wait)  # fmt: skip
        return
    from devmesh.mesh import Settings
    from devmesh.runtime.descriptors import raise_limit

    gateways = file.spec.gateways
    settings = Settings(
        state,
        file,
        port,
        tls_port,
        gateways.http if http_port is None else http_port,
        gateways.https if https_port is None else https_port,
    )
    raise_limit()
    with _locked(state):
        state.write_holder(os.getpid())
        _run(settings, runtime or file.spec.runtime)


def _locked(state: StateDir) -> IO[str]:
    try:
        return state.lock()
    except (AlreadyRunning, NoStateFolder) as error:
        raise CliFailure(str(error)) from error


def _open(paths: tuple[str, ...], mesh: str | None) -> tuple[MeshFile, StateDir]:
    from devmesh.config.meshfile import BadMeshFile, MeshFile, NoInput

    try:
        file = MeshFile.open(paths)
        return file, StateDir.of(mesh_name(mesh) if mesh else file.name)
    except (NoInput, BadMeshFile) as error:
        raise CliFailure(str(error)) from error
    except InvalidMeshName as error:
        raise CliFailure(str(error), 2) from error


def _words(
    paths: tuple[str, ...],
    mesh: str,
    runtime: str | None,
    port: int,
    tls_port: int,
    http: int | None,
    https: int | None,
) -> list[str]:
    words = ["up", "--mesh", mesh, "--port", str(port), "--tls-port", str(tls_port)]
    for path in paths:
        words += ["-f", path]
    for name, value in (("--runtime", runtime), ("--http-port", http), ("--https-port", https)):
        words += [] if value is None else [name, str(value)]
    return words


# In the foreground


def _run(settings: Settings, wanted: str) -> None:
    import trio

    from devmesh.mesh import CannotStart, Mesh, choose_runtime
    from devmesh.runtime.network.privilege import open_namespaces
    from devmesh.runtime.network.userns import UserNamespacesRefused

    logging.basicConfig(
        level=os.environ.get("DEVMESH_LOG", "WARNING").upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    try:
        runtime, reason = choose_runtime(wanted)
        namespaces = open_namespaces()
    except (CannotStart, UserNamespacesRefused) as error:
        raise CliFailure(f"{error}; see `devmesh doctor`") from error
    chosen = f" ({reason})" if reason else ""
    click.echo(f"mesh {settings.state.name}: runtime {runtime}{chosen}", err=True)
    try:
        mesh = Mesh(settings, runtime, namespaces)
        trio.run(_supervise, mesh)
    except* OSError as errors:
        raise CliFailure("; ".join(_messages(errors))) from errors


def _messages(group: BaseExceptionGroup[Any]) -> list[str]:
    found: list[str] = []
    for error in group.exceptions:
        found += _messages(error) if isinstance(error, BaseExceptionGroup) else [_message(error)]
    return found


def _message(error: BaseException) -> str:
    return str(error.strerror or error) if isinstance(error, OSError) else str(error)


async def _supervise(mesh: Mesh) -> None:
    import trio

    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            await nursery.start(mesh.run)
            nursery.start_soon(_tell, mesh)
            async for number in signals:
                if mesh.is_stopping:
                    raise KeyboardInterrupt
                click.echo(f"\n{signal.Signals(number).name}: stopping", err=True)
                mesh.shutdown()
                break
            nursery.start_soon(_hurry, signals)
            await mesh.ended.wait()
            nursery.cancel_scope.cancel()


async def _hurry(signals: Any) -> None:
    async for _ in signals:
        os._exit(130)  # asked twice: processes die with us, and the next `up` sweeps


async def _tell(mesh: Mesh) -> None:
    import trio

    progress = Progress()
    told = False
    while True:
        is_ready = progress.update(mesh.status()["workloads"], mesh.findings())
        if is_ready and not told:
            told = True
            with suppress(OSError):
                _announce({"gateways": mesh.status()["gateways"], "dashboard": mesh.dashboard})
        await trio.sleep(POLL if not told else 0.5)


def _announce(about: dict[str, Any]) -> None:
    click.echo(f"\ndashboard  {about['dashboard']}")
    for name, address in about["gateways"].items():
        click.echo(f"gateway    {name}://{address}")


# In the background


def _detach(state: StateDir, words: list[str], limit: float, wait: bool) -> None:
    words = [word for word in words if word not in ("-d", "--detach")]
    # The lock is handed on, so that there is no moment at which the mesh seems not to run.
    with _locked(state) as lock, state.log_file.open("wb") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "devmesh", *words],
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=[lock.fileno()],
            env={**os.environ, CHILD: "1", LOCK_DESCRIPTOR: str(lock.fileno())},
        )
        state.write_holder(child.pid)
    about = _await_ready(state, child, time.monotonic() + limit, wait)
    _announce(about)


def _await_ready(
    state: StateDir, child: subprocess.Popen[bytes], deadline: float, wait: bool
) -> dict[str, Any]:
    from devmesh.cli.client import Api

    progress = Progress()
    workloads: list[dict[str, Any]] = []
    api: Api | None = None
    about: dict[str, Any] | None = None
    while time.monotonic() < deadline:
        if child.poll() is not None:
            raise CliFailure(_ended(child.returncode, state))
        about = about or state.running()
        if about and about.get("pid") == child.pid:
            try:
                api = api or Api(about["api"]["url"], Path(about["api"]["token_file"]).read_text().strip())
                workloads = api.get("/devmesh/v1/status")["workloads"]
                findings = [Finding(**found) for found in api.get("/devmesh/v1/findings")]
            except (CliFailure, OSError):
                with suppress(subprocess.TimeoutExpired):
                    child.wait(STOPPING)  # somebody else has ended it meanwhile
                    continue
                raise
            if progress.update(workloads, findings) or not wait:
                return about
        else:
            about = None
        time.sleep(POLL)
    waiting = unready(workloads) if workloads else f"  it did not come up; its log is {state.log_file}"
    raise CliFailure(
        f"not every workload is ready in time; the mesh goes on in the background:\n{waiting}\n"
        f"see `devmesh status --mesh {state.name}`, or end it with `devmesh down --mesh {state.name}`"
    )


def _ended(status: int, state: StateDir) -> str:
    if status in (0, -signal.SIGTERM):
        return "the mesh was stopped while it started"
    told = _tail(state.log_file) or f"  it said nothing (exit status {status})"
    free = shutil.disk_usage(state.path).free
    full = f"\n  there is no room left for {state.path}" if free < LITTLE else ""
    return f"the mesh ended at once:\n{told}{full}"


def _tail(path: Path) -> str:
    return "\n".join(f"  {line}" for line in path.read_text(errors="replace").splitlines()[-15:])
