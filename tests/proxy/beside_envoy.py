"""The real Envoy as a process, with an upstream in the test's hands."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ENVOY = Path(sys.executable).with_name("envoy")
TYPES = "type.googleapis.com/envoy.extensions"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def cluster(name: str, port: int = 1, **more: Any) -> dict[str, Any]:
    """Return a cluster with one endpoint on this machine; with port 0, with none."""
    where = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": where}}]}] if port else []
    load = {"cluster_name": name, "endpoints": endpoints}
    return {"name": name, "connect_timeout": "1s", "load_assignment": load, **more}


def http_manager(hosts: Sequence[dict[str, Any]], filters: Sequence[dict[str, Any]] = (), **more: Any) -> Any:
    """Return a filter that serves virtual hosts by HTTP, as Istio's sidecars have it."""
    router = {"name": "router", "typed_config": {"@type": f"{TYPES}.filters.http.router.v3.Router"}}
    manager = {
        "@type": f"{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "x",
        "http_filters": [*filters, router],
        "route_config": {"virtual_hosts": list(hosts), "ignore_port_in_host_matching": True},
        **more,
    }
    return {"name": "manager", "typed_config": manager}


@contextmanager
def envoy(folder: Path, filters: Sequence[Any], clusters: Sequence[dict[str, Any]]) -> Iterator[int]:
    """Run Envoy with one listener; yield its port."""
    port = free_port()
    listener = {
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": list(filters)}],
    }
    config = folder / "envoy.json"
    config.write_text(json.dumps({"static_resources": {"listeners": [listener], "clusters": list(clusters)}}))
    command = [str(ENVOY), "-c", str(config), "--concurrency", "1", "--use-dynamic-base-id", "-l", "error"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        try:
            until = time.monotonic() + 20
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    if process.poll() is not None:
                        assert process.stderr is not None
                        raise AssertionError(process.stderr.read().decode()) from None
                    assert time.monotonic() < until, "Envoy does not listen"
                    time.sleep(0.02)
            yield port
        finally:
            process.terminate()


class Upstream:
    """A server that keeps what arrives and answers what it is told to.

    Attributes:
        answer: Called with all bytes of a connection so far: what to send now; None: nothing yet. After an
            answer the bytes are forgotten.
        closes: Whether it closes after an answer.
    """

    def __init__(self) -> None:
        self.answer: Callable[[bytes], bytes | None] = lambda data: None
        self.closes = False
        self.heard = b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        data = b""
        with connection:
            while True:
                try:
                    piece = connection.recv(65536)
                except OSError:
                    return
                if not piece:
                    return
                data += piece
                self.heard = data
                answer = self.answer(data)
                if answer is not None:
                    data = b""
                    try:
                        connection.sendall(answer)
                    except OSError:
                        return
                    if self.closes:
                        return

    def close(self) -> None:
        self._listener.close()
