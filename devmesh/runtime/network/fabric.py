"""The network of all pods of a mesh: made, listened in, dialled into, taken down."""

from __future__ import annotations

import errno
import logging
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address, ip_network
from types import MappingProxyType

import trio

from devmesh.runtime.network.addresses import AddressPool
from devmesh.runtime.network.backends import Backends, Table, of_both
from devmesh.runtime.network.hub import INBOUND_SOURCE_V6, Hub
from devmesh.runtime.network.interception import Equipment, Interceptor, socket_at_home
from devmesh.runtime.network.namespaces import Namespaces
from devmesh.runtime.network.pod import NameServer, PodNetwork
from devmesh.runtime.network.pod_sockets import SCHEME, PodSockets
from devmesh.runtime.network.relay import relay
from devmesh.runtime.network.selection import EVERYTHING, Network, Selection
from devmesh.runtime.network.sockets import SocketMaker, open_listener, start_connecting
from devmesh.runtime.network.survey import survey
from devmesh.snapshot.network import INBOUND_SOURCE, CaptureWatcher

log = logging.getLogger(__name__)

_NOTHING: Table = MappingProxyType({})
VIRTUAL = (ip_network("240.240.0.0/16"), ip_network("2001:2::/48"))


@dataclass(slots=True)
class _Member:
    network: PodNetwork
    equipment: Equipment
    number: int | None = None  # of its address in the pool


