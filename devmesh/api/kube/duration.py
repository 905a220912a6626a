"""Ages as kubectl shows them: 5s, 3m20s, 4h, 2d3h."""

from __future__ import annotations

from datetime import UTC, datetime

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_YEAR = 365 * _DAY


def human(seconds: float) -> str:
    """Return a duration in at most two units, the finer the shorter it is (Kubernetes: HumanDuration)."""
    s = int(seconds)
    if s < -1:
        return "<invalid>"
    if s < 0:
        return "0s"
    if s < 2 * _MINUTE:
        return f"{s}s"
    if s < 10 * _MINUTE:
        return _two(s, _MINUTE, "m", 1, "s")
    if s < 3 * _HOUR:
        return f"{s // _MINUTE}m"
    if s < 8 * _HOUR:
        return _two(s, _HOUR, "h", _MINUTE, "m")
    if s < 2 * _DAY:
        return f"{s // _HOUR}h"
    if s < 8 * _DAY:
        return _two(s, _DAY, "d", _HOUR, "h")
    if s < 2 * _YEAR:
        return f"{s // _DAY}d"
    if s < 8 * _YEAR:
        return _two(s, _YEAR, "y", _DAY, "d")
    return f"{s // _YEAR}y"


def _two(seconds: int, large: int, name: str, small: int, small_name: str) -> str:
    rest = seconds % large // small
    return f"{seconds // large}{name}" + (f"{rest}{small_name}" if rest else "")


def parse_time(text: str) -> float | None:
    """Return seconds since the epoch of a time in a resource; None where it is none."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, AttributeError):
        return None


def age(text: object, now: float | None = None) -> str:
    """Return how long ago a time was; ``<unknown>`` where there is none."""
    then = parse_time(text) if isinstance(text, str) else None
    if then is None:
        return "<unknown>"
    return human((datetime.now(UTC).timestamp() if now is None else now) - then)
