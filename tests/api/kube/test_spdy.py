from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devmesh.api.kube import spdy


class Client:
    """The other side."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(zdict=spdy.DICTIONARY)

    def open(self, stream: int, **headers: str) -> bytes:
        block = struct.pack(">I", len(headers))
        for name, value in headers.items():
            block += (
                struct.pack(">I", len(name)) + name.encode() + struct.pack(">I", len(value)) + value.encode()
            )
        packed = self._deflate.compress(block) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        return control(spdy.SYN_STREAM, struct.pack(">IIH", stream, 0, 0) + packed)


def control(type_: int, body: bytes, flags: int = 0) -> bytes:
    return struct.pack(">II", 1 << 31 | 3 << 16 | type_, flags << 24 | len(body)) + body


def test_the_dictionary_is_the_one_that_everybody_has() -> None:
    assert (len(spdy.DICTIONARY), zlib.adler32(spdy.DICTIONARY)) == (1423, 0xE3C6A7C2)


def test_streams_open_with_their_headers() -> None:
    client, session = Client(), spdy.Session()
    first = client.open(1, streamType="error", port="80", requestID="0")
    second = client.open(3, streamType="data", port="80", requestID="0")
    opened = list(session.receive(first + second))
    assert opened == [
        spdy.Opened(1, {"streamtype": "error", "port": "80", "requestid": "0"}, False),
        spdy.Opened(3, {"streamtype": "data", "port": "80", "requestid": "0"}, False),
    ]


@given(st.lists(st.binary(max_size=40), max_size=5), st.integers(1, 9))
def test_data_survives_any_cut(pieces: list[bytes], size: int) -> None:
    wire = b"".join(spdy.data(5, piece) for piece in pieces) + spdy.data(5, b"", ended=True)
    session = spdy.Session()
    events = [e for n in range(0, len(wire), size) for e in session.receive(wire[n : n + size])]
    assert events == [*(spdy.Data(5, piece, False) for piece in pieces), spdy.Data(5, b"", True)]


def test_pings_are_answered_and_resets_told() -> None:
    ping, reset = control(spdy.PING, b"\0\0\0\1"), control(spdy.RST_STREAM, struct.pack(">II", 7, 5))
    assert list(spdy.Session().receive(ping + reset)) == [spdy.Answer(ping), spdy.Reset(7)]


@given(st.binary(max_size=60))
def test_garbage_raises_nothing_else(content: bytes) -> None:
    session = spdy.Session()
    try:
        for piece in (content, control(spdy.SYN_STREAM, b"\0" * 10 + content)):
            list(session.receive(piece))
    except spdy.SpdyError:
        pass


def test_headers_have_a_limit() -> None:
    with pytest.raises(spdy.SpdyError, match="65536"):
        list(spdy.Session().receive(Client().open(1, a="x" * 100_000)))
