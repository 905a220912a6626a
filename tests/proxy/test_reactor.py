"""What every reactor promises, asked of the one over sockets and of the one in memory."""

from __future__ import annotations

import socket
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import trio

from devmesh.proxy.epoll import EpollReactor
from devmesh.proxy.reactor import Connection, Owner, Reactor
from devmesh.testing.loopback import LoopbackNetwork
from devmesh.testing.reactor import MemoryReactor


class End(Owner):
    def __init__(self) -> None:
        self.connection: Connection | None = None
        self.data = b""
        self.events: list[str] = []
        self.reads = True

    @property
    def there(self) -> Connection:
        assert self.connection is not None
        return self.connection

    def connected(self) -> None:
        self.events.append("connected")

    def readable(self) -> None:
        data = self.there.recv()
        if data is None:
            return
        self.data += data
        if not data:
            self.events.append("reset" if self.there.error else "end")
            self.there.pause()

    def drained(self) -> None:
        self.events.append("drained")

    def lost(self, reason: str) -> None:
        self.events.append(f"lost: {reason}")


class World(ABC):
    """A reactor, and how time passes for it."""

    reactor: Reactor

    @abstractmethod
    def listen(self, accepted: Callable[[Connection], None]) -> tuple[str, int]: ...

    @abstractmethod
    async def until(self, condition: Callable[[], object], seconds: float = 5.0) -> None: ...

    async def pair(self) -> tuple[End, End]:
        """Return both ends of a connection that is up."""
        client, server = End(), End()

        def accepted(connection: Connection) -> None:
            server.connection, connection.owner = connection, server

        address, port = self.listen(accepted)
        client.connection = self.reactor.dial(client, None, address, port, mark=0)
        await self.until(lambda: client.events and server.connection)
        assert client.events == ["connected"]
        return client, server


class Memory(World):
    def __init__(self) -> None:
        self.memory = MemoryReactor()
        self.reactor = self.memory

    def listen(self, accepted: Callable[[Connection], None]) -> tuple[str, int]:
        self.memory.serve(None, "10.0.0.1", 80, accepted)
        return "10.0.0.1", 80

    async def until(self, condition: Callable[[], object], seconds: float = 5.0) -> None:
        waited = 0.0
        self.memory.settle()
        while not condition():
            self.memory.advance(0.005)
            waited += 0.005
            assert waited < seconds


class Sockets(World):
    def __init__(self) -> None:
        self.network = LoopbackNetwork()
        self.reactor = self.epoll = EpollReactor(self.network, self.network.original)

    def listen(self, accepted: Callable[[Connection], None]) -> tuple[str, int]:
        listener = socket.create_server(("127.0.0.1", 0))
        self.epoll.accept(listener, accepted)
        address, port = listener.getsockname()
        return str(address), int(port)

    async def until(self, condition: Callable[[], object], seconds: float = 5.0) -> None:
        with trio.fail_after(seconds):
            while not condition():  # noqa: ASYNC110 - what is waited for are calls, not tasks
                await trio.sleep(0.001)


@pytest.fixture(params=[Memory, Sockets])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    made: World = request.param()
    if isinstance(made, Sockets):
        async with trio.open_nursery() as nursery:
            await nursery.start(made.epoll.run)
            yield made
            nursery.cancel_scope.cancel()
    else:
        yield made


async def test_bytes_arrive_in_order_whenever_they_are_sent(world: World) -> None:
    client, server = await world.pair()
    for piece in (b"a", b"bc", b"def"):
        client.there.send(piece)
    await world.until(lambda: len(server.data) == 6)
    server.there.send(b"answer")
    await world.until(lambda: client.data == b"answer")
    assert server.data == b"abcdef"


async def test_what_is_sent_before_it_is_up_is_kept(world: World) -> None:
    server, client = End(), End()

    def accepted(connection: Connection) -> None:
        server.connection, connection.owner = connection, server

    address, port = world.listen(accepted)
    client.connection = world.reactor.dial(client, None, address, port, mark=0)
    client.connection.send(b"early")
    await world.until(lambda: server.data == b"early")


async def test_who_is_not_there_refuses(world: World) -> None:
    client = End()
    client.connection = world.reactor.dial(client, None, "127.0.0.1", 1, mark=0)
    await world.until(lambda: client.events)
    assert client.events == ["lost: Connection refused"]


async def test_a_large_piece_waits_for_the_reader_and_drains(world: World) -> None:
    client, server = await world.pair()
    server.there.pause()
    big = bytes(8_000_000)
    client.there.send(big)
    await world.until(lambda: client.there.pending > 0)
    assert "drained" not in client.events
    server.there.resume()
    await world.until(lambda: "drained" in client.events)
    await world.until(lambda: len(server.data) == len(big))
    assert client.there.pending == 0


