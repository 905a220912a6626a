"""The helper that holds a user namespace, for a devmesh without root.

Run as a program, by its path and with the standard library alone: it must be small, and it must be of
one thread. It makes network namespaces and sockets in them, and hands them over; no payload passes
through it. It ends with its parent: when the socket between them closes, or by the kernel's signal.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import sys

_NEWNS, _NEWUSER, _NEWNET = 0x20000, 0x10000000, 0x40000000
_PR_SET_PDEATHSIG = 1
_NETNS = "/proc/self/ns/net"
_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"cannot {what}: {os.strerror(code)}")


def enter_user_namespace(uid: int, gid: int) -> None:
    """Become the master of a new user namespace in which `uid` is itself: files look as they are."""
    _check(_libc.unshare(_NEWUSER | _NEWNET | _NEWNS), "make a user namespace")
    for name, content in (
        ("setgroups", "deny"),
        ("uid_map", f"{uid} {uid} 1"),
        ("gid_map", f"{gid} {gid} 1"),
    ):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(content)


def _answer(request: list[object], passed: list[int]) -> tuple[object, list[int]]:
    """Do one request; return a value and descriptors to hand over (and to close here)."""
    match request:
        case ["create"]:
            _check(_libc.unshare(_NEWNET), "make a network namespace")
            return None, [os.open(_NETNS, os.O_RDONLY)]
        case ["socket", int(family), int(kind), int(protocol)]:
            _enter(passed[0])
            return None, [socket.socket(family, kind, protocol).detach()]
        case ["set", str(name), str(value)]:
            _enter(passed[0])
            with open(f"/proc/sys/{name}", "w", encoding="ascii") as file:
                file.write(value)
            return None, []
        case ["get", str(name)]:
            _enter(passed[0])
            try:
                with open(f"/proc/sys/{name}", encoding="ascii") as file:
                    return file.read().strip(), []
            except FileNotFoundError:
                return None, []
    raise OSError(0, f"an unknown request: {request!r}")


def _enter(netns: int) -> None:
    _check(_libc.setns(netns, _NEWNET), "enter a network namespace")


def _serve(channel: socket.socket) -> None:
    while True:
        data, passed, _, _ = socket.recv_fds(channel, 1 << 16, 8)
        if not data:
            return
        made: list[int] = []
        try:
            value, made = _answer(json.loads(data), passed)
            answer = {"value": value}
        except OSError as error:
            answer = {"errno": error.errno or 0, "error": error.strerror or str(error)}
        socket.send_fds(channel, [json.dumps(answer).encode()], made)
        for descriptor in (*made, *passed):
            os.close(descriptor)


def main() -> None:
    channel = socket.socket(fileno=int(sys.argv[1]))
    parent = int(sys.argv[2])
    for ignored in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT):
        signal.signal(ignored, signal.SIG_IGN)  # the terminal's; the parent tells when it is over
    try:
        enter_user_namespace(os.geteuid(), os.getegid())
    except OSError as error:
        answer = {"errno": error.errno or 0, "error": error.strerror or str(error)}
        channel.send(json.dumps(answer).encode())
        return
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return
    userns = os.open("/proc/self/ns/user", os.O_RDONLY)
    socket.send_fds(channel, [json.dumps({"value": None}).encode()], [userns])
    os.close(userns)
    _serve(channel)


if __name__ == "__main__":
    main()
