"""PROXY headers, version 1 and 2."""

from __future__ import annotations

import socket
import struct

import pytest

from devmesh.proxy.proxy_protocol import read_header

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V1 = b"PROXY TCP4 192.0.2.1 198.51.100.1 4321 443\r\n"


def v2(command: int = 1, family: int = 1, addresses: bytes = b"", more: bytes = b"") -> bytes:
    body = addresses + more
    return SIGNATURE + bytes([0x20 | command, family << 4 | 1]) + struct.pack("!H", len(body)) + body


IPV4 = socket.inet_aton("192.0.2.1") + socket.inet_aton("198.51.100.1") + struct.pack("!HH", 4321, 443)
IPV6 = (
    socket.inet_pton(socket.AF_INET6, "2001:db8::1")
    + socket.inet_pton(socket.AF_INET6, "2001:db8::2")
    + struct.pack("!HH", 4321, 443)
)


@pytest.mark.parametrize(
    ("header", "remote", "local"),
    [
        (V1, ("192.0.2.1", 4321), ("198.51.100.1", 443)),
        (b"PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n", ("2001:db8::1", 1), ("2001:db8::2", 2)),
        (b"PROXY UNKNOWN\r\n", None, None),
        (b"PROXY UNKNOWN whatever it says\r\n", None, None),
        (v2(addresses=IPV4), ("192.0.2.1", 4321), ("198.51.100.1", 443)),
        (v2(addresses=IPV4, more=b"\x03\0\4abcd"), ("192.0.2.1", 4321), ("198.51.100.1", 443)),
        (v2(family=2, addresses=IPV6), ("2001:db8::1", 4321), ("2001:db8::2", 443)),
        (v2(command=0, addresses=IPV4), None, None),
        (v2(family=0), None, None),
    ],
)
def test_a_header_tells_whose_connection_it_is(
    header: bytes, remote: tuple[str, int] | None, local: tuple[str, int] | None
) -> None:
    found = read_header(header + b"GET / HTTP/1.1\r\n\r\n")
    assert found
    assert (found.size, found.remote, found.local) == (len(header), remote, local)
    for end in range(len(header)):
        assert read_header(header[:end]) is None


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01",
        b"PROXY TCP4 192.0.2.1 198.51.100.1 4321\r\n",
        b"PROXY TCP4 2001:db8::1 198.51.100.1 4321 443\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.1 4321 99999\r\n",
        b"PROXY UDP4 192.0.2.1 198.51.100.1 4321 443\r\n",
        b"PROXY " + b"x" * 120,
        SIGNATURE + b"\x11\x11\0\0",
        SIGNATURE + b"\x2f\x11\0\0",
        v2(addresses=IPV4[:8]),
    ],
)
def test_what_is_no_header_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"PROXY|address|port"):
        read_header(data)
