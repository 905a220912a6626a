"""What `up` tells while a mesh comes up."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import click

from devmesh.config.finding import Finding

GREEN, YELLOW, RED, DIM = "green", "yellow", "red", "bright_black"


class Progress:
    """Prints a line for each workload that becomes ready, and each problem once, to stderr.

    It is fed with the mesh's status (`/devmesh/v1/status`) as often as one likes.
    """

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._ready: set[tuple[str, str]] = set()
        self._told: set[str] = set()

    def update(self, workloads: Sequence[Mapping[str, Any]], findings: Sequence[Finding] = ()) -> bool:
        """Print what is new; return whether every workload is ready.

        Warnings wait until then: before the gateways' pods are there, a Gateway has no workload.
        """
        is_ready = all(workload["ready"] >= workload["replicas"] for workload in workloads)
        for workload in workloads:
            key = (workload["namespace"], workload["name"])
            has_all = workload["ready"] >= workload["replicas"]
            if has_all and key not in self._ready:
                self._ready.add(key)
                self._line(
                    "✓", GREEN, f"{self._name(workload)} ready {workload['ready']}/{workload['replicas']}"
                )
            elif not has_all:
                self._ready.discard(key)
                if problem := workload.get("problem"):
                    self._once(f"{self._name(workload)}: {problem}", "✗", RED)
        for finding in findings:
            if finding.severity == "error" or (is_ready and finding.severity == "warning"):
                self._once(str(finding), "!", RED if finding.severity == "error" else YELLOW)
        return is_ready

    def _once(self, text: str, mark: str, colour: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._line(mark, colour, text)

    def _line(self, mark: str, colour: str, text: str) -> None:
        elapsed = click.style(f"{time.monotonic() - self._started:5.1f}s", fg=DIM)
        with suppress(OSError):  # stderr is a file on a full disk
            click.echo(f"{elapsed}  {click.style(mark, fg=colour)} {text}", err=True)
            sys.stderr.flush()

    @staticmethod
    def _name(workload: Mapping[str, Any]) -> str:
        prefix = "" if workload["namespace"] == "default" else f"{workload['namespace']}/"
        return f"{prefix}{workload['name']}"


def unready(workloads: Sequence[Mapping[str, Any]]) -> str:
    """Return which workloads are not ready, and why, for an error."""
    waiting = [w for w in workloads if w["ready"] < w["replicas"]]
    return "\n".join(
        f"  {Progress._name(w)} {w['ready']}/{w['replicas']}: {w.get('problem') or 'not ready yet'}"
        for w in waiting
    )
