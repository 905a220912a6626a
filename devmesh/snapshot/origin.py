"""Where a compiled value comes from, so that every decision can be explained."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Origin:
    """The field of the resource that asked for it; file and line where it was read from a file."""

    kind: str
    namespace: str
    name: str
    path: str = ""
    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        where = f"{self.kind} {self.namespace}/{self.name}" + (f" {self.path}" if self.path else "")
        return f"{where} ({self.file}:{self.line})" if self.file else where
