"""HTTP/2 through the mesh, hyper-h2 on both ends."""

from __future__ import annotations

from dataclasses import replace

import h2.events
import pytest

from devmesh.model.port import Protocol
from devmesh.snapshot.cluster import Cluster, Limits
from devmesh.snapshot.proxy import MtlsMode
from tests.proxy.http2.peers import Message, Peer, Server
from tests.proxy.meshes import (
    APP,
    CLUSTER,
    GET,
    App,
    Mesh,
    body_of,
    cluster,
    endpoint,
    head_of,
    snapshot,
    status_of,
)


def http2_cluster(*, mtls: bool = False, **limits: float) -> Cluster:
    return replace(cluster(endpoint(mtls=mtls)), http2=True, limits=Limits(**limits))  # type: ignore[arg-type]


def speaking(server: Server | App | None = None, *, mtls: bool = False, **limits: float) -> Mesh:
    """Return a mesh whose `b` speaks HTTP/2."""
    mode = MtlsMode.STRICT if mtls else MtlsMode.PERMISSIVE
    made = snapshot(clusters=(http2_cluster(mtls=mtls, **limits),), inbound=Protocol.HTTP2, mode=mode)
    return Mesh(made, server or Server())  # type: ignore[arg-type]


def client_of(mesh: Mesh, port: int = 80) -> Peer:
    return Peer(mesh.reactor.connect(mesh.outbound, original=("240.240.0.1", port)), client=True)


def test_a_request_goes_through() -> None:
    server = Server()
    mesh = speaking(server)
    client = client_of(mesh)
    number = client.request([("x-a", "1")])
    mesh.reactor.settle()
    answer = client.messages[number]
    assert (answer[":status"], answer.body, answer.ended) == ("200", b"hello", True)
    assert answer["server"] == "envoy"
    assert answer.has("x-envoy-upstream-service-time")
    [request] = server.heads
    assert request.head[:4] == [(":method", "GET"), (":scheme", "http"), (":path", "/x"), (":authority", "b")]
    assert request["x-a"] == "1"
    assert request["x-forwarded-proto"] == "http"
    assert request["x-envoy-attempt-count"] == "1"
    [record] = mesh.sink.requests
    assert (record.http_version, record.protocol, record.status, record.bytes_sent) == (
        "HTTP/2", "http", 200, 5,
    )  # fmt: skip


def test_a_request_goes_over_the_mutual_tls_of_the_mesh() -> None:
    server = Server()
    mesh = speaking(server, mtls=True)
    client = client_of(mesh)
    numbers = [client.request(path=f"/{n}") for n in range(5)]
    mesh.reactor.settle()
    assert [client.messages[n].body for n in numbers] == [b"hello"] * 5
    assert len(server.peers) == 1
    assert sorted(message[":path"] for message in server.heads) == [f"/{n}" for n in range(5)]
    caller = "URI=spiffe://cluster.local/ns/default/sa/a"
    assert all(caller in message["x-forwarded-client-cert"] for message in server.heads)
    assert len([d for d in mesh.reactor.dialled if d[0] == "b" and d[3] == 1338]) == 1
    assert {record.http_version for record in mesh.sink.requests} == {"HTTP/2"}


def test_streams_are_answered_in_whatever_order_the_server_likes() -> None:
    server = Server(lambda peer, number: None)
    mesh = speaking(server)
    client = client_of(mesh)
    first, second = client.request(path="/1"), client.request(path="/2")
    mesh.reactor.settle()
    [peer] = server.peers
    peer.answer(3, b"two")
    mesh.reactor.settle()
    assert client.messages[second].body == b"two"
    assert not client.messages[first].ended
    peer.answer(1, b"one")
    mesh.reactor.settle()
    assert client.messages[first].body == b"one"


def test_a_body_and_trailers_go_both_ways() -> None:
    server = Server(lambda peer, number: peer.answer(number, b"x" * 10, trailers=[("t", "2")]))
    mesh = speaking(server)
    client = client_of(mesh)
    number = client.request(method="POST", end=False)
    client.send(number, b"abc")
    mesh.reactor.settle()
    client.h2.send_headers(number, [("t", "1")], end_stream=True)
    client.flush()
    mesh.reactor.settle()
    [request] = server.heads
    assert (request.body, request.trailers, request.ended) == (b"abc", [("t", "1")], True)
    answer = client.messages[number]
    assert (answer.body, answer.trailers, answer.ended) == (b"x" * 10, [("t", "2")], True)


