"""Commands in a pod's ``istio-proxy`` container, which runs no process: devmesh itself is the proxy.

They run inside the pod's network namespace with this machine's programs (curl, openssl, sh), over a
private copy of its files, as a process workload's do: what they write is gone with them. Beside these
there are ``pilot-agent``, and the roots of the mesh where Istio has them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Protocol

import trio

from devmesh.runtime.access import ExecSession, NotRunning
from devmesh.runtime.process.container import private_folder
from devmesh.runtime.process.session import ProcessSession, open_pipes, open_terminal
from devmesh.runtime.process.spawn import Launch, LaunchFailed, dropped_capabilities, spawn
from devmesh.runtime.process.user import User

_BIN = "/run/devmesh/bin"
_SECRETS = "/run/secrets/istio"  # /var/run is a link to /run


class PodNetwork(Protocol):
    """A pod's network namespace, as `devmesh.runtime.network` makes it."""

    @property
    def netns_fd(self) -> int: ...

    @property
    def userns_fd(self) -> int | None: ...

    @property
    def namespace(self) -> str: ...

    @property
    def adopted(self) -> bool: ...


class Networks(Protocol):
    """The pods' networks."""

    def network(self, instance: str) -> PodNetwork | None:
        """Return the network of an instance; None where there is no such pod."""


class ProxyContainers:
    """Runs commands in the proxies' containers.

    Args:
        roots: The mesh's root certificates in PEM.
    """

    def __init__(self, networks: Networks, roots: str, user: User | None = None) -> None:
        self._networks = networks
        self._roots = roots
        self._user = user or User.invoking()
        self._sessions: set[ProcessSession] = set()

    async def exec(
        self, instance: str, pod: str, folder: Path, command: Sequence[str], *, stdin: bool, tty: bool
    ) -> ExecSession:
        """Start a command; see `devmesh.runtime.access.Containers.exec`.

        Args:
            folder: An empty folder, which the command's files are put together over.

        Raises:
            NotRunning: The pod is gone.
            FileNotFoundError: This machine has no such command.
        """
        network = self._networks.network(instance)
        if network is None:
            raise NotRunning(f'pod "{pod}" is not running')
        top = private_folder(folder)
        ends = open_terminal(stdin) if tty else open_pipes(stdin)
        launch = self._launch(network, pod, top, command, tty=tty)
        try:
            child = await spawn(launch, stdin=ends.theirs[0], stdout=ends.theirs[1], stderr=ends.theirs[2])
        except LaunchFailed as problem:
            await ends.aclose()
            if problem.stage == "exec":
                why = os.strerror(problem.errno or 0).lower()
                raise FileNotFoundError(
                    f'exec: "{command[0]}": {why}: istio-proxy has pilot-agent and what this machine has'
                ) from problem
            raise NotRunning(f"container istio-proxy cannot be entered: {problem.text}") from problem
        except BaseException:
            with trio.CancelScope(shield=True):
                await ends.aclose()
            raise
        finally:
            ends.close_theirs()
        session = ProcessSession(child, ends, self._sessions.discard)
        self._sessions.add(session)
        return session

    def _launch(
        self, network: PodNetwork, pod: str, top: str, command: Sequence[str], *, tty: bool
    ) -> Launch:
        user, userns = self._user, network.userns_fd
        env = user.environment()
        terminal: Mapping[str, str] = {"TERM": "xterm"} if tty else {}
        return Launch(
            argv=tuple(command),
            env={**env, **terminal, "PATH": f"{_BIN}:{env['PATH']}", "HOSTNAME": pod},
            netns=network.netns_fd,
            userns=userns,
            hostname=pod,
            top=top,
            keep=tuple(p for p in (sys.prefix, sys.base_prefix) if p.startswith(("/tmp/", "/run/"))),
            files=(
                ("/etc/hostname", f"{pod}\n".encode()),
                ("/etc/hosts", f"127.0.0.1\tlocalhost\n::1\tlocalhost\n127.0.0.1\t{pod}\n".encode()),
                ("/etc/resolv.conf", _resolver(network)),
                (f"{_BIN}/pilot-agent", _agent()),
                (f"{_SECRETS}/root-cert.pem", self._roots.encode()),
            ),
            uid=None if userns is not None else user.uid,
            gid=None if userns is not None else user.gid,
            groups=user.groups,
            drop=dropped_capabilities((), ()),
            tty=tty,
        )


def _resolver(network: PodNetwork) -> bytes:
    """Return a resolv.conf that names whose queries the pod's rules take over; Docker's in a container."""
    server = "127.0.0.11" if network.adopted else "127.0.0.53"
    search = f"{network.namespace}.svc.cluster.local svc.cluster.local cluster.local"
    return f"nameserver {server}\nsearch {search}\noptions ndots:5\n".encode()


def _agent() -> bytes:
    source = resources.files("devmesh.runtime").joinpath("pilot_agent.py").read_bytes()
    return f"#!{sys.executable} -IS\n".encode() + source
