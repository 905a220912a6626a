"""Asking other name servers, for names that are not the mesh's."""

from __future__ import annotations

import secrets
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import trio

from devmesh.runtime.dns import message
from devmesh.runtime.dns.message import Query

SocketMaker = Callable[[int, int], socket.socket]  # (family, kind), non-blocking

TRY_TIMEOUT = 2.0  # seconds for one server
_HEAD_START = 0.2  # seconds that TCP has before UDP is tried beside it
_ROUNDS = 2  # resolv.conf(5): attempts
_PORT = 53
_BAD = (message.SERVFAIL, message.NOTIMP, message.REFUSED)  # others may know better (resolver(3) too)


@dataclass(frozen=True, slots=True)
class _Question:
    """A query under an id of ours, and whom to ask."""

    packet: bytes
    identity: int
    query: Query
    server: str
    port: int
    make: SocketMaker


async def ask(
    packet: bytes, query: Query, servers: Sequence[str], make: SocketMaker, *, by_tcp: bool, port: int = _PORT
) -> bytes | None:
    """Send a query on, under an id and from a port of its own, and return the answer to its asker.

    Each server is tried in turn, twice around. What came by TCP is asked by TCP and, where no answer comes
    soon, by UDP too: many small servers (of homes, of virtual machines) speak nothing else, and drop
    without a word. None: nobody answered.
    """
    refusal = None
    exchange = _by_both if by_tcp else _by_udp
    for _ in range(_ROUNDS):
        for server in servers:
            identity = secrets.randbits(16)
            asked = _Question(message.with_id(packet, identity), identity, query, server, port, make)
            reply = None
            with trio.move_on_after(TRY_TIMEOUT):
                reply = await exchange(asked)
            if reply is None:
                continue
            reply = message.with_id(reply, query.id)
            if message.code_of(reply) not in _BAD:
                return reply
            refusal = reply
        if refusal is not None:
            return refusal
    return None


async def _by_both(asked: _Question) -> bytes | None:
    """Return the first answer, by TCP or UDP; one by UDP that was cut off only where none comes by TCP."""
    found: list[bytes] = []
    cut_off: list[bytes] = []
    tcp_is_over = trio.Event()

    async with trio.open_nursery() as nursery:

        async def tcp() -> None:
            if (reply := await _by_tcp(asked)) is not None:
                found.append(reply)
                nursery.cancel_scope.cancel()
            tcp_is_over.set()

        async def udp() -> None:
            with trio.move_on_after(_HEAD_START):
                await tcp_is_over.wait()
            reply = await _by_udp(asked)
            if reply is not None and not message.is_truncated(reply):
                found.append(reply)
                nursery.cancel_scope.cancel()
            elif reply is not None:
                cut_off.append(reply)

        # Ended a little early, so that what was cut off is still returned.
        nursery.cancel_scope.deadline = trio.current_time() + TRY_TIMEOUT * 0.95
        nursery.start_soon(tcp)
        nursery.start_soon(udp)
    return next(iter((*found, *cut_off)), None)


async def _connect(kind: int, asked: _Question) -> trio.socket.SocketType:
    family = socket.AF_INET6 if ":" in asked.server else socket.AF_INET
    made = trio.socket.from_stdlib_socket(asked.make(family, kind))
    try:
        await made.connect((asked.server, asked.port))
    except BaseException:
        made.close()
        raise
    return made


async def _by_udp(asked: _Question) -> bytes | None:
    try:
        with await _connect(socket.SOCK_DGRAM, asked) as sock:
            await sock.send(asked.packet)
            while True:
                reply = await sock.recv(message.MAX_SIZE)
                if message.answers_to(reply, asked.identity, asked.query.question):
                    return reply
    except OSError:
        return None


async def _by_tcp(asked: _Question) -> bytes | None:
    try:
        with await _connect(socket.SOCK_STREAM, asked) as sock:
            stream = trio.SocketStream(sock)
            await stream.send_all(struct.pack("!H", len(asked.packet)) + asked.packet)
            reply = await read_message(stream)
    except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
        return None
    if reply is None or not message.answers_to(reply, asked.identity, asked.query.question):
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
