"""Logs in files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from devmesh.runtime.access import LogOptions
from devmesh.runtime.pods import logs
from devmesh.runtime.pods.logs import ContainerLog, read_log

NOW = 1_800_000_000.0


@pytest.fixture
def log(tmp_path: Path) -> Iterator[ContainerLog]:
    made = ContainerLog(tmp_path / "logs" / "1.log", lambda: NOW)
    yield made
    made.close()


async def text(log: ContainerLog, tmp_path: Path, now: float = NOW, **options: Any) -> str:
    pieces = read_log(tmp_path / "logs" / "1.log", log, LogOptions(**options), now)
    return b"".join([piece async for piece in pieces]).decode()


async def test_lines_come_whole_whatever_the_pieces(log: ContainerLog, tmp_path: Path) -> None:
    for piece in (b"o", b"ne\ntw", b"o\n", b"\nend"):
        log.write("stdout", piece)
    assert await text(log, tmp_path) == "one\ntwo\n\n"
    log.close()
    assert await text(log, tmp_path) == "one\ntwo\n\nend\n"


async def test_streams_do_not_mix_within_a_line(log: ContainerLog, tmp_path: Path) -> None:
    log.write("stdout", b"out ")
    log.write("stderr", b"error\n")
    log.write("stdout", b"put\n")
    assert await text(log, tmp_path) == "error\nout put\n"


async def test_tail_and_limit(log: ContainerLog, tmp_path: Path) -> None:
    log.write("stdout", b"".join(b"%d\n" % n for n in range(100)))
    assert await text(log, tmp_path, tail=2) == "98\n99\n"
    assert await text(log, tmp_path, tail=0) == ""
    assert await text(log, tmp_path, limit_bytes=5) == "0\n1\n2"


async def test_times(tmp_path: Path) -> None:
    now = NOW
    log = ContainerLog(tmp_path / "logs" / "1.log", lambda: now)
    log.write("stdout", b"old\n")
    now += 100
    log.write("stdout", b"new\n")
    assert await text(log, tmp_path, now, since=50) == "new\n"
    assert await text(log, tmp_path, now, timestamps=True, tail=1) == "2027-01-15T08:01:40.000000000Z new\n"
    log.close()


async def test_long_lines_are_joined_again(log: ContainerLog, tmp_path: Path) -> None:
    line = b"x" * 100_000
    log.write("stdout", line + b"\nshort\n")
    assert await text(log, tmp_path) == line.decode() + "\nshort\n"
    assert (await text(log, tmp_path, timestamps=True)).count("2027-") == 2


async def test_old_lines_go_and_readers_get_over_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: Any
) -> None:
    monkeypatch.setattr(logs, "MAX_BYTES", 1000)
    log = ContainerLog(tmp_path / "logs" / "1.log", lambda: NOW)
    seen = b""

    async def follow() -> None:
        nonlocal seen
        async for piece in read_log(tmp_path / "logs" / "1.log", log, LogOptions(follow=True), NOW):
            seen += piece

    async with trio.open_nursery() as nursery:
        log.write("stdout", b"first\n")
        nursery.start_soon(follow)
        while not seen:  # noqa: ASYNC110 (a worker thread reads what is there)
            await trio.sleep(0.001)
        for number in range(200):
            log.write("stdout", b"%d\n" % number)
            await trio.testing.wait_all_tasks_blocked()
        log.close()
    assert seen == b"first\n" + b"".join(b"%d\n" % number for number in range(200))
    assert sum(file.stat().st_size for file in (tmp_path / "logs").iterdir()) <= 2000
    assert (await text(log, tmp_path)).endswith("198\n199\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this kernel has no /dev/full")
def test_a_full_disk_loses_lines_and_nothing_else(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "1.log"
    path.symlink_to("/dev/full")
    log = ContainerLog(path, lambda: NOW)
    log.write("stdout", b"lost\n")
    log.close()
    (tmp_path / "file").touch()
    log = ContainerLog(tmp_path / "file" / "1.log", lambda: NOW)
    log.write("stdout", b"lost\n")
    log.close()
    assert "cannot be written: " in caplog.text
