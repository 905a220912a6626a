"""Files as the processes of a pod see them."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import suppress

_MOST_STEPS = 256
MOST = 1 << 20  # bytes of one file


class RunningPodFiles:
    """Implements `PodFiles` by /proc: whoever runs in the network namespace of the pod has
    its files, whatever the runtime.

    Args:
        netns: Returns a descriptor of an instance's network namespace; OSError: it is gone.
    """

    def __init__(self, netns: Callable[[str], int]) -> None:
        self._netns = netns

    def reader(self, instance: str) -> Callable[[str], bytes]:
        wanted = os.fstat(self._netns(instance)).st_ino

        def read(path: str) -> bytes:
            denied: OSError | None = None
            for root in roots_of(wanted):
                try:
                    with open(within(root, path), "rb") as file:
                        return file.read(MOST)
                except FileNotFoundError:
                    continue
                except OSError as error:
                    denied = error
            raise denied or FileNotFoundError(f"no process of the pod has the file {path}")

        return read


def within(root: str, path: str) -> str:
    """Return where `path` is below `root`, with links followed as from inside.

    Raises:
        OSError: It isn't there, or its links go in circles.
    """
    here: list[str] = []
    left = path.split("/")[::-1]
    for _ in range(_MOST_STEPS):
        if not left:
            return "/".join((root, *here))
        part = left.pop()
        if part == "..":
            del here[-1:]
        elif part not in ("", "."):
            full = "/".join((root, *here, part))
            if not os.path.islink(full):
                here.append(part)
                continue
            target = os.readlink(full)
            if target.startswith("/"):
                here.clear()
            left.extend(target.split("/")[::-1])
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)


def roots_of(netns: int) -> Iterator[str]:
    """Yield the root folders of processes in a network namespace, each once."""
    seen = set()
    own = _view("self")
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        with suppress(OSError):
            if os.stat(f"/proc/{entry}/ns/net").st_ino != netns:
                continue
            view = _view(entry)
            if view not in seen and view != own:
                seen.add(view)
                yield f"/proc/{entry}/root"


def _view(process: str) -> tuple[int, int, int]:
    """Return what is the same for processes that see the same files."""
    root = os.stat(f"/proc/{process}/root/.")
    return os.stat(f"/proc/{process}/ns/mnt").st_ino, root.st_dev, root.st_ino
