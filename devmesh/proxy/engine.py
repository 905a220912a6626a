"""The data plane as a whole: a part of the mesh that starts, listens, follows the snapshots, and ends."""

from __future__ import annotations

import logging
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from typing import Protocol

import trio

from devmesh.model.outside import OutsideNames
from devmesh.proxy.arriving import OutboundArrival
from devmesh.proxy.arriving_gateway import GatewayArrival, listener_of
from devmesh.proxy.arriving_inbound import InboundArrival
from devmesh.proxy.epoll import EpollReactor
from devmesh.proxy.plane import Certificates, Plane
from devmesh.proxy.pruning import prune
from devmesh.proxy.reactor import Acceptor, Connection, Reactor
from devmesh.snapshot.feed import SnapshotFeed
from devmesh.snapshot.network import Capture, Dialer, ListenerSource, PodFiles
from devmesh.snapshot.proxy import Proxy
from devmesh.snapshot.snapshot import Snapshot
from devmesh.telemetry.record import RecordSink

log = logging.getLogger(__name__)

PATIENCE = 5.0  # seconds that a connection waits for its instance to be known
_PRUNE_EVERY, _PRUNE_AFTER = 60.0, 0.2  # seconds

Place = tuple[str, int]
"""A gateway's address on the host with a port; no address: inside its own namespace."""
_HOST = "127.0.0.1"

Refused = Callable[[str, int, OSError], None]
"""Told of a gateway's port that cannot be listened on: instance, port, why."""


class Runs(Protocol):
    """A reactor that has to be run."""

    async def run(self, *, task_status: trio.TaskStatus[None] = ...) -> None: ...


def _say(instance: str, port: int, error: OSError) -> None:
    log.error("gateway %s cannot listen on port %d: %s", instance, port, error)


@dataclass(slots=True)
class _Listening:
    """What is open for one instance; `gateway` by place."""

    sidecar: list[Acceptor] = field(default_factory=list)
    gateway: dict[Place, Acceptor] = field(default_factory=dict)

    def close(self) -> None:
        for acceptor in (*self.sidecar, *self.gateway.values()):
            acceptor.close()


