"""TCP through an HTTP proxy."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.proxy.meshes import App, Mesh, cluster, endpoint, snapshot

ASKED = b"CONNECT x.example:443 HTTP/1.1\r\nhost: x.example:443\r\n\r\n"
AGREED = b"HTTP/1.1 200 Connection established\r\n\r\n"


def mesh_of(app: App) -> Mesh:
    return Mesh(snapshot(clusters=(replace(cluster(endpoint()), tunnel="x.example:443"),)), app)


def test_the_proxy_is_asked_and_then_bytes_go_both_ways() -> None:
    mesh = mesh_of(App(lambda data: AGREED if data == ASKED else b"pong"))
    client = mesh.client(9000)
    client.connection.send(b"ping")
    mesh.reactor.settle()
    assert mesh.app.heard == ASKED + b"ping"
    assert client.data == b"pong"
    client.connection.close()
    mesh.reactor.settle()
    (record,) = mesh.sink.closes
    assert (record.bytes_received, record.bytes_sent) == (4, 4)


def test_what_comes_with_the_agreement_is_the_clients() -> None:
    mesh = mesh_of(App(lambda data: AGREED + b"hello" if data == ASKED else None))
    client = mesh.client(9000)
    mesh.reactor.settle()
    assert client.data == b"hello"


def test_an_agreement_may_come_in_pieces() -> None:
    mesh = mesh_of(App(None))
    client = mesh.client(9000)
    mesh.reactor.settle()
    for at in range(0, len(AGREED), 9):
        mesh.app.ends[0].connection.send(AGREED[at : at + 9])
        mesh.reactor.settle()
    mesh.app.ends[0].connection.send(b"hello")
    mesh.reactor.settle()
    assert client.data == b"hello"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "the HTTP proxy refuses to connect: HTTP/1.1 403 Forbidden"),
        (b"SSH-2.0\r\n\r\n", "what answers CONNECT is no HTTP proxy"),
        (b"HTTP/1.1 200 " + b"x" * 20_000, "the HTTP proxy's answer to CONNECT is too long"),
    ],
)
def test_what_is_no_agreement_ends_the_connection(answer: bytes, reason: str) -> None:
    mesh = mesh_of(App(answer))
    client = mesh.client(9000)
    mesh.reactor.settle()
    assert client.ended
    assert (mesh.sink.closes[0].flags, mesh.sink.closes[0].transport_failure) == ("UF,URX", reason)


def test_a_proxy_that_closes_or_says_nothing_ends_the_connection() -> None:
    mesh = mesh_of(App(None))
    client = mesh.client(9000)
    mesh.reactor.settle()
    mesh.app.ends[0].connection.close()
    mesh.reactor.settle()
    assert client.ended
    assert mesh.sink.closes[0].transport_failure == "the HTTP proxy closed the connection"
    silent = mesh_of(App(None))
    client = silent.client(9000)
    silent.reactor.advance(11)
    assert client.ended
    assert silent.sink.closes[0].transport_failure == "connection timeout"
