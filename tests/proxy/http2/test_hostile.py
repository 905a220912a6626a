"""Peers that break HTTP/2's rules, by accident or not: they lose their connection, nothing else."""

from __future__ import annotations

import logging
from collections.abc import Callable

import hpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devmesh.proxy.http2 import frames
from devmesh.proxy.http2.frames import Code
from tests.proxy.http2.peers import Server
from tests.proxy.http2.test_conversations import client_of, speaking
from tests.proxy.meshes import End, Mesh

EMPTY = frames.frame(frames.SETTINGS, 0, 0)
HELLO = frames.PREFACE + EMPTY
HEAD = [(":method", "GET"), (":scheme", "http"), (":path", "/x"), (":authority", "b")]


def block(fields: list[tuple[str, str]]) -> bytes:
    return bytes(hpack.Encoder().encode(fields, huffman=False))


GET = frames.header_frames(1, block(HEAD), ended=True)


def received(data: bytes) -> list[tuple[int, int, int, bytes]]:
    found, position = [], 0
    while position < len(data):
        high, low, kind, flags, number = frames.read_head(data, position)
        end = position + 9 + (high << 8 | low)
        found.append((kind, flags, number, data[position + 9 : end]))
        position = end
    return found


def goaway(end: End) -> int | None:
    """Return the code that the connection was ended with."""
    for kind, _, _, payload in received(end.data):
        if kind == frames.GOAWAY:
            return int.from_bytes(payload[4:8])
    return None


def said(mesh: Mesh, data: bytes) -> End:
    end = mesh.client()
    end.connection.send(data)
    mesh.reactor.settle()
    return end


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    return frames.frame(kind, flags, stream, payload)


def flood(one: Callable[[int], bytes], times: int) -> bytes:
    return b"".join(one(number) for number in range(times))


def opened(number: int) -> bytes:
    return frames.header_frames(number, b"\x82\x86\x84\x41\x01b", ended=True)


