"""The header of the PROXY protocol, which tells a server the address of the client behind a proxy."""

from __future__ import annotations

import ipaddress
import socket
import struct

from devmesh.proxy.reactor import Address

_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_PROXY, _STREAM4, _STREAM6 = 0x21, 0x11, 0x21


def header(version: str, source: Address, destination: Address) -> bytes:
    """Return the bytes that a connection begins with.

    Args:
        version: ``V1`` (text) or ``V2`` (binary).
        source: The client's address.
        destination: Where the client meant to go.
    """
    mine, theirs = ipaddress.ip_address(source[0]), ipaddress.ip_address(destination[0])
    if mine.version != theirs.version:  # one of them as the other's kind
        mine, theirs = _wide(mine), _wide(theirs)
    if version == "V2":
        ports = struct.pack("!HH", source[1], destination[1])
        addresses = mine.packed + theirs.packed + ports
        kind = _STREAM4 if mine.version == 4 else _STREAM6
        return _SIGNATURE + struct.pack("!BBH", _PROXY, kind, len(addresses)) + addresses
    texts = f"{_text(mine)} {_text(theirs)}"
    return f"PROXY TCP{mine.version} {texts} {source[1]} {destination[1]}\r\n".encode()


def _text(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    return socket.inet_ntop(family, address.packed)


def _wide(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv6Address:
    if isinstance(address, ipaddress.IPv6Address):
        return address
    return ipaddress.IPv6Address(b"\x00" * 10 + b"\xff\xff" + address.packed)