async def test_the_end_comes_after_the_last_byte_and_the_other_way_stays_open(world: World) -> None:
    client, server = await world.pair()
    client.there.send(bytes(3_000_000))
    client.there.finish()
    await world.until(lambda: "end" in server.events)
    assert len(server.data) == 3_000_000
    server.there.send(b"still here")
    await world.until(lambda: client.data == b"still here")


async def test_an_abort_is_a_reset(world: World) -> None:
    client, server = await world.pair()
    client.there.abort()
    await world.until(lambda: server.events)
    assert server.events == ["reset"]


async def test_who_closed_hears_nothing_more(world: World) -> None:
    client, server = await world.pair()
    server.there.send(b"for nobody")
    client.there.close()
    await world.until(lambda: "end" in server.events or "reset" in server.events)
    assert client.events == ["connected"]
    client.there.send(b"into nothing")
    client.there.close()


async def test_a_connection_that_has_ended_both_ways_costs_nothing_until_it_is_closed(world: World) -> None:
    client, server = await world.pair()
    client.there.finish()
    server.there.finish()
    await world.until(lambda: "end" in client.events and "end" in server.events)
    if isinstance(world, Sockets):
        before = time.process_time()
        await trio.sleep(0.1)
        assert time.process_time() - before < 0.05
    assert client.events == ["connected", "end"]
    assert server.events == ["end"]


async def test_a_deadline_comes_in_time_and_not_when_cancelled(world: World) -> None:
    called: list[str] = []
    began = world.reactor.now()
    world.reactor.deadline(0.02, lambda: called.append("first"))
    world.reactor.deadline(0.01, lambda: called.append("never")).cancel()
    world.reactor.deadline(0.03, lambda: called.append("second"))
    await world.until(lambda: len(called) == 2)
    assert called == ["first", "second"]
    assert world.reactor.now() - began >= 0.03


async def test_slow_work_is_done_aside(world: World) -> None:
    got: list[object] = []

    def fails() -> int:
        raise LookupError("no")

    world.reactor.aside(lambda: 42, got.append)
    world.reactor.aside(fails, got.append)
    await world.until(lambda: len(got) == 2)
    assert 42 in got
    assert any(isinstance(result, LookupError) for result in got)


async def test_a_failing_owner_loses_its_connection_alone(caplog: pytest.LogCaptureFixture) -> None:
    world = Sockets()
    async with trio.open_nursery() as nursery:
        await nursery.start(world.epoll.run)
        client, server = await world.pair()
        other, another = await world.pair()

        class Broken(Owner):
            def readable(self) -> None:
                raise ZeroDivisionError

        server.there.owner = Broken()
        client.there.send(b"x")
        await world.until(lambda: client.events[-1] in ("end", "reset"))
        other.there.send(b"fine")
        await world.until(lambda: another.data == b"fine")
        assert "ZeroDivisionError" in caplog.text
        nursery.cancel_scope.cancel()


async def test_other_tasks_run_while_many_connections_are_busy() -> None:
    """32 pairs that answer each other without end, and a task that sleeps 5 ms at a time."""
    world = Sockets()
    late: list[float] = []
    async with trio.open_nursery() as nursery:
        await nursery.start(world.epoll.run)

        class Busy(End):
            def readable(self) -> None:
                data = self.there.recv()
                if data:
                    self.there.send(data)

        for _ in range(32):
            client, server = await world.pair()
            for end in (client, server):
                busy = Busy()
                busy.connection, end.there.owner = end.connection, busy
            client.there.send(b"x" * 100)
        for _ in range(60):
            began = time.monotonic()
            await trio.sleep(0.005)
            late.append(time.monotonic() - began - 0.005)
        began = time.monotonic()
        for _ in range(100):  # work in slices, as the control plane does it
            await trio.lowlevel.checkpoint()
        sliced = time.monotonic() - began
        nursery.cancel_scope.cancel()
    assert sliced < 1.0
    assert (
        sorted(late)[len(late) // 2] < 0.01
    )  # the 99th percentile is measured by the bench, on a quiet machine


def test_descriptors_of_closed_connections_are_not_confused(tmp_path: Path) -> None:
    """A connection that is closed in the middle of a batch must not hand its events to a new one."""

    async def run() -> None:
        world = Sockets()
        async with trio.open_nursery() as nursery:
            await nursery.start(world.epoll.run)
            pairs = [await world.pair() for _ in range(8)]
            fresh: list[End] = []

            class Closes(Owner):
                def readable(self) -> None:
                    for _, server in pairs:
                        server.there.close()
                    address, port = world.listen(lambda connection: None)
                    end = End()
                    end.connection = world.reactor.dial(end, None, address, port, mark=0)
                    fresh.append(end)

            for _, server in pairs:
                server.there.owner = Closes()
            for client, _ in pairs:
                client.there.send(b"x")
            await world.until(lambda: fresh and fresh[0].events)
            assert len(fresh) == 1
            assert fresh[0].events == ["connected"]
            nursery.cancel_scope.cancel()

    trio.run(run)
