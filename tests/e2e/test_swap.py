"""devmesh swap: a process of this machine takes a workload's place while callers go on."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.applications import APPS, Applications
from tests.e2e.bookinfo import eventually

STRICT = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: istio-system}
spec: {mtls: {mode: STRICT}}
"""


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def local_process() -> Iterator[int]:
    """Run a server on this machine's loopback, as an IDE would."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, str(APPS / "server.py"), f"http={port}"],
        env={"HOST": "127.0.0.1", "POD": "ide", "VERSION": "local"},
    )
    try:
        eventually(lambda: _listens(port), 5, 0.02)
        yield port
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@pytest.fixture
def swapped(clean: Applications) -> Iterator[tuple[Applications, int]]:
    with local_process() as port:
        yield clean, port
        for name in ("echo-v1", "echo-v2"):
            clean.mesh.devmesh("swap", name, "--back", check=False)


class Callers:
    """Calls from a pod without a pause, until told to stop."""

    def __init__(self, apps: Applications, url: str) -> None:
        self.apps, self.url = apps, url
        self.served: list[tuple[int, str]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.is_set():
            answer = self.apps.get(self.url)
            self.served.append((answer["status"], answer.get("seen", {}).get("pod", "")))

    def wait_for(self, count: int) -> None:
        before = len(self.served)
        eventually(lambda: len(self.served) >= before + count, 20, 0.02)

    def stop(self) -> list[tuple[int, str]]:
        self._over.set()
        self._thread.join()
        return self.served


def test_callers_do_not_notice_a_swap_and_back(swapped: tuple[Applications, int]) -> None:
    apps, port = swapped
    callers = Callers(apps, "http://echo/")
    try:
        callers.wait_for(10)
        for name in ("echo-v1", "echo-v2"):
            apps.mesh.devmesh("swap", name, "--to", f"localhost:{port}", "--port", "8080")
        marker = len(callers.served)
        callers.wait_for(20)
        middle = len(callers.served)
        for name in ("echo-v1", "echo-v2"):
            apps.mesh.devmesh("swap", name, "--back")
        callers.wait_for(20)
    finally:
        served = callers.stop()
    assert {status for status, _ in served} == {200}
    assert {pod for _, pod in served[marker + 1 : middle]} == {"ide"}
    assert "ide" not in {pod for _, pod in served[-10:]}


def test_identity_and_mutual_tls_stay_the_workloads(swapped: tuple[Applications, int]) -> None:
    apps, port = swapped
    apps.apply(STRICT)
    for name in ("echo-v1", "echo-v2"):
        apps.mesh.devmesh("swap", name, "--to", f"localhost:{port}", "--port", "8080")
    answer = apps.get("http://echo/")
    assert answer["seen"]["pod"] == "ide"
    assert answer["got"]["x-forwarded-client-cert"].startswith(
        "By=spiffe://cluster.local/ns/default/sa/echo;"
    )
    assert "URI=spiffe://cluster.local/ns/default/sa/client" in answer["got"]["x-forwarded-client-cert"]


def test_nothing_is_swapped_to_where_nobody_listens(clean: Applications) -> None:
    said = clean.mesh.devmesh("swap", "echo-v1", "--to", f"localhost:{free_port()}", "--port", "8080",
                              check=False)  # fmt: skip
    assert "nothing listens on localhost:" in said
    assert clean.mesh.devmesh("swap", check=False).strip() == "nothing is swapped"
