"""The server on real sockets: of loopback, with a resolver behind it; then in namespaces."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_network

import pytest
import trio
from dnslib import QTYPE, RR, DNSRecord
from dnslib import A as ARecord

from devmesh.runtime.dns import message
from devmesh.runtime.dns.server import DnsServer
from devmesh.runtime.network import nftables
from devmesh.runtime.network.fabric import Fabric
from devmesh.runtime.network.hub import open_rules
from devmesh.runtime.network.interception import socket_at_home
from devmesh.runtime.network.namespaces import InlineNamespaces, Namespaces
from devmesh.runtime.network.pod import NameSockets
from devmesh.runtime.network.userns import UserNamespaces
from devmesh.snapshot.feed import SnapshotFeed

from .conftest import MESH, question, texts

Handler = Callable[[DNSRecord], bytes]
SEPARATOR = b"--next packet--"


@dataclass
class Resolver:
    """Another name server; `handle` returns what it sends, more than one packet with `SEPARATOR` between."""

    handle: Handler
    sock: socket.socket = field(default_factory=lambda: datagram_socket())
    seen: list[DNSRecord] = field(default_factory=list)
    clients: set[int] = field(default_factory=set)

    @property
    def port(self) -> int:
        return int(self.sock.getsockname()[1])

    async def run(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(self.sock)
            packet, client = self.sock.recvfrom(4096)
            asked = DNSRecord.parse(packet)
            self.seen.append(asked)
            self.clients.add(client[1])
            reply = self.handle(asked)
            for packet in reply.split(SEPARATOR):
                self.sock.sendto(packet, client)


class Listener(socket.socket):
    """A socket whose methods a test can replace."""


def datagram_socket() -> socket.socket:
    made = socket_at_home(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", 0))
    return made


def sockets_of_one_port() -> tuple[socket.socket, Listener]:
    """Take a port that is free for UDP and for TCP: one may be taken where the other is not."""
    while True:
        receiver = datagram_socket()
        listener = Listener(socket.AF_INET, socket.SOCK_STREAM)
        try:
            listener.bind(receiver.getsockname())
        except OSError:
            receiver.close()
            listener.close()
            continue
        listener.listen()
        listener.setblocking(False)
        return receiver, listener


def answer_with(address: str) -> Handler:
    def handle(asked: DNSRecord) -> bytes:
        reply = asked.reply()
        reply.add_answer(RR(asked.q.qname, QTYPE.A, rdata=ARecord(address), ttl=9))
        return bytes(reply.pack())

    return handle


@dataclass
class Setup:
    server: DnsServer
    resolver: Resolver
    feed: SnapshotFeed
    address: tuple[str, int]
    listener: socket.socket

    async def ask(self, packet: bytes) -> bytes:
        with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as client:
            await client.connect(self.address)
            await client.send(packet)
            with trio.fail_after(5):
                return await client.recv(4096)

    async def connect(self) -> trio.SocketStream:
        return await trio.open_tcp_stream(*self.address)


@pytest.fixture
async def setup(nursery: trio.Nursery) -> AsyncIterator[Setup]:
    resolver = Resolver(answer_with("192.0.2.7"))
    feed = SnapshotFeed(MESH)
    server = DnsServer(feed, servers=lambda: ("127.0.0.1",), port=resolver.port)
    receiver, listener = sockets_of_one_port()
    address = receiver.getsockname()
    server.serve(
        NameSockets("client", "default", (receiver,), (listener,), socket_at_home, host="10.244.0.1")
    )
    await nursery.start(server.run)
    nursery.start_soon(resolver.run)
    yield Setup(server, resolver, feed, address, listener)
    resolver.sock.close()
    nursery.cancel_scope.cancel()


async def test_the_meshs_names_are_answered_at_once(setup: Setup) -> None:
    assert texts(await setup.ask(question("reviews"))) == ["240.240.0.1"]
    assert setup.resolver.seen == []


async def test_a_new_snapshot_is_answered_by_at_once(setup: Setup) -> None:
    setup.feed.publish(
        replace(MESH, version=2, names={"reviews.default.svc.cluster.local": ("240.240.9.9",)})
    )
    assert texts(await setup.ask(question("reviews"))) == ["240.240.9.9"]


async def test_a_mistake_in_one_name_is_not_the_end_of_all_answers(setup: Setup) -> None:
    names = {"wrong.default.svc.cluster.local": ("not an address",), **MESH.names}
    setup.feed.publish(replace(MESH, version=2, names=names))
    assert message.code_of(await setup.ask(question("wrong"))) == message.SERVFAIL
    assert texts(await setup.ask(question("reviews"))) == ["240.240.0.1"]


async def test_other_names_are_asked_of_the_resolver_under_another_id(setup: Setup) -> None:
    for number in range(8):
        packet = question("example.com")
        reply = await setup.ask(packet)
        assert (texts(reply), reply[:2]) == (["192.0.2.7"], packet[:2])
        assert len(setup.resolver.seen) == number + 1
    asked = {seen.header.id for seen in setup.resolver.seen}
    assert len(asked) > 1
    assert len(setup.resolver.clients) > 1  # a port of its own for each question


async def test_an_external_name_comes_with_its_addresses(setup: Setup) -> None:
    assert texts(await setup.ask(question("outside"))) == ["192.0.2.7", "www.example.net."]
    assert [str(seen.q.qname) for seen in setup.resolver.seen] == ["www.example.net."]


async def test_the_machine_itself_has_a_name(setup: Setup) -> None:
    assert texts(await setup.ask(question("host.docker.internal"))) == ["10.244.0.1"]
    assert texts(await setup.ask(question("host.docker.internal", "AAAA"))) == []


async def test_many_questions_at_once_are_not_confused(setup: Setup) -> None:
    def handle(asked: DNSRecord) -> bytes:
        number = int(str(asked.q.qname).split(".")[0][1:])
        return answer_with(f"192.0.2.{number}")(asked)

    setup.resolver.handle = handle
    found: dict[int, list[str]] = {}

    async def ask(number: int) -> None:
        found[number] = texts(await setup.ask(question(f"n{number}.example.com")))

    async with trio.open_nursery() as asking:
        for number in range(50):
            asking.start_soon(ask, number)
    assert found == {number: [f"192.0.2.{number}"] for number in range(50)}


async def test_an_answer_to_another_question_is_not_believed(setup: Setup) -> None:
    def handle(asked: DNSRecord) -> bytes:
        forged = DNSRecord.question("evil.example")
        forged.header.id = asked.header.id
        late = DNSRecord.parse(asked.pack())
        late.header.id ^= 1
        return (
            answer_with("6.6.6.6")(forged)
            + SEPARATOR
            + answer_with("6.6.6.6")(late)
            + SEPARATOR
            + real(asked)
        )

    real = setup.resolver.handle
    setup.resolver.handle = handle
    assert texts(await setup.ask(question("example.com"))) == ["192.0.2.7"]


async def test_servfail_is_passed_on_when_no_other_server_knows_better(setup: Setup) -> None:
    def refuse(asked: DNSRecord) -> bytes:
        reply = asked.reply()
        reply.header.rcode = message.REFUSED
        return bytes(reply.pack())

    setup.resolver.handle = refuse
    assert message.code_of(await setup.ask(question("example.com"))) == message.REFUSED


async def test_a_resolver_that_is_not_there_is_servfail(setup: Setup) -> None:
    setup.server._servers = lambda: ()
    assert message.code_of(await setup.ask(question("example.com"))) == message.SERVFAIL


@pytest.mark.parametrize("packet", [b"", b"x", bytes(12), b"\xff" * 40, question("reviews")[:-3]])
async def test_packets_that_are_no_queries_harm_nobody(setup: Setup, packet: bytes) -> None:
    with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as client:
        await client.sendto(packet, setup.address)
    assert texts(await setup.ask(question("reviews"))) == ["240.240.0.1"]


async def test_tcp_answers_one_question_after_another(setup: Setup) -> None:
    async with await setup.connect() as stream:
        for name in ("reviews", "api.example.com"):
            packet = question(name)
            await stream.send_all(struct.pack("!H", len(packet)) + packet)
        replies = b""
        with trio.fail_after(5):
            while replies.count(b"\xf0\xf0") < 2:
                replies += await stream.receive_some()


async def ask_by_tcp(setup: Setup, packet: bytes) -> bytes:
    async with await setup.connect() as stream:
        await stream.send_all(struct.pack("!H", len(packet)) + packet)
        return (await stream.receive_some())[2:]


@pytest.fixture
def silent_tcp(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The resolver's TCP port: connections to it are never answered, as where a firewall drops them."""
    monkeypatch.setattr("devmesh.runtime.dns.forward._HEAD_START", 0.02)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", setup.resolver.port))
        listener.listen()
        listener.setblocking(False)
        yield listener