def test_large_bodies_both_ways_come_through_the_windows() -> None:
    up, down = bytes(range(256)) * 4000, bytes(reversed(range(256))) * 5000
    server = Server(lambda peer, number: None)
    mesh = speaking(server, mtls=True)
    client = client_of(mesh)
    number = client.request(method="POST", end=False)
    send_all(mesh, client, number, up)
    [request] = server.heads
    assert request.body == up
    [peer] = server.peers
    peer.answer(1, end=False)
    send_all(mesh, peer, 1, down)
    assert client.messages[number].body == down
    assert client.messages[number].ended


def send_all(mesh: Mesh, peer: Peer, number: int, data: bytes) -> None:
    while data:
        mesh.reactor.settle()
        size = min(peer.h2.local_flow_control_window(number), peer.h2.max_outbound_frame_size, len(data))
        assert size, "the window is never opened again"
        peer.send(number, data[:size], end=size == len(data))
        data = data[size:]
    mesh.reactor.settle()


def test_who_reads_slowly_holds_the_sender_back() -> None:
    server = Server(lambda peer, number: None)
    mesh = speaking(server)
    client = client_of(mesh)
    client.reads = False
    number = client.request()
    mesh.reactor.settle()
    [peer] = server.peers
    peer.answer(1, end=False)
    sent = 0
    while size := min(peer.h2.local_flow_control_window(1), 16384):
        peer.send(1, b"x" * size)
        sent += size
        mesh.reactor.settle()
        assert sent < 1 << 20, "nothing ever holds the server back"
    assert len(client.messages[number].body) == 65535
    client.reads = True
    client.h2.acknowledge_received_data(65535, number)
    client.flush()
    mesh.reactor.settle()
    assert len(client.messages[number].body) > 65535
    assert peer.h2.local_flow_control_window(1) > 0


def test_who_reads_slowly_holds_nobody_else_back() -> None:
    server = Server(lambda peer, number: None)
    mesh = speaking(server)
    client = client_of(mesh)
    client.reads = False
    client.request()
    mesh.reactor.settle()
    [peer] = server.peers
    peer.answer(1, b"x" * 16000, end=False)
    for _ in range(3):
        peer.send(1, b"x" * 16000)
    mesh.reactor.settle()
    other = client.request(path="/other")
    mesh.reactor.settle()
    peer.answer(3, b"quick")
    mesh.reactor.settle()
    assert client.messages[other].body == b"quick"


def test_a_client_that_gives_up_is_heard_upstream() -> None:
    server = Server(lambda peer, number: None)
    mesh = speaking(server)
    client = client_of(mesh)
    number = client.request()
    mesh.reactor.settle()
    client.reset(number)
    mesh.reactor.settle()
    [peer] = server.peers
    assert peer.messages[1].reset is not None
    [record] = mesh.sink.requests
    assert (record.status, record.details) == (0, "http2.remote_reset")
    assert mesh.plane.state("a").clusters[record.upstream_cluster].requests == 0


def test_a_server_that_gives_up_after_its_head_is_heard_by_the_client() -> None:
    server = Server(lambda peer, number: peer.answer(number, b"x", end=False))
    mesh = speaking(server)
    client = client_of(mesh)
    number = client.request()
    mesh.reactor.settle()
    server.peers[0].reset(1)
    mesh.reactor.settle()
    assert client.messages[number].reset is not None
    [record] = mesh.sink.requests
    assert (record.status, record.flags) == (200, "UR")


def test_a_stream_that_is_reset_is_a_503() -> None:
    server = Server(lambda peer, number: peer.reset(number))
    mesh = speaking(server)
    client = client_of(mesh)
    number = client.request()
    mesh.reactor.settle()
    assert client.messages[number][":status"] == "503"
    assert client.messages[number].body == (
        b"upstream connect error or disconnect/reset before headers. reset reason: remote reset"
    )
    assert mesh.sink.requests[0].flags == "UR"


