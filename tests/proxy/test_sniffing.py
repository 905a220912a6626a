"""How long the first bytes of a client are waited for."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from devmesh.proxy.deadlines import Deadline
from devmesh.proxy.reactor import Connection, Owner, Reactor
from devmesh.proxy.sniffing import FirstBytes


class Clock:
    """A reactor that calls what is due when it is told to, however late."""

    time = 0.0

    def __init__(self) -> None:
        self.due: list[Callable[[], None]] = []

    def now(self) -> float:
        return self.time

    def deadline(self, after: float, callback: Callable[[], None]) -> Deadline:
        self.due.append(callback)
        return Deadline(callback, {})

    def expire(self, at: float) -> None:
        self.time = at
        self.due.pop()()


class Client:
    """A connection of which some bytes have arrived that nobody has read."""

    def __init__(self) -> None:
        self.arrived = b""
        self.owner = Owner()

    def recv(self) -> bytes | None:
        data, self.arrived = self.arrived, b""
        return data or None


def waiting() -> tuple[Clock, Client, list[tuple[bytes, bool]]]:
    clock, client, decided = Clock(), Client(), []

    def decide(data: bytes, over: bool) -> bool:
        decided.append((data, over))
        client.owner = Owner()
        return True

    FirstBytes(cast("Reactor", clock), cast("Connection", client), decide, 0.1)
    return clock, client, decided


def test_who_says_nothing_in_time_is_decided_about() -> None:
    clock, _, decided = waiting()
    clock.expire(0.101)
    assert decided == [(b"", True)]


def test_what_arrived_in_time_counts_though_nobody_read_it() -> None:
    clock, client, decided = waiting()
    client.arrived = b"\x16\x03"
    clock.expire(0.3)
    assert decided == [(b"\x16\x03", False)]


def test_a_process_that_was_stalled_waits_once_more() -> None:
    """The client may be another proxy of this very process."""
    clock, client, decided = waiting()
    clock.expire(0.3)
    assert decided == []
    client.arrived = b"\x16\x03"
    clock.expire(0.41)
    assert decided == [(b"\x16\x03", False)]