@pytest.mark.usefixtures("silent_tcp")
async def test_a_question_by_tcp_is_asked_by_udp_too_where_tcp_says_nothing(setup: Setup) -> None:
    began = trio.current_time()
    assert texts(await ask_by_tcp(setup, question("example.com"))) == ["192.0.2.7"]
    assert trio.current_time() - began < 1


async def test_a_question_by_tcp_is_asked_by_udp_at_once_where_tcp_is_refused(setup: Setup) -> None:
    began = trio.current_time()
    assert texts(await ask_by_tcp(setup, question("example.com"))) == ["192.0.2.7"]
    assert trio.current_time() - began < 0.15


async def test_what_udp_cuts_off_waits_for_tcp(setup: Setup, silent_tcp: socket.socket) -> None:
    def cut_off(asked: DNSRecord) -> bytes:
        reply = asked.reply()
        reply.header.tc = 1
        return bytes(reply.pack())

    async def answer_late() -> None:
        with trio.socket.from_stdlib_socket(silent_tcp) as listener:
            client, _ = await listener.accept()
            packet = await client.recv(4096)
            await trio.sleep(0.06)
            reply = answer_with("192.0.2.8")(DNSRecord.parse(packet[2:]))
            await client.send(struct.pack("!H", len(reply)) + reply)
            client.close()

    setup.resolver.handle = cut_off
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer_late)
        assert texts(await ask_by_tcp(setup, question("example.com"))) == ["192.0.2.8"]


