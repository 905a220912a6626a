"""One stream of a connection: its windows, and what waits for them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from typing import TYPE_CHECKING

from devmesh.proxy.http2.frames import Code
from devmesh.proxy.http2.hpack import Block

if TYPE_CHECKING:
    from devmesh.proxy.http2.wire import Wire


class Stream(ABC):
    """Both directions of a stream. A role's subclass says what is done with what arrives.

    Attributes:
        window: Bytes that the peer takes now.
        room: Bytes that the peer may send now.
        owed: Bytes received that the peer will be credited; those of a stream that is held, later.
        is_held: Nothing is credited.
        is_read: The peer has ended its direction.
        is_written: Our end was sent.
        is_unanswered: Nothing has been said yet to the client that opened it.
        waiting: Bytes that wait for the peer's windows, or for the connection.
        left: Bytes of body that the peer's content-length still promises; -1: it promised nothing.
    """

    __slots__ = (
        "_end",
        "_out",
        "_trailers",
        "began",
        "id",
        "is_held",
        "is_read",
        "is_unanswered",
        "is_written",
        "left",
        "owed",
        "room",
        "waiting",
        "window",
        "wire",
    )

    def __init__(self, wire: Wire, number: int) -> None:
        self.wire = wire
        self.id = number
        self.window = wire.peer_window
        self.room = wire.stream_window
        self.owed = 0
        self.is_held = self.is_read = self.is_written = self.is_unanswered = False
        self.waiting = 0
        self.left = -1
        self.began = wire.now()
        self._out: deque[bytes] | None = None
        self._end = False
        self._trailers: Block | None = None

    # -- what arrives --

    @abstractmethod
    def headers(self, block: Block, ended: bool) -> None:
        """Take a block that is not the first: trailers; of a response the head, too."""

    @abstractmethod
    def data(self, piece: bytes, ended: bool) -> None:
        """Take some of the body."""

    @abstractmethod
    def was_reset(self, code: int) -> None:
        """The peer has given the stream up; it is forgotten already."""

    @abstractmethod
    def was_lost(self, reason: str) -> None:
        """The connection is gone, and the stream with it."""

    @abstractmethod
    def written(self) -> None:
        """What waited is on its way."""

    # -- what is sent --

    def write(self, data: bytes, ended: bool, trailers: Block | None = None) -> None:
        """Send some of the body, now or when the windows allow it; with `ended`, nothing after it."""
        if self.is_written or self._end:
            return
        wire, out, size = self.wire, self._out, len(data)
        if out is None and size <= self.window and size <= wire.window and wire.can_write:
            if data or (ended and not trailers):
                wire.send_data(self, data, ended and not trailers)
            if trailers and ended:
                wire.send_headers(self, trailers, ended=True)
            return
        if out is None:
            out = self._out = deque()
            wire.blocked[self] = None
        if data:
            out.append(data)
            self.waiting += size
        if ended:
            self._end, self._trailers = True, trailers
        wire.pump()

    def pump(self) -> bool:
        """Send one frame of what waits, as far as the windows allow; tell whether any could be sent."""
        out, wire = self._out, self.wire
        if out:
            data = out[0]
            size = min(len(data), self.window, wire.window, wire.max_frame)
            if size <= 0:
                return False
            if size == len(data):
                out.popleft()
            else:
                out[0] = data[size:]
                data = data[:size]
            self.waiting -= size
            wire.send_data(self, data, not out and self._end and not self._trailers)
        elif self._end and not self._trailers:
            wire.send_data(self, b"", True)
        if not out:
            self._out = None
            del wire.blocked[self]
            if self._end and self._trailers:
                wire.send_headers(self, self._trailers, ended=True)
            self.written()
        return True

    def hold(self) -> None:
        """Credit nothing: the peer stops when its window is used up."""
        self.is_held = True

    def unhold(self) -> None:
        if self.is_held:
            self.is_held = False
            self.wire.credit(self, 0)

    def reset(self, code: Code) -> None:
        """Give the stream up."""
        self.wire.reset(self, code)

    def drop(self) -> None:
        """Forget what waits to be sent."""
        if self._out is not None:
            self._out = None
            self.waiting = 0
            self.wire.blocked.pop(self, None)
