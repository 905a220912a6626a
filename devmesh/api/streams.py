"""Answers that last: watches, followed logs, commands. They end when the server does."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import trio


class Streams:
    """Knows every wait of a long answer, so that `end` can wake them all."""

    def __init__(self) -> None:
        self._scopes: set[trio.CancelScope] = set()
        self.ended = False

    @contextmanager
    def waiting(self, deadline: float = math.inf) -> Iterator[trio.CancelScope]:
        """Run the block until it is done, `deadline` (trio's clock) has come, or the server ends."""
        with trio.CancelScope(deadline=deadline) as scope:
            if self.ended:
                scope.cancel()
            self._scopes.add(scope)
            try:
                yield scope
            finally:
                self._scopes.discard(scope)

    def end(self) -> None:
        self.ended = True
        for scope in tuple(self._scopes):
            scope.cancel()
