"""The Docker runtime: an engine, a network for the mesh, a holder for each pod."""

from __future__ import annotations

from collections.abc import Callable

import trio

from devmesh.runtime.docker.engine import MESH_LABEL, Engine, explanation
from devmesh.runtime.docker.holder import IMAGE, REPOSITORY, TAG, image_tar
from devmesh.runtime.docker.images import Build, Images
from devmesh.runtime.docker.sandbox import DockerSandbox, Network, create_holder, remove
from devmesh.runtime.network.selection import Selection
from devmesh.runtime.pods.backend import Image, SandboxProblem, SandboxSpec

DOCKER_DNS = "127.0.0.11"  # the engine's own resolver, inside every container of a user-defined network


class DockerBackend:
    """See `devmesh.runtime.pods.backend.Backend`.

    Args:
        mesh: The mesh's name: its containers and its network carry it as a label.
        network: Takes over the namespaces.
        build_of: Says how an image is built; None: it is pulled.
        nursery: Where the engine's events are followed, until it is cancelled.
    """

    def __init__(
        self,
        engine: Engine,
        mesh: str,
        network: Network,
        build_of: Callable[[str], Build | None],
        nursery: trio.Nursery,
    ) -> None:
        self._engine, self._mesh, self._network, self._nursery = engine, mesh, network, nursery
        self._images = Images(engine, build_of)
        self._version = ""

    @property
    def name(self) -> str:
        return "docker"

    @property
    def version(self) -> str:
        return f"docker://{self._version}"

    @property
    def network_name(self) -> str:
        return f"devmesh-{self._mesh}"

    async def open(self) -> None:
        self._version = await self._engine.call(lambda: self._engine.version)
        await sweep(self._engine, self._mesh)
        await self._engine.call(self._prepare)
        await self._nursery.start(self._engine.follow_events, self._mesh)

    def _prepare(self) -> None:
        api = self._engine.api
        if not api.images(IMAGE):
            api.import_image_from_data(image_tar(), repository=REPOSITORY, tag=TAG)
        api.create_network(
            self.network_name, driver="bridge", labels={MESH_LABEL: self._mesh}, check_duplicate=True
        )

    async def ensure_image(self, image: str, policy: str | None) -> Image:
        return await self._images.ensure(image, policy)

    async def create_sandbox(self, spec: SandboxSpec) -> DockerSandbox:
        holder, pid, addresses = await create_holder(self._engine, spec, self.network_name)
        try:
            self._network.adopt(
                spec.id,
                pid,
                meshed=spec.meshed,
                gateway=spec.gateway,
                namespace=spec.namespace,
                addresses=addresses,
                nameservers=(DOCKER_DNS,),
                selection=Selection.of(spec.annotations),
            )
        except (OSError, ValueError) as error:
            await remove(self._engine, holder)
            raise SandboxProblem(
                f"the pod's namespace could not be entered: {error}; see `devmesh doctor`"
            ) from error
        return DockerSandbox(self._engine, self._network, spec, holder, addresses)

    async def aclose(self) -> None:
        with trio.CancelScope(shield=True), trio.move_on_after(30):
            await sweep(self._engine, self._mesh)


async def sweep(engine: Engine, mesh: str) -> int:
    """Remove every container and network of a mesh; return how many there were."""
    import docker

    mine = {"label": f"{MESH_LABEL}={mesh}"}
    containers = await engine.call(engine.api.containers, all=True, filters=mine)
    async with trio.open_nursery() as nursery:
        for container in containers:
            nursery.start_soon(remove, engine, container["Id"])
    networks = await engine.call(engine.api.networks, filters=mine)
    for network in networks:
        try:
            await engine.call(engine.api.remove_network, network["Id"])
        except docker.errors.APIError as error:
            if error.status_code != 404:
                raise RuntimeError(
                    f"network {network['Name']} cannot be removed: {explanation(error)}"
                ) from error
    return len(containers) + len(networks)
