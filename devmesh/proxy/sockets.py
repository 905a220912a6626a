"""What the kernel tells of a socket."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable
from typing import Any

Address = tuple[str, int]

LINGER_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with RST
_SO_ORIGINAL_DST = 80  # linux/netfilter_ipv4.h; the same number with IPv6
_MAPPED = "::ffff:"


def original_destination(sock: socket.socket) -> Address | None:
    """Return where the client of a redirected connection meant to go.

    None where nobody redirected it: whoever dialled the listener's own port gets refused, else the
    proxy would call itself for ever.
    """
    own = address_of(sock.getsockname)
    try:
        if ":" in own[0]:
            data = sock.getsockopt(socket.IPPROTO_IPV6, _SO_ORIGINAL_DST, 28)
            wanted = socket.inet_ntop(socket.AF_INET6, data[8:24])
        else:
            data = sock.getsockopt(socket.IPPROTO_IP, _SO_ORIGINAL_DST, 16)
            wanted = socket.inet_ntop(socket.AF_INET, data[4:8])
    except OSError:
        return None  # the kernel tracks no such connection
    found = (wanted, int(struct.unpack_from("!H", data, 2)[0]))
    return None if found == own else found


def address_of(name: Callable[[], Any]) -> Address:
    """Return what getsockname or getpeername says as (address, port), an IPv4 address mapped into IPv6 as
    the former; ("", 0) where the connection is gone."""
    try:
        found = name()
    except OSError:
        return "", 0
    if not isinstance(found, tuple):
        return "", 0  # a unix socket's, which mostly has none
    address, port = found[:2]
    if address.startswith(_MAPPED) and "." in address:
        address = address[len(_MAPPED) :]
    return address.partition("%")[0], port


def text_of(address: Address) -> str:
    """Return ``10.0.0.1:80``, ``[fd00::1]:80`` or ``/a/socket``, as Envoy writes them."""
    host, port = address
    if host.startswith("unix://"):
        return host.removeprefix("unix://")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def reason_of(code: int) -> str:
    """Return the kernel's words for an error number."""
    return os.strerror(code) if code else "connection closed"
