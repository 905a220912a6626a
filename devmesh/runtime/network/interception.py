"""Taking over a pod's traffic: what listens in its namespace, and the rules that lead there."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from ipaddress import ip_address, ip_network

from devmesh.runtime.network import nftables
from devmesh.runtime.network.addresses import AddressPool
from devmesh.runtime.network.backends import Backends, changes, steps
from devmesh.runtime.network.hub import has_ipv6, open_rules
from devmesh.runtime.network.namespaces import Namespaces
from devmesh.runtime.network.netlink import Netlink
from devmesh.runtime.network.pod import NameServer, NameSockets, PodNetwork
from devmesh.runtime.network.rules import TABLE, Ports, Surroundings, pod_rules
from devmesh.runtime.network.selection import Network, Selection
from devmesh.runtime.network.sockets import SocketMaker, marked, marked_at, open_datagram, open_listener
from devmesh.snapshot.network import (
    DNS_PORT,
    INBOUND_PORT,
    INBOUND_SOURCE,
    MARK_PROXY,
    OUTBOUND_PORT,
    Capture,
)

_AT_ONCE = 50  # Services' addresses that a new pod waits for: 2 ms; the others follow


@dataclass(slots=True)
class Equipment:
    """What was opened in a namespace.

    `sockets` are the capture's, until the proxy owns them. `relay` is the way to the world for what
    passes by the proxy; it is None in a container, which has its own.
    """

    capture: Capture | None = None
    relay: socket.socket | None = None
    sockets: list[socket.socket] = field(default_factory=list)
    rules: Netlink | None = None
    backends: Backends = field(default_factory=dict)  # what the rules know of

    def close(self) -> None:
        """Close what listens."""
        for sock in (*self.sockets, self.relay):
            if sock is not None:
                sock.close()

    def follow(self, backends: Backends) -> None:
        """Make the rules lead to `backends`. May be called on any thread, one at a time.

        Raises:
            OSError: The kernel refused; `backends` says how far it came.
        """
        for table in steps(self.backends, backends):
            if self.rules is None:
                return
            self.rules.request(nftables.batch(changes(self.backends, table)))
            self.backends = table

    def disarm(self) -> None:
        """Delete the rules."""
        if self.rules is not None:
            with contextlib.suppress(OSError):
                self.rules.request(nftables.batch([nftables.delete_table(TABLE)]))

    def forget(self) -> None:
        """Let go of the rules, which stay. May take 20 ms: the kernel waits for their last readers."""
        if self.rules is not None:
            self.rules.close()
            self.rules = None


@dataclass(frozen=True, slots=True)
class Interceptor:
    """Knows what is the same for all pods of a fabric; `virtual` is where Services' addresses are."""

    namespaces: Namespaces
    addresses: AddressPool
    virtual: tuple[Network, ...]
    names: NameServer | None = None

    def equip(
        self,
        pod: PodNetwork,
        selection: Selection,
        nameservers: Sequence[str],
        backends: Backends,
    ) -> Equipment:
        """Open the listeners in a pod's namespace, then write its rules.

        Raises:
            OSError: The kernel refused; what had been opened is closed.
        """
        if pod.gateway:
            return Equipment(Capture(pod.instance, None, None) if pod.meshed else None)
        equipment = Equipment()
        with ExitStack() as undo:
            undo.callback(equipment.close)
            if self.names is not None:
                undo.callback(self.names.stop, pod.instance)
            ports = self._open(pod, equipment, selection, tuple(nameservers))
            messages = pod_rules(
                ports,
                selection,
                self._surroundings(),
                own_resolver=pod.adopted,
                resolvers=tuple(map(ip_network, nameservers)),
                owner=f"devmesh {os.getpid()} {pod.instance}",
            )
            if pod.adopted:  # a run that crashed may have left its rules
                messages = [nftables.add_table(TABLE), nftables.delete_table(TABLE), *messages]
            equipment.rules = undo.enter_context(open_rules(self.namespaces, pod.netns_fd))
            equipment.rules.request(nftables.batch(messages))
            first = next(steps({}, backends, _AT_ONCE), None)
            equipment.follow(first or {})
            undo.pop_all()
        return equipment

    def _surroundings(self) -> Surroundings:
        host = tuple(ip_network(self.addresses.gateway(version)) for version in (4, 6))
        return Surroundings((self.addresses.v4, self.addresses.v6), self.virtual, host)

    def _open(
        self, pod: PodNetwork, equipment: Equipment, selection: Selection, nameservers: tuple[str, ...]
    ) -> Ports:
        make = partial(self.namespaces.socket, pod.netns_fd)
        has_v6 = has_ipv6(self.namespaces, pod.netns_fd)
        wildcard = "::" if has_v6 else "0.0.0.0"
        outbound = inbound = dns = None
        if pod.meshed:
            outbound = _listen_near(make, wildcard, OUTBOUND_PORT)
            equipment.sockets.append(outbound)
            inbound = _listen_near(make, wildcard, INBOUND_PORT)
            equipment.sockets.append(inbound)
            equipment.capture = Capture(pod.instance, outbound, inbound)
        if not pod.adopted:  # a container has a way out of its own
            equipment.relay = open_listener(make, wildcard, 0)
        if self.names is not None:
            dns = self._open_names(self.names, pod, make, has_v6, nameservers)
        return Ports(_port(outbound), _port(inbound), dns, _port(equipment.relay))

    def _open_names(
        self,
        names: NameServer,
        pod: PodNetwork,
        make: SocketMaker,
        has_v6: bool,
        nameservers: tuple[str, ...],
    ) -> int:
        """Open the DNS sockets and hand them over; return their port.

        They are bound to loopback alone: from the wildcard address an answer would leave with another
        source than the redirected query was sent to, and never reach the client.
        """
        with ExitStack() as undo:
            listeners = [undo.enter_context(_listen_near(make, "127.0.0.1", DNS_PORT))]
            port: int = listeners[0].getsockname()[1]
            datagrams = [undo.enter_context(open_datagram(make, "127.0.0.1", port))]
            if has_v6:
                listeners.append(undo.enter_context(open_listener(make, "::1", port)))
                datagrams.append(undo.enter_context(open_datagram(make, "::1", port)))
            names.serve(
                NameSockets(
                    pod.instance,
                    pod.namespace,
                    tuple(datagrams),
                    tuple(listeners),
                    _upstream(make, nameservers) if pod.adopted else socket_at_home,
                    nameservers,
                    host="" if pod.adopted else self.addresses.gateway(4),
                )
            )
            undo.pop_all()
        return port


def socket_at_home(family: int, kind: int) -> socket.socket:
    """Make a non-blocking socket in devmesh's own namespace."""
    made = socket.socket(family, kind)
    made.setblocking(False)
    return made


def _upstream(make: SocketMaker, nameservers: tuple[str, ...]) -> SocketMaker:
    """Return what makes the sockets that ask a container's own resolver.

    They have a source of their own. The kernel remembers for each source address, port and target whether
    it was translated: a query of the application from a port that one of ours has just had would go the
    way of ours (past us, to a resolver that knows nothing of the mesh), and the other way about.
    """
    if nameservers and all(ip_address(server).is_loopback for server in nameservers):
        return partial(marked_at, INBOUND_SOURCE, make, MARK_PROXY)
    return partial(marked, make, MARK_PROXY)


def _listen_near(make: SocketMaker, address: str, port: int) -> socket.socket:
    """Listen on `port`, or on any where an application has it: the rules tell which."""
    try:
        return open_listener(make, address, port)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return open_listener(make, address, 0)


def _port(sock: socket.socket | None) -> int | None:
    return None if sock is None else int(sock.getsockname()[1])
