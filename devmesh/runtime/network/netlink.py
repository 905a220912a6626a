"""Netlink messages (RFC 3549; Linux, include/uapi/linux/netlink.h): attributes, requests, answers."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

NETLINK_ROUTE = 0
NETLINK_NETFILTER = 12

REQUEST, ACK, DUMP = 0x1, 0x4, 0x300
REPLACE, EXCLUSIVE, CREATE, APPEND = 0x100, 0x200, 0x400, 0x800

_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_ATTRIBUTE = struct.Struct("=HH")
_ERROR, _DONE = 2, 3
_NESTED, _TYPE_MASK = 0x8000, 0x3FFF
_SOL_NETLINK, _NETLINK_CAP_ACK, _NETLINK_EXT_ACK = 270, 10, 11
_CAPPED, _ACK_TLVS = 0x100, 0x200
_RECEIVE = 1 << 17
_BUFFER = 1 << 20


class NetlinkError(OSError):
    """The kernel refused a message; `strerror` says which, and the kernel's own reason where it gave one."""


@dataclass(frozen=True, slots=True)
class Message:
    """One request: `what` names it in errors, `payload` is everything after the header."""

    kind: int
    flags: int
    payload: bytes
    what: str


def attribute(kind: int, value: bytes) -> bytes:
    """Pack one attribute, padded to four bytes."""
    return _ATTRIBUTE.pack(len(value) + 4, kind) + value + b"\0" * (-len(value) % 4)


def nested(kind: int, *inner: bytes) -> bytes:
    """Pack an attribute made of attributes."""
    return attribute(kind | _NESTED, b"".join(inner))


def text(kind: int, value: str) -> bytes:
    """Pack a string, with its final zero."""
    return attribute(kind, value.encode() + b"\0")


def u32(kind: int, value: int) -> bytes:
    """Pack a number in the machine's order (rtnetlink's)."""
    return attribute(kind, struct.pack("=I", value))


def be32(kind: int, value: int) -> bytes:
    """Pack a number in network order (nf_tables')."""
    return attribute(kind, struct.pack("!I", value))


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the attributes in `data`, without the flags of their types."""
    offset = 0
    while offset + 4 <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < 4:
            return
        yield kind & _TYPE_MASK, data[offset + 4 : offset + length]
        offset += length + -length % 4


class Netlink:
    """A netlink socket. It acts on the namespace it was made in, wherever its user is now."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._sequence = 0
        sock.setsockopt(_SOL_NETLINK, _NETLINK_EXT_ACK, 1)
        sock.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Netlink:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def request(self, messages: Sequence[Message]) -> list[bytes]:
        """Send `messages` in order and return the payloads of what answers, acknowledgements apart.

        The kernel works a message off within `send`, so all answers are there when it returns.

        Raises:
            NetlinkError: The first message that was refused. Later ones may have been carried out,
                except in a batch of nf_tables, which is carried out whole or not at all.
        """
        first = self._sequence + 1
        parts = []
        for message in messages:
            self._sequence += 1
            size = _HEADER.size + len(message.payload)
            parts.append(_HEADER.pack(size, message.kind, message.flags | REQUEST, self._sequence, 0))
            parts.append(message.payload + b"\0" * (-size % 4))
        self._socket.send(b"".join(parts))
        return list(self._answers(messages, first))

    def _answers(self, messages: Sequence[Message], first: int) -> Iterator[bytes]:
        while True:
            try:
                data = self._socket.recv(_RECEIVE, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            offset = 0
            while offset + _HEADER.size <= len(data):
                length, kind, flags, sequence, _ = _HEADER.unpack_from(data, offset)
                payload = data[offset + _HEADER.size : offset + length]
                offset += length + -length % 4
                if kind == _DONE:
                    return
                if kind == _ERROR:
                    index = sequence - first
                    what = messages[index].what if 0 <= index < len(messages) else "an earlier message"
                    _raise_for(payload, flags, what)
                else:
                    yield payload


def _raise_for(payload: bytes, flags: int, what: str) -> None:
    (code,) = struct.unpack_from("=i", payload)
    if code == 0:
        return
    reason = _extended(payload, flags)
    message = f"{what}: {os.strerror(-code)}" + (f" ({reason})" if reason else "")
    raise NetlinkError(-code, message)


def _extended(payload: bytes, flags: int) -> str:
    """Return the kernel's own words (NLMSGERR_ATTR_MSG), if any."""
    if not flags & _ACK_TLVS:
        return ""
    offset = 4 + _HEADER.size
    if not flags & _CAPPED:
        (length,) = struct.unpack_from("=I", payload, 4)
        offset = 4 + length + -length % 4
    return dict(attributes(payload[offset:])).get(1, b"").rstrip(b"\0").decode(errors="replace")
