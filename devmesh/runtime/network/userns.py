"""The way into namespaces without root: a helper process holds a user namespace of our own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from devmesh.runtime.network import broker

_MAX_SOCKETS = 8
_START_TIMEOUT = 10.0  # seconds, on the slowest of machines


class UserNamespacesRefused(OSError):
    """This machine does not let its users make user namespaces; the message says what would."""


class UserNamespaces:
    """Asks the helper for namespaces and for sockets in them; a request takes some 50 µs.

    The helper is the owner of its namespaces, and devmesh is its owner's: so what is done with a socket
    (netlink's too) once it is here is allowed.
    """

    def __init__(self, channel: socket.socket, helper: subprocess.Popen[bytes]) -> None:
        self._channel = channel
        self._helper = helper
        self.userns: int | None = None
        (self.userns,) = self._receive()[1]

    @classmethod
    def start(cls, python: str = sys.executable) -> UserNamespaces:
        """Start the helper, with `python`: before the event loop, since that takes some 20 ms.

        Raises:
            UserNamespacesRefused: The kernel refused; see `devmesh doctor`.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(_START_TIMEOUT)
        command = [python, "-I", "-S", str(Path(broker.__file__))]
        with theirs:
            arguments = [str(theirs.fileno()), str(os.getpid())]
            helper = subprocess.Popen(
                [*command, *arguments], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
            )
        try:
            made = cls(ours, helper)
        except OSError as error:
            ours.close()
            helper.wait()
            raise UserNamespacesRefused(
                error.errno,
                f"no user namespace for devmesh without root: {error.strerror or error}. "
                "Run it as root, or see `devmesh doctor` for what this machine needs",
            ) from error
        ours.settimeout(None)
        return made

    def create(self) -> int:
        (netns,) = self._ask(["create"])[1]
        return netns

    def socket(self, netns: int, family: int, kind: int, protocol: int = 0) -> socket.socket:
        (descriptor,) = self._ask(["socket", family, kind, protocol], [netns])[1]
        made = socket.socket(family, kind, protocol, descriptor)
        made.setblocking(False)
        return made

    def set_parameter(self, netns: int, name: str, value: str) -> None:
        self._ask(["set", name, value], [netns])

    def parameter(self, netns: int, name: str) -> str | None:
        value = self._ask(["get", name], [netns])[0]
        return value if isinstance(value, str) else None

    def close(self) -> None:
        """Let the helper end, and wait for it."""
        self._channel.close()
        self._helper.wait()
        if self.userns is not None:
            os.close(self.userns)
            self.userns = None

    def _ask(self, request: list[object], passed: Sequence[int] = ()) -> tuple[object, list[int]]:
        socket.send_fds(self._channel, [json.dumps(request).encode()], passed)
        return self._receive()

    def _receive(self) -> tuple[object, list[int]]:
        data, descriptors, _, _ = socket.recv_fds(self._channel, 1 << 16, _MAX_SOCKETS)
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        if not data:
            raise OSError(0, "the helper that holds the namespaces has ended")
        answer = json.loads(data)
        if "error" in answer:
            raise OSError(answer["errno"], answer["error"])
        return answer["value"], descriptors