async def test_a_listener_without_descriptors_rests(
    setup: Setup, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("devmesh.runtime.dns.server._REST", 0.05)
    accept, attempts = setup.listener.accept, []

    def accept_later() -> object:
        attempts.append(trio.current_time())
        if len(attempts) == 1:
            raise OSError(24, "Too many open files")
        return accept()

    monkeypatch.setattr(setup.listener, "accept", accept_later, raising=False)
    async with await setup.connect() as stream:
        packet = question("reviews")
        await stream.send_all(struct.pack("!H", len(packet)) + packet)
        with trio.fail_after(5):
            assert texts((await stream.receive_some())[2:]) == ["240.240.0.1"]
    assert attempts[1] - attempts[0] >= 0.05
    assert "Too many open files" in caplog.text


@pytest.mark.parametrize("data", [b"\x00", b"\x00\x05abc", b"\x00\x02ab", b"\xff\xff"])
async def test_a_tcp_client_that_breaks_off_harms_nobody(setup: Setup, data: bytes) -> None:
    async with await setup.connect() as stream:
        await stream.send_all(data)
    assert texts(await setup.ask(question("reviews"))) == ["240.240.0.1"]


async def test_a_stopped_pod_is_served_no_more(setup: Setup) -> None:
    stream = await setup.connect()
    packet = question("reviews")
    await stream.send_all(struct.pack("!H", len(packet)) + packet)
    with trio.fail_after(5):
        await stream.receive_some()
        setup.server.stop("client")
        setup.server.stop("client")
        with contextlib.suppress(trio.BrokenResourceError):
            assert await stream.receive_some() == b""
    await stream.aclose()
    with pytest.raises(OSError, match="refused"):
        await setup.ask(question("reviews"))


async def test_devmesh_itself_resolves_the_meshs_names_first(setup: Setup) -> None:
    assert await setup.server.resolve("reviews.default") == ("240.240.0.1",)
    assert await setup.server.resolve("reviews") == ("240.240.0.1",)
    assert "127.0.0.1" in await setup.server.resolve("127.0.0.1")


@pytest.fixture(params=[InlineNamespaces, UserNamespaces.start], ids=["root", "user"])
def namespaces(request: pytest.FixtureRequest) -> Namespaces:
    made: Namespaces = request.param()
    return made  # the fabric closes it


@pytest.fixture
def resolver() -> Iterator[Resolver]:
    made = Resolver(answer_with("192.0.2.7"))
    yield made
    made.sock.close()


@pytest.mark.netns
@pytest.mark.parametrize("meshed", [True, False])
@pytest.mark.parametrize("server_address", ["127.0.0.53", "127.0.0.1", "8.8.8.8", "::1", "fd77::53"])
async def test_queries_of_a_pod_are_answered_whomever_it_asks(
    nursery: trio.Nursery, namespaces: Namespaces, resolver: Resolver, meshed: bool, server_address: str
) -> None:
    server = DnsServer(SnapshotFeed(MESH), servers=lambda: ("127.0.0.1",), port=resolver.port)
    fabric = Fabric(namespaces, names=server)
    await nursery.start(server.run)
    nursery.start_soon(resolver.run)
    await nursery.start(fabric.run)
    pod = fabric.create("some-pod", meshed=meshed, namespace="default")
    family = socket.AF_INET6 if ":" in server_address else socket.AF_INET

    with trio.fail_after(5):
        for name, address in (("reviews", "240.240.0.1"), ("example.com", "192.0.2.7")):
            made = namespaces.socket(pod.netns_fd, family, socket.SOCK_DGRAM)
            with trio.socket.from_stdlib_socket(made) as client:
                await client.connect((server_address, 53))
                await client.send(question(name))
                assert texts(await client.recv(4096)) == [address]
        made = namespaces.socket(pod.netns_fd, family, socket.SOCK_STREAM)
        with trio.socket.from_stdlib_socket(made) as client:
            await client.connect((server_address, 53))
            packet = question("reviews")
            await client.send(struct.pack("!H", len(packet)) + packet)
            assert texts((await client.recv(4096))[2:]) == ["240.240.0.1"]
    nursery.cancel_scope.cancel()


def redirect_as_docker_does(namespaces: Namespaces, netns: int, port: int) -> None:
    """Docker's own rules: queries to 127.0.0.11 go to a port of its own there, at the usual priority."""
    only = [
        *nftables.target_in(ip_network("127.0.0.11")),
        *nftables.protocol_is(nftables.UDP),
        *nftables.port_is(53),
    ]
    messages = [
        nftables.add_table("docker"),
        nftables.add_base_chain("docker", "output", "nat", nftables.Hook.OUTPUT, -100),
        nftables.add_chain("docker", "resolver"),
        nftables.add_rule("docker", "output", *only, nftables.decide(nftables.Verdict.JUMP, "resolver")),
        *nftables.send_to_one_of("docker", "resolver", [(ip_address("127.0.0.11"), port)], 1),
    ]
    with open_rules(namespaces, netns) as rules:
        rules.request(nftables.batch(messages))


@pytest.mark.netns
async def test_a_containers_own_resolver_is_asked_from_inside(nursery: trio.Nursery) -> None:
    """Stands for Docker's 127.0.0.11: a resolver that only the container's namespace has."""
    namespaces = InlineNamespaces()
    server = DnsServer(SnapshotFeed(MESH), servers=lambda: (), port=53)
    fabric = Fabric(namespaces, names=server)
    engine = Fabric(InlineNamespaces())
    container = engine.create("container", gateway=True, meshed=False)
    made = namespaces.socket(container.netns_fd, socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("127.0.0.11", 40000))
    redirect_as_docker_does(namespaces, container.netns_fd, 40000)
    resolver = Resolver(answer_with("192.0.2.9"), made)
    await nursery.start(server.run)
    nursery.start_soon(resolver.run)
    await nursery.start(fabric.run)
    fabric.adopt("container", container.netns_path, nameservers=("127.0.0.11",))

    with trio.fail_after(5):
        for name, address in (("reviews", "240.240.0.1"), ("db", "192.0.2.9")):
            sock = namespaces.socket(container.netns_fd, socket.AF_INET, socket.SOCK_DGRAM)
            with trio.socket.from_stdlib_socket(sock) as client:
                await client.connect(("127.0.0.11", 53))
                await client.send(question(name))
                assert texts(await client.recv(4096)) == [address]
    made.close()
    engine.close()
    nursery.cancel_scope.cancel()


@pytest.mark.netns
async def test_a_containers_query_is_ours_whatever_port_we_have_asked_its_resolver_from(
    nursery: trio.Nursery,
) -> None:
    """The kernel remembers how a packet of some source to some target was led, and leads the next one so."""
    namespaces = InlineNamespaces()
    server = DnsServer(SnapshotFeed(MESH))
    engine, fabric = Fabric(InlineNamespaces()), Fabric(namespaces, names=server)
    await nursery.start(server.run)
    await nursery.start(fabric.run)
    container = engine.create("web", gateway=True, meshed=False)
    fabric.adopt("web", container.netns_path, nameservers=("127.0.0.11",), namespace="default")
    resolver = namespaces.socket(container.netns_fd, socket.AF_INET, socket.SOCK_DGRAM)
    resolver.bind(("127.0.0.11", 53))
    asked_from: list[int] = []

    async def ask(name: str, port: int = 0) -> list[str]:
        made = namespaces.socket(container.netns_fd, socket.AF_INET, socket.SOCK_DGRAM)
        made.bind(("127.0.0.1", port))
        with trio.socket.from_stdlib_socket(made) as client, trio.fail_after(5):
            await client.connect(("127.0.0.11", 53))
            await client.send(question(name))
            return texts(await client.recv(4096))

    async def answer() -> None:
        with trio.socket.from_stdlib_socket(resolver) as sock:
            while True:
                packet, client = await sock.recvfrom(4096)
                asked_from.append(client[1])
                await sock.sendto(answer_with("192.0.2.7")(DNSRecord.parse(packet)), client)

    nursery.start_soon(answer)
    try:
        for _ in range(4):
            assert await ask("example.com") == ["192.0.2.7"]
        assert [await ask("reviews", port) for port in tuple(asked_from)] == [["240.240.0.1"]] * 4
    finally:
        engine.close()
        nursery.cancel_scope.cancel()
