"""Timers of the data plane: coarse, and nearly free to set and to cancel."""

from __future__ import annotations

import heapq
import logging
from collections.abc import Callable
from math import inf

log = logging.getLogger(__name__)

TICK = 0.005  # seconds; a deadline comes up to one tick late, never early


class Deadline:
    """A call that is due at some time, unless it is cancelled before."""

    __slots__ = ("_bucket", "_callback")

    def __init__(self, callback: Callable[[], None], bucket: dict[Deadline, None]) -> None:
        self._callback = callback
        self._bucket = bucket

    def cancel(self) -> None:
        """Forget the call. Nothing happens if it was made or cancelled already."""
        self._bucket.pop(self, None)

    def __call__(self) -> None:
        self._callback()


class Deadlines:
    """A wheel whose slots are made as they are needed: cancelled deadlines leave nothing behind.

    Attributes:
        next: When the earliest slot is due, on the clock that `add` is told times of; infinity: none.
    """

    def __init__(self, earlier: Callable[[], None] = lambda: None) -> None:
        self.next = inf
        self._earlier = earlier  # told when `next` has come nearer
        self._slots: dict[int, dict[Deadline, None]] = {}
        self._order: list[int] = []

    def add(self, at: float, callback: Callable[[], None]) -> Deadline:
        """Have `callback` called at the time `at`."""
        slot = int(at / TICK) + 1
        bucket = self._slots.get(slot)
        if bucket is None:
            bucket = self._slots[slot] = {}
            heapq.heappush(self._order, slot)
        deadline = Deadline(callback, bucket)
        bucket[deadline] = None
        if slot * TICK < self.next:
            self.next = slot * TICK
            self._earlier()
        return deadline

    def expire(self, now: float) -> None:
        """Make the calls that are due. One that fails is logged and ends alone."""
        while self.next <= now:
            slot = heapq.heappop(self._order)
            bucket = self._slots.pop(slot)
            self.next = self._order[0] * TICK if self._order else inf
            while bucket:  # a call may cancel others of its slot
                deadline, _ = bucket.popitem()
                try:
                    deadline()
                except Exception:
                    log.exception("a deadline of the data plane failed")
