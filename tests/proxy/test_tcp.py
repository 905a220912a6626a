"""Opaque connections: carried both ways, half-closed, counted."""

from __future__ import annotations

import pytest

from devmesh.model.port import Protocol
from devmesh.proxy.admin.clusters import counted
from devmesh.snapshot.proxy import Target, TcpRoute
from devmesh.snapshot.route import Weighted
from tests.proxy.meshes import CLUSTER, App, End, Mesh, cluster, endpoint, snapshot

PLAIN = snapshot(inbound=Protocol.TCP)
SECURE = snapshot(inbound=Protocol.TCP, clusters=(cluster(endpoint(mtls=True)),))
BOTH = pytest.mark.parametrize("first", [PLAIN, SECURE], ids=["plain", "mtls"])


@BOTH
def test_bytes_go_both_ways_and_the_ends_are_told(first: object) -> None:
    mesh = Mesh(first, App(lambda data: b"pong" if data == b"ping" else None))  # type: ignore[arg-type]
    client = mesh.client(9000)
    client.connection.send(b"ping")
    mesh.reactor.settle()
    assert client.data == b"pong"
    client.connection.finish()
    mesh.reactor.settle()
    assert mesh.app.ends[0].ended
    assert client.ended
    assert not client.reset
    assert {(r.bytes_received, r.bytes_sent, r.flags) for r in mesh.sink.closes} == {(4, 4, "")}
    assert len(mesh.sink.opens) == len(mesh.sink.closes) == (1 if first is PLAIN else 2)
    record = mesh.sink.closes[-1]
    assert (record.protocol, record.upstream_cluster) == ("tcp", CLUSTER)


def test_sessions_are_counted_as_connections_of_their_host() -> None:
    mesh = Mesh(PLAIN, App(None))
    client = mesh.client(9000)
    mesh.reactor.settle()
    state = mesh.plane.state("a").cluster(CLUSTER)
    host = counted(endpoint(), state)
    assert (host["cx_total"], host["cx_active"], host["cx_connect_fail"]) == (1, 1, 0)
    client.connection.abort()
    mesh.reactor.settle()
    host = counted(endpoint(), state)
    assert (host["cx_total"], host["cx_active"]) == (1, 0)


@BOTH
def test_a_server_that_speaks_first_need_not_wait(first: object) -> None:
    mesh = Mesh(first, App(None))  # type: ignore[arg-type]
    client = mesh.client(9000)
    mesh.reactor.settle()
    mesh.app.ends[0].connection.send(b"220 ready\r\n")
    mesh.reactor.settle()
    assert client.data == b"220 ready\r\n"


@BOTH
def test_a_client_that_has_finished_still_hears_the_answer(first: object) -> None:
    mesh = Mesh(first, App(None, closes=False))  # type: ignore[arg-type]
    client = mesh.client(9000)
    client.connection.send(b"all")
    client.connection.finish()
    mesh.reactor.settle()
    (server,) = mesh.app.ends
    assert (server.data, server.ended) == (b"all", True)
    assert not client.ended
    server.connection.send(b"x" * 500_000)
    server.connection.finish()
    mesh.reactor.settle()
    assert (len(client.data), client.ended, client.reset) == (500_000, True, "")


@BOTH
def test_both_ends_may_finish_while_bytes_are_still_held_for_one(first: object) -> None:
    mesh = Mesh(first, App(None, closes=False))  # type: ignore[arg-type]
    client = mesh.client(9000)
    client.connection.send(b"all")
    client.connection.finish()
    client.connection.pause()
    mesh.reactor.settle()
    (server,) = mesh.app.ends
    server.connection.send(b"x" * 300_000)
    server.connection.finish()
    mesh.reactor.settle()
    client.connection.resume()
    mesh.reactor.settle()
    assert (len(client.data), client.ended, client.reset) == (300_000, True, "")


@BOTH
def test_a_server_that_has_finished_still_hears_the_rest(first: object) -> None:
    mesh = Mesh(first, App(None))  # type: ignore[arg-type]
    client = mesh.client(9000)
    mesh.reactor.settle()
    (server,) = mesh.app.ends
    server.connection.finish()
    mesh.reactor.settle()
    assert client.ended
    client.connection.send(b"more")
    mesh.reactor.settle()
    assert server.data == b"more"


@BOTH
def test_who_does_not_read_stops_the_sender(first: object) -> None:
    mesh = Mesh(first, App(None))  # type: ignore[arg-type]
    client = mesh.client(9000)
    mesh.reactor.settle()
    (server,) = mesh.app.ends
    server.connection.pause()
    client.connection.send(b"x" * 4_000_000)
    mesh.reactor.settle()
    assert client.connection.pending > 2_000_000
    server.connection.resume()
    mesh.reactor.settle()
    assert len(server.data) == 4_000_000


def test_a_reset_is_passed_on() -> None:
    mesh = Mesh(PLAIN, App(None))
    client = mesh.client(9000)
    mesh.reactor.settle()
    mesh.app.ends[0].connection.abort()
    mesh.reactor.settle()
    assert client.reset
    assert mesh.sink.closes[0].flags == "UC"


