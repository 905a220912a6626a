"""The engine over real sockets on 127.0.0.1: listeners come and go with the snapshots."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
import trio

from devmesh.model.identity import Identity
from devmesh.model.port import Protocol
from devmesh.proxy.engine import Engine
from devmesh.proxy.epoll import EpollReactor
from devmesh.security.ca import CertificateAuthority
from devmesh.security.contexts import Certificates
from devmesh.snapshot.feed import SnapshotFeed
from devmesh.snapshot.proxy import GatewayListener, Proxy, ServerTls, TcpRoute
from devmesh.snapshot.route import RouteTable, VirtualHost, Weighted
from devmesh.snapshot.snapshot import Snapshot
from devmesh.testing.loopback import LoopbackNetwork
from devmesh.testing.reactor import EPOCH
from tests.proxy.meshes import (
    APP,
    CLUSTER,
    GET,
    OK,
    TO_B,
    Kept,
    body_of,
    cluster,
    endpoint,
    head_of,
    instance,
    snapshot,
    status_of,
)

GATEWAY = instance("gateway", "10.1.0.9")
_AUTHORITY = CertificateAuthority("cluster.local", EPOCH)


@dataclass
class World:
    feed: SnapshotFeed
    network: LoopbackNetwork
    sink: Kept
    engine: Engine
    refused: list[tuple[str, int]]

    def publish(self, new: Snapshot) -> None:
        self.feed.publish(replace(new, version=self.feed.current.version + 1))


async def _answer(stream: trio.SocketStream) -> None:
    async with stream:
        data = b""
        async for piece in stream:
            data += piece
            while b"\r\n\r\n" in data:
                _, _, data = data.partition(b"\r\n\r\n")
                await stream.send_all(OK)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    network, sink, refused = LoopbackNetwork(), Kept(), []
    feed = SnapshotFeed(snapshot(clusters=(cluster(endpoint(mtls=True)),)))
    certificates = Certificates(_AUTHORITY)
    reactor = EpollReactor(network, network.original)

    def port_taken(gateway: str, port: int, error: OSError) -> None:
        refused.append((gateway, port))

    engine = Engine(feed, network, network, certificates, sink, port_taken=port_taken, reactor=reactor)
    async with trio.open_nursery() as nursery:
        [application] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        network.places[APP] = application.socket.getsockname()
        nursery.start_soon(partial(trio.serve_listeners, _answer, [application]))
        await nursery.start(reactor.run)
        await nursery.start(engine.run)
        yield World(feed, network, sink, engine, refused)
        nursery.cancel_scope.cancel()


async def ask(sock: socket.socket, data: bytes = GET) -> bytes:
    """Send, and return what comes back until it is whole or the end."""
    sock.setblocking(False)
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
    return await _ask(stream, data)


async def _ask(stream: trio.abc.Stream, data: bytes) -> bytes:
    answer = b""
    with trio.fail_after(5):
        async with stream:
            await stream.send_all(data)
            while not answer.endswith((b"hello", b"content-length: 0\r\n\r\n")):
                piece = await stream.receive_some()
                if not piece:
                    break
                answer += piece
    return answer


async def connect(port: int) -> trio.SocketStream:
    with trio.fail_after(5):
        return await trio.open_tcp_stream("127.0.0.1", port)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def with_gateway(*listeners: GatewayListener) -> Snapshot:
    base = snapshot(clusters=(cluster(endpoint(mtls=True)),))
    gateway = Proxy(GATEWAY, base.proxies["a"].outbound, gateway=listeners)
    return replace(base, proxies={**base.proxies, "gateway": gateway})


TABLE = RouteTable.of("http.80", (VirtualHost("*:80", ("*",), (TO_B,)),))


async def test_a_call_goes_by_mutual_tls_over_real_sockets(world: World) -> None:
    world.network.capture("a")
    world.network.capture("b")
    answer = await ask(world.network.connect("a", "240.240.0.1", 80))
    assert (status_of(answer), body_of(answer)) == (200, b"hello")
    assert [record.mtls for record in world.sink.requests] == [True, True]


async def test_whoever_dials_the_listener_itself_is_reset(world: World) -> None:
    _, port = world.network.capture("a")
    with pytest.raises((trio.BrokenResourceError, OSError)):
        await _ask(await connect(port), GET)


async def test_a_connection_waits_until_its_instance_is_known(world: World) -> None:
    known = world.feed.current
    world.publish(replace(known, proxies={}))
    world.network.capture("a")
    world.network.capture("b")
    answers: list[bytes] = []
    async with trio.open_nursery() as nursery:

        async def call() -> None:
            answers.append(await ask(world.network.connect("a", "240.240.0.1", 80)))

        nursery.start_soon(call)
        await trio.sleep(0.02)
        assert not answers
        world.publish(known)
    assert status_of(answers[0]) == 200


async def test_a_gateways_listeners_follow_the_snapshot(world: World) -> None:
    world.network.capture("b")
    port = free_port()
    with pytest.raises(OSError):  # noqa: PT011 - which one is trio's affair
        await connect(port)
    world.publish(with_gateway(GatewayListener(80, 8080, Protocol.HTTP, TABLE, local_port=port)))
    answer = await _ask(await connect(port), GET)
    assert (status_of(answer), head_of(answer)["server"]) == (200, "istio-envoy")
    record = world.sink.requests[-1]
    assert (record.reporter, record.source and record.source.name) == ("source", "gateway")
    inside = world.network.places["gateway", 8080]
    assert status_of(await _ask(await connect(inside[1]), GET)) == 200
    world.publish(snapshot())
    with pytest.raises(OSError):  # noqa: PT011
        await connect(port)


async def test_a_gateway_listens_at_more_addresses_of_the_host(world: World) -> None:
    world.network.capture("b")
    shown = (("127.1.0.9", free_port()), ("127.0.0.1", free_port()))
    world.publish(with_gateway(GatewayListener(80, 8080, Protocol.HTTP, TABLE, shown=shown)))
    for address, port in shown:
        assert status_of(await _ask(await trio.open_tcp_stream(address, port), GET)) == 200
    world.publish(with_gateway(GatewayListener(80, 8080, Protocol.HTTP, TABLE)))
    for address, port in shown:
        with pytest.raises(OSError):  # noqa: PT011
            await trio.open_tcp_stream(address, port)


async def test_a_gateway_tells_who_the_client_is(world: World) -> None:
    world.network.capture("b")
    port = free_port()
    world.publish(with_gateway(GatewayListener(80, 8080, Protocol.HTTP, TABLE, local_port=port)))
    await _ask(await connect(port), GET)
    assert world.sink.requests[-1].forwarded_for == "127.0.0.1"
    assert world.sink.requests[0].forwarded_for == "127.0.0.1"


async def test_a_port_that_is_taken_is_told_once_and_had_when_it_is_free(world: World) -> None:
    world.network.capture("b")
    taken = socket.create_server(("127.0.0.1", 0))
    port = taken.getsockname()[1]
    wanted = with_gateway(GatewayListener(80, 8080, Protocol.HTTP, TABLE, local_port=port))
    world.publish(wanted)
    world.publish(wanted)
    assert world.refused == [("gateway", port)]
    taken.close()
    world.publish(wanted)
    assert status_of(await _ask(await connect(port), GET)) == 200


async def test_a_gateway_terminates_tls_by_name(world: World, tmp_path: Path) -> None:
    world.network.capture("b")
    port = free_port()
    pair = _AUTHORITY.issue(Identity("cluster.local", "default", "site"), EPOCH)
    tls = ServerTls("SIMPLE", ("site.example",), pair.certificate_pem, pair.key_pem, routes=TABLE)
    world.publish(
        with_gateway(GatewayListener(443, 8443, Protocol.HTTPS, TABLE, tls=(tls,), local_port=port))
    )
    context = ssl.create_default_context(cadata=_AUTHORITY.roots_pem)
    context.check_hostname = False
    stream = trio.SSLStream(await connect(port), context, server_hostname="site.example")
    answer = await _ask(stream, GET)
    assert status_of(answer) == 200
    other = trio.SSLStream(await connect(port), context, server_hostname="other.example")
    with pytest.raises(trio.BrokenResourceError):
        await _ask(other, GET)


async def test_a_gateway_passes_opaque_connections_on(world: World) -> None:
    world.network.capture("b")
    port = free_port()
    route = TcpRoute((Weighted(CLUSTER),))
    world.publish(with_gateway(GatewayListener(31400, 31400, Protocol.TCP, None, (route,), local_port=port)))
    assert (await _ask(await connect(port), GET)).endswith(b"hello")
    assert world.sink.opens


async def test_released_instances_are_served_no_more(world: World) -> None:
    _, port = world.network.capture("a", outbound_to=("240.240.0.1", 80))
    (await connect(port)).socket.close()
    world.network.release("a")
    with pytest.raises(OSError):  # noqa: PT011
        await connect(port)


async def admin(world: World, instance_id: str, method: str, target: str) -> bytes:
    """Ask an instance's admin interface."""
    _, port = world.network.places[instance_id, 15000]
    data = f"{method} {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode()
    answer = b""
    with trio.fail_after(5):
        async with await connect(port) as stream:
            await stream.send_all(data)
            async for piece in stream:
                answer += piece
    return answer


