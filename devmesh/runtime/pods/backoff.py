"""How long to wait before trying again."""

from __future__ import annotations

FIRST = 10.0
LONGEST = 300.0


class Backoff:
    """Doubling delays (kubelet: 10 s to 5 min). A run of twice the longest delay starts it over.

    The first failure costs nothing: a container that ends for the first time is started at once.
    """

    def __init__(self, first: float = FIRST, longest: float = LONGEST, *, free: int = 1) -> None:
        self._first = first
        self._longest = longest
        self._free = free
        self._failures = 0

    def after(self, ran: float = 0.0) -> float:
        """Count a failure after `ran` seconds without one, and return the seconds to wait."""
        if ran >= 2 * self._longest:
            self._failures = 0
        self._failures += 1
        paid = self._failures - self._free
        if paid <= 0:
            return 0.0
        return float(min(self._longest, self._first * 2 ** min(paid - 1, 30)))

    def reset(self) -> None:
        self._failures = 0
