"""How many files and sockets devmesh may have open."""

from __future__ import annotations

import resource
from contextlib import suppress

_given: tuple[int, int] | None = None


def raise_limit() -> None:
    """Raise the soft limit to the hard one: a pod takes some nine descriptors, a connection two.

    The soft limit is for programs that use select(2), which devmesh does not. What it starts gets back
    what devmesh was given (`given_limit`), since such a program may be among it.
    """
    global _given
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if _given is None:
        _given = soft, hard
    with suppress(OSError, ValueError):  # not allowed to: what there is has to do
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def given_limit() -> tuple[int, int]:
    """Return the soft and the hard limit with which devmesh was started."""
    return _given or resource.getrlimit(resource.RLIMIT_NOFILE)
