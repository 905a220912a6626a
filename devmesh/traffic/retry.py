"""Whether to try again, and after how long (Envoy's router, Istio's defaults)."""

from __future__ import annotations

from typing import Literal

from devmesh.snapshot.route import Retry

Reset = Literal[
    "connect-failure",  # could not connect, or not in time
    "refused-stream",
    "overflow",  # a limit of the pool
    "connection-termination",  # closed before the response's head
    "remote-reset",
    "local-reset",  # a per-try timeout, too
    "protocol-error",
]

DEFAULT_ON = frozenset(
    {"connect-failure", "refused-stream", "unavailable", "cancelled", "retriable-status-codes"}
)
DEFAULT = Retry(attempts=2, on=DEFAULT_ON)
"""Istio's own policy, in force without any VirtualService; no status codes since 1.24."""

GRPC_CONDITIONS = {
    "cancelled": 1,
    "deadline-exceeded": 4,
    "resource-exhausted": 8,
    "internal": 13,
    "unavailable": 14,
}
CONDITIONS = frozenset(
    {
        "5xx",
        "gateway-error",
        "reset",
        "reset-before-request",
        "connect-failure",
        "envoy-ratelimited",
        "retriable-4xx",
        "refused-stream",
        "retriable-status-codes",
        "retriable-headers",
        "http3-post-connect-failure",
        *GRPC_CONDITIONS,
    }
)
"""All that ``retryOn`` may name, beside status codes."""


def should_retry(
    policy: Retry,
    *,
    status: int | None = None,
    reset: Reset | None = None,
    grpc_status: int | None = None,
    attempts: int = 1,
    request_started: bool = True,
    ratelimited: bool = False,
) -> bool:
    """Tell whether a try that ended so is followed by another.

    Args:
        status: Of the response; None where there was none, and `reset` says why.
        grpc_status: From the response's head (a trailers-only answer).
        attempts: Tries so far, this one included.
        request_started: Whether any of the request reached the wire.
        ratelimited: The response has ``x-envoy-ratelimited``.
    """
    if attempts > policy.attempts:
        return False
    if reset is not None:
        return _after_reset(policy.on, reset, request_started)
    return status is not None and _after_response(policy, status, grpc_status, ratelimited)


def _after_reset(on: frozenset[str], reset: Reset, request_started: bool) -> bool:
    if reset == "overflow":  # never: it would add to the load that made it
        return False
    if not on.isdisjoint(("5xx", "gateway-error", "reset")):
        return True
    if "reset-before-request" in on and not request_started:
        return True
    return reset in ("connect-failure", "refused-stream") and reset in on


def _after_response(policy: Retry, status: int, grpc_status: int | None, ratelimited: bool) -> bool:
    on = policy.on
    if ratelimited:
        return "envoy-ratelimited" in on
    if status >= 500 and "5xx" in on:
        return True
    if status in (502, 503, 504) and "gateway-error" in on:
        return True
    if status == 409 and "retriable-4xx" in on:
        return True
    if status in policy.codes and "retriable-status-codes" in on:
        return True
    return grpc_status is not None and any(
        grpc_status == code and name in on for name, code in GRPC_CONDITIONS.items()
    )


def backoff(policy: Retry, attempt: int, draw: float) -> float:
    """Return the seconds to wait before retry number `attempt` (from 1).

    Envoy: fully jittered, in [0, (2^N - 1) x base), never above the longest interval.
    """
    tries: int = (1 << min(attempt, 32)) - 1
    longest = min(tries * policy.base_interval, policy.max_interval)
    return draw * longest
