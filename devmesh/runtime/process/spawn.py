"""Starting a process through the launcher, and knowing when it ends."""

from __future__ import annotations

import contextlib
import errno
import marshal
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

_LAUNCHER = str(Path(__file__).with_name("launcher.py"))
_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)

# Capabilities that a container has unless it asks for others (Docker's default, by number).
_DEFAULT_CAPABILITIES = {0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31}
_CAPABILITIES = (
    *("CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP"),
    *("LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK"),
    *("IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN"),
    *("SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE"),
    *("AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM"),
    *("BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF", "CHECKPOINT_RESTORE"),
)


class LaunchFailed(OSError):
    """A step of the launcher failed; `stage` names it (namespace, volume, user, exec, ...)."""

    def __init__(self, number: int, stage: str, text: str) -> None:
        super().__init__(number, text)
        self.stage = stage
        self.text = text


@dataclass(frozen=True, slots=True)
class Launch:
    """What the launcher is told; see its module. `top` is an empty folder that it may mount over."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    workdir: str = "/"
    netns: int | None = None
    userns: int | None = None
    join: int | None = None
    hostname: str = "localhost"
    top: str = ""
    keep: tuple[str, ...] = ()
    files: tuple[tuple[str, bytes], ...] = ()
    mounts: tuple[tuple[str, str, bool], ...] = ()
    uid: int | None = None
    gid: int | None = None
    groups: tuple[int, ...] | None = None
    drop: tuple[int, ...] | None = None
    read_only_root: bool = False
    all_devices: bool = False
    cgroups: tuple[str, ...] = ()
    tty: bool = False
    files_open: tuple[int, int] | None = None  # RLIMIT_NOFILE, soft and hard; None: devmesh's own


@dataclass(slots=True)
class Child:
    """A process that is ours to wait for. `notes` is what the launcher had to say."""

    pid: int
    pidfd: int
    notes: tuple[str, ...] = ()
    status: int | None = None  # once ended; a signal is 128 + its number
    _meant: int = 0  # the signal that was asked for, where another was sent
    _turn: trio.Lock = field(default_factory=trio.Lock)

    async def wait(self) -> int:
        """Return the exit status; several tasks may wait."""
        async with self._turn:
            if self.status is None:
                await trio.lowlevel.wait_readable(self.pidfd)
                self._reap()
        assert self.status is not None
        return self.status

    def signal(self, number: int) -> None:
        """Send a signal; nothing where it has ended.

        It is the first process of its PID namespace, for which the kernel drops signals that it has
        no handler for. What SIGTERM's default would have done, SIGKILL then does.
        """
        if self.status is not None:
            return
        if number in _ENDING and not self._handles(number):
            self._meant, number = number, signal.SIGKILL
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, number)

    def close(self) -> None:
        """Kill it where it still runs and forget it; waits for the kernel, which takes milliseconds."""
        if self.pidfd < 0:
            return
        self.signal(signal.SIGKILL)
        if self.status is None:
            self._reap()
        os.close(self.pidfd)
        self.pidfd = -1

    def _reap(self) -> None:
        ended = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)
        assert ended is not None
        killed_by = self._meant if ended.si_status == signal.SIGKILL and self._meant else ended.si_status
        self.status = ended.si_status if ended.si_code == os.CLD_EXITED else 128 + killed_by

    def _handles(self, number: int) -> bool:
        """Tell whether it catches, ignores or blocks a signal."""
        bit = 1 << (number - 1)
        try:
            with open(f"/proc/{self.pid}/status", encoding="ascii", errors="replace") as file:
                for line in file:
                    if line.startswith(("SigCgt:", "SigIgn:", "SigBlk:")) and int(line.split()[1], 16) & bit:
                        return True
        except OSError:
            return True
        return False


def dropped_capabilities(add: tuple[str, ...], drop: tuple[str, ...]) -> tuple[int, ...]:
    """Return the numbers of the capabilities a container does not have.

    Kubernetes: the runtime's default set, without those in `drop`, with those in `add`; ALL is all.
    """
    every = set(range(len(_CAPABILITIES)))
    has = set() if "ALL" in drop else _DEFAULT_CAPABILITIES - _numbers(drop)
    has = every if "ALL" in add else has | _numbers(add)
    return tuple(sorted(every - has))


def _numbers(names: tuple[str, ...]) -> set[int]:
    plain = [name.upper().removeprefix("CAP_") for name in names]
    return {_CAPABILITIES.index(name) for name in plain if name in _CAPABILITIES}


async def spawn(
    launch: Launch, *, stdin: int, stdout: int, stderr: int, turn: trio.Lock | None = None
) -> Child:
    """Start a command. The descriptors become its own; the caller closes its copies.

    It has begun (its exec has succeeded) when this returns.

    Args:
        turn: Held while the loop is held up (some ms), so that others get at it between many starts.

    Raises:
        LaunchFailed: A step failed; nothing is left of it.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC)
    try:
        async with turn or trio.Lock():
            launcher = _start_launcher(launch, writing, stdin, stdout, stderr)
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    child: Child | None = None
    lines: list[str] = []
    try:
        async with trio.lowlevel.FdStream(reading) as report:
            data = b""
            async for piece in report:
                data += piece
                child = child or _child(data)
        lines = data.decode(errors="replace").splitlines()
        child = child or _child(data)
    except BaseException:
        if child is not None:
            child.close()
        raise
    finally:
        _end_launcher(launcher)
    return _checked(lines, child)


