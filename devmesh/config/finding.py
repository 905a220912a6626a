"""Something to tell a user about what they wrote."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """What is wrong or without effect, where, and what to do next.

    `path` is the field (``spec.http[0].route[0].weight``); `file`, `line`, `column` are given for
    what was read from a file (lines and columns count from 1). `code` is Istio's or Kiali's
    where they have one (IST0101, KIA0202), else ``DM...``.
    """

    code: str
    severity: Severity
    message: str
    kind: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""
    file: str = ""
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        position = f":{self.line}:{self.column}" if self.line else ""
        place = f"{self.file}{position}: " if self.file else ""
        name = f"{self.namespace}/{self.name}" if self.namespace else self.name
        what = f"{self.kind} {name}".rstrip() + ": " if self.kind else ""
        at = f"{self.path}: " if self.path else ""
        return f"{place}{what}{at}{self.message} [{self.code}]"
