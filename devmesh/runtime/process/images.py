"""What is run where a manifest names an image: ``images[].process`` of the mesh file."""

from __future__ import annotations

import fnmatch
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from devmesh.runtime.pods.backend import Image, ImageProblem


@dataclass(frozen=True, slots=True)
class Program:
    """A local command in place of an image.

    Attributes:
        match: A glob over the image's name as the manifest has it; ``*`` matches slashes too.
        command: The entrypoint and its arguments; a manifest's ``command`` and ``args`` go before them.
        workdir: Where it runs; shown in the pod as it is, so that edits are seen at once.
        env: Variables that the image would have set.
    """

    match: str
    command: tuple[str, ...]
    workdir: Path
    env: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, raw: Mapping[str, Any], folder: Path) -> Program | None:
        """Read one entry of ``images``; None where it has no ``process``.

        Paths are relative to `folder`, the mesh file's. ``{python}`` is devmesh's own interpreter.
        """
        process = raw.get("process")
        if process is None:
            return None
        command = tuple(part.replace("{python}", sys.executable) for part in process.get("command") or ())
        workdir = (folder / (process.get("workdir") or ".")).resolve()
        return cls(str(raw["match"]), command, workdir, dict(process.get("env") or {}))


class Programs:
    """The programs that stand for images; the first that matches wins."""

    def __init__(self, programs: Iterable[Program]) -> None:
        self._programs = tuple(programs)

    @classmethod
    def of(cls, images: Sequence[Mapping[str, Any]], folder: Path) -> Programs:
        """Read the mesh file's ``images``."""
        found = (Program.of(entry, folder) for entry in images)
        return cls(program for program in found if program is not None)

    def replace(self, others: Programs) -> None:
        """Take other programs in place of all; what runs goes on."""
        self._programs = others._programs

    def find(self, image: str) -> Image:
        """Return what to run for `image`.

        Raises:
            ImageProblem: The mesh file does not say, or names a folder that isn't there.
        """
        for program in self._programs:
            if image_matches(program.match, image):
                if not program.workdir.is_dir():
                    raise ImageProblem(
                        f"{program.workdir} is not a folder: it is the process.workdir that devmesh.yaml "
                        f"gives for images like {program.match}"
                    )
                told = " ".join(program.command) or "the manifest's command"
                how = f"runs as a process here: {told} in {program.workdir}"
                return Image(image, f"process:{program.workdir}", program, how)
        raise ImageProblem(
            f"no local command is known for image {image!r}, and the process runtime runs no images: add to "
            f'devmesh.yaml under spec.images: {{match: "{_suggestion(image)}", process: {{command: [...], '
            "workdir: ...}}, or use Docker (--runtime docker)"
        )


def image_matches(pattern: str, image: str) -> bool:
    """Tell whether a glob of ``images[].match`` covers an image's name, with its tag or without."""
    untagged = image.rpartition(":")[0] if ":" in os.path.basename(image) else image
    return any(fnmatch.fnmatchcase(name, pattern) for name in (image, untagged, f"{untagged}:latest"))


def _suggestion(image: str) -> str:
    name = os.path.basename(image.partition("@")[0]).partition(":")[0]
    return f"*{name}:*"
