import struct
import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from devmesh.runtime.docker.holder import UnknownMachine, image_tar, program
from devmesh.runtime.docker.stream import RawStream, demultiplex


class Pieces:
    """A socket stream that receives what it was given."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    async def receive_some(self, size: int) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""


def frame(kind: int, content: bytes) -> bytes:
    return struct.pack(">BxxxI", kind, len(content)) + content


@given(st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=20)), max_size=6), st.data())
def test_frames_are_the_same_however_they_are_cut(
    frames: list[tuple[int, bytes]], data: st.DataObject
) -> None:
    whole = b"".join(frame(kind, content) for kind, content in frames)
    cuts = [*sorted(data.draw(st.sets(st.integers(1, max(1, len(whole)))))), len(whole)]
    pieces = [whole[a:b] for a, b in zip([0, *cuts], cuts, strict=False) if whole[a:b]]

    async def read() -> list[tuple[str, bytes]]:
        stream = RawStream(Pieces(pieces[1:]), pieces[0] if pieces else b"")  # type: ignore[arg-type]
        return [piece async for piece in demultiplex(stream)]

    assert trio.run(read) == [("stderr" if kind == 2 else "stdout", content) for kind, content in frames]


def test_the_holder_waits_until_it_is_killed(tmp_path: Path) -> None:
    file = tmp_path / "pause"
    file.write_bytes(program())
    file.chmod(0o755)
    process = subprocess.Popen([file])
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.05)
    process.kill()
    assert process.wait() == -9


def test_the_image_holds_the_program_alone() -> None:
    with tarfile.open(fileobj=BytesIO(image_tar("aarch64"))) as tar:
        files = [entry.name for entry in tar if entry.isfile()]
    assert files == ["pause"]


def test_a_machine_without_a_program_is_named() -> None:
    with pytest.raises(UnknownMachine, match="riscv64"):
        program("riscv64")