BROKEN: dict[str, tuple[bytes, Code]] = {
    "no settings first": (frames.PREFACE + GET, Code.PROTOCOL_ERROR),
    "a frame that is too large": (HELLO + b"\x00\x40\x01\x00\x00\x00\x00\x00\x01", Code.FRAME_SIZE_ERROR),
    "data on no stream": (HELLO + frame(frames.DATA, 0, 0, b"x"), Code.PROTOCOL_ERROR),
    "data on an idle stream": (HELLO + frame(frames.DATA, 0, 5, b"x"), Code.PROTOCOL_ERROR),
    "an even stream": (HELLO + frames.header_frames(2, block(HEAD), ended=True), Code.PROTOCOL_ERROR),
    "headers on no stream": (HELLO + frames.header_frames(0, block(HEAD), ended=True), Code.PROTOCOL_ERROR),
    "a continuation of nothing": (HELLO + frame(frames.CONTINUATION, 4, 1, b""), Code.PROTOCOL_ERROR),
    "a continuation that is due": (
        HELLO + frame(frames.HEADERS, 0, 1, block(HEAD)) + frame(frames.PING, 0, 0, b"12345678"),
        Code.PROTOCOL_ERROR,
    ),
    "a push": (HELLO + frame(frames.PUSH_PROMISE, 4, 1, b"\0\0\0\2"), Code.PROTOCOL_ERROR),
    "a window that never was": (HELLO + frames.window_update(7, 1), Code.PROTOCOL_ERROR),
    "an update of nothing": (HELLO + frames.window_update(0, 0), Code.PROTOCOL_ERROR),
    "a window that is too large": (HELLO + frames.window_update(0, (1 << 31) - 1), Code.FLOW_CONTROL_ERROR),
    "settings cut short": (HELLO + frame(frames.SETTINGS, 0, 0, b"12345"), Code.FRAME_SIZE_ERROR),
    "settings of a stream": (HELLO + frame(frames.SETTINGS, 0, 1), Code.PROTOCOL_ERROR),
    "an impossible frame size": (HELLO + frames.settings((5, 1)), Code.PROTOCOL_ERROR),
    "an impossible window": (HELLO + frames.settings((4, 1 << 31)), Code.FLOW_CONTROL_ERROR),
    "a ping cut short": (HELLO + frame(frames.PING, 0, 0, b"1"), Code.FRAME_SIZE_ERROR),
    "a reset cut short": (HELLO + GET + frame(frames.RST_STREAM, 0, 1, b"1"), Code.FRAME_SIZE_ERROR),
    "a reset of an idle stream": (HELLO + frames.reset(9, 8), Code.PROTOCOL_ERROR),
    "padding longer than its frame": (HELLO + frame(frames.HEADERS, 0xC, 1, b"\x09x"), Code.PROTOCOL_ERROR),
    "a block that is none": (HELLO + frame(frames.HEADERS, 5, 1, b"\x40"), Code.COMPRESSION_ERROR),
    "an index beyond the table": (HELLO + frame(frames.HEADERS, 5, 1, b"\xfe"), Code.COMPRESSION_ERROR),
    "less body than promised": (
        HELLO
        + frames.header_frames(1, block([*HEAD, ("content-length", "3")]), ended=False)
        + frame(frames.DATA, 1, 1, b"ab"),
        Code.PROTOCOL_ERROR,
    ),
    "more body than promised": (
        HELLO
        + frames.header_frames(1, block([*HEAD, ("content-length", "1")]), ended=False)
        + frame(frames.DATA, 0, 1, b"ab"),
        Code.PROTOCOL_ERROR,
    ),
    "no body where one was promised": (
        HELLO + frames.header_frames(1, block([*HEAD, ("content-length", "1")]), ended=True),
        Code.PROTOCOL_ERROR,
    ),
    "trailers that do not end": (
        HELLO + frames.header_frames(1, block(HEAD), ended=False) + frames.header_frames(1, b"", ended=False),
        Code.PROTOCOL_ERROR,
    ),
    "too much to read": (
        HELLO + frames.header_frames(1, block([*HEAD, ("x", "y" * 70_000)]), ended=True),
        Code.ENHANCE_YOUR_CALM,
    ),
    "too many fields": (
        HELLO + frames.header_frames(1, block([*HEAD, *[(f"x{n}", "") for n in range(101)]]), ended=True),
        Code.ENHANCE_YOUR_CALM,
    ),
    "endless continuations": (
        HELLO + frame(frames.HEADERS, 0, 1, b"") + flood(lambda n: frame(frames.CONTINUATION, 0, 1, b"x"), 9),
        Code.ENHANCE_YOUR_CALM,
    ),
    "empty data": (
        HELLO
        + frames.header_frames(1, block(HEAD), ended=False)
        + flood(lambda n: frame(frames.DATA, 0, 1, b""), 2),
        Code.ENHANCE_YOUR_CALM,
    ),
    "priorities": (
        HELLO + flood(lambda n: frame(frames.PRIORITY, 0, 1, b"\0\0\0\0\0"), 101), Code.ENHANCE_YOUR_CALM,
    ),
    "window updates": (HELLO + flood(lambda n: frames.window_update(0, 1), 6), Code.ENHANCE_YOUR_CALM),
    "resets": (
        HELLO + flood(lambda n: opened(2 * n + 1) + frames.reset(2 * n + 1, 8), 251), Code.ENHANCE_YOUR_CALM,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_what_breaks_the_rules_ends_the_connection(name: str) -> None:
    data, code = BROKEN[name]
    mesh = speaking(Server(lambda peer, number: None))
    end = said(mesh, data)
    assert goaway(end) == code
    mesh.reactor.advance(2)
    assert end.ended
    assert mesh.plane.state("a").cluster(mesh_cluster(mesh)).requests == 0


def mesh_cluster(mesh: Mesh) -> str:
    return next(iter(mesh.feed.current.proxies["a"].outbound.clusters))


FIELDS: list[list[tuple[str, str]]] = [
    [(":path", "/x"), (":method", "GET"), (":scheme", "http"), (":authority", "b"), ("X", "1")],
    [*HEAD, ("x y", "1")],
    [*HEAD, ("", "1")],
    [*HEAD, ("x", "a\r\nb: c")],
    [*HEAD, ("x", "a\0")],
    [*HEAD, ("connection", "close")],
    [*HEAD, ("transfer-encoding", "chunked")],
    [*HEAD, ("upgrade", "websocket")],
    [*HEAD, ("te", "gzip")],
    [*HEAD, ("content-length", "-1")],
    [*HEAD, ("content-length", "1"), ("content-length", "2")],
    [*HEAD, (":path", "/y")],
    [*HEAD, (":protocol", "websocket")],
    [("x", "1"), *HEAD],
    HEAD[1:],
    [HEAD[0], *HEAD[2:]],
    [*HEAD[:2], *HEAD[3:]],
    [*HEAD[:2], (":path", ""), HEAD[3]],
    [*HEAD[:2], (":path", "x"), HEAD[3]],
    [*HEAD[:2], (":path", "/x y"), HEAD[3]],
    [(":method", "G T"), *HEAD[1:]],
    [(":method", "CONNECT"), *HEAD[1:]],
]


@pytest.mark.parametrize("fields", FIELDS)
def test_a_head_that_is_none_ends_the_connection(fields: list[tuple[str, str]]) -> None:
    mesh = speaking()
    end = said(mesh, HELLO + frames.header_frames(1, block(fields), ended=True))
    assert goaway(end) == Code.PROTOCOL_ERROR
    assert not mesh.reactor.dialled


def test_more_streams_than_allowed_are_refused() -> None:
    mesh = speaking(Server(lambda peer, number: None))
    end = said(mesh, HELLO + flood(lambda n: opened(2 * n + 1), 1025))
    assert [f for f in received(end.data) if f[0] == frames.RST_STREAM] == [
        (frames.RST_STREAM, 0, 2049, b"\0\0\0\x07")
    ]
    assert goaway(end) is None


def test_pings_that_nobody_reads_the_answers_of_end_the_connection() -> None:
    mesh = Mesh(window=100)
    end = said(mesh, HELLO)
    end.connection.pause()
    for _ in range(1100):
        end.connection.send(frame(frames.PING, 0, 0, b"12345678"))
        mesh.reactor.settle()
    mesh.reactor.advance(2)
    end.connection.resume()
    mesh.reactor.settle()
    assert end.ended


def test_any_number_of_pings_is_answered_to_who_reads() -> None:
    mesh = Mesh()
    end = said(mesh, HELLO)
    for _ in range(1500):
        end.connection.send(frame(frames.PING, 0, 0, b"12345678"))
        mesh.reactor.settle()
    assert len([f for f in received(end.data) if f[:2] == (frames.PING, frames.ACK)]) == 1500


def test_a_client_that_sends_more_than_its_window_loses_its_connection() -> None:
    mesh = speaking(Server(lambda peer, number: None))
    mesh.reactor.places.clear()
    mesh.reactor.dial = lambda *args, **more: (_ for _ in ()).throw(OSError())  # type: ignore[method-assign]
    end = mesh.client()
    end.connection.send(HELLO + frames.header_frames(1, block(HEAD), ended=False))
    mesh.reactor.settle()
    # the stream was answered and is over: only the connection's window counts, and it is given back
    for _ in range(600):
        end.connection.send(frame(frames.DATA, 0, 1, b"x" * 16384))
        mesh.reactor.settle()
    assert goaway(end) is None


def test_a_window_that_is_overrun_ends_the_connection() -> None:
    mesh = Mesh(window=1 << 12)
    server = Server(lambda peer, number: None)
    mesh = speaking(server)
    client = client_of(mesh)
    number = client.request(method="POST", end=False)
    mesh.reactor.settle()
    server.peers[0].end.connection.pause()
    for _ in range(64):
        client.end.connection.send(frame(frames.DATA, 0, number, b"x" * 16384))
    mesh.reactor.settle()
    assert client.gone == Code.FLOW_CONTROL_ERROR


FRAMES = st.builds(
    frames.frame,
    st.integers(0, 12),
    st.integers(0, 255),
    st.one_of(st.integers(0, 9), st.integers(0, (1 << 31) - 1)),
    st.one_of(
        st.binary(max_size=40),
        st.sampled_from(
            [block(HEAD), b"\x82\x86\x84\x41\x01b", b"\0\0\0\1", b"\0\4\0\0\0\x10", b"\0\0\0\0\0\0\0\0"]
        ),
    ),
)


@settings(deadline=None, max_examples=150)
@given(st.lists(FRAMES, max_size=30), st.integers(1, 500))
def test_frames_of_any_kind_never_fail(sent: list[bytes], size: int) -> None:
    caught = Failures()
    server = Server()
    mesh = speaking(server)
    end = mesh.client()
    data = HELLO + b"".join(sent)
    with caught:
        for at in range(0, len(data), size):
            end.connection.send(data[at : at + size])
            mesh.reactor.settle()
        end.connection.close()
        mesh.reactor.advance(2)
    assert not caught.records
    state = mesh.plane.state("a").cluster(mesh_cluster(mesh))
    assert (state.requests, state.pending) == (0, 0)


@settings(deadline=None, max_examples=100)
@given(st.lists(FRAMES, max_size=30))
def test_servers_that_say_anything_never_fail(sent: list[bytes]) -> None:
    caught = Failures()
    ends: list[End] = []
    mesh = speaking(lambda connection: ends.append(End(connection)))  # type: ignore[arg-type]
    client = client_of(mesh)
    numbers = [client.request(), client.request(method="POST", body=b"x")]
    mesh.reactor.settle()
    with caught:
        ends[0].connection.send(EMPTY + b"".join(sent))
        mesh.reactor.advance(1)
        ends[0].connection.close()
        mesh.reactor.advance(1)
    assert not caught.records
    for number in numbers:
        assert client.messages[number].ended or client.messages[number].reset is not None
    state = mesh.plane.state("a").cluster(mesh_cluster(mesh))
    assert (state.requests, state.pending, state.connections) == (0, 0, 0)


class Failures(logging.Handler):
    """Keeps what is logged as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record.getMessage())

    def __enter__(self) -> Failures:
        logging.getLogger("devmesh").addHandler(self)
        return self

    def __exit__(self, *error: object) -> None:
        logging.getLogger("devmesh").removeHandler(self)
