"""Bytes that want to be two things at once: every shape that has smuggled requests is refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.proxy.meshes import GET, App, Mesh, cluster, endpoint, snapshot, status_of


def _post(fields: bytes, body: bytes = b"0\r\n\r\n") -> bytes:
    return b"POST /x HTTP/1.1\r\nhost: b\r\n" + fields + b"\r\n" + body


SHAPES = {
    "content-length and chunked": _post(b"content-length: 3\r\ntransfer-encoding: chunked\r\n"),
    "chunked and content-length": _post(b"transfer-encoding: chunked\r\ncontent-length: 3\r\n"),
    "two lengths": _post(b"content-length: 3\r\ncontent-length: 4\r\n", b"abc"),
    "one length twice": _post(b"content-length: 3\r\ncontent-length: 3\r\n", b"abc"),
    "a list of lengths": _post(b"content-length: 3, 3\r\n", b"abc"),
    "a negative length": _post(b"content-length: -3\r\n", b"abc"),
    "a signed length": _post(b"content-length: +3\r\n", b"abc"),
    "a length in hexadecimal": _post(b"content-length: 0x3\r\n", b"abc"),
    "a length with an underscore": _post(b"content-length: 1_0\r\n", b"abc"),
    "a length in other digits": _post("content-length: \u0663\r\n".encode(), b"abc"),
    "an empty length": _post(b"content-length:\r\n", b"abc"),
    "a huge length": _post(b"content-length: 99999999999999999999\r\n", b"abc"),
    "two encodings": _post(b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n"),
    "an encoding twice in one": _post(b"transfer-encoding: chunked, chunked\r\n"),
    "an encoding that ends otherwise": _post(b"transfer-encoding: chunked, identity\r\n"),
    "an unknown encoding": _post(b"transfer-encoding: xchunked\r\n"),
    "an encoding with a vertical tab": _post(b"transfer-encoding: \x0bchunked\r\n"),
    "a folded field": _post(b"a: b\r\n c\r\n"),
    "a folded encoding": _post(b"transfer-encoding:\r\n chunked\r\n"),
    "a space before the colon": _post(b"transfer-encoding : chunked\r\n"),
    "a tab before the colon": _post(b"content-length\t: 3\r\n"),
    "a space before the first name": b"GET /x HTTP/1.1\r\n host: b\r\n\r\n",
    "no colon": _post(b"nothing\r\n"),
    "an empty name": _post(b": 1\r\n"),
    "a name with a space": _post(b"a b: 1\r\n"),
    "a name with a bracket": _post(b"a[b]: 1\r\n"),
    "bare line feeds": b"GET /x HTTP/1.1\nhost: b\n\n",
    "one bare line feed": b"GET /x HTTP/1.1\r\nhost: b\na: 1\r\n\r\n",
    "a bare carriage return": b"GET /x HTTP/1.1\r\nhost: b\r\na: 1\rb: 2\r\n\r\n",
    "a NUL in a value": _post(b"a: b\0c\r\n"),
    "a NUL in a name": _post(b"a\0: b\r\n"),
    "a control character": _post(b"a: \x01\r\n"),
    "two hosts": b"GET /x HTTP/1.1\r\nhost: b\r\nhost: c\r\n\r\n",
    "no host": b"GET /x HTTP/1.1\r\n\r\n",
    "a host with a path": b"GET /x HTTP/1.1\r\nhost: b/c\r\n\r\n",
    "no method": b" /x HTTP/1.1\r\nhost: b\r\n\r\n",
    "no target": b"GET  HTTP/1.1\r\nhost: b\r\n\r\n",
    "a target with a space": b"GET /x y HTTP/1.1\r\nhost: b\r\n\r\n",
    "a target with a tab": b"GET /x\ty HTTP/1.1\r\nhost: b\r\n\r\n",
    "a target that is no path": b"GET x HTTP/1.1\r\nhost: b\r\n\r\n",
    "another scheme": b"GET file:///x HTTP/1.1\r\nhost: b\r\n\r\n",
    "two spaces": b"GET  /x HTTP/1.1\r\nhost: b\r\n\r\n",
    "HTTP/0.9": b"GET /x\r\n\r\n",
    "HTTP/1.2": b"GET /x HTTP/1.2\r\nhost: b\r\n\r\n",
    "HTTP/2": b"GET /x HTTP/2.0\r\nhost: b\r\n\r\n",
    "lower-case http": b"GET /x http/1.1\r\nhost: b\r\n\r\n",
    "a chunk of no size": _post(b"transfer-encoding: chunked\r\n", b"\r\nabc\r\n0\r\n\r\n"),
    "a chunk of a bad size": _post(b"transfer-encoding: chunked\r\n", b"zz\r\nabc\r\n0\r\n\r\n"),
    "a chunk of a signed size": _post(b"transfer-encoding: chunked\r\n", b"+3\r\nabc\r\n0\r\n\r\n"),
    "a chunk of a size in 0x": _post(b"transfer-encoding: chunked\r\n", b"0x3\r\nabc\r\n0\r\n\r\n"),
    "a chunk of a huge size": _post(b"transfer-encoding: chunked\r\n", b"ffffffffffffffff\r\nabc"),
    "a chunk that is longer": _post(b"transfer-encoding: chunked\r\n", b"3\r\nabcd\r\n0\r\n\r\n"),
    "a chunk that ends in LF": _post(b"transfer-encoding: chunked\r\n", b"3\r\nabc\n0\r\n\r\n"),
    "a chunk size that ends in LF": _post(b"transfer-encoding: chunked\r\n", b"3\nabc\r\n0\r\n\r\n"),
    "an extension with a LF": _post(b"transfer-encoding: chunked\r\n", b"3;a\nb\r\nabc\r\n0\r\n\r\n"),
    "an extension with a CR": _post(b"transfer-encoding: chunked\r\n", b"3;a\rb\r\nabc\r\n0\r\n\r\n"),
    "a space before the size": _post(b"transfer-encoding: chunked\r\n", b" 3\r\nabc\r\n0\r\n\r\n"),
    "a length among the trailers": _post(
        b"transfer-encoding: chunked\r\n", b"0\r\ncontent-length: 3\r\n\r\n"
    ),
    "a trailer that is none": _post(b"transfer-encoding: chunked\r\n", b"0\r\nGET / HTTP/1.1\r\n\r\n"),
    "a folded trailer": _post(b"transfer-encoding: chunked\r\n", b"0\r\na: b\r\n c\r\n\r\n"),
}
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nhost: b\r\n\r\n"


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_it_is_refused_and_nothing_after_it_is_heard(shape: bytes) -> None:
    mesh = Mesh(app=App(None))
    client = mesh.client()
    client.connection.send(shape + SMUGGLED)
    mesh.reactor.settle()
    assert status_of(client.data) in (400, 501, 505)
    assert client.ended
    assert b"/smuggled" not in mesh.app.heard
    assert b"connection: close" in client.data


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_an_upstream_cannot_do_it_either(shape: bytes) -> None:
    """The fields of the same shapes, in a response."""
    _, _, rest = shape.partition(b"\r\n")
    fields = rest.replace(b"host: b\r\n", b"") if b"POST" in shape else b""
    if not fields or b"99999" in shape or b"\r\n\r\n" not in fields:
        return
    mesh = Mesh(app=App(b"HTTP/1.1 200 OK\r\n" + fields))
    client = mesh.client()
    client.connection.send(GET)
    mesh.reactor.settle()
    assert b"200 OK" not in client.data or client.ended


def test_a_head_that_is_too_large_is_431() -> None:
    mesh = Mesh()
    answer = mesh.call(GET[:-2] + b"a: " + b"x" * 70_000 + b"\r\n\r\n")
    assert status_of(answer) == 431
    assert status_of(mesh.call(GET[:-2] + b"a: 1\r\n" * 101 + b"\r\n")) == 431


def test_a_head_without_an_end_is_refused_before_it_fills_memory() -> None:
    mesh = Mesh()
    client = mesh.client()
    for _ in range(100):
        client.connection.send(b"a" * 1000)
        mesh.reactor.settle()
    assert status_of(client.data) == 431
    assert client.ended


def test_what_comes_after_a_response_is_not_the_next_ones_answer() -> None:
    """Response splitting: an upstream that says more than it was asked loses its connection."""
    twice = b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n1HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n2"
    mesh = Mesh(app=App(twice))
    client = mesh.client()
    for _ in range(2):
        client.connection.send(GET)
        mesh.reactor.settle()
    assert client.data.endswith(b"\r\n\r\n1")
    assert b"\r\n\r\n2" not in client.data
    assert len(mesh.app.ends) == 2


def test_an_idle_upstream_that_speaks_is_dropped() -> None:
    mesh = Mesh()
    client = mesh.client()
    client.connection.send(GET)
    mesh.reactor.settle()
    mesh.app.ends[0].connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n2")
    mesh.reactor.settle()
    client.connection.send(GET)
    mesh.reactor.settle()
    assert client.data.count(b"hello") == 2
    assert len(mesh.app.ends) == 2


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300), st.sampled_from([80, 7000, 9000]))
def test_no_bytes_make_the_data_plane_fail(data: bytes, port: int) -> None:
    mesh = Mesh()
    client = mesh.client(port)
    client.connection.send(data)
    mesh.reactor.advance(20)
    client.connection.close()
    mesh.reactor.settle()
    state = mesh.plane.state("a").clusters
    assert all(s.requests == s.pending == 0 for s in state.values())


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300), st.booleans())
def test_no_bytes_make_the_server_side_fail(data: bytes, tls: bool) -> None:
    mesh = Mesh(snapshot(clusters=(cluster(endpoint(mtls=True)),)))
    stranger = mesh.stranger()
    stranger.connection.send((b"\x16\x03\x01" if tls else b"") + data)
    mesh.reactor.advance(20)
    stranger.connection.close()
    mesh.reactor.settle()


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_of_an_upstream_make_the_data_plane_fail(data: bytes) -> None:
    mesh = Mesh(app=App(b"HTTP/1.1 200 " + data))
    client = mesh.client()
    client.connection.send(GET)
    mesh.reactor.advance(2)
    client.connection.close()
    mesh.reactor.settle()
    assert mesh.plane.state("a").cluster("outbound|80||b.default.svc.cluster.local").requests == 0
