"""Which name servers this machine asks (resolv.conf(5))."""

from __future__ import annotations

import ipaddress
from pathlib import Path

PATH = Path("/etc/resolv.conf")
_MAX_SERVERS = 3  # resolv.conf(5): further ones are ignored


def nameservers(text: str) -> tuple[str, ...]:
    """Return the servers of a resolv.conf, first the one to ask first; lines that can't be read are none."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver" and _is_address(words[1]):
            found.append(words[1])
    return tuple(found[:_MAX_SERVERS])


def _is_address(word: str) -> bool:
    try:
        ipaddress.ip_address(word.partition("%")[0])
    except ValueError:
        return False
    return True


class HostServers:
    """The host's name servers, read again when the file has changed (a laptop changes networks)."""

    def __init__(self, path: Path = PATH) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._servers: tuple[str, ...] = ()

    def __call__(self) -> tuple[str, ...]:
        """Return them; none where there is no such file."""
        try:
            state = self._path.stat()
            if (state.st_mtime_ns, state.st_ino) != self._stamp:
                self._servers = nameservers(self._path.read_text(errors="replace"))
                self._stamp = (state.st_mtime_ns, state.st_ino)
        except OSError:
            self._servers, self._stamp = (), None
        return self._servers
