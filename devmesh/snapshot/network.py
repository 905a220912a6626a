"""How runtime and proxy meet: sockets inside the namespaces of instances.

`runtime` implements these protocols and `proxy` uses them; `mesh.py` introduces the two. All
sockets are non-blocking. Marks, as in the rules of each namespace: `MARK_PROXY` passes every
rule, `MARK_HOP` is redirected to the inbound listener of the namespace it was made in.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

OUTBOUND_PORT = 15001
INBOUND_PORT = 15006
DNS_PORT = 15053
MARK_PROXY = 1337
MARK_HOP = 1338
INBOUND_SOURCE = "127.0.0.6"  # Istio: where the last hop to an application comes from


@dataclass(frozen=True, slots=True)
class Capture:
    """An instance whose traffic is taken over: listening sockets whose accepted connections
    know their target by SO_ORIGINAL_DST. A gateway has none of the two."""

    instance: str
    outbound: socket.socket | None
    inbound: socket.socket | None


class CaptureWatcher(Protocol):
    """The proxy, as the runtime sees it. Calls are synchronous, on the trio thread."""

    def captured(self, capture: Capture) -> None:
        """Serve `capture` from now on; the watcher owns its sockets."""

    def released(self, instance: str) -> None:
        """The instance is gone or about to go: close its listeners, end what is idle; connections in use
        may finish."""


class ListenerSource(Protocol):
    """The runtime, as a place to listen."""

    def subscribe(self, watcher: CaptureWatcher) -> None:
        """Tell `watcher` of the captures that are there, then of each change."""

    def listen(self, instance: str | None, address: str, port: int) -> socket.socket:
        """Open a TCP listener inside an instance's namespace; None is devmesh's own.

        Raises:
            OSError: The address is in use, or the instance is gone.
        """


class PodFiles(Protocol):
    """The runtime, as a way to read what pods have on their disks."""

    def reader(self, instance: str) -> Callable[[str], bytes]:
        """Return what reads a file, by its absolute path, as the instance's processes see it.

        It is slow, and for a thread; it raises OSError, which says why.

        Raises:
            OSError: The instance is gone.
        """


class Dialer(Protocol):
    """The runtime, as a way to connect."""

    def dial(
        self,
        destination: str | None,
        address: str,
        port: int,
        *,
        mark: int,
        origin: str | None = None,
        bind: str | None = None,
    ) -> socket.socket:
        """Begin to connect a TCP socket and return it, usually still connecting.

        Args:
            destination: The instance in whose namespace the socket is made; None: a place outside the
                mesh, reached as `origin` would reach it (docker) or as devmesh itself does (process).
            mark: SO_MARK of the socket.
            origin: The instance on whose behalf this is.
            bind: The source address, where it matters (`INBOUND_SOURCE`).

        Raises:
            OSError: The instance is gone, or connecting failed at once.
        """
