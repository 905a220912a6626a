"""One connection of HTTP/2: frames in, frames out, windows, settings, and the streams in it."""

from __future__ import annotations

import logging
from abc import ABCMeta, abstractmethod
from collections.abc import Callable

from devmesh.proxy.http1 import MAX_HEAD
from devmesh.proxy.http2 import frames
from devmesh.proxy.http2.floods import MAX_CONTINUATIONS, Budget
from devmesh.proxy.http2.frames import Code, Http2Error
from devmesh.proxy.http2.hpack import Block, Compression
from devmesh.proxy.http2.streams import Stream
from devmesh.proxy.reactor import HIGH, Connection, Owner, Reactor

log = logging.getLogger(__name__)

STREAM_WINDOW = 1 << 18  # bytes that a peer may send ahead on one stream, and so that one may keep
CONNECTION_WINDOW = 1 << 22  # the same of all streams together
_FULL = 1 << 16  # bytes of frames that are handed over before their batch ends


class Wire(Owner, metaclass=ABCMeta):
    """What both roles have in common.

    Attributes:
        connection: Below.
        streams: Those that are open, by number.
        blocked: Streams with something to send that has to wait, in the order of their turns.
        window: Bytes that the peer takes on the connection as a whole.
        peer_window: Bytes that the peer takes on a new stream.
        max_streams: How many the peer lets us have open.
        max_frame: Bytes that the peer takes in one frame.
        last: The highest number of a stream that the peer has opened (server), or we have (client).
    """

    stream_window = STREAM_WINDOW
    connection: Connection
    max_streams: int

    def __init__(self, reactor: Reactor) -> None:
        self.now: Callable[[], float] = reactor.now
        self._reactor = reactor
        self.streams: dict[int, Stream] = {}
        self.blocked: dict[Stream, None] = {}
        self.window = self.peer_window = frames.DEFAULT_WINDOW
        self.max_frame = frames.MAX_FRAME
        self.last = 0
        self.is_over = False
        self.budget = Budget()
        self.compression = Compression()
        self._room = CONNECTION_WINDOW
        self._owed = 0
        self._buffer = b""
        self._block: bytearray | None = None  # of headers that are not complete
        self._block_stream = self._block_flags = self._block_frames = 0
        self._out: list[bytes] = []
        self._out_size = 0
        self._pumping = False
        self._met = False  # the peer's settings have come

    # -- what a role does --

    @abstractmethod
    def opened(self, number: int, block: Block, ended: bool) -> None:
        """The peer has opened a stream. (A client's never does.)"""

    @abstractmethod
    def going_away(self, last: int, code: int) -> None:
        """The peer takes no more streams; those above `last` it has not looked at."""

    @abstractmethod
    def settled(self) -> None:
        """Something of the peer's settings or of its streams has changed: there may be room for more."""

    @abstractmethod
    def over(self, details: str) -> None:
        """The connection has been ended, since the peer broke the protocol."""

    @abstractmethod
    def is_idle(self, number: int) -> bool:
        """Tell whether a stream has not been opened yet."""

    # -- out --

    @property
    def can_write(self) -> bool:
        """Tell whether bodies may be handed to the connection, which has not too much to send already."""
        return self._out_size + self.connection.pending <= HIGH

    def emit(self, data: bytes) -> None:
        """Send frames, with those of the same batch."""
        out = self._out
        out.append(data)
        self._out_size += len(data)
        if len(out) == 1:
            self._reactor.at_end(self)
        elif self._out_size > _FULL:
            self.flush()

    def flush(self) -> None:
        """Hand over what was emitted."""
        out = self._out
        if out:
            data = out[0] if len(out) == 1 else b"".join(out)
            out.clear()
            self._out_size = 0
            self.connection.send(data)
            if self.blocked and not self._pumping:
                self.pump()

    def send_headers(self, stream: Stream, block: Block, *, ended: bool) -> None:
        self.emit(frames.header_frames(stream.id, self.compression.encode(block), ended=ended))
        if ended:
            self._ended(stream)

    def send_data(self, stream: Stream, data: bytes, ended: bool) -> None:
        """Send DATA that the windows have room for."""
        size, largest = len(data), self.max_frame
        stream.window -= size
        self.window -= size
        while len(data) > largest:
            self.budget.data_sent += 1
            self.emit(frames.frame(frames.DATA, 0, stream.id, data[:largest]))
            data = data[largest:]
        self.budget.data_sent += 1
        self.emit(frames.frame(frames.DATA, frames.END_STREAM if ended else 0, stream.id, data))
        if ended:
            self._ended(stream)

    def _ended(self, stream: Stream) -> None:
        stream.is_written = True
        if stream.is_read:
            self.forget(stream)

    def drained(self) -> None:
        """The connection takes more."""
        self.budget.unread = 0
        self.pump()

    def pump(self) -> None:
        """Let streams that wait send in turns."""
        if self._pumping:
            return
        self._pumping = True
        blocked, stuck = self.blocked, 0
        while stuck < len(blocked) and self.can_write:
            stream = next(iter(blocked))
            stuck = 0 if stream.pump() else stuck + 1
            if stream in blocked:
                del blocked[stream]
                blocked[stream] = None
        self._pumping = False

    def reset(self, stream: Stream, code: int) -> None:
        """Give a stream up; it is forgotten."""
        if self.streams.get(stream.id) is stream:
            self.emit(frames.reset(stream.id, code))
            self.forget(stream)

    def forget(self, stream: Stream) -> None:
        """The stream is over."""
        if self.streams.pop(stream.id, None) is None:
            return
        stream.drop()
        stream.is_read = stream.is_written = True
        if stream.owed:  # bytes that nobody will look at
            self._owed += stream.owed
            stream.owed = 0
            self._credit_connection()
        self.budget.ended += 1
        self.settled()

    # -- windows --

    def credit(self, stream: Stream, size: int) -> None:
        """`size` bytes were received; let the peer send as many again, unless the stream is held."""
        stream.owed += size
        if stream.is_held:
            return
        owed = stream.owed
        if stream.room <= self.stream_window // 2 and not stream.is_read:
            grown = self.stream_window - stream.room
            stream.room += grown
            self.emit(frames.window_update(stream.id, grown))
        stream.owed = 0
        self._owed += owed
        self._credit_connection()

    def _credit_connection(self) -> None:
        if self._owed >= CONNECTION_WINDOW // 2:
            self._room += self._owed
            self.emit(frames.window_update(0, self._owed))
            self._owed = 0

    # -- in --

    def receive(self, data: bytes) -> None:
        """Take bytes of the peer's."""
        try:
            self._receive(self._buffer + data if self._buffer else data)
        except Http2Error as error:
            self.fail(error)

    def fail(self, error: Http2Error) -> None:
        """End the connection, whose peer broke the protocol."""
        if self.is_over:
            return
        log.debug("http/2: %s (%s)", error.details, error.code.name)
        self.emit(frames.goaway(self.last, error.code, error.details.encode()))
        self.flush()
        self.is_over = True
        self.lose(error.details)
        self.over(error.details)

    def lose(self, reason: str) -> None:
        """The connection is gone: tell the streams."""
        self.is_over = True
        streams = list(self.streams.values())
        self.streams.clear()
        self.blocked.clear()
        for stream in streams:
            stream.is_read = stream.is_written = True
            stream.was_lost(reason)

    def _receive(self, data: bytes) -> None:
        position, size, read = 0, len(data), frames.read_head
        while size - position >= 9 and not self.is_over:
            high, low, kind, flags, number = read(data, position)
            length = high << 8 | low
            if length > frames.MAX_FRAME:
                raise Http2Error(Code.FRAME_SIZE_ERROR, "http2.codec_error")
            end = position + 9 + length
            if end > size:
                break
            payload = data[position + 9 : end]
            position = end
            number &= frames.MAX_WINDOW
            if self._block is not None and kind != frames.CONTINUATION:
                raise _broken()
            if not self._met and kind != frames.SETTINGS:
                raise _broken()
            if kind == frames.DATA:
                self._data(number, flags, payload)
            elif kind == frames.HEADERS:
                self._headers(number, flags, payload)
            else:
                handle = _HANDLERS.get(kind)
                if handle is not None:  # else a kind that isn't known, which is ignored
                    handle(self, number, flags, payload)
        self._buffer = data[position:] if not self.is_over else b""

    def _data(self, number: int, flags: int, payload: bytes) -> None:
        size = len(payload)
        self._room -= size
        if self._room < 0:
            raise Http2Error(Code.FLOW_CONTROL_ERROR, "http2.codec_error")
        stream = self.streams.get(number)
        if stream is None or stream.is_read:
            if stream is None and self.is_idle(number):
                raise _broken()
            self._owed += size
            self._credit_connection()
            if stream is not None:
                self._give_up(stream, Code.STREAM_CLOSED)
            return
        stream.room -= size
        if stream.room < 0:
            raise Http2Error(Code.FLOW_CONTROL_ERROR, "http2.codec_error")
        ended = bool(flags & frames.END_STREAM)
        if flags & frames.PADDED:
            payload = _unpadded(payload)
        if not ended:
            self.budget.content(len(payload))
        if stream.left >= 0:
            stream.left -= len(payload)
            if stream.left < 0 or (ended and stream.left):
                raise _unruly()
        stream.is_read = ended
        if payload or ended:
            stream.data(payload, ended)
        self.credit(stream, size)
        if ended and stream.is_written:
            self.forget(stream)

    def _headers(self, number: int, flags: int, payload: bytes) -> None:
        if flags & frames.PADDED:
            payload = _unpadded(payload)
        if flags & frames.PRIORITIZED:
            if len(payload) < 5:
                raise Http2Error(Code.FRAME_SIZE_ERROR, "http2.codec_error")
            payload = payload[5:]
        if not number:
            raise _broken()
        if flags & frames.END_HEADERS:
            self._complete(number, bool(flags & frames.END_STREAM), payload)
        else:
            self._block = bytearray(payload)
            self._block_stream, self._block_flags, self._block_frames = number, flags, 0
            self.budget.content(len(payload))

    def _continuation(self, number: int, flags: int, payload: bytes) -> None:
        block = self._block
        if block is None or number != self._block_stream:
            raise _broken()
        self._block_frames += 1
        block += payload
        if self._block_frames > MAX_CONTINUATIONS or len(block) > MAX_HEAD:
            raise Http2Error(Code.ENHANCE_YOUR_CALM, "http2.headers_too_large")
        if flags & frames.END_HEADERS:
            self._block = None
            self._complete(number, bool(self._block_flags & frames.END_STREAM), bytes(block))
        else:
            self.budget.content(len(payload))

    def _complete(self, number: int, ended: bool, payload: bytes) -> None:
        block = self.compression.decode(payload)
        stream = self.streams.get(number)
        if stream is None:
            if self.is_idle(number):
                self.opened(number, block, ended)
            return  # else it belongs to a stream that is over
        if stream.is_read:
            self._give_up(stream, Code.STREAM_CLOSED)
            return
        stream.is_read = ended
        if ended and stream.left > 0:
            raise _unruly()
        stream.headers(block, ended)
        if ended and stream.is_written:
            self.forget(stream)

    def _give_up(self, stream: Stream, code: Code) -> None:
        self.reset(stream, code)
        stream.was_reset(code)

    def _rst(self, number: int, flags: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise Http2Error(Code.FRAME_SIZE_ERROR, "http2.codec_error")
        stream = self.streams.get(number)
        if stream is not None:
            in_vain = stream.is_unanswered
            self.forget(stream)
            stream.was_reset(int.from_bytes(payload))
            if in_vain:
                self.budget.reset(self.now() - stream.began)
        elif self.is_idle(number):
            raise _broken()

    def _settings(self, number: int, flags: int, payload: bytes) -> None:
        if number or (flags & frames.ACK and payload):
            raise _broken()
        if len(payload) % 6:
            raise Http2Error(Code.FRAME_SIZE_ERROR, "http2.codec_error")
        if flags & frames.ACK:
            return
        if not self._met:
            self._met, self.max_streams = True, frames.MAX_WINDOW
        for name, value in frames.read_settings(payload):
            self._set(name, value)
        self._answer(frames.SETTINGS_ACK)
        self.settled()
        if self.blocked:
            self.pump()

    def _set(self, name: int, value: int) -> None:
        if name == frames.INITIAL_WINDOW_SIZE:
            if value > frames.MAX_WINDOW:
                raise Http2Error(Code.FLOW_CONTROL_ERROR, "http2.codec_error")
            grown, self.peer_window = value - self.peer_window, value
            for stream in self.streams.values():
                stream.window += grown
                if stream.window > frames.MAX_WINDOW:
                    raise Http2Error(Code.FLOW_CONTROL_ERROR, "http2.codec_error")
        elif name == frames.MAX_FRAME_SIZE:
            if not frames.MAX_FRAME <= value < 1 << 24:
                raise _broken()
            self.max_frame = min(value, 1 << 16)
        elif name == frames.HEADER_TABLE_SIZE:
            self.compression.limit(value)
        elif name == frames.MAX_CONCURRENT_STREAMS:
            self.max_streams = value
        elif name == frames.ENABLE_PUSH and value > 1:
            raise _broken()

    def _ping(self, number: int, flags: int, payload: bytes) -> None:
        if len(payload) != 8:
            raise Http2Error(Code.FRAME_SIZE_ERROR, "http2.codec_error")
        if number:
            raise _broken()
        if not flags & frames.ACK:
            self._answer(frames.frame(frames.PING, frames.ACK, 0, payload))

    def _answer(self, data: bytes) -> None:
        if self.connection.pending:
            self.budget.control()
        else:
            self.budget.unread = 0
        self.emit(data)

    def _goaway(self, number: int, flags: int, payload: bytes) -> None:
        if number or len(payload) < 8:
            raise _broken()
        self.going_away(int.from_bytes(payload[:4]) & frames.MAX_WINDOW, int.from_bytes(payload[4:8]))

    def _window_update(self, number: int, flags: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise Http2Error(Code.FRAME_SIZE_ERROR, "http2.codec_error")
        grown = int.from_bytes(payload) & frames.MAX_WINDOW
        self.budget.window_update()
        if number:
            stream = self.streams.get(number)
            if stream is None:
                if self.is_idle(number):
                    raise _broken()
                return
            stream.window += grown
            if not grown or stream.window > frames.MAX_WINDOW:
                self._give_up(stream, Code.FLOW_CONTROL_ERROR if grown else Code.PROTOCOL_ERROR)
        else:
            self.window += grown
            if not grown or self.window > frames.MAX_WINDOW:
                raise Http2Error(
                    Code.FLOW_CONTROL_ERROR if grown else Code.PROTOCOL_ERROR, "http2.codec_error"
                )
        if self.blocked:
            self.pump()

    def _priority(self, number: int, flags: int, payload: bytes) -> None:
        if len(payload) != 5:
            raise Http2Error(Code.FRAME_SIZE_ERROR, "http2.codec_error")
        if not number:
            raise _broken()
        self.budget.priority()

    def _push(self, number: int, flags: int, payload: bytes) -> None:
        raise _broken()  # it was never enabled


def _unpadded(payload: bytes) -> bytes:
    if not payload or payload[0] >= len(payload):
        raise _broken()
    return payload[1 : len(payload) - payload[0]]


def _broken() -> Http2Error:
    return Http2Error(Code.PROTOCOL_ERROR, "http2.codec_error")


def _unruly() -> Http2Error:
    """Return what ends a connection whose peer breaks the rules of HTTP's messages, as Envoy names it."""
    return Http2Error(Code.PROTOCOL_ERROR, "http2.violation.of.messaging.rule")


_HANDLERS: dict[int, Callable[[Wire, int, int, bytes], None]] = {
    frames.PRIORITY: Wire._priority,
    frames.RST_STREAM: Wire._rst,
    frames.SETTINGS: Wire._settings,
    frames.PUSH_PROMISE: Wire._push,
    frames.PING: Wire._ping,
    frames.GOAWAY: Wire._goaway,
    frames.WINDOW_UPDATE: Wire._window_update,
    frames.CONTINUATION: Wire._continuation,
}
