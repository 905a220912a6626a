"""Kubernetes' channels over a WebSocket: the first byte of each message says whose it is.

``v5.channel.k8s.io`` adds to v4 that a client can close its side of a channel.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
PIECE = 32 * 1024


@dataclass(frozen=True, slots=True)
class Socket:
    """A WebSocket that was accepted; `receive` raises nothing at its end: the task is cancelled."""

    receive: Callable[[], Awaitable[bytes | str]]
    send: Callable[[bytes], Awaitable[None]]
    close: Callable[[], Awaitable[None]]
    protocol: str


def choose(offered: Sequence[str]) -> str | None:
    """Return the best protocol that both sides speak; None where there is none."""
    return next((protocol for protocol in PROTOCOLS if protocol in offered), None)


def split(message: bytes | str | None) -> tuple[int, bytes]:
    """Return channel and content; an empty message belongs to no channel."""
    content = raw(message)
    return (content[0], content[1:]) if content else (-1, b"")


def raw(message: bytes | str | None) -> bytes:
    """Return a message's bytes; some frameworks give None for an empty one."""
    return message.encode() if isinstance(message, str) else message or b""


def exit_status(code: int) -> bytes:
    """Return the Status that ends a session, by the command's exit status."""
    if code == 0:
        return _encoded({"status": "Success"})
    return _encoded(
        {
            "status": "Failure",
            "message": f"command terminated with non-zero exit code: exit status {code}",
            "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
        }
    )


def failure(message: str, code: int = 500, reason: str = "InternalError") -> bytes:
    """Return the Status of a session that could not be."""
    return _encoded({"status": "Failure", "message": message, "reason": reason, "code": code})


def _encoded(status: dict[str, Any]) -> bytes:
    return bytes([ERROR]) + json.dumps({"metadata": {}, **status}).encode()
