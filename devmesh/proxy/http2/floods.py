"""Limits to what a peer may make us do for nothing; Envoy's names and defaults."""

from __future__ import annotations

from devmesh.proxy.http2.frames import Code, Http2Error

MAX_CONTROL_FRAMES = 1000  # answers to be sent to a peer that doesn't read: max_outbound_control_frames
MAX_CONTINUATIONS = 8  # frames of one block (nghttp2's default, which Envoy keeps)
_EMPTY = 1  # in a row: max_consecutive_inbound_frames_with_empty_payload
_PRIORITIES = 100  # for each stream: max_inbound_priority_frames_per_stream
_UPDATES = 10  # for each DATA frame sent: max_inbound_window_update_frames_per_data_frame_sent
_RESETS = 500  # overload.premature_reset_total_stream_count
_YOUNG = 1.0  # seconds: overload.premature_reset_min_stream_lifetime_seconds


class Budget:
    """Counts what one peer does; a limit that is passed ends the connection.

    Attributes:
        opened, ended: Streams so far.
        data_sent: DATA frames sent.
        unread: Control frames sent since the peer was last seen to read.
    """

    __slots__ = ("_empty", "_premature", "_priorities", "_updates", "data_sent", "ended", "opened", "unread")

    def __init__(self) -> None:
        self.opened = self.ended = self.data_sent = self.unread = 0
        self._empty = self._priorities = self._updates = self._premature = 0

    def content(self, size: int) -> None:
        """A frame that may carry something has carried `size` bytes, and does not end anything."""
        if size:
            self._empty = 0
            return
        self._empty += 1
        if self._empty > _EMPTY:
            raise _flood("http2.inbound_empty_frames_flood")

    def priority(self) -> None:
        self._priorities += 1
        if self._priorities > _PRIORITIES * (1 + self.opened):
            raise _flood("http2.inbound_priority_frames_flood")

    def window_update(self) -> None:
        self._updates += 1
        if self._updates > 5 + 2 * (self.opened + _UPDATES * self.data_sent):
            raise _flood("http2.inbound_window_update_frames_flood")

    def control(self) -> None:
        """A frame is answered that nothing but the peer's reading bounds."""
        self.unread += 1
        if self.unread > MAX_CONTROL_FRAMES:
            raise _flood("http2.outbound_control_frames_flood")

    def reset(self, age: float) -> None:
        """A client has given up a stream after `age` seconds, before it got an answer.

        Envoy: where of 500 streams half are given up so, or as soon as it can only become that many, it is
        an attack.
        """
        if age < _YOUNG:
            self._premature += 1
            if self._premature >= _RESETS // 2 and self._premature * 2 >= self.ended:
                raise _flood("http2.premature_reset")


def _flood(details: str) -> Http2Error:
    return Http2Error(Code.ENHANCE_YOUR_CALM, details)