class Fabric:
    """Implements `ListenerSource` and `Dialer`. Everything but `run` is synchronous and takes a few ms.

    It belongs to the main thread. The order of calls does not matter: pods created before `run` or
    `subscribe` are served from then on.

    Args:
        namespaces: The way into namespaces: `InlineNamespaces` as root, else `UserNamespaces`. The
            fabric closes it.
        names: Answers the pods' DNS; None leaves their queries alone.
        virtual: Where Services' addresses are; they lead nowhere but into the mesh.
    """

    def __init__(
        self,
        namespaces: Namespaces,
        *,
        names: NameServer | None = None,
        addresses: AddressPool | None = None,
        virtual: Sequence[Network] = VIRTUAL,
    ) -> None:
        self._namespaces = namespaces
        self._names = names
        self._addresses = addresses or AddressPool()
        self._virtual = tuple(virtual)
        self._interceptor = Interceptor(namespaces, self._addresses, tuple(virtual), names)
        self._pod_sockets = PodSockets()
        self._hub: Hub | None = None
        self._members: dict[str, _Member] = {}
        self._by_address: dict[str, str] = {}
        self._watcher: CaptureWatcher | None = None
        self._given: tuple[Table, Table] = (_NOTHING, _NOTHING)
        self._backends: Backends = {}
        self._nursery: trio.Nursery | None = None
        self._outdated = trio.Event()
        self._may_mark = True
        self._closed = False

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Relay for pods outside the mesh, until cancelled; then release every pod and close."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self._follow_backends)
                for member in self._members.values():
                    self._start_relay(member)
                task_status.started()
                await trio.sleep_forever()
        finally:
            self._nursery = None
            self.close()

    def close(self) -> None:
        """Release every pod and give up the namespaces. May be called twice."""
        for instance in list(self._members):
            self.release(instance)
        if self._closed:
            return
        self._closed = True
        if self._hub is not None:
            self._hub.close()
        self._namespaces.close()

    def create(
        self,
        instance: str,
        *,
        meshed: bool = True,
        gateway: bool = False,
        namespace: str = "default",
        selection: Selection = EVERYTHING,
    ) -> PodNetwork:
        """Make a pod's namespace, with all that takes over its traffic; its processes come later.

        Raises:
            OSError: The kernel refused; nothing is left of the pod.
            AddressesExhausted: No address is free.
            ValueError: There is such a pod already.
        """
        self._refuse_twice(instance)
        if self._hub is None:
            self._hub = Hub(self._namespaces, self._addresses)
        hub = self._hub
        number = self._addresses.take()
        netns = -1
        try:
            netns = self._namespaces.create()
            hub.plug_in(netns, number)
            addresses = tuple(str(interface.ip) for interface in hub.interfaces(number))
            userns = self._namespaces.userns
            pod = PodNetwork(instance, namespace, addresses, netns, userns, meshed, gateway)
            equipment = self._interceptor.equip(pod, selection, (), self._backends)
        except BaseException:
            self._addresses.give_back(number)
            if netns >= 0:
                os.close(netns)
            raise
        self._admit(_Member(pod, equipment, number))
        return pod

    def adopt(
        self,
        instance: str,
        netns: str | int,
        *,
        meshed: bool = True,
        gateway: bool = False,
        namespace: str = "default",
        addresses: Sequence[str] = (),
        nameservers: Sequence[str] = (),
        selection: Selection = EVERYTHING,
    ) -> PodNetwork:
        """Take over the traffic of a namespace that is another's: a container's.

        Args:
            netns: A path of the namespace, or the id of a process in it.
            addresses: The container's; empty: those that its links have.
            nameservers: The container's own (Docker's 127.0.0.11), asked from inside it; empty: the host's,
                asked from inside it too.

        Raises:
            OSError: It is gone, or may not be entered.
            ValueError: There is such a pod already.
        """
        self._refuse_twice(instance)
        path = netns if isinstance(netns, str) else f"/proc/{netns}/ns/net"
        held = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            found = survey(self._namespaces, held, self._interceptor.virtual, meshed=meshed)
            own = tuple(addresses) or found
            userns = self._namespaces.userns
            pod = PodNetwork(instance, namespace, own, held, userns, meshed, gateway, adopted=True)
            equipment = self._interceptor.equip(pod, selection, nameservers, self._backends)
        except BaseException:
            os.close(held)
            raise
        self._admit(_Member(pod, equipment))
        return pod

    def release(self, instance: str) -> None:
        """Let go of a pod: the proxy first, then its sockets, its rules, its namespace.

        A namespace that devmesh made ends, and its link with it, when its last process and its last
        connection have. Nothing where there is no such pod.
        """
        member = self._members.pop(instance, None)
        if member is None:
            return
        pod = member.network
        for address in pod.addresses:
            self._by_address.pop(address, None)
        if self._watcher is not None and member.equipment.capture is not None:
            self._watcher.released(instance)
        if self._names is not None:
            self._names.stop(instance)
        self._close_sockets(member)
        if member.number is not None:
            self._addresses.give_back(member.number)
        self._aside(partial(self._let_go, member))

    def network(self, instance: str) -> PodNetwork | None:
        """Return a pod's network; None where there is no such pod."""
        member = self._members.get(instance)
        return None if member is None else member.network

    def subscribe(self, watcher: CaptureWatcher) -> None:
        """Tell `watcher`, who owns their sockets from then on, of the captures; there is one watcher.

        Raises:
            RuntimeError: There is one already.
        """
        if self._watcher is not None:
            raise RuntimeError("the fabric's captures have a watcher already")
        self._watcher = watcher
        for member in self._members.values():
            self._tell(member)

    def listen(self, instance: str | None, address: str, port: int) -> socket.socket:
        """Open a TCP listener in a pod's namespace, or in devmesh's own (None).

        Raises:
            OSError: The address is in use, or the pod is gone.
        """
        return open_listener(self._maker(instance), address, port)

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
        """Begin to connect from inside `destination`; see `Dialer`.

        `INBOUND_SOURCE` as `bind` stands for Istio's ::6 where `address` is an IPv6 one. What is outside
        the mesh is dialled from a container's own namespace, else from devmesh's; an address of a pod,
        which only pods can reach, from `origin`'s. ``unix://PATH`` is a socket of the pod's. The pods'
        gateway is this machine: its loopback.

        Raises:
            OSError: The pod is gone, or connecting failed at once.
        """
        where = destination
        if where is not None and address.startswith(SCHEME):
            return self._pod_sockets.connect(self._maker(where), self.netns(where), address)
        if where is None and self._is_virtual(address):
            raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")  # as kube-proxy does
        if where is None and origin is not None:
            member = self._members.get(origin)
            if member is not None and (member.network.adopted or address in self._by_address):
                where = origin
        if where is None:
            address = self._addresses.seen_from_host(address)
        elif bind == INBOUND_SOURCE and ":" in address:
            bind = str(INBOUND_SOURCE_V6.ip)
        make = self._maker(where)
        if where is not None or self._may_mark:
            try:
                return start_connecting(make, address, port, mark=mark, bind=bind)
            except PermissionError:
                if where is not None:
                    raise
                self._may_mark = False  # without CAP_NET_ADMIN; no rule of the host's asks for it
        return start_connecting(make, address, port, mark=None, bind=bind)

    def update_backends(self, tcp: Table, udp: Table = _NOTHING) -> None:
        """Lead each Service's address to these endpoints, for what goes without a proxy (all UDP does).

        What has not changed costs nothing. It is in force a few ms later.
        """
        if (tcp, udp) == self._given:
            return
        self._given = tcp, udp
        self._backends = of_both(tcp, udp)
        self._follow()

    def _follow(self) -> None:
        """Have every pod's rules follow the backends: on another thread, where an event loop runs."""
        if self._nursery is None:
            self._bring_up_to_date()
        else:
            self._outdated.set()

    async def _follow_backends(self) -> None:
        while True:
            await self._outdated.wait()
            self._outdated = trio.Event()
            await trio.to_thread.run_sync(self._bring_up_to_date)

    def _bring_up_to_date(self) -> None:
        for member in list(self._members.values()):
            try:
                member.equipment.follow(self._backends)
            except OSError:
                if member.equipment.rules is not None:  # else it was released meanwhile
                    log.exception("not all Services are known in pod %s", member.network.instance)

    def _is_virtual(self, address: str) -> bool:
        parsed = ip_address(address)
        return any(parsed in network for network in self._virtual)

    def _refuse_twice(self, instance: str) -> None:
        if instance in self._members:
            raise ValueError(f"pod {instance} has its network already")

    def _admit(self, member: _Member) -> None:
        pod = member.network
        self._members[pod.instance] = member
        self._by_address |= dict.fromkeys(pod.addresses, pod.instance)
        self._start_relay(member)
        self._tell(member)
        if len(member.equipment.backends) < len(self._backends) and not pod.gateway:
            self._follow()

    def _start_relay(self, member: _Member) -> None:
        if member.equipment.relay is not None and self._nursery is not None:
            self._nursery.start_soon(relay, member.equipment.relay, self._addresses.seen_from_host)

    def _tell(self, member: _Member) -> None:
        if self._watcher is not None and member.equipment.capture is not None:
            member.equipment.sockets.clear()  # the watcher's now
            self._watcher.captured(member.equipment.capture)

    def _close_sockets(self, member: _Member) -> None:
        if member.equipment.relay is not None and self._nursery is not None:
            trio.lowlevel.notify_closing(member.equipment.relay)
        member.equipment.close()

    def _let_go(self, member: _Member) -> None:
        if member.network.adopted:
            member.equipment.disarm()
        member.equipment.forget()
        os.close(member.network.netns_fd)

    def _aside(self, work: Callable[[], None]) -> None:
        """Do what would hold up the data plane on another thread, where there is a data plane."""
        if self._nursery is None:
            work()
        else:
            self._nursery.start_soon(trio.to_thread.run_sync, work)

    def netns(self, instance: str) -> int:
        """Return a descriptor of an instance's namespace, the fabric's own.

        Raises:
            OSError: It is gone.
        """
        member = self._members.get(instance)
        if member is None:
            raise OSError(errno.EHOSTUNREACH, f"pod {instance} is gone")
        return member.network.netns_fd

    def _maker(self, instance: str | None) -> SocketMaker:
        if instance is None:
            return socket_at_home
        return partial(self._namespaces.socket, self.netns(instance))
