"""Having images: found, built as the mesh file says, or pulled."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from devmesh.runtime.docker.engine import Engine, explanation
from devmesh.runtime.pods.backend import Image, ImageProblem

BASE_IMAGE = "DEVMESH_BASE_IMAGE"
BUILDS_AT_A_TIME = 2


@dataclass(frozen=True, slots=True)
class Build:
    """How an image is built: ``images[].build`` of the mesh file, with an absolute context."""

    context: Path
    dockerfile: str | None = None
    args: Mapping[str, str] = field(default_factory=dict)
    target: str | None = None


class Images:
    """The engine's images. Calls for one image share one build or pull.

    Args:
        build_of: Says how an image is built, or None where it is to be pulled.
    """

    def __init__(self, engine: Engine, build_of: Callable[[str], Build | None]) -> None:
        self._engine, self._build_of = engine, build_of
        self._locks: dict[str, trio.Lock] = {}
        self._builds = trio.CapacityLimiter(BUILDS_AT_A_TIME)

    async def ensure(self, name: str, policy: str | None) -> Image:
        """Return the image, made or fetched where it isn't there.

        Raises:
            ImageProblem: It cannot be had.
        """
        async with self._locks.setdefault(name, trio.Lock()):
            build = self._build_of(name)
            if policy != "Always" or build is not None:
                found = await self._find(name)
                if found is not None:
                    return found
            if build is not None:
                return await self._build(name, build)
            if policy == "Never":
                raise ImageProblem(
                    f'Container image "{name}" is not present with pull policy of Never', "ErrImageNeverPull"
                )
            return await self._pull(name)

    async def _find(self, name: str, how: str = "already present on this machine") -> Image | None:
        import docker

        try:
            found = await self._engine.call(self._engine.api.inspect_image, name)
        except docker.errors.ImageNotFound:
            return None
        except docker.errors.APIError as error:
            raise ImageProblem(f"{name}: {explanation(error)}", "InvalidImageName") from error
        return Image(name, found["Id"], found, how, (found.get("Config") or {}).get("User") or "")

    async def _build(self, name: str, build: Build) -> Image:
        if not build.context.is_dir():
            raise ImageProblem(
                f"{name} cannot be built: its context {build.context} is not a folder; "
                "change images[].build.context in the mesh file"
            )
        args = dict(build.args)
        if base := os.environ.get(BASE_IMAGE):
            args.setdefault("BASE_IMAGE", base)
        started = time.monotonic()
        async with self._builds:
            await self._engine.call(self._run_build, name, build, args)
        found = await self._find(
            name, f"built from {build.context.name} in {time.monotonic() - started:.1f}s"
        )
        if found is None:
            raise ImageProblem(f"{name} was built from {build.context}, but isn't there")
        return found

    def _run_build(self, name: str, build: Build, args: Mapping[str, str]) -> None:
        import docker

        try:
            lines = self._engine.api.build(
                path=str(build.context),
                dockerfile=build.dockerfile,
                buildargs=dict(args),
                target=build.target or "",
                tag=name,
                rm=True,
                forcerm=True,
                decode=True,
            )
            wrong = _what_went_wrong(lines)
        except (docker.errors.DockerException, OSError, TypeError) as error:
            raise ImageProblem(
                f"{name} could not be built from {build.context}: {explanation(error)}"
            ) from error
        if wrong:
            raise ImageProblem(f"{name} could not be built from {build.context}: {wrong}")

    async def _pull(self, name: str) -> Image:
        started = time.monotonic()
        await self._engine.call(self._run_pull, name)
        found = await self._find(name, f"pulled in {time.monotonic() - started:.1f}s")
        if found is None:
            raise ImageProblem(f"{name} was pulled, but isn't there")
        return found

    def _run_pull(self, name: str) -> None:
        import docker

        hint = "log in with `docker login`, or say how it is built under images[] in the mesh file"
        tagged = ":" in name.rpartition("/")[2] or "@" in name
        try:
            lines = self._engine.api.pull(name if tagged else f"{name}:latest", stream=True, decode=True)
            wrong = _what_went_wrong(lines)
        except (docker.errors.DockerException, OSError) as error:
            raise ImageProblem(f"{explanation(error)}; {hint}") from error
        if wrong:
            raise ImageProblem(f"{wrong}; {hint}")


def _what_went_wrong(lines: Iterable[dict[str, Any]]) -> str:
    """Read the engine's progress to its end; return its error and the output before it, or ""."""
    recent: list[str] = []
    wrong = ""
    for line in lines:
        if (text := str(line.get("stream", "")).strip()) and not wrong:
            recent = [*recent[-4:], text]
        wrong = wrong or str(line.get("error", ""))
    said = " | ".join(recent)
    return f"{wrong} (after: {said})" if wrong and said else wrong
