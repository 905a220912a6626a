"""TCP and UDP sockets set up as listeners and connections of the mesh."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable

_SO_MARK = 36
_IP_BIND_ADDRESS_NO_PORT = 24  # choose the port when connecting: else all 28,000 are soon in use
_BACKLOG = 4096
SocketMaker = Callable[[int, int], socket.socket]  # (family, kind)


def family_of(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def open_listener(make: SocketMaker, address: str, port: int) -> socket.socket:
    """Listen on TCP; ``::`` takes IPv4 as well.

    Raises:
        OSError: The address is in use, or not this namespace's.
    """
    listener = make(family_of(address), socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if listener.family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if address == "::" else 1)
        listener.bind((address, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise OSError(error.errno, f"cannot listen on {address}:{port}: {_reason(error)}") from error
    return listener


def open_datagram(make: SocketMaker, address: str, port: int) -> socket.socket:
    """Receive UDP.

    Raises:
        OSError: The address is in use, or not this namespace's.
    """
    receiver = make(family_of(address), socket.SOCK_DGRAM)
    try:
        if receiver.family == socket.AF_INET6:
            receiver.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        receiver.bind((address, port))
    except OSError as error:
        receiver.close()
        raise OSError(error.errno, f"cannot receive on {address}:{port}: {_reason(error)}") from error
    return receiver


def start_connecting(
    make: SocketMaker, address: str, port: int, *, mark: int | None, bind: str | None = None
) -> socket.socket:
    """Begin a TCP connection and return it, usually unfinished; `mark` None leaves it unmarked.

    Raises:
        OSError: It failed at once.
    """
    connection = make(family_of(address), socket.SOCK_STREAM)
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if mark is not None:
            connection.setsockopt(socket.SOL_SOCKET, _SO_MARK, mark)
        if bind is not None:
            connection.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
            connection.bind((bind, 0))
        code = connection.connect_ex((address, port))
    except OSError:
        connection.close()
        raise
    if code not in (0, errno.EINPROGRESS):
        connection.close()
        raise OSError(code, f"cannot connect to {address}:{port}: {os.strerror(code)}")
    return connection


def marked(make: SocketMaker, mark: int, family: int, kind: int) -> socket.socket:
    """Make a socket whose packets carry `mark`."""
    made = make(family, kind)
    try:
        made.setsockopt(socket.SOL_SOCKET, _SO_MARK, mark)
    except OSError:
        made.close()
        raise
    return made


def marked_at(address: str, make: SocketMaker, mark: int, family: int, kind: int) -> socket.socket:
    """Make a socket whose packets carry `mark` and, by IPv4, come from `address`."""
    made = marked(make, mark, family, kind)
    try:
        if family == socket.AF_INET:
            made.bind((address, 0))
    except OSError:
        made.close()
        raise
    return made


def _reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)
