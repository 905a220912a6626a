"""Making network namespaces, and sockets inside them, from outside.

All that is ever done *inside* a namespace is to make a socket, or to set a kernel parameter: a socket
belongs for ever to the namespace it was made in (netlink's too), so everything else is done from here.
"""

from __future__ import annotations

import ctypes
import os
import socket
import threading
from collections.abc import Callable
from typing import Protocol, TypeVar

_T = TypeVar("_T")
_CLONE_NEWNET = 0x40000000
_OWN = "/proc/thread-self/ns/net"
_libc = ctypes.CDLL(None, use_errno=True)


class Namespaces(Protocol):
    """A way into network namespaces. Calls are synchronous and take well under a millisecond."""

    userns: int | None
    """The user namespace (a file descriptor) to enter before any of the network namespaces; None: no need."""

    def create(self) -> int:
        """Make a network namespace and return a descriptor that holds it; the caller closes it."""

    def socket(self, netns: int, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """Make a socket inside `netns`; it is non-blocking and closed on exec."""

    def set_parameter(self, netns: int, name: str, value: str) -> None:
        """Set a kernel parameter (``net/ipv4/ip_forward``) inside `netns`.

        Raises:
            OSError: There is none of that name, or it may not be set.
        """

    def parameter(self, netns: int, name: str) -> str | None:
        """Return a kernel parameter's value inside `netns`; None where there is none."""

    def close(self) -> None:
        """Give up what this holds by itself. May be called twice."""


class InlineNamespaces:
    """Enters namespaces with this very thread, for a moment. Needs CAP_SYS_ADMIN and CAP_NET_ADMIN.

    A thread's network namespace is its own, and a new thread or process begins in its maker's: so
    this is for the main thread alone, and nothing else may happen between entering and returning.
    """

    userns: int | None = None

    def __init__(self) -> None:
        self._home = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)

    def create(self) -> int:
        return self._visit(None, lambda: os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC))

    def socket(self, netns: int, family: int, kind: int, protocol: int = 0) -> socket.socket:
        made = self._visit(netns, lambda: socket.socket(family, kind, protocol))
        made.setblocking(False)
        return made

    def set_parameter(self, netns: int, name: str, value: str) -> None:
        self._visit(netns, lambda: write_parameter(name, value))

    def parameter(self, netns: int, name: str) -> str | None:
        return self._visit(netns, lambda: read_parameter(name))

    def close(self) -> None:
        if self._home >= 0:
            os.close(self._home)
            self._home = -1

    def _visit(self, netns: int | None, action: Callable[[], _T]) -> _T:
        """Do `action` inside `netns` (None: a new one), and be back whatever happens."""
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("network namespaces are entered by the main thread alone")
        try:
            try:
                if netns is None:
                    check(_libc.unshare(_CLONE_NEWNET), "make a network namespace")
                else:
                    check(_libc.setns(netns, _CLONE_NEWNET), "enter a network namespace")
                return action()
            finally:
                self._return()
        except BaseException:
            self._return()  # a signal's exception may have come just before the first one
            raise

    def _return(self) -> None:
        if _libc.setns(self._home, _CLONE_NEWNET) != 0:
            os.abort()  # going on would open devmesh's own sockets inside a pod


def check(result: int, action: str) -> None:
    """Raise OSError for the C library's last error where `result` says that there is one."""
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"cannot {action}: {os.strerror(code)}")


def write_parameter(name: str, value: str) -> None:
    """Set a kernel parameter of the namespace this thread is in."""
    with open(f"/proc/sys/{name}", "w", encoding="ascii") as file:
        file.write(value)


def read_parameter(name: str) -> str | None:
    """Return a kernel parameter of the namespace this thread is in; None where there is none."""
    try:
        with open(f"/proc/sys/{name}", encoding="ascii") as file:
            return file.read().strip()
    except FileNotFoundError:
        return None