def test_more_streams_than_the_server_takes_go_by_another_connection() -> None:
    server = Server(lambda peer, number: None)
    mesh = speaking(server, max_concurrent_streams=2)
    client = client_of(mesh)
    numbers = [client.request(path=f"/{n}") for n in range(5)]
    mesh.reactor.settle()
    assert [len(peer.messages) for peer in server.peers] == [2, 2, 1]
    for peer in server.peers:
        for number in peer.messages:
            peer.answer(number, b"ok")
    mesh.reactor.settle()
    assert [client.messages[n].body for n in numbers] == [b"ok"] * 5


def test_with_as_many_connections_as_allowed_streams_wait_for_room() -> None:
    server = Server(lambda peer, number: None)
    mesh = speaking(server, max_concurrent_streams=1, max_connections=1)
    client = client_of(mesh)
    first, second = client.request(path="/1"), client.request(path="/2")
    mesh.reactor.settle()
    [peer] = server.peers
    assert list(peer.messages) == [1]
    peer.answer(1, b"one")
    mesh.reactor.settle()
    peer.answer(3, b"two")
    mesh.reactor.settle()
    assert (client.messages[first].body, client.messages[second].body) == (b"one", b"two")
    assert len(server.peers) == 1


def test_a_cluster_that_speaks_http2_no_longer_does_not_wait_for_its_connections() -> None:
    mesh = speaking(max_connections=1)
    assert status_of(mesh.call(GET)) == 200
    mesh.reactor.serve(None, *APP, App())
    limits = Limits(max_connections=1)
    mesh.feed.publish(snapshot(clusters=(replace(cluster(endpoint()), limits=limits),), version=2))
    assert status_of(mesh.call(GET)) == 200


def test_clients_of_both_protocols_have_connections_of_their_own() -> None:
    mesh = speaking(max_connections=1)
    assert status_of(mesh.call(GET)) == 200
    pool = next(iter(mesh.plane.state("a").cluster(CLUSTER).pools.values()))
    assert (pool.connections, pool.own) == (1, 0)


def test_more_waiting_than_allowed_is_refused() -> None:
    silent = Server(lambda peer, number: None)
    mesh = speaking(silent, max_concurrent_streams=1, max_connections=1, max_pending_requests=1)
    client = client_of(mesh)
    client.request()
    mesh.reactor.settle()
    client.request()
    third = client.request()
    mesh.reactor.settle()
    assert client.messages[third][":status"] == "503"
    assert client.messages[third]["x-envoy-overloaded"] == "true"
    assert mesh.sink.requests[0].flags == "UO"


def test_a_server_that_goes_away_finishes_what_it_has_and_gets_no_more() -> None:
    server = Server(lambda peer, number: None)
    mesh = speaking(server)
    client = client_of(mesh)
    first = client.request(path="/1")
    mesh.reactor.settle()
    [old] = server.peers
    old.h2.close_connection(last_stream_id=1)
    old.flush()
    mesh.reactor.settle()
    second = client.request(path="/2")
    mesh.reactor.settle()
    assert len(server.peers) == 2
    server.peers[1].answer(1, b"new")
    mesh.reactor.settle()
    assert client.messages[second].body == b"new"
    # hyper-h2 sends nothing after its GOAWAY: the stream is lost with the connection
    old.end.connection.close()
    mesh.reactor.settle()
    assert client.messages[first][":status"] == "503"


def test_connections_end_after_as_many_requests_as_allowed() -> None:
    server = Server()
    mesh = speaking(server, max_requests_per_connection=2)
    client = client_of(mesh)
    for _ in range(4):
        client.request()
        mesh.reactor.settle()
    assert [len(peer.messages) for peer in server.peers] == [2, 2]
    assert all(peer.end.ended for peer in server.peers)


def test_an_idle_connection_ends() -> None:
    server = Server()
    mesh = speaking(server, idle_timeout=30.0)
    client = client_of(mesh)
    client.request()
    mesh.reactor.advance(20)
    client.request()
    mesh.reactor.advance(20)
    assert not server.peers[0].end.ended
    mesh.reactor.advance(15)
    assert server.peers[0].end.ended


def test_nobody_listening_is_a_503() -> None:
    mesh = speaking()
    mesh.reactor.places.clear()
    client = client_of(mesh)
    numbers = [client.request() for _ in range(3)]
    mesh.reactor.settle()
    assert {client.messages[n][":status"] for n in numbers} == {"503"}
    assert {record.flags for record in mesh.sink.requests} == {"UF"}
    assert mesh.sink.requests[0].transport_failure == "delayed connect error: Connection refused"


