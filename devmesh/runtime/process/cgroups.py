"""Limits of CPU and memory for processes, where control groups may be written (as root, mostly).

Both of Linux's forms: the unified hierarchy (v2), and the older one with a folder per controller (v1).
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
_OURS = "devmesh"
_PERIOD = 100_000  # microseconds over which CPU time is shared out


@dataclass(frozen=True, slots=True)
class ControlGroup:
    """One container's group. `folders` are one (v2) or one per controller (v1)."""

    folders: tuple[Path, ...]

    @property
    def entrances(self) -> tuple[str, ...]:
        """Files that a process writes "0" to, to be in the group."""
        return tuple(str(folder / "cgroup.procs") for folder in self.folders)

    def was_out_of_memory(self) -> bool:
        """Tell whether the kernel has killed one of its processes for the memory limit."""
        for folder in self.folders:
            for name in ("memory.events", "memory.oom_control"):
                with contextlib.suppress(OSError):
                    for line in (folder / name).read_text().splitlines():
                        words = line.split()
                        if words[:1] == ["oom_kill"] and int(words[1]) > 0:
                            return True
        return False

    def remove(self) -> None:
        """Take it away; one that is still in use is left for the next start."""
        for folder in self.folders:
            with contextlib.suppress(OSError):
                folder.rmdir()


def limited(name: str, cpu: float | None, memory: int | None, root: Path = ROOT) -> ControlGroup | None:
    """Make a group with these limits (cores, bytes); None where this machine doesn't let us."""
    values: dict[str, dict[str, str]] = {}
    unified = (root / "cgroup.controllers").exists()
    if memory is not None:
        values["memory"] = {"memory.max" if unified else "memory.limit_in_bytes": str(memory)}
    if cpu is not None:
        quota = max(1000, int(cpu * _PERIOD))
        values["cpu"] = (
            {"cpu.max": f"{quota} {_PERIOD}"}
            if unified
            else {"cpu.cfs_period_us": str(_PERIOD), "cpu.cfs_quota_us": str(quota)}
        )
    made: list[Path] = []
    try:
        if unified:
            _enable(root, tuple(values))
        for controller, settings in values.items():
            folder = (root if unified else root / controller) / _OURS / name
            if folder not in made:
                folder.mkdir(parents=True, exist_ok=True)
                made.append(folder)
            for file, value in settings.items():
                (folder / file).write_text(value)
    except OSError:
        ControlGroup(tuple(made)).remove()
        return None
    return ControlGroup(tuple(made))


def _enable(root: Path, controllers: tuple[str, ...]) -> None:
    """Let groups below `root`, and below ours, have controllers."""
    (root / _OURS).mkdir(exist_ok=True)
    for folder in (root, root / _OURS):
        has = (folder / "cgroup.subtree_control").read_text().split()
        if missing := [c for c in controllers if c not in has]:
            (folder / "cgroup.subtree_control").write_text(" ".join("+" + c for c in missing))


def remove_unused(root: Path = ROOT) -> None:
    """Remove the groups that a run that was killed has left; those of a mesh that runs are in use."""
    for ours in (root / _OURS, root / "memory" / _OURS, root / "cpu" / _OURS):
        with contextlib.suppress(OSError):
            for entry in os.scandir(ours):
                if entry.is_dir():
                    with contextlib.suppress(OSError):
                        os.rmdir(entry.path)
            ours.rmdir()
