"""Having a container's image: found, built or pulled, and again with back-off where that fails."""

from __future__ import annotations

from typing import Protocol

import trio

from devmesh.config.store import Raw
from devmesh.runtime.events import Level
from devmesh.runtime.pods.backend import Backend, Image, ImageProblem
from devmesh.runtime.pods.backoff import Backoff
from devmesh.runtime.pods.status import ContainerView

_FIRST_BACKOFF = 10.0
_SHOWN_FIRST = 1.0  # seconds for which the problem itself is shown, before the waiting is


class Wanting(Protocol):
    """A container that needs its image."""

    raw: Raw
    view: ContainerView
    redefined: trio.Event
    """Set, and replaced, when the manifest names another image."""

    def event(self, level: Level, reason: str, message: str) -> None: ...

    def wait_for(self, reason: str, message: str) -> None: ...


class ImagePull:
    """Remembers the failures of one container's image."""

    def __init__(self) -> None:
        self._backoff = Backoff(_FIRST_BACKOFF, free=0)

    async def have(self, container: Wanting, backend: Backend) -> Image:
        """Return the image, however long it takes to get it."""
        while True:
            view, policy = container.view, container.raw.get("imagePullPolicy")
            try:
                image = await backend.ensure_image(view.image, policy)
            except ImageProblem as problem:
                await self._failed(container, problem)
            else:
                self._backoff.reset()
                view.image_id = image.id
                container.event("Normal", "Pulled", f'Container image "{image.name}" {image.how}')
                return image

    async def _failed(self, container: Wanting, problem: ImageProblem) -> None:
        """Tell, and wait as kubelet does; a manifest that names another image ends the waiting."""
        name = container.view.image
        container.event("Warning", "Failed", f'Failed to pull image "{name}": {problem}')
        container.event("Warning", "Failed", f"Error: {problem.reason}")
        container.wait_for(problem.reason, str(problem))
        delay = self._backoff.after()
        if await _redefined_within(container, min(_SHOWN_FIRST, delay)):
            return
        if problem.reason == "ErrImagePull":
            told = f'Back-off pulling image "{name}"'
            container.event("Normal", "BackOff", told)
            container.event("Warning", "Failed", "Error: ImagePullBackOff")
            container.wait_for("ImagePullBackOff", f"{told}: {problem}")
        await _redefined_within(container, delay)


async def _redefined_within(container: Wanting, seconds: float) -> bool:
    with trio.move_on_after(seconds):
        await container.redefined.wait()
        return True
    return False