# -- from one version to the other --


def test_http1_in_http2_out() -> None:
    server = Server()
    mesh = speaking(server)
    answer = mesh.call(b"POST /x HTTP/1.1\r\nhost: b\r\nte: trailers\r\ncontent-length: 3\r\n\r\nabc")
    assert status_of(answer) == 200
    assert body_of(answer) == b"5\r\nhello\r\n0\r\n\r\n"
    assert head_of(answer)["transfer-encoding"] == "chunked"
    [request] = server.heads
    assert request.body == b"abc"
    assert (request[":authority"], request["te"], request["content-length"]) == ("b", "trailers", "3")
    assert not request.has("host")
    assert not request.has("connection")


def test_chunks_are_taken_out_and_put_in() -> None:
    server = Server()
    mesh = speaking(server)
    end = mesh.client()
    head = b"POST /x HTTP/1.1\r\nhost: b\r\ntransfer-encoding: chunked\r\n\r\n"
    for byte in head + b"3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nt: 1\r\n\r\n":
        end.connection.send(bytes([byte]))
        mesh.reactor.settle()
    [request] = server.heads
    assert (request.body, request.ended) == (b"abcde", True)
    assert not request.has("transfer-encoding")
    assert status_of(end.data) == 200


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", b"hello"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", b"hello"),
        (b"HTTP/1.1 200 OK\r\nconnection: x-y\r\nx-y: 1\r\ncontent-length: 0\r\n\r\n", b""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    ],
)
def test_http2_in_http1_out(answer: bytes, body: bytes) -> None:
    app = App(answer)
    mesh = Mesh(app=app)
    client = client_of(mesh)
    number = client.request(method="POST", body=b"abc")
    mesh.reactor.settle()
    got = client.messages[number]
    assert (got.body, got.ended) == (body, True)
    assert got[":status"] == answer[9:12].decode()
    for name in ("transfer-encoding", "connection", "keep-alive"):
        assert not got.has(name)
    assert app.heard.startswith(b"POST /x HTTP/1.1\r\nhost: b\r\n")
    assert b"transfer-encoding: chunked" in app.heard
    assert app.heard.endswith(b"3\r\nabc\r\n0\r\n\r\n")


def test_a_body_that_ends_with_its_connection_is_whole() -> None:
    mesh = Mesh(app=App(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhello"))
    client = client_of(mesh)
    number = client.request()
    mesh.reactor.settle()
    mesh.app.ends[0].connection.close()
    mesh.reactor.settle()
    assert (client.messages[number].body, client.messages[number].ended) == (b"hello", True)


def test_an_answer_to_head_has_no_body() -> None:
    mesh = Mesh(app=App(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"))
    client = client_of(mesh)
    number = client.request(method="HEAD")
    mesh.reactor.settle()
    got: Message = client.messages[number]
    assert (got["content-length"], got.body, got.ended) == ("5", b"", True)


def test_a_port_that_nothing_is_said_of_is_spoken_to_as_the_client_speaks() -> None:
    server = Server()
    made = snapshot(clusters=(replace(cluster(endpoint()), by_client=True),), inbound=Protocol.AUTO)
    mesh = Mesh(made, server)  # type: ignore[arg-type]
    client = client_of(mesh, 7000)
    number = client.request()
    mesh.reactor.settle()
    assert client.messages[number].body == b"hello"
    assert len(server.peers) == 1


def test_early_answers_end_what_is_left_of_the_request() -> None:
    server = Server()

    def early(peer: Peer, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            peer.answer(event.stream_id, b"no", status="413")

    server.on_event = early
    mesh = speaking(server)
    client = client_of(mesh)
    number = client.request(method="POST", end=False)
    mesh.reactor.settle()
    got = client.messages[number]
    assert (got[":status"], got.body, got.ended, got.reset) == ("413", b"no", True, 0)


def test_clients_of_a_draining_proxy_are_told_to_open_no_more_streams() -> None:
    mesh = speaking()
    client = client_of(mesh)
    client.request()
    mesh.reactor.settle()
    assert client.gone is None
    mesh.plane.state("a").drain()
    number = client.request()
    mesh.reactor.settle()
    assert client.messages[number][":status"] == "200"
    assert client.gone == 0
