"""The data plane as a whole: a part of the mesh that starts, listens, follows the snapshots, and ends."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterable
from typing import Protocol

import trio

from devmesh.model.outside import OutsideNames
from devmesh.proxy.admin.application import Scrape
from devmesh.proxy.admin.ports import Admin
from devmesh.proxy.admin.view import Listening
from devmesh.proxy.arriving import OutboundArrival
from devmesh.proxy.arriving_gateway import GatewayArrival, listener_of
from devmesh.proxy.arriving_inbound import InboundArrival
from devmesh.proxy.epoll import EpollReactor
from devmesh.proxy.opened import Opened, Place
from devmesh.proxy.plane import Certificates, Plane
from devmesh.proxy.pruning import prune
from devmesh.proxy.reactor import Acceptor, Connection, Reactor
from devmesh.security.contexts import SecretInfo
from devmesh.snapshot.feed import SnapshotFeed
from devmesh.snapshot.network import (
    INBOUND_PORT,
    OUTBOUND_PORT,
    Capture,
    Dialer,
    ListenerSource,
    PodFiles,
)
from devmesh.snapshot.proxy import Proxy
from devmesh.snapshot.snapshot import Snapshot
from devmesh.telemetry.record import RecordSink

log = logging.getLogger(__name__)

PATIENCE = 5.0  # seconds that a connection waits for its instance to be known
_PRUNE_EVERY, _PRUNE_AFTER = 60.0, 0.2  # seconds

_HOST, _ANY = "127.0.0.1", "0.0.0.0"

Refused = Callable[[str, int, OSError], None]
"""Told of a gateway's port that cannot be listened on: instance, port, why."""


class Runs(Protocol):
    """A reactor that has to be run."""

    async def run(self, *, task_status: trio.TaskStatus[None] = ...) -> None: ...


def _say(instance: str, port: int, error: OSError) -> None:
    log.error("gateway %s cannot listen on port %d: %s", instance, port, error)


class Engine:
    """Implements `CaptureWatcher`, and serves what it is told of by the snapshots of a feed.

    Args:
        listeners: Where captures come from, and where gateways listen.
        port_taken: Told when a gateway cannot listen; by default it is logged.
        reactor: What moves the bytes; by default sockets, dialled by `dialer`.
        outside: Names of the world that have another address here.
        files: Where certificates are that DestinationRules name by their paths in pods.
        secret: Returns what a proxy proves itself with, for its admin interface.
        metrics: Returns the ``istio_*`` metrics of a proxy, for the same.
        scrape: Returns where an instance's application tells its own.
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
        secret: Callable[[Proxy], SecretInfo | None] = lambda proxy: None,
        metrics: Callable[[Proxy], Iterable[str]] = lambda proxy: (),
        scrape: Callable[[str], Scrape | None] = lambda instance: None,
    ) -> None:
        self._epoll = EpollReactor(dialer) if reactor is None else None
        self._reactor: Reactor = reactor if reactor is not None else self._epoll  # type: ignore[assignment]
        self.plane = Plane(self._reactor, feed, certificates, sink, outside=outside, files=files)
        self._feed = feed
        self._listeners = listeners
        self._port_taken = port_taken
        self._open: dict[str, Opened] = {}
        self._refused: set[tuple[str, Place]] = set()
        self._parked: dict[str, list[tuple[Connection, Callable[[Proxy], None]]]] = {}
        self.admin = Admin(self.plane, self, secret, metrics, scrape)

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
        opened = self._open.setdefault(instance, Opened())
        for side, listener in (("outbound", capture.outbound), ("inbound", capture.inbound)):
            if listener is not None:
                opened.places[side] = listener.getsockname()[:2]
                self._accept_side(opened, instance, side, listener)
        self._open_admin(opened, instance)

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
        self.plane.http2_requests.clear()
        proxies = snapshot.proxies.items()
        wanted = {id_: proxy for id_, proxy in proxies if proxy.gateway or proxy.instance.gateway}
        for instance, opened in list(self._open.items()):
            if instance not in wanted:
                opened.close_gateway(())
                if not opened.places:
                    opened.close()
                    del self._open[instance]
        for instance, proxy in wanted.items():
            self._open_gateway(instance, proxy)
        for instance in [each for each in self._parked if each in snapshot.proxies]:
            for connection, start in self._parked.pop(instance):
                connection.resume()
                start(snapshot.proxies[instance])

    def _open_gateway(self, instance: str, proxy: Proxy) -> None:
        opened = self._open.setdefault(instance, Opened())
        self._open_admin(opened, instance)
        if opened.drained:
            return
        wanted: dict[Place, tuple[int, str]] = {}
        for listener in proxy.gateway:
            which = (listener.target_port, listener.bind)
            wanted[False, listener.bind or _ANY, listener.target_port] = which
            if listener.local_port:
                wanted[True, _HOST, listener.local_port] = which
            for address, port in listener.shown:
                wanted[True, address, port] = which
        opened.close_gateway(wanted)
        for place, which in wanted.items():
            if place not in opened.gateway:
                self._listen(opened, instance, place, which)

    def _listen(self, opened: Opened, instance: str, place: Place, which: tuple[int, str]) -> None:
        on_host, address, port = place
        try:
            made = self._listeners.listen(None if on_host else instance, address, port)
        except OSError as error:
            if (instance, place) not in self._refused:  # say it once; try again with each snapshot
                self._refused.add((instance, place))
                self._port_taken(instance, port, error)
            return
        self._refused.discard((instance, place))

        def start(plane: Plane, proxy: Proxy, connection: Connection) -> None:
            listener = listener_of(proxy, *which)
            if listener is None:
                connection.abort()
            else:
                GatewayArrival(plane, proxy, listener, connection).start()

        opened.gateway[place] = self._accept(instance, made, start, which[0])

    # -- as the admin interface sees it --

    def drain(self, instance: str, *, inbound_only: bool) -> None:
        if (opened := self._open.get(instance)) is not None:
            opened.drain(inbound_only=inbound_only)

    def restart(self, instance: str) -> None:
        self.plane.state(instance).restart()
        opened = self._open.get(instance)
        if opened is None:
            return
        opened.drained = False
        for side, (address, port) in opened.places.items():
            if side not in opened.sidecar:
                try:
                    made = self._listeners.listen(instance, address, port)
                except OSError as error:
                    log.error("the proxy of %s cannot listen on port %d again: %s", instance, port, error)
                else:
                    self._accept_side(opened, instance, side, made)
        self.follow(self._feed.current)

    def listening(self, instance: str) -> list[Listening]:
        opened = self._open.get(instance)
        return [] if opened is None else list(opened.names(self._feed.current.proxies.get(instance)))

    # -- connections --

    def _open_admin(self, opened: Opened, instance: str) -> None:
        if not opened.admin:
            opened.admin = self.admin.open(instance, self._listeners)

    def _accept_side(self, opened: Opened, instance: str, side: str, listener: socket.socket) -> None:
        start, port = _SIDES[side]
        opened.sidecar[side] = self._accept(instance, listener, start, port)

    def _accept(self, instance: str, listener: socket.socket, start: Start, port: int) -> Acceptor:
        accepted, name = self.plane.state(instance).accepted, f"0.0.0.0_{port}"
        accepted.setdefault(name, 0)

        def arrived(connection: Connection) -> None:
            accepted[name] += 1
            self._arrived(instance, connection, start)

        return self._reactor.accept(listener, arrived)

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


_SIDES: dict[str, tuple[Start, int]] = {
    "outbound": (_outbound, OUTBOUND_PORT),
    "inbound": (_inbound, INBOUND_PORT),
}
