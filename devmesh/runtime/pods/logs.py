"""What containers write, kept in bounded files, line by line with its time; and reading it.

The files' format is that of Kubernetes' container runtimes: ``TIME STREAM F LINE``, with P in place
of F for a part of a line whose end is still to come.
"""

from __future__ import annotations

import io
import logging
import os
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from io import FileIO
from pathlib import Path
from typing import BinaryIO

import trio

from devmesh.runtime.access import LogOptions
from devmesh.runtime.pods.backend import Stream

log = logging.getLogger(__name__)

MAX_BYTES = 10 << 20
"""Size at which a file is set aside; the one set aside before is dropped (kubelet: containerLogMaxSize)."""
_LONGEST_LINE = 16 << 10
_PIECE = 1 << 16


class ContainerLog:
    """The log of one run of a container. Writing never waits: the page cache takes it.

    Args:
        clock: Seconds since the epoch.
    """

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self._path = path
        self._clock = clock
        self._file = _open(path)
        self._size = self._file.tell()
        self._rests: dict[Stream, bytes] = {}
        self._readers = trio.lowlevel.ParkingLot()
        self.is_closed = False

    def write(self, stream: Stream, data: bytes) -> None:
        """Take what a container has written; a line is in the file once its end has come."""
        data = self._rests.pop(stream, b"") + data
        lines = data.split(b"\n")
        rest = lines.pop()
        head = self._head(stream)
        out = [part for line in lines for part in _entries(head, line, b"F")]
        while len(rest) > _LONGEST_LINE:
            out.append(head + b"P " + rest[:_LONGEST_LINE] + b"\n")
            rest = rest[_LONGEST_LINE:]
        if rest:
            self._rests[stream] = rest
        if out:
            self._append(b"".join(out))

    def close(self) -> None:
        """Write what has no line end, and let the readers go; they finish."""
        if self.is_closed:
            return
        for stream, rest in self._rests.items():
            self._append(self._head(stream) + b"F " + rest + b"\n")
        self._rests.clear()
        self._file.close()
        self.is_closed = True
        self._readers.unpark_all()

    async def grown(self) -> None:
        """Wait until there is more, or the log is closed."""
        await self._readers.park()

    def _head(self, stream: Stream) -> bytes:
        now = self._clock()
        moment = datetime.fromtimestamp(now, UTC)
        return f"{moment:%Y-%m-%dT%H:%M:%S.%f}000Z {stream} ".encode()

    def _append(self, data: bytes) -> None:
        if self._size + len(data) > MAX_BYTES and self._size:
            self._file.close()
            self._path.replace(_set_aside(self._path))
            self._file = _open(self._path)
            self._size = 0
        with suppress(OSError):  # a full disk loses what is logged, and holds nothing up
            self._size += self._file.write(data) or 0
        self._readers.unpark_all()


def _open(path: Path) -> FileIO:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return FileIO(path, "ab")
    except OSError as error:
        log.error("what a container writes is lost: %s cannot be written: %s", path, error.strerror)
        return FileIO(os.devnull, "ab")


def _entries(head: bytes, line: bytes, last: bytes) -> Iterator[bytes]:
    while len(line) > _LONGEST_LINE:
        yield head + b"P " + line[:_LONGEST_LINE] + b"\n"
        line = line[_LONGEST_LINE:]
    yield head + last + b" " + line + b"\n"


def _set_aside(path: Path) -> Path:
    return path.with_name(path.name + ".1")


async def read_log(
    path: Path, log: ContainerLog | None, options: LogOptions, now: float
) -> AsyncGenerator[bytes, None]:
    """Yield a log's pieces as `options` wants them.

    Args:
        log: Where it may still grow; None where it is complete. Following ends when it is closed.
        now: Seconds since the epoch, to reckon `since` from.
    """
    form = _Form(options, now)
    left = options.limit_bytes
    file, start = await trio.to_thread.run_sync(partial(_gather, path, form, options.tail))
    reader = _Reader(path, file, form, log if options.follow else None)
    try:
        for offset in range(0, len(start), _PIECE):
            piece = start[offset : offset + _PIECE][:left]
            if left is not None:
                left -= len(piece)
            if piece:
                yield piece
            await trio.lowlevel.checkpoint()
        while left != 0 and (grown := await reader.more()):
            piece = grown[:left]
            if left is not None:
                left -= len(piece)
            yield piece
    finally:
        reader.close()


def last_lines(path: Path, lines: int, size: int) -> str:
    """Return the end of a log's newest file: at most so many lines and bytes."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 4 * size))
            end = file.read().split(b"\n")[-lines - 1 :]
    except OSError:
        return ""
    texts = [line.split(b" ", 3)[-1] for line in end if line]
    return b"\n".join(texts)[-size:].decode(errors="replace")


class _Reader:
    """Reads what a growing log gets, over its rotations. Without a log there is nothing more."""

    def __init__(self, path: Path, file: BinaryIO | None, form: _Form, log: ContainerLog | None) -> None:
        self._path = path
        self._file = file
        self._form = form
        self._log = log

    async def more(self) -> bytes:
        """Return the next piece; empty at the end."""
        while self._log is not None:
            was_closed = self._log.is_closed
            self._follow_rotation()
            data = self._file.read(_PIECE) if self._file else b""
            if data:
                await trio.lowlevel.checkpoint()
                if shown := self._form.show(data):
                    return shown
            elif was_closed:
                break
            else:
                await self._log.grown()
        return b""

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _follow_rotation(self) -> None:
        if self._file is None or _at_end_of_rotated(self._file, self._path):
            self.close()
            self._file = _opened(self._path)


def _opened(path: Path) -> BinaryIO | None:
    try:
        return path.open("rb")
    except FileNotFoundError:
        return None


def _at_end_of_rotated(file: BinaryIO, path: Path) -> bool:
    """Tell whether `file` has been set aside and is read to its end."""
    status = os.fstat(file.fileno())
    if file.tell() < status.st_size:
        return False
    try:
        return path.stat().st_ino != status.st_ino
    except FileNotFoundError:
        return False


def _gather(path: Path, form: _Form, tail: int | None) -> tuple[BinaryIO | None, bytes]:
    """Read what is there (a worker thread's part): the file, left at its end, and what to show of it."""
    lines: deque[bytes] = deque(maxlen=tail)
    last: BinaryIO | None = None
    for part in (_set_aside(path), path):
        try:
            file = part.open("rb")
        except FileNotFoundError:
            continue
        shown = io.BytesIO()
        while data := file.read(_PIECE):
            shown.write(form.show(data))
        lines.extend(shown.getvalue().splitlines(keepends=True))
        if part is path:
            last = file
        else:
            file.close()
    return last, b"".join(lines)


class _Form:
    """Turns a file's bytes into what the reader asked for; keeps what is not a whole entry yet."""

    def __init__(self, options: LogOptions, now: float) -> None:
        self._timestamps = options.timestamps
        self._since = b""
        if options.since is not None:
            moment = datetime.fromtimestamp(now - options.since, UTC)
            self._since = f"{moment:%Y-%m-%dT%H:%M:%S.%f}000Z".encode()
        self._rest = b""
        self._inside = False

    def show(self, data: bytes) -> bytes:
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        return b"".join(self._entry(line) for line in lines)

    def _entry(self, line: bytes) -> bytes:
        time, _, after = line.partition(b" ")
        _, _, after = after.partition(b" ")
        mark, _, text = after.partition(b" ")
        if time < self._since:
            return b""
        begin = time + b" " if self._timestamps and not self._inside else b""
        self._inside = mark == b"P"
        return begin + text + (b"" if self._inside else b"\n")
