"""One DNS server for all pods."""

from __future__ import annotations

import contextlib
import logging
import random
import select
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import trio

from devmesh.model.outside import OutsideNames
from devmesh.runtime.dns import message
from devmesh.runtime.dns.directory import Answer, Directory
from devmesh.runtime.dns.forward import ask, read_message
from devmesh.runtime.dns.message import MalformedQuery, Query
from devmesh.runtime.dns.resolvconf import HostServers
from devmesh.runtime.network.pod import NameSockets
from devmesh.snapshot.feed import SnapshotFeed
from devmesh.snapshot.snapshot import Snapshot

log = logging.getLogger(__name__)

_BURST = 32  # packets of one socket at a time: the data plane waits meanwhile
_MAX_FORWARDED = 512  # questions to others at once; further ones are answered SERVFAIL
_MAX_CONNECTIONS = 64  # TCP connections of one pod at once; further ones are closed
_HOST_NAMES = ("host.docker.internal", "host.containers.internal")  # Docker's and Podman's
_REST = 1.0  # seconds, where no connection can be accepted
_IDLE = 10.0  # seconds without a question until a TCP connection is closed


@dataclass(slots=True)
class _Pod:
    sockets: NameSockets
    connections: set[trio.CancelScope] = field(default_factory=set)


class DnsServer:
    """Implements `NameServer`. All sockets are on one epoll set, which one task waits on.

    Args:
        servers: Whom to ask for other names, where a pod has no resolver of its own: the host's.
        port: Of those.
        outside: Names of the world that are answered here.
    """

    def __init__(
        self,
        feed: SnapshotFeed,
        *,
        servers: Callable[[], tuple[str, ...]] | None = None,
        port: int = 53,
        outside: OutsideNames | None = None,
    ) -> None:
        self._feed = feed
        self._outside = outside
        self._servers = servers or HostServers()
        self._port = port
        self._version = feed.current
        self._directories = self._made(feed.current)
        self._epoll = select.epoll()
        self._arrivals: dict[int, Callable[[], None]] = {}
        self._pods: dict[str, _Pod] = {}
        self._nursery: trio.Nursery | None = None
        self._forwarded = 0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Answer until cancelled, then close all sockets. It may run once."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                task_status.started()
                while True:
                    await trio.lowlevel.wait_readable(self._epoll.fileno())
                    for descriptor, _ in self._epoll.poll(0, 64):
                        if (arrive := self._arrivals.get(descriptor)) is not None:
                            arrive()
        finally:
            self._nursery = None
            for instance in list(self._pods):
                self.stop(instance)
            self._epoll.close()

    def serve(self, sockets: NameSockets) -> None:
        """Answer on `sockets` from now on (once `run` runs); the server owns them."""
        pod = self._pods[sockets.instance] = _Pod(sockets)
        for sock in sockets.datagrams:
            self._watch(sock, partial(self._read_datagrams, pod, sock))
        for sock in sockets.listeners:
            self._watch(sock, partial(self._accept, pod, sock))

    def stop(self, instance: str) -> None:
        """Close the sockets of an instance; nothing where it has none."""
        pod = self._pods.pop(instance, None)
        if pod is None:
            return
        for sock in (*pod.sockets.datagrams, *pod.sockets.listeners):
            self._arrivals.pop(sock.fileno(), None)
            with contextlib.suppress(OSError):
                self._epoll.unregister(sock)
            sock.close()
        for connection in pod.connections:
            connection.cancel()

    async def resolve(self, name: str, namespace: str = "default") -> tuple[str, ...]:
        """Return the addresses of a name for devmesh itself: the mesh's names first, then the host's.

        Raises:
            OSError: Nobody knows it (`socket.gaierror`).
        """
        await trio.lowlevel.checkpoint()
        name = name.rstrip(".").lower()
        addresses = self._current().addresses(name, namespace)
        if addresses:
            return addresses
        found = await trio.socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))

    def _watch(self, sock: socket.socket, arrive: Callable[[], None]) -> None:
        self._arrivals[sock.fileno()] = arrive
        self._epoll.register(sock, select.EPOLLIN)

    def _current(self, *, meshed: bool = True) -> Directory:
        if self._feed.current is not self._version:
            self._version = self._feed.current
            self._directories = self._made(self._version)
        return self._directories[meshed]

    def _made(self, snapshot: Snapshot) -> tuple[Directory, Directory]:
        """Return the names for those outside the mesh, and for those in it."""
        return (
            Directory(snapshot, meshed=False, outside=self._outside),
            Directory(snapshot, outside=self._outside),
        )

    def _read_datagrams(self, pod: _Pod, sock: socket.socket) -> None:
        for _ in range(_BURST):
            try:
                packet, client = sock.recvfrom(message.MAX_SIZE)
            except BlockingIOError:
                return
            except OSError:
                log.debug("receiving a query failed", exc_info=True)
                return
            self._take_datagram(pod, sock, packet, client)

    def _take_datagram(self, pod: _Pod, sock: socket.socket, packet: bytes, client: Any) -> None:
        def send(reply: bytes) -> None:
            with contextlib.suppress(OSError):  # the client, or the pod, is gone
                sock.sendto(reply, client)

        try:
            query = message.parse(packet)
        except MalformedQuery as error:
            if error.answerable is not None:
                send(message.format_error(error.answerable))
            return
        found = self._answer(pod, query)
        if found is not None and not found.alias:
            send(_write(query, found, query.udp_size))
        elif self._nursery is None or self._forwarded >= _MAX_FORWARDED:
            send(_failure(query))
        else:
            self._nursery.start_soon(self._send_answer, pod, packet, query, found, send)

    async def _send_answer(
        self, pod: _Pod, packet: bytes, query: Query, found: Answer | None, send: Callable[[bytes], None]
    ) -> None:
        send(await self._complete(pod, packet, query, found, by_tcp=False))

    async def _complete(
        self, pod: _Pod, packet: bytes, query: Query, found: Answer | None, *, by_tcp: bool
    ) -> bytes:
        """Ask others: for the whole answer, or for what an alias of the mesh's stands for."""
        if found is None:
            reply = await self._ask(pod, packet, query, by_tcp=by_tcp)
            return _failure(query) if reply is None else reply
        further = await self._ask(pod, *message.ask_for(found.alias, query), by_tcp=by_tcp)
        if further is None:
            return _failure(query)
        records = (*found.records, *message.records_of(further))
        limit = message.MAX_SIZE if by_tcp else query.udp_size
        return message.answer(query, message.code_of(further), records, limit=limit)

    async def _ask(self, pod: _Pod, packet: bytes, query: Query, *, by_tcp: bool) -> bytes | None:
        self._forwarded += 1
        try:
            servers = pod.sockets.nameservers or self._servers()
            made = pod.sockets.upstream
            return await ask(packet, query, servers, made, by_tcp=by_tcp, port=self._port)
        finally:
            self._forwarded -= 1

    def _answer(self, pod: _Pod, query: Query) -> Answer | None:
        """As `_find`; a mistake in one name is not the end of all answers."""
        try:
            return self._find(pod, query)
        except Exception:
            log.exception("no answer for %r", query.name)
            return Answer(message.SERVFAIL)

    def _find(self, pod: _Pod, query: Query) -> Answer | None:
        """Answer a question by the mesh's names; None: it has to be asked of others."""
        if query.opcode != 0:
            return Answer(message.NOTIMP)
        if query.name is None or query.klass != message.IN:
            return None
        if query.name in _HOST_NAMES and pod.sockets.host:
            record = message.address_record(pod.sockets.host)
            return Answer(records=(record,) if query.type in (message.A, message.ANY) else ())
        instance = self._feed.current.instances.get(pod.sockets.instance)
        namespace = instance.namespace if instance is not None else pod.sockets.namespace
        meshed = instance is None or instance.meshed
        return self._current(meshed=meshed).answer(query.name, query.type, namespace)

    def _accept(self, pod: _Pod, listener: socket.socket) -> None:
        for _ in range(_BURST):
            try:
                client, _ = listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:  # no descriptors are left: the listener would be ready for ever
                log.error("DNS by TCP rests for a second: %s", error)
                self._rest(listener)
                return
            if self._nursery is None or len(pod.connections) >= _MAX_CONNECTIONS:
                client.close()
                continue
            client.setblocking(False)
            scope = trio.CancelScope()
            pod.connections.add(scope)
            self._nursery.start_soon(self._converse, pod, client, scope)

    def _rest(self, listener: socket.socket) -> None:
        self._epoll.unregister(listener)
        if self._nursery is not None:
            self._nursery.start_soon(self._wake, listener)

    async def _wake(self, listener: socket.socket) -> None:
        await trio.sleep(_REST)
        if listener.fileno() in self._arrivals:  # else its pod was stopped meanwhile
            self._epoll.register(listener, select.EPOLLIN)

    async def _converse(self, pod: _Pod, client: socket.socket, scope: trio.CancelScope) -> None:
        try:
            with scope:
                async with trio.SocketStream(trio.socket.from_stdlib_socket(client)) as stream:
                    while await self._take_message(pod, stream):
                        pass
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            log.debug("a DNS client went away")
        finally:
            pod.connections.discard(scope)

    async def _take_message(self, pod: _Pod, stream: trio.SocketStream) -> bool:
        """Read one question from a TCP connection and answer it; False: there are no more."""
        packet = None
        with trio.move_on_after(_IDLE):
            packet = await read_message(stream)
        if packet is None:
            return False
        try:
            query = message.parse(packet)
        except MalformedQuery:
            return False
        found = self._answer(pod, query)
        if found is not None and not found.alias:
            reply = _write(query, found, message.MAX_SIZE)
        elif self._forwarded >= _MAX_FORWARDED:
            reply = _failure(query)
        else:
            reply = await self._complete(pod, packet, query, found, by_tcp=True)
        with trio.move_on_after(_IDLE) as slow:
            await stream.send_all(struct.pack("!H", len(reply)) + reply)
        return not slow.cancelled_caught


def _write(query: Query, found: Answer, limit: int) -> bytes:
    records = found.records
    if (
        len(records) > 1 and records[0].type != message.CNAME
    ):  # clients take the first: spread them, as CoreDNS does
        records = tuple(random.sample(records, len(records)))
    return message.answer(query, found.code, records, found.authority, found.additional, limit=limit)


def _failure(query: Query) -> bytes:
    return message.answer(query, message.SERVFAIL, limit=message.MAX_SIZE, authoritative=False)
