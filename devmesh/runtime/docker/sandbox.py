"""A pod: the holder, and the containers that join its network namespace."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol

import trio

from devmesh.runtime.docker.container import DockerContainer
from devmesh.runtime.docker.engine import MESH_LABEL, ROLE_LABEL, Engine, explanation
from devmesh.runtime.docker.holder import IMAGE
from devmesh.runtime.docker.stream import HijackFailed, hijack
from devmesh.runtime.network.selection import Selection
from devmesh.runtime.pods.backend import ContainerSpec, SandboxProblem, SandboxSpec, StartProblem

NAME_LIMIT = 200
CONFLICT, NOT_FOUND = 409, 404
_TRIES = 5  # for a name that is in use by what is being removed
_LONGEST_REMOVAL = 10  # seconds


class Network(Protocol):
    """The part of the fabric that is used: taking over a namespace that somebody else made."""

    def adopt(
        self,
        instance: str,
        netns: str | int,
        *,
        meshed: bool,
        gateway: bool,
        namespace: str,
        addresses: Sequence[str],
        nameservers: Sequence[str],
        selection: Selection,
    ) -> object:
        """Put rules and listeners into a namespace, given by a process in it.

        Raises:
            OSError: It is gone, or may not be entered.
        """

    def release(self, instance: str) -> None:
        """Let go of it."""


class DockerSandbox:
    """See `devmesh.runtime.pods.backend.Sandbox`."""

    def __init__(
        self, engine: Engine, network: Network, spec: SandboxSpec, holder: str, addresses: tuple[str, ...]
    ) -> None:
        self._engine, self._network, self._spec, self._holder = engine, network, spec, holder
        self._addresses = addresses
        self._containers: list[DockerContainer] = []
        self._closing = False
        self._lost = trio.Event()
        self._unwatch = engine.watch(holder, self._on_event)

    @property
    def addresses(self) -> tuple[str, ...]:
        return self._addresses

    @property
    def notes(self) -> tuple[str, ...]:
        return ()

    async def start(self, spec: ContainerSpec) -> DockerContainer:
        import docker

        api, id_ = self._engine.api, ""
        container: DockerContainer | None = None
        try:
            made = await self._engine.call(
                api.create_container_from_config, self._config(spec), self._name(spec)
            )
            id_ = made["Id"]
            attached = await hijack(
                self._engine.socket_path,
                f"/containers/{id_}/attach",
                {"stream": "1", "stdout": "1", "stderr": "1", "logs": "1"},
            )
            container = DockerContainer(self._engine, id_, attached, spec.stop_signal)
            await self._engine.call(api.start, id_)
        except BaseException as error:
            if container is not None:
                await container.aclose()
            elif id_:
                await remove(self._engine, id_)
            if isinstance(error, docker.errors.APIError | HijackFailed | OSError):
                reason = "StartError" if id_ else "CreateContainerError"
                raise StartProblem(explanation(error), reason) from error
            raise
        self._containers.append(container)
        return container

    async def wait_lost(self) -> str:
        await self._lost.wait()
        return "the container that holds the pod's network was stopped or removed"

    async def aclose(self) -> None:
        if self._closing:
            return
        self._closing = True
        self._unwatch()
        with trio.CancelScope(shield=True), trio.move_on_after(60):
            async with trio.open_nursery() as nursery:
                for container in self._containers:
                    nursery.start_soon(container.aclose)
            self._network.release(self._spec.id)
            await remove(self._engine, self._holder)

    def _on_event(self, action: str, attributes: dict[str, str]) -> None:
        if action in ("die", "destroy") and not self._closing:
            self._lost.set()

    def _name(self, spec: ContainerSpec) -> str:
        pod = self._spec
        name = f"devmesh-{pod.mesh}-{pod.namespace}-{pod.pod}-{spec.name}"[:NAME_LIMIT]
        return f"{name}-{pod.id[:8]}-{spec.attempt}"

    def _config(self, spec: ContainerSpec) -> dict[str, Any]:
        """Return the engine's own form of `spec` (the body of POST /containers/create)."""
        host: dict[str, Any] = {
            "NetworkMode": f"container:{self._holder}",
            "Mounts": [
                {"Type": "bind", "Source": str(m.source), "Target": m.target, "ReadOnly": m.read_only}
                for m in spec.mounts
            ],
            "CapAdd": list(spec.capabilities_add),
            "CapDrop": list(spec.capabilities_drop),
            "Privileged": spec.privileged,
            "ReadonlyRootfs": spec.read_only_root,
            "GroupAdd": [str(group) for group in spec.groups],
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "2"}},
        }
        if not spec.may_gain_privileges and not spec.privileged:
            host["SecurityOpt"] = ["no-new-privileges"]
        if spec.cpu is not None:
            host["NanoCpus"] = int(spec.cpu * 1e9)
        if spec.memory is not None:
            host["Memory"] = host["MemorySwap"] = spec.memory
        config: dict[str, Any] = {
            "Image": spec.image.id,
            "Env": [f"{name}={value}" for name, value in spec.env],
            "Labels": {**labels(self._spec, "container"), "devmesh.container": spec.name},
            "HostConfig": host,
            "AttachStdout": True,
            "AttachStderr": True,
        }
        if spec.command is not None:
            config["Entrypoint"] = list(spec.command)
            config["Cmd"] = list(spec.args or ())
        elif spec.args is not None:
            config["Cmd"] = list(spec.args)
        if spec.workdir:
            config["WorkingDir"] = spec.workdir
        if spec.user is not None:
            config["User"] = f"{spec.user}:{spec.group}" if spec.group is not None else str(spec.user)
        if spec.stop_signal:
            config["StopSignal"] = spec.stop_signal
        return config


