"""The proxies under test: started on a core of their own, watched by what the kernel counts."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import peers
from bench.compiled import ROOT, build

LOAD_CORE, PROXY_CORE = 0, min(1, (os.cpu_count() or 1) - 1)
BACKEND, HTTP2_BACKEND, SINK = 19080, 19081, 19090


@dataclass
class Running:
    """A proxy that serves on `port`; `process` None is no proxy at all."""

    port: int
    process: subprocess.Popen[bytes] | None
    state: Path | None = None
    log: Path | None = None

    def cpu(self) -> float:
        """Return the seconds that all its threads have run."""
        if self.process is None:
            return 0.0
        total = 0
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
        return total / 1e9

    def resident(self) -> float:
        """Return its resident memory in MB."""
        if self.process is None:
            return 0.0
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        return 0.0

    def lateness(self) -> float | None:
        """Return how late a trio task that sleeps 5 ms is, in ms at the 99th percentile (devmesh alone)."""
        if self.state is None:
            return None
        return float(json.loads(self.state.read_text())["late_p99"]) * 1000

    def said(self) -> str:
        """Return the end of what it has written, and whether it still runs."""
        if self.process is None or self.log is None:
            return ""
        return f"exit status {self.process.poll()}\n{self.log.read_text(errors='replace')[-3000:]}"

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


@dataclass(frozen=True)
class Target:
    """One row of the table.

    Attributes:
        kind: What it is compared within: ``one hop``, ``two hops``, ``tcp``.
        needs: The program without which it cannot run, or "".
    """

    name: str
    kind: str
    needs: str
    start: Callable[[Path], Running]

    def missing(self) -> str:
        """Return why it cannot run here; "" where it can."""
        if self.needs and which(self.needs) is None:
            return f"{self.needs} is not installed"
        return ""


def which(program: str) -> str | None:
    """Find a program in PATH, in the interpreter's own folder, or where Debian keeps daemons."""
    beside = Path(sys.executable).parent / program
    return str(beside) if beside.exists() else shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin")


def pinned(core: int, command: Sequence[str], folder: Path, where: Path = ROOT) -> subprocess.Popen[bytes]:
    """Start a program on one core; `where` is what Python finds its modules in."""
    log = (folder / f"{Path(command[0]).name}.log").open("ab")
    return subprocess.Popen(
        ["taskset", "-c", str(core), *command],
        stdout=log,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        cwd=where,
    )


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until something listens."""
    until = time.monotonic() + 15
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            time.sleep(0.05)
            if process.poll() is None:  # else another process has the port
                return
    raise RuntimeError(f"{process.args!r} does not listen on {port}")


def _peer(
    program: str, port: int, text: Callable[[Path], str], arguments: Callable[[str], list[str]]
) -> Callable[[Path], Running]:
    def start(folder: Path) -> Running:
        own = folder / f"{program}-{port}"
        own.mkdir(exist_ok=True)
        config = own / ("config.json" if program == "envoy" else "config")
        config.write_text(text(own))
        found = which(program)
        assert found is not None
        process = pinned(PROXY_CORE, [found, *arguments(str(config))], own)
        wait_for(port, process)
        return Running(port, process)

    return start


def _devmesh(
    hops: int, *, tcp: bool = False, http2: str = "", pure: bool = False
) -> Callable[[Path], Running]:
    """`http2` tells apart what is measured of it."""

    def start(folder: Path) -> Running:
        own = folder / f"devmesh-{hops}-{tcp}-{http2.replace('/', '')}-{pure}"
        own.mkdir()
        state = own / "state.json"
        to = SINK if tcp else HTTP2_BACKEND if http2 else BACKEND
        command = [sys.executable, "-m", "bench.mesh", "--to", str(to)]
        command += ["--hops", str(hops), "--state", str(state), *(["--tcp"] if tcp else [])]
        command += ["--http2"] if http2 else []
        where = ROOT if pure else build(folder)
        process = pinned(PROXY_CORE, command, own, where)
        until = time.monotonic() + 15
        while not state.exists() or not state.read_text():
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"devmesh did not start: {(own / 'python.log').read_text()[-2000:]}")
            time.sleep(0.05)
        port = int(json.loads(state.read_text())["port"])
        return Running(port, process, state, own / f"{Path(sys.executable).name}.log")

    return start


def _haproxy(config: str) -> list[str]:
    return ["-db", "-f", config]


def _nginx(config: str) -> list[str]:
    return ["-c", config]


def _envoy(number: int) -> Callable[[str], list[str]]:
    return lambda config: ["-c", config, "--concurrency", "1", "--base-id", str(9100 + number), "-l", "error"]


PURE = "devmesh, pure Python"  # the checkout as it is; "devmesh" is what the wheel contains
ONE, TWO, TCP = "one hop", "two hops, mTLS", "tcp"
HTTP2, HTTP2_TWO, GRPC = "one hop, HTTP/2", "two hops, mTLS, HTTP/2", "one hop, gRPC"
BY_H2LOAD = (HTTP2, HTTP2_TWO, GRPC)


def _multiplexed(kind: str, hops: int, port: int, number: int) -> tuple[Target, ...]:
    """Return the rows of HTTP/2 of one kind; `port` and `number` are Envoy's own."""

    def config(folder: Path) -> str:
        return peers.envoy(port, HTTP2_BACKEND, folder, hops=hops, http2=True)

    direct = (Target("direct", kind, "h2load", lambda folder: Running(HTTP2_BACKEND, None)),)
    return (
        *(direct if hops == 1 else ()),
        Target("devmesh", kind, "h2load", _devmesh(hops, http2=kind)),
        Target(PURE, kind, "h2load", _devmesh(hops, http2=kind, pure=True)),
        Target("envoy", kind, "envoy", _peer("envoy", port, config, _envoy(number))),
    )


