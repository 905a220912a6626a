"""The folder where a mesh keeps what must outlive its process."""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")


class InvalidMeshName(ValueError):
    """A mesh's name cannot be a folder's name and a DNS label; the user chose it."""


class AlreadyRunning(RuntimeError):
    """A devmesh process holds the folder."""


class NoStateFolder(RuntimeError):
    """The folder cannot be made, or not be written."""


LOCK_DESCRIPTOR = "DEVMESH_LOCK"
"""The variable by which `devmesh up -d` hands its lock to the process that runs the mesh."""
_TRIES, _BETWEEN = 5, 0.02  # for the lock: whoever asks whether it is held has it for a moment


def mesh_name(text: str) -> str:
    """Return `text` (a folder's name, say) as a mesh name: lower case, dashes for what isn't allowed.

    Raises:
        InvalidMeshName: Nothing is left of it.
    """
    name = re.sub(r"[^a-z0-9.-]+", "-", text.lower()).strip("-.")[:63].rstrip("-.")
    if not _NAME.fullmatch(name):
        raise InvalidMeshName(f"{text!r} cannot name a mesh: use letters, digits and dashes (--mesh NAME)")
    return name


def state_home() -> Path:
    """Return ``$XDG_STATE_HOME/devmesh``; ~/.local/state where the variable isn't set."""
    home = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(home) / "devmesh"


@dataclass(frozen=True, slots=True)
class StateDir:
    """One mesh's folder (0700): the store, credentials, logs, and what is known of the running process."""

    name: str
    path: Path

    @classmethod
    def of(cls, name: str) -> StateDir:
        return cls(name, state_home() / name)

    @classmethod
    def all(cls) -> Iterator[StateDir]:
        """Yield every mesh that has left something, by name."""
        if state_home().is_dir():
            for path in sorted(state_home().iterdir()):
                if path.is_dir():
                    yield cls(path.name, path)

    @property
    def database(self) -> Path:
        return self.path / "store.db"

    @property
    def run_file(self) -> Path:
        return self.path / "run.json"

    @property
    def log_file(self) -> Path:
        return self.path / "devmesh.log"

    @property
    def pods(self) -> Path:
        return self.path / "pods"

    def create(self) -> None:
        """Make the folder.

        Raises:
            NoStateFolder: It cannot be.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.path.chmod(0o700)
            (self.path / "lock").touch(0o600)
        except OSError as error:
            raise NoStateFolder(
                f"the state folder {self.path} cannot be written: {error.strerror}; "
                "let XDG_STATE_HOME name a folder of yours"
            ) from error

    def lock(self) -> IO[str]:
        """Take the folder for this process, until the file is closed or the process ends.

        Raises:
            AlreadyRunning: Another process has it.
            NoStateFolder: It cannot be made.
        """
        if inherited := os.environ.pop(LOCK_DESCRIPTOR, None):
            os.set_inheritable(int(inherited), False)
            return os.fdopen(int(inherited), "a+")
        self.create()
        file = (self.path / "lock").open("a+")
        if not _take(file):
            file.close()
            raise AlreadyRunning(
                f"mesh {self.name!r} is already running: see `devmesh --mesh {self.name} status`, "
                f"or end it with `devmesh --mesh {self.name} down`"
            )
        file.truncate(0)
        self.run_file.unlink(missing_ok=True)  # of one that was killed
        return file

    def write_holder(self, pid: int) -> None:
        """Say which process runs the mesh, as soon as it has begun."""
        (self.path / "lock").write_text(f"{pid}\n")

    def holder(self) -> int | None:
        """Return the process that holds the folder; None where none does."""
        if not self.is_held():
            return None
        text = (self.path / "lock").read_text().strip()
        return int(text) if text.isdecimal() and _is_devmesh(int(text)) else None

    def is_held(self) -> bool:
        """Tell whether a devmesh process runs on this folder."""
        try:
            file = (self.path / "lock").open("r+")
        except (FileNotFoundError, NotADirectoryError):
            return False
        except PermissionError as error:
            raise NoStateFolder(f"the state folder {self.path} is not yours: {error.strerror}") from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def running(self) -> dict[str, Any] | None:
        """Return what the running process wrote about itself; None where none runs."""
        if not self.is_held():
            return None
        try:
            found: dict[str, Any] = json.loads(self.run_file.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return None  # it has only just begun
        return found

    def write_run(self, about: dict[str, Any]) -> None:
        """Publish what clients need to find the process; whole or not at all."""
        self.write_private(self.run_file, json.dumps(about, indent=2).encode())

    @staticmethod
    def write_private(path: Path, content: bytes) -> None:
        """Write a file that only its owner can read (0600), atomically."""
        partial = path.with_name(path.name + ".partial")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        partial.replace(path)


def _take(file: IO[str]) -> bool:
    for n in range(_TRIES):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if n + 1 < _TRIES:
                time.sleep(_BETWEEN)
    return False


def _is_devmesh(pid: int) -> bool:
    """Tell whether `pid` is still a devmesh, and no other process that got the number since."""
    try:
        return b"devmesh" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
