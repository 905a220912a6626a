"""The header of the PROXY protocol, versions 1 and 2, which tells a server the client behind a proxy."""

from __future__ import annotations

import ipaddress
import socket
import struct
from dataclasses import dataclass

from devmesh.proxy.reactor import Address

_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_PROXY, _STREAM4, _STREAM6 = 0x21, 0x11, 0x21
_WORD = b"PROXY "
_MAX_V1 = 107  # bytes, its end of line with it
_FAMILIES = {1: (socket.AF_INET, 4), 2: (socket.AF_INET6, 16)}
_STREAM = 1


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


@dataclass(frozen=True, slots=True)
class Header:
    """Whose connection it is, and where it arrived at the load balancer; None where the header does not say
    (a health check of the load balancer's own). `size` is in bytes."""

    size: int
    remote: Address | None = None
    local: Address | None = None


def read_header(data: bytes) -> Header | None:
    """Read the header that `data` begins with; None: it isn't all there.

    Raises:
        ValueError: There is none.
    """
    if data[: len(_SIGNATURE)] == _SIGNATURE[: len(data)]:
        return _version2(data)
    if data[: len(_WORD)] == _WORD[: len(data)]:
        return _version1(data)
    raise ValueError("no PROXY header")


def _version1(data: bytes) -> Header | None:
    end = data.find(b"\r\n", 0, _MAX_V1)
    if end < 0:
        if len(data) >= _MAX_V1:
            raise ValueError("a PROXY header without an end")
        return None
    words = data[:end].decode("latin-1").split(" ")
    size = end + 2
    if words[1:2] == ["UNKNOWN"]:
        return Header(size)
    if len(words) != 6 or words[1] not in ("TCP4", "TCP6"):
        raise ValueError("a malformed PROXY header")
    family = socket.AF_INET if words[1] == "TCP4" else socket.AF_INET6
    return Header(size, _address(family, words[2], words[4]), _address(family, words[3], words[5]))


def _address(family: int, host: str, port: str) -> Address:
    try:
        socket.inet_pton(family, host)
    except OSError:
        raise ValueError(f"{host!r} is no address") from None
    if not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{port!r} is no port")
    return host, int(port)


def _version2(data: bytes) -> Header | None:
    if len(data) < 16:
        return None
    version, command = data[12] >> 4, data[12] & 15
    if version != 2 or command > 1:
        raise ValueError("a PROXY header of an unknown version or command")
    size = 16 + int.from_bytes(data[14:16])
    if len(data) < size:
        return None
    family, width = _FAMILIES.get(data[13] >> 4, (0, 0))
    if not command or not family or data[13] & 15 != _STREAM:
        return Header(size)
    body = data[16:size]
    if len(body) < 2 * width + 4:
        raise ValueError("a PROXY header cut short")
    remote, local = body[:width], body[width : 2 * width]
    ports = body[2 * width : 2 * width + 4]
    return Header(
        size,
        (socket.inet_ntop(family, remote), int.from_bytes(ports[:2])),
        (socket.inet_ntop(family, local), int.from_bytes(ports[2:])),
    )