def test_nobody_there_ends_the_clients_connection() -> None:
    mesh = Mesh(snapshot(clusters=(cluster(endpoint(address="10.1.0.9")),)))
    client = mesh.client(9000)
    mesh.reactor.settle()
    assert client.ended
    assert mesh.sink.closes[0].flags == "UF,URX"


def test_what_moves_is_told_while_it_moves() -> None:
    mesh = Mesh(PLAIN, App(b"pong"))
    client = mesh.client(9000)
    client.connection.send(b"ping!")
    mesh.reactor.advance(6)
    assert mesh.sink.moved == [(5, 4)]
    mesh.reactor.advance(10)
    assert mesh.sink.moved == [(5, 4)]
    client.connection.send(b"!")
    mesh.reactor.advance(5)
    assert mesh.sink.moved == [(5, 4), (1, 4)]


def test_an_unknown_address_passes_through_to_where_it_was_meant() -> None:
    mesh = Mesh(app=App(b"pong"))
    mesh.feed.current.proxies["a"].outbound.clusters["PassthroughCluster"] = passthrough()  # type: ignore[index]
    try:
        mesh.reactor.serve(None, "240.240.0.1", 4444, mesh.app)
        client = mesh.client(4444)
        client.connection.send(b"ping")
        mesh.reactor.settle()
        assert client.data == b"pong"
    finally:
        del mesh.feed.current.proxies["a"].outbound.clusters["PassthroughCluster"]  # type: ignore[attr-defined]


def passthrough() -> object:
    from devmesh.snapshot.cluster import Balancing, Cluster, ClusterKind, ServiceRef, TlsMode, UpstreamTls

    return Cluster(
        "PassthroughCluster",
        ServiceRef("", "PassthroughCluster", "unknown"),
        0,
        kind=ClusterKind.ORIGINAL_DST,
        balancing=Balancing.PASSTHROUGH,
        tls=UpstreamTls(TlsMode.DISABLE),
    )


def test_names_in_a_client_hello_choose_the_route() -> None:
    other = cluster(endpoint(address="10.1.0.3"), name="outbound|443||c")
    routes = (
        TcpRoute((Weighted(other.name),), ("c.example", "*.c.example")),
        TcpRoute((Weighted(CLUSTER),), ("b",)),
    )
    targets = {443: Target(Protocol.TLS, None, routes)}
    for name, reached in (("c.example", "c"), ("x.C.example", "c"), ("b", "b"), ("nobody", "")):
        mesh = Mesh(snapshot(clusters=(cluster(endpoint()), other), targets=targets), App(b"from b"))
        mesh.reactor.serve(None, "10.1.0.3", 8080, App(b"from c"))
        client = mesh.client(443)
        hello = client_hello(name)
        client.connection.send(hello[:20])
        mesh.reactor.settle()
        client.connection.send(hello[20:])
        mesh.reactor.settle()
        assert client.data == (b"from " + reached.encode() if reached else b"")
        assert mesh.sink.opens[0].server_name == name.lower()
        if not reached:
            assert client.ended
            assert mesh.sink.closes[0].flags == "NR"


@pytest.mark.parametrize(("address", "reached"), [("240.240.0.1", b"from c"), ("240.240.1.1", b"from b")])
def test_the_subnet_that_was_dialled_chooses_the_route(address: str, reached: bytes) -> None:
    other = cluster(endpoint(address="10.1.0.3"), name="outbound|9000||c")
    routes = (
        TcpRoute((Weighted(CLUSTER),)),
        TcpRoute((Weighted(other.name),), subnets=("240.240.0.0/24",)),
    )
    targets = {9000: Target(Protocol.TCP, None, routes)}
    mesh = Mesh(snapshot(clusters=(cluster(endpoint()), other), targets=targets), App(b"from b"))
    mesh.reactor.serve(None, "10.1.0.3", 8080, App(b"from c"))
    client = End(mesh.reactor.connect(mesh.outbound, original=(address, 9000)))
    client.connection.send(b"anything")
    mesh.reactor.settle()
    assert client.data == reached


def client_hello(name: str) -> bytes:
    import ssl

    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        session.do_handshake()
    return outgoing.read()


def test_an_unknown_port_whose_client_waits_is_tcp_after_a_moment() -> None:
    mesh = Mesh(snapshot(inbound=Protocol.AUTO), App(None))
    client = mesh.client(7000)
    mesh.reactor.settle()
    assert not mesh.app.ends
    mesh.reactor.advance(0.2)
    (server,) = mesh.app.ends
    server.connection.send(b"220 ready\r\n")
    mesh.reactor.settle()
    assert client.data == b"220 ready\r\n"


def test_what_comes_along_with_the_end_of_the_handshake_is_not_lost() -> None:
    sniffed = Target(Protocol.AUTO, None, (TcpRoute((Weighted(CLUSTER),)),))
    secure = (cluster(endpoint(mtls=True)),)
    app = App(b"pong")
    mesh = Mesh(snapshot(inbound=Protocol.TCP, clusters=secure, targets={9000: sniffed}), app)
    client = mesh.client(9000)
    client.connection.send(b"\x00" * 40)  # what is spoken is known before the hop is made
    mesh.reactor.settle()
    assert app.ends[0].data == b"\x00" * 40
    assert client.data == b"pong"
