"""Runs Bookinfo's services as plain processes on free loopback ports, with no mesh between them."""

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from urllib.parse import urlencode

ROOT = Path(__file__).parents[2] / "samples" / "bookinfo"


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def document(self) -> dict[str, object]:
        loaded = json.loads(self.text)
        assert isinstance(loaded, dict)
        return loaded


def call(
    port: int,
    path: str,
    headers: dict[str, str] | None = None,
    *,
    form: dict[str, str] | None = None,
    body: str | None = None,
) -> Answer:
    """Send a GET, or a POST where there is a form or a body, and return the whole answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=12)
    try:
        if form is not None:
            body = urlencode(form)
        connection.request("GET" if body is None else "POST", path, body=body, headers=headers or {})
        response = connection.getresponse()
        named = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, named, response.read().decode())
    finally:
        connection.close()


class Program:
    """One service's process. Ready when entered, gone when left."""

    def __init__(self, name: str, *arguments: str, upstreams: dict[str, int] | None = None) -> None:
        self.name = name
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        environment = {"PATH": os.environ["PATH"], "HOSTNAME": f"{name}-pod"}
        for service, port in (upstreams or {}).items():
            environment[f"{service.upper()}_HOSTNAME"] = "127.0.0.1"
            environment[f"{service.upper()}_SERVICE_PORT"] = str(port)
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", f"{name}.py", str(self.port), *arguments],
            cwd=ROOT / "src" / name,
            env={**environment, "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def __enter__(self) -> "Program":
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert "listens on port" in line, line + self.process.stdout.read()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.stop()

    def stop(self) -> tuple[int, str]:
        """End it as a runtime does. Return its exit status and what it printed since it was ready."""
        assert self.process.stdout is not None
        if self.process.stdout.closed:
            return self.process.returncode, ""
        self.process.terminate()
        with self.process.stdout:
            printed = self.process.stdout.read()
        return self.process.wait(5), printed


@contextmanager
def answering_with(respond: bytes, requests: list[bytes]) -> Iterator[int]:
    """A stand-in for a service: notes each request's head and answers all of them with `respond`."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            with peer:
                head = b""
                while b"\r\n\r\n" not in head and (more := peer.recv(65536)):
                    head += more
                requests.append(head)
                peer.sendall(respond)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
