"""The process runtime: each container is a local command, each pod a set of namespaces."""

from __future__ import annotations

import platform
from typing import Protocol

import trio

from devmesh.runtime.network.addresses import AddressesExhausted
from devmesh.runtime.network.selection import InvalidAnnotation, Selection
from devmesh.runtime.pods.backend import Image, SandboxProblem, SandboxSpec
from devmesh.runtime.process.cgroups import remove_unused
from devmesh.runtime.process.images import Programs
from devmesh.runtime.process.sandbox import PodNetwork, ProcessSandbox
from devmesh.runtime.process.user import User


class Networks(Protocol):
    """Where pods' network namespaces come from: `devmesh.runtime.network`."""

    def create(
        self, instance: str, *, meshed: bool, gateway: bool, namespace: str, selection: Selection
    ) -> PodNetwork:
        """Make a namespace with a link, addresses and rules.

        Raises:
            OSError: The kernel refuses.
            AddressesExhausted: No address is free.
        """

    def release(self, instance: str) -> None:
        """Take it away; nothing where there is none."""


class ProcessBackend:
    """`devmesh.runtime.pods.backend.Backend` without any engine.

    Args:
        networks: Makes the pods' namespaces; a user namespace where devmesh isn't root.
        programs: What to run for which image.
        nameserver: Whom the pods' resolv.conf names; their namespace's rules take all queries over.
        user: As whom processes run where the manifest doesn't say.
    """

    name = "process"

    def __init__(
        self,
        networks: Networks,
        programs: Programs,
        *,
        nameserver: str = "127.0.0.53",
        user: User | None = None,
    ) -> None:
        self._networks = networks
        self._programs = programs
        self._nameserver = nameserver
        self._user = user or User.invoking()
        self._turn = trio.Lock()

    @property
    def version(self) -> str:
        return f"process://{platform.release().split('-')[0]}"

    async def open(self) -> None:
        # Namespaces and processes of a crashed run have gone with it; control groups stay.
        await trio.to_thread.run_sync(remove_unused)

    async def ensure_image(self, image: str, policy: str | None) -> Image:
        await trio.lowlevel.checkpoint()
        return self._programs.find(image)

    async def create_sandbox(self, spec: SandboxSpec) -> ProcessSandbox:
        try:
            async with self._turn:
                network = self._networks.create(
                    spec.id,
                    meshed=spec.meshed,
                    gateway=spec.gateway,
                    namespace=spec.namespace,
                    selection=Selection.of(spec.annotations),
                )
        except (OSError, InvalidAnnotation, AddressesExhausted) as problem:
            raise SandboxProblem(f"cannot make the pod's network: {problem}") from problem

        def release() -> None:
            self._networks.release(spec.id)

        return ProcessSandbox(spec, network, self._user, self._nameserver, self._turn, release)

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()
