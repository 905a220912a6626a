"""Which trace a request belongs to: W3C's and B3's headers, and Envoy's x-request-id.

Each proxy adds a span of its own between the caller's and the next one's. A trace that has begun keeps
its own style and its own decision whether it is sampled; a new one is written in both styles.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

NAMES = frozenset({"traceparent", "b3", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled"})

Bits = Callable[[int], int]


@dataclass(slots=True)
class Trace:
    """A request's place in its trace.

    Attributes:
        text: The header lines to send on.
    """

    trace_id: str
    span_id: str
    parent_id: str
    sampled: bool
    text: str


def follow(headers: Mapping[str, str], bits: Bits, chance: float, percent: float) -> Trace:
    """Return the proxy's span for a request.

    Args:
        bits: Returns that many random bits.
        chance: Uniform in [0, 1); with `percent` it decides about a new trace.
    """
    span = f"{bits(64):016x}"
    parent = headers.get("traceparent")
    if parent is not None and len(parent) >= 55 and parent[2] == parent[35] == parent[52] == "-":
        trace, above, flags = parent[3:35], parent[36:52], parent[53:55]
        lines = f"traceparent: {parent[:3]}{trace}-{span}-{flags}\r\n"
        if "x-b3-traceid" in headers:
            lines += _b3(headers["x-b3-traceid"], span, above, "1" if flags[1] in "13579bdf" else "0")
        return Trace(trace, span, above, flags[1] in "13579bdf", lines)
    trace = headers.get("x-b3-traceid", "")
    if trace:
        above, decided = headers.get("x-b3-spanid", ""), headers.get("x-b3-sampled", "1")
        return Trace(trace, span, above, decided in ("1", "true", "d"), _b3(trace, span, above, decided))
    single = headers.get("b3", "")
    if single.count("-") >= 1:
        trace, above, *rest = single.split("-")
        decided = rest[0] if rest else "1"
        return Trace(trace, span, above, decided in ("1", "d"), f"b3: {trace}-{span}-{decided}-{above}\r\n")
    trace = f"{bits(128):032x}"
    sampled = chance * 100 < percent and single != "0"
    flag = "1" if sampled else "0"
    lines = (
        f"traceparent: 00-{trace}-{span}-0{flag}\r\nx-b3-traceid: {trace}\r\nx-b3-spanid: {span}\r\n"
        f"x-b3-sampled: {flag}\r\n"
    )
    return Trace(trace, span, "", sampled, lines)


def _b3(trace: str, span: str, above: str, decided: str) -> str:
    parent = f"x-b3-parentspanid: {above}\r\n" if above else ""
    return f"x-b3-traceid: {trace}\r\nx-b3-spanid: {span}\r\n{parent}x-b3-sampled: {decided}\r\n"


def request_id(bits: Bits, sampled: bool) -> str:
    """Return a UUID of version 4, whose version digit is 9 where the trace is sampled (Envoy)."""
    text = f"{bits(128):032x}"
    return f"{text[:8]}-{text[8:12]}-{'9' if sampled else '4'}{text[13:16]}-a{text[17:20]}-{text[20:]}"
