"""A pod's network, as the rest of the runtime sees it."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class PodNetwork:
    """A namespace, ready: what listens there and what redirects to it is in place.

    Attributes:
        instance: The pod's uid.
        namespace: The Kubernetes namespace, by which short names are understood.
        addresses: The pod's own, the IPv4 one first.
        netns_fd: Holds the network namespace; closed by `Fabric.release`. A process enters it by
            ``setns(netns_fd, CLONE_NEWNET)``, before it gives up its privileges.
        userns_fd: Without root: the user namespace to enter first (``setns(userns_fd, CLONE_NEWUSER)``,
            by a process of one thread). None: no need.
        meshed: Its traffic is taken over; else it is one outside the mesh.
        gateway: A proxy alone: nothing is redirected.
        adopted: The namespace is another's (a container's).
    """

    instance: str
    namespace: str
    addresses: tuple[str, ...]
    netns_fd: int
    userns_fd: int | None = None
    meshed: bool = True
    gateway: bool = False
    adopted: bool = False

    @property
    def netns_path(self) -> str:
        """A path to the namespace, as ``nsenter --net=`` takes it; good until the pod is released."""
        return f"/proc/{os.getpid()}/fd/{self.netns_fd}"


@dataclass(frozen=True, slots=True)
class NameSockets:
    """Where a pod's DNS queries arrive, and how those that devmesh can't answer go on.

    `upstream` makes a non-blocking socket (of a family and a kind) in the namespace whose resolver is
    asked. `nameservers` are the pod's own; empty: those of devmesh's host. `host` is where the pod
    reaches this machine (``host.docker.internal``); empty: its own resolver knows.
    """

    instance: str
    namespace: str
    datagrams: tuple[socket.socket, ...]
    listeners: tuple[socket.socket, ...]
    upstream: Callable[[int, int], socket.socket]
    nameservers: tuple[str, ...] = ()
    host: str = ""


class NameServer(Protocol):
    """Devmesh's DNS, as the fabric sees it. Calls are synchronous, on the trio thread."""

    def serve(self, sockets: NameSockets) -> None:
        """Answer on `sockets` from now on; the server owns them."""

    def stop(self, instance: str) -> None:
        """Close the sockets of an instance; nothing where it has none."""
