"""Connections through an HTTP proxy (DestinationRule: `tunnel`): CONNECT, and its answer."""

from __future__ import annotations

_MOST = 1 << 14  # bytes of an answer's head


class Refused(Exception):
    """The HTTP proxy does not connect; the message is for Envoy's "transport failure reason"."""


def request(target: str) -> bytes:
    """Return the request to connect to `target` (``host:port``)."""
    return f"CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n\r\n".encode()


def end_of_head(data: bytes) -> int | None:
    """Return where the answer's head ends and the tunnel begins; None: it is not complete.

    Raises:
        Refused: It is no 2xx, or no answer.
    """
    end = data.find(b"\r\n\r\n")
    if end < 0:
        if len(data) > _MOST:
            raise Refused("the HTTP proxy's answer to CONNECT is too long")
        return None
    line = data.split(b"\r\n", 1)[0]
    parts = line.split(b" ", 2)
    if len(parts) < 2 or not parts[0].startswith(b"HTTP/1."):
        raise Refused("what answers CONNECT is no HTTP proxy")
    if not (len(parts[1]) == 3 and parts[1].startswith(b"2")):
        raise Refused(f"the HTTP proxy refuses to connect: {line.decode('latin-1')}")
    return end + 4
