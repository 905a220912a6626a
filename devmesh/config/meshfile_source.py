"""The mesh file, followed while the mesh runs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace

import trio

from devmesh.config.finding import Finding
from devmesh.config.meshfile import BadMeshFile, MeshFile, NoInput
from devmesh.config.watching import changes_of

_FIXED = ("runtime", "injection", "gateways")
"""What of ``spec`` is settled when the mesh starts."""


class MeshFileSource:
    """The mesh file as it is now; one that cannot be used keeps its last good state.

    Args:
        started: As it was when the mesh started.
    """

    def __init__(self, started: MeshFile) -> None:
        self.current = started
        self._started = started
        self._wrong: tuple[Finding, ...] = ()

    @property
    def findings(self) -> list[Finding]:
        """Return what there is to say of it now, errors first."""
        return [*self._wrong, *self.current.findings, *self._later()]

    async def run(self, changed: Callable[[MeshFile], None], report: Callable[[list[Finding]], None]) -> None:
        """Follow it: `changed` is told the one before, `report` what is said then. Ends by cancellation.

        Nothing is followed where there is no mesh file.
        """
        if self.current.path is None:
            return
        async for _ in changes_of([str(self.current.path)], self.current.base):
            said, before = self.findings, self.current
            await self._reread()
            if self.current != before:
                changed(before)
            if self.findings != said:
                report(self.findings)

    async def _reread(self) -> None:
        try:
            read = await trio.to_thread.run_sync(self._started.reread)
        except (BadMeshFile, NoInput) as error:
            found = error.findings if isinstance(error, BadMeshFile) else (self._finding(str(error)),)
            kept = replace(
                self._finding("the file has errors: its last good state stays in force"),
                code="DM0011", severity="info",
            )  # fmt: skip
            self._wrong = (*found, kept)
            return
        if read.path is None:  # a folder that had one
            self._wrong = (self._finding("the mesh file is gone: its last good state stays in force"),)
            return
        self.current, self._wrong = read, ()

    def _later(self) -> list[Finding]:
        """Tell what has changed and is only looked at when the mesh starts."""
        now, then = self.current, self._started
        fields = [f"spec.{name}" for name in _FIXED if getattr(now.spec, name) != getattr(then.spec, name)]
        if now.name != then.name:
            fields.append("metadata.name")
        message = "takes effect when the mesh is started anew: devmesh down, devmesh up"
        return [
            replace(self._finding(message), code="DM0014", severity="info", path=field) for field in fields
        ]

    def _finding(self, message: str) -> Finding:
        return Finding("DM0001", "error", message, file=self._shown)

    @functools.cached_property
    def _shown(self) -> str:
        path = self._started.path
        return path.name if path is not None else ""
