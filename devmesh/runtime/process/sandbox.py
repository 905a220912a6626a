"""The pod of processes: a network namespace, and what every container of it finds in its files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import trio

from devmesh.runtime.descriptors import given_limit
from devmesh.runtime.pods.backend import ContainerSpec, SandboxSpec, StartProblem
from devmesh.runtime.process.cgroups import ControlGroup, limited
from devmesh.runtime.process.container import ProcessContainer, private_folder, start_process
from devmesh.runtime.process.images import Program
from devmesh.runtime.process.spawn import Launch, dropped_capabilities
from devmesh.runtime.process.user import User


class PodNetwork(Protocol):
    """A pod's network namespace, as `devmesh.runtime.network` makes it."""

    @property
    def addresses(self) -> tuple[str, ...]: ...

    @property
    def netns_fd(self) -> int: ...

    @property
    def userns_fd(self) -> int | None: ...


class ProcessSandbox:
    """`devmesh.runtime.pods.backend.Sandbox` of processes."""

    def __init__(
        self,
        spec: SandboxSpec,
        network: PodNetwork,
        user: User,
        nameserver: str,
        turn: trio.Lock,
        release: Callable[[], None],
    ) -> None:
        self.addresses = network.addresses
        self._spec = spec
        self._network = network
        self._user = user
        self._nameserver = nameserver
        self._turn = turn
        self._release: Callable[[], None] | None = release
        self._containers: set[ProcessContainer] = set()
        self._notes: dict[str, None] = {}

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(self._notes)

    async def start(self, spec: ContainerSpec) -> ProcessContainer:
        group = self._limited(spec)
        launch = self._launch(spec, group)
        container = await start_process(spec.name, launch, self._turn, spec.stop_signal, group)
        self._notes |= dict.fromkeys(container.notes)
        self._containers.add(container)
        return container

    async def wait_lost(self) -> str:
        await trio.sleep_forever()  # a namespace that we hold does not go away
        raise AssertionError

    async def aclose(self) -> None:
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                for container in self._containers:
                    nursery.start_soon(container.aclose)
            self._containers.clear()
            if self._release is not None:
                release, self._release = self._release, None
                release()

    def _launch(self, spec: ContainerSpec, group: ControlGroup | None) -> Launch:
        program = spec.image.handle
        assert isinstance(program, Program)
        userns = self._network.userns_fd
        user = self._user if spec.user is None or userns is not None else User.of(spec.user)
        if userns is not None and spec.user not in (None, user.uid):
            self._notes["securityContext.runAsUser has no effect without root: it runs as you"] = None
        workdir = _workdir(spec, program)
        return Launch(
            argv=_argv(spec, program),
            env={**user.environment(), **program.env, "HOSTNAME": self._spec.hostname, **dict(spec.env)},
            workdir=workdir,
            netns=self._network.netns_fd,
            userns=userns,
            hostname=self._spec.hostname,
            top=private_folder(self._spec.directory / "root"),
            keep=_kept(program),
            files=self._files(),
            mounts=tuple((os.path.realpath(m.source), m.target, m.read_only) for m in spec.mounts),
            uid=None if userns is not None else user.uid,
            gid=None if userns is not None else _first(spec.group, user.gid),
            groups=tuple(dict.fromkeys((*user.groups, *spec.groups))),
            drop=None
            if spec.privileged
            else dropped_capabilities(spec.capabilities_add, spec.capabilities_drop),
            read_only_root=spec.read_only_root,
            all_devices=spec.privileged,
            cgroups=group.entrances if group else (),
            files_open=given_limit(),
        )

    def _files(self) -> tuple[tuple[str, bytes], ...]:
        """Return what kubelet writes for every container of the pod."""
        name, address = self._spec.hostname, self.addresses[0]
        lines = ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback", f"{address}\t{name}"]
        lines += [f"{ip}\t{' '.join(names)}" for ip, names in self._spec.hosts.items()]
        resolver = [f"nameserver {self._nameserver}"]
        if self._spec.search:
            resolver += [f"search {' '.join(self._spec.search)}", "options ndots:5"]
        return (
            ("/etc/hosts", _text(lines)),
            ("/etc/resolv.conf", _text(resolver)),
            ("/etc/hostname", _text([name])),
        )

    def _limited(self, spec: ContainerSpec) -> ControlGroup | None:
        """Return a control group for the limits; where none can be made, say that they have no effect."""
        if spec.cpu is None and spec.memory is None:
            return None
        group = None
        if self._network.userns_fd is None:
            group = limited(f"{self._spec.id}.{spec.name}.{spec.attempt}", spec.cpu, spec.memory)
        if group is None:
            note = "resources.limits have no effect here: devmesh may not write control groups"
            self._notes[f"{note} (as root it may; Docker enforces them too: --runtime docker)"] = None
        return group


def _first(value: int | None, otherwise: int) -> int:
    return otherwise if value is None else value


def _text(lines: list[str]) -> bytes:
    return "".join(line + "\n" for line in lines).encode()


def _argv(spec: ContainerSpec, program: Program) -> tuple[str, ...]:
    """Kubernetes: `command` takes the image's entrypoint's place, and its arguments go too."""
    if spec.command:
        return spec.command + (spec.args or ())
    if not program.command:
        raise StartProblem(
            f"no command: neither the manifest nor images[].process (match {program.match}) gives one",
            "CreateContainerError",
        )
    return program.command + (spec.args or ())


def _workdir(spec: ContainerSpec, program: Program) -> str:
    """Return the manifest's folder where there is one of that name here or a volume, else the program's."""
    wanted = spec.workdir
    if wanted and (Path(wanted).is_dir() or any(Path(wanted).is_relative_to(m.target) for m in spec.mounts)):
        return wanted
    return str(program.workdir)


def _kept(program: Program) -> tuple[str, ...]:
    """Return the folders shown as they are on this machine: the program's, and where its interpreter is.

    An overlay keeps showing a file that an editor has since replaced by another of the same name.
    """
    import sys

    hidden = [path for path in (sys.prefix, sys.base_prefix) if path.startswith(("/tmp/", "/run/"))]
    return (str(program.workdir), *hidden)
