"""Answers by the proxy itself, in the words of Envoy 1.40, and what its response heads are made of."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus

from devmesh.proxy.http1 import Fields
from devmesh.traffic.retry import Reset

BAD_REQUEST = b"Bad Request"
UPGRADE_REQUIRED = b"Upgrade Required"
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


# The order in which Envoy prints several (``CoreResponseFlag``).
_FLAGS = (
    "LH", "UH", "UT", "LR", "UR", "UF", "UC", "UO", "NR", "DI", "FI", "RL", "UAEX", "RLSE", "DC", "URX", "SI",
    "IH", "DPE", "UMSDR", "RFCF", "NFCF", "DT", "UPE", "NC", "OM", "DF", "DO", "DR", "UDO",
)  # fmt: skip


def with_flag(flags: str, flag: str) -> str:
    """Return response flags with one more among them."""
    return ",".join(sorted({*flags.split(","), flag}, key=_FLAGS.index))


def failure_body(reason: str, *, retried: bool) -> bytes:
    """Return the body that tells why there is no response."""
    how = "retried and the latest reset reason: " if retried else "reset reason: "
    return f"upstream connect error or disconnect/reset before headers. {how}{reason}".encode("latin-1")


def failure_details(reason: str, transport: str) -> str:
    why = f"|{transport}" if transport else ""
    return f"upstream_reset_before_response_started{{{reason}{why}}}".replace(" ", "_")


def reply(
    status: int,
    body: bytes,
    fields: Fields,
    now: float,
    server: str,
    *,
    close: bool = False,
    head_only: bool = False,
) -> bytes:
    """Return a whole answer.

    Args:
        now: Seconds since the epoch.
        server: What the proxy calls itself.
        close: The connection ends with it.
        head_only: To a HEAD.
    """
    lines = [f"HTTP/1.1 {status} {reason(status)}\r\n"]
    lines += [f"{name}: {value}\r\n" for name, value in reply_fields(body, fields, now, server)]
    if close:
        lines.append("connection: close\r\n")
    if not body and status != 204:
        # Envoy takes an answer to HEAD without a length for one whose length it doesn't know.
        lines.append("transfer-encoding: chunked\r\n" if head_only else "content-length: 0\r\n")
    lines.append("\r\n")
    return "".join(lines).encode("latin-1") + (b"" if head_only else body)


def reply_fields(body: bytes, fields: Fields, now: float, server: str) -> Fields:
    """Return the fields of an answer: those given, and what every one has."""
    return [*described(body, fields), ("date", date(int(now))), ("server", server)]


def described(body: bytes, fields: Fields) -> Fields:
    """Return `fields` with what tells of the body, where they don't."""
    found = list(fields)
    if body:
        named = {name for name, _ in fields}
        if "content-length" not in named:
            found.append(("content-length", str(len(body))))
        if "content-type" not in named:
            found.append(("content-type", "text/plain"))
    return found


def refusal(status: int, details: str, now: float, server: str, *, head_only: bool = False) -> bytes:
    """Return the answer to bytes that are no request; the connection ends with it."""
    body = b"" if details in _BARE else reason(status).encode()
    # To a HEAD too the codec says what is wrong: it knows no method yet.
    return reply(status, body, [], now, server, close=True, head_only=head_only and not body)


_BARE = ("missing_host_header", "path_normalization_failed")  # refused after the codec has read it


# Where Envoy's names are others than Python's, whatever its version.
_REASONS = {
    **dict.fromkeys((102, 103, 418, 451), "Unknown"),
    413: "Payload Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    422: "Unprocessable Entity",
    599: "Last Unassigned Server Error Code",
}


@functools.cache
def reason(status: int) -> str:
    """Return the reason phrase of a status as Envoy has it."""
    if status in _REASONS:
        return _REASONS[status]
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


@functools.lru_cache(maxsize=8)
def date(second: int) -> str:
    """Return a ``date`` header's value."""
    return formatdate(second, usegmt=True)
