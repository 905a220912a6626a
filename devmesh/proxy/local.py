"""Answers by the proxy itself, in Envoy's words (1.40), and the pieces that its response heads are made of."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus

from devmesh.proxy.http1 import Fields
from devmesh.traffic.retry import Reset

BAD_REQUEST = b"Bad Request"
NO_HEALTHY_UPSTREAM = b"no healthy upstream"
UPSTREAM_TIMEOUT = b"upstream request timeout"


@dataclass(frozen=True, slots=True)
class Failure:
    """How a try without a response is told: its response flag, Envoy's reset reason, the status."""

    flag: str
    reason: str
    status: int = 503


FAILURES: dict[Reset, Failure] = {
    "connect-failure": Failure("UF", "remote connection failure"),
    "connection-termination": Failure("UC", "connection termination"),
    "remote-reset": Failure("UR", "remote reset"),
    "refused-stream": Failure("UR", "remote refused stream reset"),
    "local-reset": Failure("LR", "local reset"),
    "protocol-error": Failure("UPE", "protocol error", 502),
    "overflow": Failure("UO", "overflow"),
}


def failure_body(reason: str, transport: str, *, retried: bool) -> bytes:
    """Return the body that tells why there is no response."""
    how = "retried and the latest reset reason: " if retried else "reset reason: "
    why = f", transport failure reason: {transport}" if transport else ""
    return f"upstream connect error or disconnect/reset before headers. {how}{reason}{why}".encode("latin-1")


def failure_details(reason: str, transport: str) -> str:
    why = f"|{transport}" if transport else ""
    return f"upstream_reset_before_response_started{{{reason}{why}}}".replace(" ", "_")


def reply(status: int, body: bytes, fields: Fields, now: float, server: str, *, close: bool) -> bytes:
    """Return the whole answer; `server` is what the proxy calls itself."""
    lines = [f"HTTP/1.1 {status} {reason(status)}\r\n"]
    if body:
        lines.append(f"content-length: {len(body)}\r\n")
        if not any(name == "content-type" for name, _ in fields):
            lines.append("content-type: text/plain\r\n")
    lines += [f"{name}: {value}\r\n" for name, value in fields]
    lines.append(f"date: {date(int(now))}\r\n")
    if server:
        lines.append(f"server: {server}\r\n")
    if close:
        lines.append("connection: close\r\n")
    if not body and status >= 200 and status != 204:
        lines.append("content-length: 0\r\n")
    lines.append("\r\n")
    return "".join(lines).encode("latin-1") + body


def refusal(status: int, body: bytes, now: float, server: str) -> bytes:
    """Return the answer to bytes that are no request; the connection ends with it."""
    return reply(status, body, [], now, server, close=True)


@functools.cache
def reason(status: int) -> str:
    """Return the reason phrase of a status; Envoy knows those of the RFCs, else says Unknown."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


@functools.lru_cache(maxsize=8)
def date(second: int) -> str:
    """Return a ``date`` header's value."""
    return formatdate(second, usegmt=True)
