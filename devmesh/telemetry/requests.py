"""The latest requests of the whole mesh, newest last: what the request list shows."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from devmesh.telemetry.record import Record

KEPT = 2000


class RequestList:
    """A ring of the last records, of all proxies."""

    def __init__(self, kept: int = KEPT) -> None:
        self._records: deque[Record] = deque(maxlen=kept)
        self.add: Callable[[Record], None] = self._records.append

    def __len__(self) -> int:
        return len(self._records)

    def latest(self, limit: int = 100, wanted: Callable[[Record], bool] | None = None) -> list[Record]:
        """Return at most `limit` records that are `wanted`, newest first."""
        found: list[Record] = []
        for record in reversed(self._records):
            if len(found) >= limit:
                break
            if wanted is None or wanted(record):
                found.append(record)
        return found
