"""The address a redirected connection was meant for."""

from __future__ import annotations

import socket
import struct
from typing import Any, Protocol

_SO_ORIGINAL_DST = 80  # linux/netfilter_ipv4.h; the same number with IPv6
_IPV4_SIZE, _IPV6_SIZE = 16, 28
_MAPPED = "::ffff:"


class _Socket(Protocol):
    """A socket of the standard library's or of trio's."""

    def getsockname(self) -> Any: ...

    def getsockopt(self, level: int, option: int, size: int, /) -> bytes: ...


def original_destination(sock: _Socket) -> tuple[str, int] | None:
    """Return where the client of an accepted connection meant to go, or None where nobody redirected it.

    IPv4 addresses come as such, also from a listener of both versions. None is the loop guard: who
    dialled the listener's own port directly must be refused (SO_ORIGINAL_DST tells the socket's own
    address then, or nothing).
    """
    address, port = plain(sock.getsockname())
    try:
        if ":" in address:
            data = sock.getsockopt(socket.IPPROTO_IPV6, _SO_ORIGINAL_DST, _IPV6_SIZE)
            (wanted_port,) = struct.unpack_from("!H", data, 2)
            wanted = socket.inet_ntop(socket.AF_INET6, data[8:24])
        else:
            data = sock.getsockopt(socket.IPPROTO_IP, _SO_ORIGINAL_DST, _IPV4_SIZE)
            (wanted_port,) = struct.unpack_from("!H", data, 2)
            wanted = socket.inet_ntop(socket.AF_INET, data[4:8])
    except OSError:
        return None  # the kernel tracks no such connection: it was not redirected
    return None if (wanted, wanted_port) == (address, port) else (wanted, wanted_port)


def plain(name: Any) -> tuple[str, int]:
    """Return a socket's name as (address, port), an IPv4 address mapped into IPv6 as the former."""
    address, port = name[0], name[1]
    if address.startswith(_MAPPED) and "." in address:
        address = address[len(_MAPPED) :]
    return address.partition("%")[0], port
