"""gRPC as a proxy sees it: statuses, deadlines, messages (Envoy: source/common/grpc; gRPC over HTTP/2)."""

from __future__ import annotations

import re
from collections.abc import Mapping

DEADLINE_EXCEEDED = 4
_OF_HTTP = {400: 13, 401: 16, 403: 7, 404: 12, 429: 14, 502: 14, 503: 14, 504: 14}
_UNKNOWN = 2
_TIMEOUT = re.compile(r"(\d{1,8})([HMSmun])")
_SECONDS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}


def status_of_http(status: int) -> int:
    """Return what a gRPC client is told where there is nothing but an HTTP status."""
    return _OF_HTTP.get(status, _UNKNOWN)


def status_in(headers: Mapping[str, str]) -> int | None:
    """Return ``grpc-status``; None: there is none, or it is no number."""
    code = headers.get("grpc-status", "")
    return int(code) if code.isascii() and code.isdigit() and len(code) < 10 else None


def message_text(body: bytes) -> str:
    """Return `body` as the value of ``grpc-message``: escaped by percent signs."""
    return "".join(chr(byte) if 0x20 <= byte <= 0x7E and byte != 0x25 else f"%{byte:02X}" for byte in body)


def timeout_of(text: str) -> float | None:
    """Return the seconds that ``grpc-timeout`` says; None: it says nothing."""
    found = _TIMEOUT.fullmatch(text)
    return int(found.group(1)) * _SECONDS[found.group(2)] if found else None


def timeout_text(seconds: float) -> str:
    """Return `seconds` as ``grpc-timeout`` has them: at most eight digits, in Envoy's units."""
    value = int(seconds * 1000)
    for unit, size in (("m", 1000), ("S", 60), ("M", 60)):
        if value < 10**8:
            return f"{value}{unit}"
        value //= size
    return f"{min(value, 10**8 - 1)}H"


class Messages:
    """Counts the messages of one direction; each is announced by five bytes.

    Attributes:
        count: Those that have begun.
    """

    __slots__ = ("_left", "_prefix", "count")

    def __init__(self) -> None:
        self.count = 0
        self._left = 0  # bytes of the message that is open
        self._prefix = b""

    def take(self, data: bytes) -> None:
        """Follow the next bytes of the body."""
        if self._prefix:
            data, self._prefix = self._prefix + data, b""
        position, size, left = 0, len(data), self._left
        while position < size:
            if left:
                step = min(left, size - position)
                left -= step
                position += step
            elif size - position < 5:
                self._prefix = data[position:]
                break
            else:
                left = int.from_bytes(data[position + 1 : position + 5])
                self.count += 1
                position += 5
        self._left = left