def labels(spec: SandboxSpec, role: str) -> dict[str, str]:
    """Return what marks a container as one of ours, and whose."""
    return {
        MESH_LABEL: spec.mesh,
        ROLE_LABEL: role,
        "devmesh.namespace": spec.namespace,
        "devmesh.pod": spec.pod,
        "devmesh.uid": spec.id,
    }


async def create_holder(engine: Engine, spec: SandboxSpec, network: str) -> tuple[str, int, tuple[str, ...]]:
    """Start a pod's holder.

    Returns:
        Its id, its process id, and its addresses, the IPv4 one first.

    Raises:
        SandboxProblem: The engine refused; nothing is left of it.
    """
    import docker

    api = engine.api
    config = {
        "Image": IMAGE,
        "Cmd": ["/pause"],
        "Hostname": spec.hostname,
        "Labels": labels(spec, "sandbox"),
        "HostConfig": {
            "NetworkMode": network,
            "ExtraHosts": [f"{name}:{address}" for address, names in spec.hosts.items() for name in names],
            "Sysctls": dict(spec.sysctls),
            "LogConfig": {"Type": "none", "Config": {}},
        },
    }
    name = f"devmesh-{spec.mesh}-{spec.namespace}-{spec.pod}"[:NAME_LIMIT] + f"-{spec.id[:8]}"
    id_ = ""
    try:
        id_ = await _create(engine, config, name)
        await engine.call(api.start, id_)
        about = await engine.call(api.inspect_container, id_)
    except docker.errors.APIError as error:
        if id_:
            await remove(engine, id_)
        raise SandboxProblem(explanation(error)) from error
    except trio.Cancelled:
        if id_:
            await remove(engine, id_)
        raise
    attached = about["NetworkSettings"]["Networks"].values()
    addresses = [n["IPAddress"] for n in attached] + [n.get("GlobalIPv6Address") for n in attached]
    return id_, int(about["State"]["Pid"]), tuple(address for address in addresses if address)


async def _create(engine: Engine, config: dict[str, Any], name: str) -> str:
    """Create a container, and return its id; what has its name and is no more needed makes way.

    That is the holder before, which somebody else is removing behind our back just now.
    """
    import docker

    for tries_left in reversed(range(_TRIES)):
        try:
            return str((await engine.call(engine.api.create_container_from_config, config, name))["Id"])
        except docker.errors.APIError as error:
            if error.status_code != CONFLICT or not tries_left:
                raise
        await remove(engine, name)
    raise AssertionError("the last try returns or raises")


async def remove(engine: Engine, container: str) -> None:
    """Remove a container, running or not, by its id or name; it is gone then, or was before."""
    import docker

    with trio.CancelScope(shield=True), trio.move_on_after(30):
        try:
            await engine.call(engine.api.remove_container, container, v=True, force=True)
        except docker.errors.APIError as error:
            if error.status_code == CONFLICT:  # somebody else removes it now
                await _until_removed(engine, container)
            elif error.status_code != NOT_FOUND:
                raise


async def _until_removed(engine: Engine, container: str) -> None:
    import docker
    import requests

    # A time-out of the request: the engine goes on, and the container's name is not ours yet.
    with contextlib.suppress(docker.errors.NotFound, requests.RequestException):
        await engine.call(partial(engine.api.wait, container, timeout=_LONGEST_REMOVAL, condition="removed"))
