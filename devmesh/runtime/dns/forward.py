"""Asking other name servers, for names that are not the mesh's."""

from __future__ import annotations

import secrets
import socket
import struct
from collections.abc import Callable, Sequence

import trio

from devmesh.runtime.dns import message
from devmesh.runtime.dns.message import Query

SocketMaker = Callable[[int, int], socket.socket]  # (family, kind), non-blocking

TRY_TIMEOUT = 2.0  # seconds for one server
_ROUNDS = 2  # resolv.conf(5): attempts
_PORT = 53
_BAD = (message.SERVFAIL, message.NOTIMP, message.REFUSED)  # others may know better (resolver(3) too)


async def ask(
    packet: bytes, query: Query, servers: Sequence[str], make: SocketMaker, *, by_tcp: bool, port: int = _PORT
) -> bytes | None:
    """Send a query on, under an id and from a port of its own, and return the answer to its asker.

    Each server is tried in turn, twice around; the second time by UDP, since many small servers (of homes,
    of virtual machines) speak nothing else. None: nobody answered.
    """
    refusal = None
    for turn in range(_ROUNDS):
        by_tcp = by_tcp and not turn
        for server in servers:
            reply = None
            identity = secrets.randbits(16)
            with trio.move_on_after(TRY_TIMEOUT):
                try:
                    exchange = _by_tcp if by_tcp else _by_udp
                    reply = await exchange(
                        message.with_id(packet, identity), identity, query, server, port, make
                    )
                except OSError:
                    continue
            if reply is None:
                continue
            reply = message.with_id(reply, query.id)
            if message.code_of(reply) not in _BAD:
                return reply
            refusal = reply
        if refusal is not None:
            return refusal
    return None


async def _connect(kind: int, server: str, port: int, make: SocketMaker) -> trio.socket.SocketType:
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    made = trio.socket.from_stdlib_socket(make(family, kind))
    try:
        await made.connect((server, port))
    except BaseException:
        made.close()
        raise
    return made


async def _by_udp(
    packet: bytes, identity: int, query: Query, server: str, port: int, make: SocketMaker
) -> bytes:
    with await _connect(socket.SOCK_DGRAM, server, port, make) as sock:
        await sock.send(packet)
        while True:
            reply = await sock.recv(message.MAX_SIZE)
            if message.answers_to(reply, identity, query.question):
                return reply


async def _by_tcp(
    packet: bytes, identity: int, query: Query, server: str, port: int, make: SocketMaker
) -> bytes | None:
    with await _connect(socket.SOCK_STREAM, server, port, make) as sock:
        stream = trio.SocketStream(sock)
        try:
            await stream.send_all(struct.pack("!H", len(packet)) + packet)
            reply = await read_message(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return None
    if reply is None or not message.answers_to(reply, identity, query.question):
        return None
    return reply


async def read_message(stream: trio.abc.ReceiveStream) -> bytes | None:
    """Read one message with its length before it (RFC 1035, 4.2.2); None: the end, or cut off."""
    size = await _read_exactly(stream, 2)
    return None if size is None else await _read_exactly(stream, int.from_bytes(size, "big"))


async def _read_exactly(stream: trio.abc.ReceiveStream, count: int) -> bytes | None:
    data = b""
    while len(data) < count:
        more = await stream.receive_some(count - len(data))
        if not more:
            return None
        data += more
    return data
