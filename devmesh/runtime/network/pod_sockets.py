"""Unix sockets of pods: abstract ones belong to their network namespace, others are files of theirs."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import suppress

from devmesh.runtime.network.pod_files import roots_of, within
from devmesh.runtime.network.sockets import SocketMaker

SCHEME = "unix://"


class PodSockets:
    """Connects to sockets by ``unix://PATH`` as the processes of a pod see the path, or ``unix://@NAME``."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, str], str] = {}

    def connect(self, make: SocketMaker, netns: int, address: str) -> socket.socket:
        """Connect in the network namespace of descriptor `netns`; a unix socket is up at once.

        Raises:
            OSError: There is no such socket, or nobody listens.
        """
        path = address.removeprefix(SCHEME)
        made = make(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            if path.startswith("@"):
                code = made.connect_ex("\0" + path[1:])
            else:
                code = self._by_path(made, os.fstat(netns).st_ino, path)
        except BaseException:
            made.close()
            raise
        if code:
            made.close()
            raise OSError(code, f"cannot connect to {address}: {os.strerror(code)}")
        return made

    def _by_path(self, made: socket.socket, inode: int, path: str) -> int:
        known = self._found.get((inode, path))
        if known is not None and not _connected(made, known):
            return 0
        code = errno.ENOENT
        for root in roots_of(inode):  # a process of another container, or one that started since
            with suppress(OSError):
                full = within(root, path)
                if os.path.lexists(full):
                    code = _connected(made, full)
                    if not code:
                        self._found[inode, path] = full
                        return 0
        self._found.pop((inode, path), None)
        return code


def _connected(made: socket.socket, path: str) -> int:
    """Connect and return the error number. Names of sockets are short: the file is opened to have one."""
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError as error:
        return error.errno or errno.ENOENT
    try:
        return made.connect_ex(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
