"""The holder's image: a program that only waits, made here, so that nothing is pulled.

A pod's network namespace has to outlive the restarts of its containers, and has to be there, with its
rules, before the first of them starts (Kubernetes: the sandbox, or pause container).
"""

from __future__ import annotations

import io
import platform
import struct
import tarfile

REPOSITORY, TAG = "devmesh-holder", "1"
IMAGE = f"{REPOSITORY}:{TAG}"

# pause(2) in a loop; the whole program of each machine.
_PROGRAMS = {
    "x86_64": (62, bytes.fromhex("b822000000 0f05 ebf7".replace(" ", ""))),  # mov eax, 34; syscall; jmp -9
    "aarch64": (
        183,
        # mov x0..x4 = 0, x8 = 73 (ppoll: arm64 has no pause); svc 0; b -24
        b"".join(
            struct.pack("<I", word)
            for word in (0xD2800000, 0xD2800001, 0xD2800002, 0xD2800003, 0xD2800928, 0xD4000001, 0x17FFFFFA)
        ),
    ),
}
_BASE = 0x400000


class UnknownMachine(RuntimeError):
    """There is no holder program for this processor."""


def program(machine: str | None = None) -> bytes:
    """Return an ELF file that does nothing, for ever.

    Raises:
        UnknownMachine: `machine` (default: this one) is neither x86_64 nor aarch64.
    """
    machine = machine or platform.machine()
    if machine not in _PROGRAMS:
        raise UnknownMachine(
            f"no holder for {machine}: devmesh's Docker runtime knows {', '.join(_PROGRAMS)}"
        )
    number, code = _PROGRAMS[machine]
    size = 64 + 56 + len(code)
    header = struct.pack(
        "<4s5B7xHHIQQQIHHHHHH",
        b"\x7fELF", 2, 1, 1, 0, 0, 2, number, 1, _BASE + 120, 64, 0, 0, 64, 56, 1, 0, 0, 0,
    )  # fmt: skip
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x1000)
    return header + segment + code


def image_tar(machine: str | None = None) -> bytes:
    """Return the image's whole file system, as `docker import` takes it."""
    content = program(machine)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for folder in ("etc", "proc", "sys", "dev"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        entry = tarfile.TarInfo("pause")
        entry.size, entry.mode = len(content), 0o755
        tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
