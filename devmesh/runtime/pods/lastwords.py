"""What a container says at its end: its termination message."""

from __future__ import annotations

import contextlib
from pathlib import Path

from devmesh.runtime.pods.logs import last_lines

_BYTES, _LOG_BYTES, _LOG_LINES = 4096, 2048, 80  # kubelet's bounds


def message_file(folder: Path, container: str, attempt: int) -> Path:
    """Make the file that the container sees at its terminationMessagePath; any user may write it."""
    file = folder / "messages" / f"{container}.{attempt}"
    file.parent.mkdir(exist_ok=True)
    file.touch()
    file.chmod(0o666)
    return file


def last_words(folder: Path, container: str, attempt: int, log: Path | None) -> str:
    """Return what the container has written there, else the end of `log`; the file is removed."""
    file = folder / "messages" / f"{container}.{attempt}"
    message = ""
    with contextlib.suppress(OSError):
        with file.open("rb") as opened:
            message = opened.read(_BYTES).decode(errors="replace")
        file.unlink()
    if not message and log is not None:
        return last_lines(log, _LOG_LINES, _LOG_BYTES)
    return message