async def test_every_proxy_answers_on_its_admin_ports(world: World) -> None:
    world.network.capture("a")
    world.publish(with_gateway(GatewayListener(80, 8080, Protocol.HTTP, TABLE)))
    for name in ("a", "gateway"):
        for port in (15000, 15020, 15021, 15090):
            assert (name, port) in world.network.places
        assert body_of(await admin(world, name, "GET", "/ready")) == b"LIVE\n"
    assert b"virtualInbound::0.0.0.0:15006" in await admin(world, "a", "GET", "/listeners")
    assert body_of(await admin(world, "gateway", "GET", "/listeners")) == b"0.0.0.0_8080::0.0.0.0:8080\n"
    world.network.release("a")
    with pytest.raises(OSError):  # noqa: PT011
        await admin(world, "a", "GET", "/ready")


async def test_a_drained_sidecar_takes_no_new_connections_until_it_begins_anew(world: World) -> None:
    world.network.capture("a")
    world.network.capture("b")
    call = partial(world.network.connect, "a", "240.240.0.1", 80)
    assert status_of(await ask(call())) == 200
    await admin(world, "b", "POST", "/drain_listeners?inboundonly")
    assert body_of(await admin(world, "b", "GET", "/listeners")).count(b"virtual") == 1
    await admin(world, "a", "POST", "/quitquitquit")  # which closes the idle connection to `b`
    closing = GET.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")
    assert status_of(await ask(call(), closing)) == 503
    await admin(world, "b", "POST", "/quitquitquit")
    assert body_of(await admin(world, "b", "GET", "/listeners")).count(b"virtual") == 2


async def test_a_drained_gateway_stays_closed_whatever_the_snapshots_say(world: World) -> None:
    world.network.capture("b")
    port = free_port()
    wanted = with_gateway(GatewayListener(80, 8080, Protocol.HTTP, TABLE, local_port=port))
    world.publish(wanted)
    await admin(world, "gateway", "POST", "/drain_listeners")
    world.publish(wanted)
    with pytest.raises(OSError):  # noqa: PT011
        await connect(port)
    await admin(world, "gateway", "POST", "/quitquitquit")
    assert status_of(await _ask(await connect(port), GET)) == 200
