"""What a name of the world means, and for how long: as this machine would find it."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import trio

from devmesh.model.outside import OutsideNames
from devmesh.runtime.dns import forward, message
from devmesh.runtime.dns.message import Query, Record
from devmesh.runtime.dns.resolvconf import HostServers

HOSTS = Path("/etc/hosts")
_MAX_SIZE = 4096


@dataclass(frozen=True, slots=True)
class Found:
    """The addresses of a name, IPv4 ones where it has any (Envoy: V4_PREFERRED).

    `ttl` is seconds; None where nobody said.
    """

    addresses: tuple[str, ...]
    ttl: float | None = None


class HostLookup:
    """Looks names up: the mesh file's stand-ins, the hosts file, DNS, then whatever else the system asks.

    Args:
        outside: Names that lead somewhere else here.
        servers: Returns the host's name servers.
    """

    def __init__(
        self,
        outside: OutsideNames,
        servers: Callable[[], Sequence[str]] | None = None,
        hosts: Path = HOSTS,
    ) -> None:
        self._outside = outside
        self._servers = servers or HostServers()
        self._hosts = hosts

    async def __call__(self, name: str) -> Found | None:
        """Return what `name` (lower case) means now; None: it could not be found out."""
        if (given := self._outside.addresses(name)) is not None:
            return Found(given)
        if written := _written(self._hosts, name):
            return Found(_preferred(written))
        servers = self._servers()
        for kind in (message.A, message.AAAA) if servers else ():
            if found := await _asked(name, kind, servers):
                return found
        return await trio.to_thread.run_sync(_system, name, abandon_on_cancel=True)


async def _asked(name: str, kind: int, servers: Sequence[str]) -> Found | None:
    """Ask DNS; None where it has nothing of that kind."""
    try:
        question = _query(name, kind)
    except ValueError:  # no name that DNS could have
        return None
    packet, query = question
    reply = await forward.ask(packet, query, servers, _socket, by_tcp=False)
    if reply is not None and message.is_truncated(reply):
        reply = await forward.ask(packet, query, servers, _socket, by_tcp=True) or reply
    records = message.records_of(reply) if reply is not None else []
    addresses = [record for record in records if record.type == kind]
    if not addresses:
        return None
    return Found(tuple(map(_text, addresses)), float(min(record.ttl for record in records)))


def _query(name: str, kind: int) -> tuple[bytes, Query]:
    blank = Query(secrets.randbits(16), name, kind, message.IN, 0, True, b"", _MAX_SIZE, False, False)
    return message.ask_for(name, blank)


def _text(record: Record) -> str:
    family = socket.AF_INET if record.type == message.A else socket.AF_INET6
    return socket.inet_ntop(family, record.data)


def _socket(family: int, kind: int) -> socket.socket:
    made = socket.socket(family, kind)
    made.setblocking(False)
    return made


def _written(hosts: Path, name: str) -> list[str]:
    """Return the addresses that a hosts file has for a name."""
    try:
        text = hosts.read_text(errors="replace")
    except OSError:
        return []
    lines = (line.partition("#")[0].split() for line in text.splitlines())
    return [words[0] for words in lines if name in map(str.lower, words[1:])]


def _system(name: str) -> Found | None:
    try:
        entries = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError:
        return None
    return Found(_preferred(list(dict.fromkeys(str(entry[4][0]) for entry in entries))))


def _preferred(addresses: list[str]) -> tuple[str, ...]:
    return tuple(a for a in addresses if ":" not in a) or tuple(addresses)
