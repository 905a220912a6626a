"""Header compression (RFC 7541) by jh2's compiled coder, one pair of tables for each connection."""

from __future__ import annotations

from typing import cast

from jh2._hazmat import Decoder, Encoder

from devmesh.proxy.http1 import MAX_HEAD
from devmesh.proxy.http2.frames import Code, Http2Error

Block = list[tuple[bytes, bytes, bool]]
"""Fields in order: name, value, whether they are never to be kept in a table."""

TABLE_SIZE = 4096  # bytes: the default, which is never raised for what is read


class Compression:
    """Both directions of one connection."""

    __slots__ = ("_decoder", "_encoder")

    def __init__(self) -> None:
        self._decoder = Decoder(MAX_HEAD)
        self._encoder = Encoder()

    def encode(self, block: Block) -> bytes:
        """Return a block as bytes; without Huffman's code, which costs both sides more than it saves here."""
        return cast("bytes", self._encoder.encode(block, False))

    def decode(self, block: bytes) -> Block:
        """Return the fields of a block.

        Raises:
            Http2Error: It is none, or stands for more than `MAX_HEAD` bytes.
        """
        try:
            return cast("Block", self._decoder.decode(block, True))
        except Exception as error:
            large = "Oversized" in type(error).__name__
            code = Code.ENHANCE_YOUR_CALM if large else Code.COMPRESSION_ERROR
            raise Http2Error(code, "http2.headers_too_large" if large else "http2.codec_error") from error
        except BaseException as error:
            # The coder indexes past the end of some blocks that are cut short: pyo3's PanicException.
            if type(error).__name__ != "PanicException":
                raise
            raise Http2Error(Code.COMPRESSION_ERROR, "http2.codec_error") from error

    def limit(self, size: int) -> None:
        """The peer keeps a table of at most `size` bytes."""
        self._encoder.header_table_size = min(size, TABLE_SIZE)
