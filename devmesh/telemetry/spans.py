"""The sampled requests' spans: bounded, newest last."""

from __future__ import annotations

from collections import deque

from devmesh.telemetry.record import Record

KEPT = 2000


class SpanStore:
    """Records that were sampled; each is the span of one side of one hop (source: CLIENT, else SERVER)."""

    def __init__(self, kept: int = KEPT) -> None:
        self._spans: deque[Record] = deque(maxlen=kept)

    def add(self, record: Record) -> None:
        self._spans.append(record)

    def __len__(self) -> int:
        return len(self._spans)

    def trace(self, trace_id: str) -> list[Record]:
        """Return the spans of one trace by their start; empty where it is unknown or has fallen out."""
        return sorted((s for s in self._spans if s.trace_id == trace_id), key=lambda s: s.started)

    def latest(self, limit: int = 20) -> list[str]:
        """Return the ids of the newest traces, newest first."""
        found: dict[str, None] = {}
        for span in reversed(self._spans):
            if len(found) >= limit:
                break
            found.setdefault(span.trace_id)
        return list(found)
