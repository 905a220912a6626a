"""Which trace a request belongs to: W3C's and B3's headers, and Envoy's x-request-id.

Each proxy adds a span of its own between the caller's and the next one's. A trace that has begun keeps
its own style and its own decision whether it is sampled; a new one is written in both styles.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

NAMES = frozenset({"traceparent", "b3", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled"})

Bits = Callable[[int], int]


class Trace:
    """A request's place in its trace.

    Attributes:
        text: The header lines to send on.
        request_id: The ``x-request-id``; where the request has none, a UUID of version 4 whose version digit
            is 9 where the trace is sampled (Envoy).
    """

    __slots__ = ("parent_id", "request_id", "sampled", "span_id", "text", "trace_id")

    def __init__(
        self, trace_id: str, span_id: str, parent_id: str, sampled: bool, text: str, request_id: str
    ) -> None:
        self.trace_id = trace_id
        self.span_id = span_id
        self.parent_id = parent_id
        self.sampled = sampled
        self.text = text
        self.request_id = request_id


def follow(headers: Mapping[str, str], bits: Bits, draw: Callable[[], float], percent: float) -> Trace:
    """Return the proxy's span for a request.

    Args:
        headers: Those that tell of a trace, at least.
        bits: Returns that many random bits.
        draw: Returns chance, uniform in [0, 1); with `percent` it decides about a new trace.
    """
    if not headers:
        return _begin(bits, draw() * 100 < percent, "")
    given = headers.get("x-request-id", "")
    parent = headers.get("traceparent")
    if parent is not None and len(parent) >= 55 and parent[2] == parent[35] == parent[52] == "-":
        span = f"{bits(64):016x}"
        above, flags = parent[36:52], parent[53:55]
        sampled = flags[1] in "13579bdf"
        lines = f"traceparent: {parent[:36]}{span}-{flags}\r\n"
        if "x-b3-traceid" in headers:
            lines += _b3(headers["x-b3-traceid"], span, above, "1" if sampled else "0")
        return Trace(parent[3:35], span, above, sampled, lines, given or _new_id(bits, sampled))
    trace = headers.get("x-b3-traceid", "")
    if trace:
        span = f"{bits(64):016x}"
        above, decided = headers.get("x-b3-spanid", ""), headers.get("x-b3-sampled", "1")
        lines, sampled = _b3(trace, span, above, decided), decided in ("1", "true", "d")
        return Trace(trace, span, above, sampled, lines, given or _new_id(bits, sampled))
    single = headers.get("b3", "")
    if "-" in single:
        span = f"{bits(64):016x}"
        trace, above, *rest = single.split("-")
        decided = rest[0] if rest else "1"
        lines, sampled = f"b3: {trace}-{span}-{decided}-{above}\r\n", decided in ("1", "d")
        return Trace(trace, span, above, sampled, lines, given or _new_id(bits, sampled))
    return _begin(bits, draw() * 100 < percent and single != "0", given)


def _begin(bits: Bits, sampled: bool, request_id: str) -> Trace:
    """Return a new trace's first span."""
    chance = f"{bits(320):080x}"  # all that is needed, at once
    span, trace, flag = chance[32:48], chance[48:], "1" if sampled else "0"
    request_id = request_id or _uuid(chance, sampled)
    lines = (
        f"traceparent: 00-{trace}-{span}-0{flag}\r\nx-b3-traceid: {trace}\r\nx-b3-spanid: {span}\r\n"
        f"x-b3-sampled: {flag}\r\n"
    )
    return Trace(trace, span, "", sampled, lines, request_id)


def _new_id(bits: Bits, sampled: bool) -> str:
    return _uuid(f"{bits(128):032x}", sampled)


def _uuid(chance: str, sampled: bool) -> str:
    """Return an id for a request, of at least 32 random digits."""
    version = "9" if sampled else "4"
    return f"{chance[:8]}-{chance[8:12]}-{version}{chance[13:16]}-a{chance[17:20]}-{chance[20:32]}"


def _b3(trace: str, span: str, above: str, decided: str) -> str:
    parent = f"x-b3-parentspanid: {above}\r\n" if above else ""
    return f"x-b3-traceid: {trace}\r\nx-b3-spanid: {span}\r\n{parent}x-b3-sampled: {decided}\r\n"