def _start_launcher(
    launch: Launch, status: int, stdin: int, stdout: int, stderr: int
) -> subprocess.Popen[bytes]:
    spec = _as_spec(launch, status)
    # A memory file, so that nothing has to be fed while the program starts.
    told = os.memfd_create("launch", os.MFD_CLOEXEC)
    try:
        os.write(told, marshal.dumps(spec))
        os.lseek(told, 0, os.SEEK_SET)
        passed = [n for n in (told, status, launch.netns, launch.userns, launch.join) if n is not None]
        # By the main thread: PR_SET_PDEATHSIG means the thread that has started the process.
        return subprocess.Popen(
            [sys.executable, "-I", "-S", "-E", "-B", _LAUNCHER, str(told)],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            pass_fds=passed,
            env={},
            cwd="/",
        )
    finally:
        os.close(told)


def _as_spec(launch: Launch, status: int) -> dict[str, Any]:
    return {
        "status": status,
        "argv": list(launch.argv),
        "env": dict(launch.env),
        "workdir": launch.workdir,
        "netns": launch.netns,
        "userns": launch.userns,
        "join": launch.join,
        "hostname": launch.hostname,
        "top": launch.top,
        "keep": list(launch.keep),
        "files": list(launch.files),
        "mounts": list(launch.mounts),
        "uid": launch.uid,
        "gid": launch.gid,
        "groups": None if launch.groups is None else list(launch.groups),
        "drop": launch.drop,
        "read_only_root": launch.read_only_root,
        "all_devices": launch.all_devices,
        "cgroups": list(launch.cgroups),
        "tty": launch.tty,
        "files_open": launch.files_open,
    }


def _child(data: bytes) -> Child | None:
    for line in data.split(b"\n")[:-1]:
        if line.startswith(b"pid "):
            pid = int(line[4:])
            return Child(pid, os.pidfd_open(pid))
    return None


def _end_launcher(launcher: subprocess.Popen[bytes]) -> None:
    """Reap it. It ends by itself right after its report; where we were cancelled, it is killed."""
    if launcher.poll() is None:
        launcher.kill()
        launcher.wait()


def _checked(lines: list[str], child: Child | None) -> Child:
    error = next((line for line in lines if line.startswith("error ")), None)
    if error is None and child is not None and "go" in lines:
        child.notes = tuple(line[5:] for line in lines if line.startswith("note "))
        return child
    if child is not None:
        child.close()
    if error is None:
        raise LaunchFailed(errno.ECHILD, "start", "the launcher was killed before the command began")
    number, stage, text = error.removeprefix("error ").split(" ", 2)
    raise LaunchFailed(int(number), stage.rstrip(":"), text)
