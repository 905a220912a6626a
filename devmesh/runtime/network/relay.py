"""The way out for pods outside the mesh: their connections to the world, carried on by devmesh.

There is no route from a pod to the host's network (nothing is set up in the host's namespace), so a
pod without a proxy gets this instead of what would be address translation on a cluster's node.
"""

from __future__ import annotations

import logging
import socket
import struct
from collections.abc import Callable

import trio

from devmesh.runtime.network.original import original_destination

log = logging.getLogger(__name__)

_CONNECT_TIMEOUT = 10.0  # seconds
_MAX_CONNECTIONS = 1024
_PIECE = 1 << 16
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with RST


async def relay(listener: socket.socket, seen_from_here: Callable[[str], str]) -> None:
    """Carry each connection that arrives at `listener` on to where it was meant to go.

    `seen_from_here` says what an address of the pod's is called in devmesh's namespace.

    Above 1,024 connections at once further ones wait to be accepted. Ends with the listener, and
    with it what is open.
    """
    accepting = trio.SocketListener(trio.socket.from_stdlib_socket(listener))
    limit = trio.CapacityLimiter(_MAX_CONNECTIONS)
    async with accepting, trio.open_nursery() as connections:
        while True:
            async with limit:  # only waits for room: `_carry` holds a place of its own
                pass
            try:
                client = await accepting.accept()
            except trio.ClosedResourceError:
                connections.cancel_scope.cancel()
                return
            except OSError:
                log.exception("accepting for a pod outside the mesh failed")
                await trio.sleep(0.1)
                continue
            connections.start_soon(_carry, client, limit, seen_from_here)


async def _carry(
    client: trio.SocketStream, limit: trio.CapacityLimiter, seen_from_here: Callable[[str], str]
) -> None:
    async with limit, client:
        wanted = original_destination(client.socket)
        if wanted is None:
            return
        try:
            with trio.fail_after(_CONNECT_TIMEOUT):
                server = await _connect(seen_from_here(wanted[0]), wanted[1])
        except (OSError, trio.TooSlowError):
            # The client's connection is up already: a reset is the nearest thing to "refused".
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            return
        async with server, trio.open_nursery() as directions:
            directions.start_soon(_copy, client, server, directions.cancel_scope)
            directions.start_soon(_copy, server, client, directions.cancel_scope)


async def _connect(address: str, port: int) -> trio.SocketStream:
    family = trio.socket.AF_INET6 if ":" in address else trio.socket.AF_INET
    made = trio.socket.socket(family, trio.socket.SOCK_STREAM)
    try:
        await made.connect((address, port))
    except BaseException:
        made.close()
        raise
    return trio.SocketStream(made)


async def _copy(source: trio.SocketStream, sink: trio.SocketStream, whole: trio.CancelScope) -> None:
    """Copy one direction to its end, then close that half; a broken connection ends both."""
    try:
        while data := await source.receive_some(_PIECE):
            await sink.send_all(data)
        await sink.send_eof()
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        whole.cancel()