class Engine:
    """Implements `CaptureWatcher`, and serves what it is told of by the snapshots of a feed.

    Args:
        listeners: Where captures come from, and where gateways listen.
        port_taken: Told when a gateway cannot listen; by default it is logged.
        reactor: What moves the bytes; by default sockets, dialled by `dialer`.
        outside: Names of the world that have another address here.
        files: Where certificates are that DestinationRules name by their paths in pods.
    """

    def __init__(
        self,
        feed: SnapshotFeed,
        listeners: ListenerSource,
        dialer: Dialer,
        certificates: Certificates,
        sink: RecordSink,
        *,
        port_taken: Refused = _say,
        reactor: Reactor | None = None,
        outside: OutsideNames | None = None,
        files: PodFiles | None = None,
    ) -> None:
        self._epoll = EpollReactor(dialer) if reactor is None else None
        self._reactor: Reactor = reactor if reactor is not None else self._epoll  # type: ignore[assignment]
        self.plane = Plane(self._reactor, feed, certificates, sink, outside=outside, files=files)
        self._feed = feed
        self._listeners = listeners
        self._port_taken = port_taken
        self._open: dict[str, _Listening] = {}
        self._refused: set[tuple[str, Place]] = set()
        self._parked: dict[str, list[tuple[Connection, Callable[[Proxy], None]]]] = {}

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; started when it listens."""
        async with trio.open_nursery() as nursery:
            if self._epoll is not None:
                await nursery.start(self._epoll.run)
            self._listeners.subscribe(self)
            self._feed.subscribe(self.follow)
            self.follow(self._feed.current)
            nursery.start_soon(self._prune)
            task_status.started()

    # -- as the runtime sees it --

    def captured(self, capture: Capture) -> None:
        instance = capture.instance
        opened = self._open.setdefault(instance, _Listening())
        if capture.outbound is not None:
            accept = self._reactor.accept(capture.outbound, lambda c: self._arrived(instance, c, _outbound))
            opened.sidecar.append(accept)
        if capture.inbound is not None:
            accept = self._reactor.accept(capture.inbound, lambda c: self._arrived(instance, c, _inbound))
            opened.sidecar.append(accept)

    def released(self, instance: str) -> None:
        opened = self._open.pop(instance, None)
        if opened is not None:
            opened.close()
        self.plane.forget(instance)
        for connection, _ in self._parked.pop(instance, ()):
            connection.close()

    # -- following the configuration --

    def follow(self, snapshot: Snapshot) -> None:
        """Open and close gateways' listeners as `snapshot` has them; let those in that waited for it."""
        for known in self.plane.requests.values():
            known.clear()  # with what was worked out by the old tables
        wanted = {id_: proxy for id_, proxy in snapshot.proxies.items() if proxy.gateway}
        for instance, opened in list(self._open.items()):
            if opened.gateway and instance not in wanted:
                self._close_gateway(opened, set())
                if not opened.sidecar:
                    del self._open[instance]
        for instance, proxy in wanted.items():
            self._open_gateway(instance, proxy)
        for instance in [each for each in self._parked if each in snapshot.proxies]:
            for connection, start in self._parked.pop(instance):
                connection.resume()
                start(snapshot.proxies[instance])

    def _open_gateway(self, instance: str, proxy: Proxy) -> None:
        opened = self._open.setdefault(instance, _Listening())
        wanted: dict[Place, int] = {}
        for listener in proxy.gateway:
            wanted["", listener.target_port] = listener.target_port
            if listener.local_port:
                wanted[_HOST, listener.local_port] = listener.target_port
            for place in listener.shown:
                wanted[place] = listener.target_port
        self._close_gateway(opened, wanted.keys())
        for place, target in wanted.items():
            if place not in opened.gateway:
                self._listen(opened, instance, place, target)

    def _listen(self, opened: _Listening, instance: str, place: Place, target: int) -> None:
        address, port = place
        try:
            if address:
                made = self._listeners.listen(None, address, port)
            else:
                made = self._listeners.listen(instance, "0.0.0.0", port)
        except OSError as error:
            if (instance, place) not in self._refused:  # say it once; try again with each snapshot
                self._refused.add((instance, place))
                self._port_taken(instance, port, error)
            return
        self._refused.discard((instance, place))

        def start(plane: Plane, proxy: Proxy, connection: Connection) -> None:
            listener = listener_of(proxy, target)
            if listener is None:
                connection.abort()
            else:
                GatewayArrival(plane, proxy, listener, connection).start()

        opened.gateway[place] = self._reactor.accept(made, lambda c: self._arrived(instance, c, start))

    def _close_gateway(self, opened: _Listening, keep: Container[Place]) -> None:
        for key in [key for key in opened.gateway if key not in keep]:
            opened.gateway.pop(key).close()

    # -- connections --

    def _arrived(self, instance: str, connection: Connection, start: Start) -> None:
        proxy = self._feed.current.proxies.get(instance)
        if proxy is not None:
            start(self.plane, proxy, connection)
            return
        connection.pause()
        waiting = self._parked.setdefault(instance, [])
        entry = (connection, lambda proxy: start(self.plane, proxy, connection))
        waiting.append(entry)

        def give_up() -> None:
            if entry in self._parked.get(instance, ()):
                self._parked[instance].remove(entry)
                connection.abort()

        self._reactor.deadline(PATIENCE, give_up)

    async def _prune(self) -> None:
        """Prune a moment after each change, and every minute; in slices."""
        version = self._feed.current.version
        while True:
            with trio.move_on_after(_PRUNE_EVERY):
                version = (await self._feed.newer_than(version)).version
                await trio.sleep(_PRUNE_AFTER)  # changes come in flocks
            for _ in prune(self.plane, self._feed.current):
                await trio.lowlevel.checkpoint()


Start = Callable[[Plane, Proxy, Connection], None]


def _outbound(plane: Plane, proxy: Proxy, connection: Connection) -> None:
    original = connection.original()
    if original is None:
        connection.abort()
    else:
        OutboundArrival(plane, proxy, connection, original).start()


def _inbound(plane: Plane, proxy: Proxy, connection: Connection) -> None:
    original = connection.original()
    if original is None:
        connection.abort()
    else:
        InboundArrival(plane, proxy, connection, original).start()
