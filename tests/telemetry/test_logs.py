"""Rings of access log lines, read and followed."""

from __future__ import annotations

from contextlib import aclosing

import pytest
import trio

from devmesh.snapshot.snapshot import MeshSettings
from devmesh.telemetry import logs
from devmesh.telemetry.accesslog import compile_settings, compile_text
from devmesh.telemetry.logs import AccessLogs, Line, Select, only
from tests.telemetry.bookinfo import DETAILS, NOON, PRODUCTPAGE, call


def access_logs() -> AccessLogs:
    return AccessLogs(compile_text("%REQ(:PATH)%"))


def add(to: AccessLogs, path: str, at: float = NOON, instance: str = "one") -> None:
    to.add(call(PRODUCTPAGE, DETAILS, path=path, at=at, instance=instance, duration=0.0))


def everything(instance: str) -> bool:
    return True


async def read(of: AccessLogs, select: Select = everything, **options: float | None) -> list[str]:
    lines: list[Line] = []
    async with aclosing(of.read(select, **options)) as batches:  # type: ignore[arg-type]
        async for batch in batches:
            lines += batch
    return [line.text.strip() for line in lines]


async def test_lines_of_one_instance_oldest_first() -> None:
    kept = access_logs()
    add(kept, "/a")
    add(kept, "/other", instance="two")
    add(kept, "/b")
    assert await read(kept, only("one")) == ["/a", "/b"]
    assert await read(kept, only("three")) == []


async def test_lines_of_several_are_in_the_order_of_their_ends() -> None:
    kept = access_logs()
    add(kept, "/3", NOON + 3, "one")
    add(kept, "/1", NOON + 1, "two")
    add(kept, "/2", NOON + 2, "two")
    assert await read(kept) == ["/1", "/2", "/3"]


async def test_tail_and_since_choose() -> None:
    kept = access_logs()
    for n in range(5):
        add(kept, f"/{n}", NOON + n)
    assert await read(kept, tail=2) == ["/3", "/4"]
    assert await read(kept, tail=0) == []
    assert await read(kept, since=NOON + 3) == ["/3", "/4"]
    assert await read(kept, since=NOON + 1, tail=10) == ["/1", "/2", "/3", "/4"]


async def test_only_so_many_are_kept() -> None:
    kept = access_logs()
    for n in range(logs.PER_INSTANCE + 7):
        add(kept, f"/{n}")
    lines = await read(kept)
    assert len(lines) == logs.PER_INSTANCE
    assert (lines[0], lines[-1]) == ("/7", f"/{logs.PER_INSTANCE + 6}")


async def test_instances_that_are_long_gone_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "INSTANCES", 2)
    kept = access_logs()
    for n in range(4):
        add(kept, f"/{n}", instance=f"pod-{n}")
    assert await read(kept) == ["/2", "/3"]


async def test_a_follower_gets_what_comes_even_of_new_instances(nursery: trio.Nursery) -> None:
    kept, got = access_logs(), []

    async def follow() -> None:
        async with aclosing(kept.read(everything, tail=1, follow=True)) as batches:
            async for batch in batches:
                got.extend(line.text.strip() for line in batch)

    add(kept, "/old")
    add(kept, "/last")
    nursery.start_soon(follow)
    await trio.testing.wait_all_tasks_blocked()
    add(kept, "/new")
    add(kept, "/other", instance="two")
    await trio.testing.wait_all_tasks_blocked()
    assert got == ["/last", "/new", "/other"]
    nursery.cancel_scope.cancel()


async def test_a_new_format_holds_for_lines_not_yet_read() -> None:
    kept = access_logs()
    add(kept, "/a")
    kept.form = compile_settings(MeshSettings(access_log_format="%PROTOCOL%"))
    assert await read(kept) == ["HTTP/1.1"]


async def test_one_instances_log_as_of_a_container() -> None:
    kept = access_logs()
    add(kept, "/a", NOON + 0.25)
    add(kept, "/b", NOON + 1)
    add(kept, "/other", instance="two")
    assert b"".join([piece async for piece in kept.text("one")]) == b"/a\n/b\n"
    assert b"".join([piece async for piece in kept.text("one", limit=4)]) == b"/a\n/"
    timed = [piece async for piece in kept.text("one", tail=2, timestamps=True)]
    assert timed[0] == b"2026-03-01T12:00:00.250000000Z /a\n"
