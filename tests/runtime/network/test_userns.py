"""Without root: the same fabric in a user namespace of an ordinary user's."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from devmesh.runtime.network.userns import UserNamespaces

NOBODY = 4242  # not 65534: what has no name in a user namespace looks like that
# Run by an ordinary user: two servers on one port, a capture, a process in its pod, and no root anywhere.
SESSION = """
    import ctypes, os, socket, subprocess, sys
    from devmesh.runtime.network.fabric import Fabric
    from devmesh.runtime.network.original import original_destination
    from devmesh.runtime.network.userns import UserNamespaces
    from devmesh.snapshot.network import MARK_HOP

    assert os.geteuid() == 4242 and not os.access("/etc/shadow", os.R_OK)
    captures = {}
    class Watcher:
        def captured(self, capture): captures[capture.instance] = capture
        def released(self, instance): captures.pop(instance)
    fabric = Fabric(UserNamespaces.start(sys.argv[1]))
    fabric.subscribe(Watcher())
    one, two = fabric.create("one"), fabric.create("two")
    for name in ("one", "two"):
        fabric.listen(name, "0.0.0.0", 80).close()

    def enter():
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.setns(one.userns_fd, 0x10000000) == 0
        assert libc.setns(one.netns_fd, 0x40000000) == 0
    program = (
        "import os, socket; socket.create_server(('0.0.0.0', 80));"
        "socket.create_connection(('240.240.0.9', 9080), 2); print(os.getuid())"
    )
    child = subprocess.run([sys.argv[1], "-c", program], capture_output=True, text=True, preexec_fn=enter,
                           pass_fds=[one.userns_fd, one.netns_fd])
    assert child.stdout.strip() == "4242", child.stderr
    captures["one"].outbound.settimeout(2)
    assert original_destination(captures["one"].outbound.accept()[0]) == ("240.240.0.9", 9080)
    hop = fabric.dial("two", two.addresses[0], 9080, mark=MARK_HOP)
    captures["two"].inbound.settimeout(2)
    assert original_destination(captures["two"].inbound.accept()[0]) == (two.addresses[0], 9080)
    fabric.dial(None, "127.0.0.1", int(sys.argv[2]), mark=1337)
    fabric.close()
    print("done")
"""


def interpreter_of_nobody() -> str | None:
    """Return a Python of this version that an ordinary user may run (root's own may lie in its home)."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for candidate in (sys.executable, f"/usr/bin/python{version}", f"/usr/local/bin/python{version}"):
        with contextlib.suppress(OSError):
            if subprocess.run([candidate, "-c", ""], user=NOBODY, check=False).returncode == 0:
                return candidate
    return None


def is_running(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


@pytest.mark.netns
def test_an_ordinary_user_has_the_same_fabric(tmp_path: Path) -> None:
    python = interpreter_of_nobody()
    if python is None:
        pytest.skip(
            f"no Python {sys.version_info.major}.{sys.version_info.minor} that an ordinary user may run"
        )
    with socket.create_server(("127.0.0.1", 0)) as outside:
        done = subprocess.run(
            [python, "-c", textwrap.dedent(SESSION), python, str(outside.getsockname()[1])],
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
            env={"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            cwd="/",
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert done.stdout == "done\n", done.stderr


@pytest.mark.netns
def test_the_helper_ends_with_its_user() -> None:
    program = (
        "import os, signal; from devmesh.runtime.network.userns import UserNamespaces;"
        "made = UserNamespaces.start(); print(made._helper.pid, flush=True);"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    pid = int(done.stdout)
    deadline = time.monotonic() + 2
    while is_running(pid):
        assert time.monotonic() < deadline, f"process {pid} goes on"
        time.sleep(0.01)


def test_a_machine_without_user_namespaces_is_told_what_to_do() -> None:
    if (false := shutil.which("false")) is None:
        pytest.skip("no /bin/false")
    with pytest.raises(OSError, match="devmesh doctor"):
        UserNamespaces.start(false)