TARGETS = (
    Target("direct", ONE, "", lambda folder: Running(BACKEND, None)),
    Target("devmesh", ONE, "", _devmesh(1)),
    Target(PURE, ONE, "", _devmesh(1, pure=True)),
    Target(
        "envoy",
        ONE,
        "envoy",
        _peer("envoy", 19200, lambda f: peers.envoy(19200, BACKEND, f, hops=1), _envoy(1)),
    ),
    Target(
        "haproxy",
        ONE,
        "haproxy",
        _peer("haproxy", 19210, lambda f: peers.haproxy(19210, BACKEND, f, hops=1), _haproxy),
    ),
    Target("nginx", ONE, "nginx", _peer("nginx", 19220, lambda f: peers.nginx(19220, BACKEND, f), _nginx)),
    Target("devmesh", TWO, "", _devmesh(2)),
    Target(PURE, TWO, "", _devmesh(2, pure=True)),
    Target(
        "envoy",
        TWO,
        "envoy",
        _peer("envoy", 19230, lambda f: peers.envoy(19230, BACKEND, f, hops=2), _envoy(2)),
    ),
    Target(
        "haproxy",
        TWO,
        "haproxy",
        _peer("haproxy", 19240, lambda f: peers.haproxy(19240, BACKEND, f, hops=2), _haproxy),
    ),
    Target("direct", TCP, "", lambda folder: Running(SINK, None)),
    Target("devmesh", TCP, "", _devmesh(1, tcp=True)),
    Target(PURE, TCP, "", _devmesh(1, tcp=True, pure=True)),
    Target("envoy", TCP, "envoy", _peer("envoy", 19250, lambda f: peers.envoy_tcp(19250, SINK), _envoy(3))),
    Target(
        "haproxy", TCP, "haproxy", _peer("haproxy", 19260, lambda f: peers.haproxy_tcp(19260, SINK), _haproxy)
    ),
    *_multiplexed(HTTP2, 1, 19270, 4),
    *_multiplexed(HTTP2_TWO, 2, 19280, 5),
    *_multiplexed(GRPC, 1, 19290, 6),
)
