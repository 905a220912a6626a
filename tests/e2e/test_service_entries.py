"""ServiceEntries and WorkloadEntries that lead out of the mesh, to processes of this machine."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.e2e.applications import APPS, Applications, outside
from tests.e2e.bookinfo import KUBECTL, eventually
from tests.e2e.test_swap import _listens, free_port

HERE = "198.51.100.93"  # what apps/devmesh.yaml has for stand-in.example.com
VM = "mysqldb.vm.svc.cluster.local"


PORT = "{number: 80, name: http, protocol: HTTP, targetPort: 18099}"


def entry(host: str, spec: str, port: str = PORT) -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {host.partition(".")[0]}}}
spec:
  hosts: [{host}]
  ports: [{port}]
{spec}
"""


@contextmanager
def on_loopback() -> Iterator[int]:
    """Run a server on this machine's loopback."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, str(APPS / "server.py"), f"http={port}"], env={"HOST": "127.0.0.1", "POD": "host"}
    )
    try:
        eventually(lambda: _listens(port), 5, 0.02)
        yield port
    finally:
        process.kill()
        process.wait()


def served_by(apps: Applications, url: str) -> Any:
    answer = apps.get(url)
    return answer.get("seen", {}).get("pod") or answer


def talk(apps: Applications, host: str, port: int) -> Any:
    return apps.agent("client")("talk", host=host, port=port, lines=[])


def test_a_name_is_looked_up_ahead_and_its_address_is_told(clean: Applications) -> None:
    with outside(HERE, "http=18099"):
        clean.apply(entry("stand-in.example.com", "  resolution: DNS"))
        eventually(lambda: served_by(clean, "http://stand-in.example.com/dns") == "outside", 5)
        clean.get("http://stand-in.example.com/told")
        assert f'"{HERE}:18099" outbound|80||stand-in.example.com' in clean.logged('"GET /told HTTP/1.1"')


def test_the_machine_that_everything_runs_on_has_a_name(clean: Applications) -> None:
    with on_loopback() as port:
        spec = f"  resolution: DNS\n  endpoints: [{{address: host.docker.internal, ports: {{http: {port}}}}}]"
        clean.apply(entry("mine.example.com", spec, "{number: 80, name: http, protocol: HTTP}"))
        eventually(lambda: served_by(clean, "http://mine.example.com/") == "host", 5)


@pytest.mark.parametrize(
    ("resolution", "address"), [("STATIC", "127.0.0.1"), ("DNS", "localhost"), ("STATIC", "127.0.0.7")]
)
def test_loopback_is_the_callers_own_pod(clean: Applications, resolution: str, address: str) -> None:
    spec = f"  resolution: {resolution}\n  endpoints: [{{address: {address}}}]"
    port = "{number: 80, name: http, protocol: HTTP, targetPort: 8080}"
    clean.apply(entry("own.example.com", spec, port))
    eventually(lambda: str(served_by(clean, "http://own.example.com/")).startswith("client-"), 5)


def test_a_network_of_addresses_leads_to_the_entrys_endpoint(clean: Applications) -> None:
    with outside(HERE, "first=18098"):
        spec = (
            "  addresses: [203.0.113.0/24]\n  location: MESH_EXTERNAL\n  resolution: STATIC\n"
            f"  endpoints: [{{address: {HERE}}}]"
        )
        port = "{number: 9009, name: tcp, protocol: TCP, targetPort: 18098}"
        clean.apply(entry("net.example.com", spec, port))
        time.sleep(0.1)
        answer = talk(clean, "203.0.113.9", 9009)
        assert "outside" in str(answer), answer
        assert "outbound|9009||net.example.com" in clean.logged("203.0.113.9:9009")


def test_ex02_a_virtual_machine_joins_as_a_workload_entry(clean: Applications) -> None:
    """Istio's example: the database is on a VM that the mesh knows by a WorkloadEntry; here this host."""
    with outside(HERE, "first=18098", "http=18099"):
        clean.apply(
            entry(
                VM,
                "  location: MESH_INTERNAL\n  resolution: STATIC\n"
                "  workloadSelector: {labels: {app: mysql-vm}}",
                "{number: 3306, name: tcp, protocol: TCP, targetPort: 18098}",
            )
            + f"""---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {{name: vm1}}
spec: {{address: {HERE}, labels: {{app: mysql-vm}}, serviceAccount: mysql}}
"""
        )
        time.sleep(0.1)
        answer = talk(clean, VM, 3306)
        assert "outside" in str(answer), answer
        clean.mesh.kubectl("delete", "workloadentry", "vm1")
        answer = talk(clean, VM, 3306)
        assert "outside" not in str(answer), answer


UNIX = """
import os, socket
with socket.socket(socket.AF_UNIX) as server:
    server.bind("/tmp/own.sock")
    os.chmod("/tmp/own.sock", 0o666)
    server.listen()
    print("listening", flush=True)
    connection, _ = server.accept()
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\\r\\ncontent-length: 4\\r\\n\\r\\nunix")
    connection.recv(65536)
"""


def test_a_unix_socket_is_a_file_of_the_callers_pod(clean: Applications) -> None:
    clean.apply(
        entry("sock.example.com", "  resolution: STATIC\n  endpoints: [{address: 'unix:///tmp/own.sock'}]")
    )
    python = sys.executable if clean.runtime == "process" else "python3"
    command = [KUBECTL, "exec", "deploy/client", "-c", "app", "--", python, "-u", "-c", UNIX]
    with subprocess.Popen(command, env=clean.mesh.environment, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "listening\n"
        answer = clean.get("http://sock.example.com/unix")
        server.kill()
    assert (answer["status"], answer["body"]) == (200, "unix")
    assert '"/tmp/own.sock" outbound|80||sock.example.com' in clean.logged('"GET /unix HTTP/1.1"')
