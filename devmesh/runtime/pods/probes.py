"""Asking a container how it is: by HTTP, a connection, gRPC's health protocol, or a command.

Kubernetes: "Configure Liveness, Readiness and Startup Probes". Connections are made inside the pod's own
namespace with the proxy's mark, so that interception leaves them alone.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

import trio

from devmesh.config.store import Raw
from devmesh.runtime.pods import grpc_health
from devmesh.runtime.pods.backend import Container

Verdict = Literal["success", "failure"]
Dial = Callable[[str, int], socket.socket]
"""Begins a connection to an address and port from inside the pod."""

_AGENT = "kube-probe/1.37"
_HEAD_LIMIT = 64 << 10
_OUTPUT_LIMIT = 10 << 10
_QUICKEST = 0.05  # seconds between questions until the first success, doubling up to the period


_LAG = 1.0  # seconds: so late kubelet notices that a container runs, and liveness probes count on it


class ProbeFailure(Exception):
    """The answer was no, or there was none; the message is what the event Unhealthy shows."""


@dataclass(frozen=True, slots=True)
class Timing:
    """When to ask and what to make of it; seconds, with Kubernetes' defaults."""

    initial_delay: float = 0.0
    period: float = 10.0
    timeout: float = 1.0
    successes: int = 1
    failures: int = 3

    @classmethod
    def of(cls, probe: Raw) -> Timing:
        return cls(
            float(probe.get("initialDelaySeconds") or 0),
            float(probe.get("periodSeconds") or 10),
            float(probe.get("timeoutSeconds") or 1),
            int(probe.get("successThreshold") or 1),
            int(probe.get("failureThreshold") or 3),
        )


@dataclass(frozen=True, slots=True)
class Target:
    """Whom to ask: a started container of a pod."""

    address: str
    ports: dict[str, int]  # the container's, by name
    dial: Dial
    container: Container | None  # None: a foreign process, in which nothing can be run

    def port(self, wanted: int | str) -> int:
        """Return a port by number or by name.

        Raises:
            ProbeFailure: The container has no port of that name.
        """
        if isinstance(wanted, int) or str(wanted).isdigit():
            return int(wanted)
        if wanted not in self.ports:
            raise ProbeFailure(f"the container has no port named {wanted!r}")
        return self.ports[wanted]


async def watch(
    probe: Raw,
    target: Target,
    on_result: Callable[[bool], Awaitable[None]],
    on_failure: Callable[[str], None],
    *,
    eager: bool,
) -> None:
    """Ask for ever, as `probe` says.

    A question before the first success that the schedule doesn't ask for is free: its failure counts
    for nothing. So a pod is ready as soon as it can be, not at the next multiple of ten seconds.

    Args:
        on_result: Told True once enough questions in a row have succeeded, False once enough have
            failed; again after each later question.
        on_failure: Told the reason of each failure that counts.
        eager: Ask more often than the schedule until the first success, at no charge within the first
            period (not for liveness).
    """
    timing = Timing.of(probe)
    await trio.sleep(timing.initial_delay)
    if not eager:
        await trio.sleep(_LAG)
    due, gap = trio.current_time() + (timing.period if eager else 0.0), _QUICKEST
    successes = failures = 0
    succeeded = not eager
    while True:
        counts = trio.current_time() >= due - 1e-6
        if counts:
            due += timing.period
        try:
            with trio.fail_after(timing.timeout):
                await ask(probe, target)
        except (ProbeFailure, trio.TooSlowError) as problem:
            if counts:
                failures, successes = failures + 1, 0
                on_failure(str(problem) or f"probe timed out after {timing.timeout:g}s")
                if failures >= timing.failures:
                    await on_result(False)
        else:
            succeeded = True
            failures, successes = 0, successes + 1
            if successes >= timing.successes:
                await on_result(True)
        now = trio.current_time()
        if now > due:
            due = now
        if succeeded:
            await trio.sleep_until(due)
        else:
            await trio.sleep(min(gap, max(0.0, due - now)))
            gap = min(gap * 2, timing.period)


async def ask(probe: Raw, target: Target) -> None:
    """Ask once.

    Raises:
        ProbeFailure: The answer is no.
    """
    if (http := probe.get("httpGet")) is not None:
        await _ask_http(http, target)
    elif (tcp := probe.get("tcpSocket")) is not None:
        stream = await _connect(tcp.get("host") or target.address, target.port(tcp["port"]), target.dial)
        await trio.aclose_forcefully(stream)
    elif (command := probe.get("exec")) is not None:
        if target.container is None:
            raise ProbeFailure("nothing can be run in a foreign process")
        await run_command(list(command.get("command") or ()), target.container)
    elif (grpc := probe.get("grpc")) is not None:
        await _ask_grpc(grpc, target)


async def _connect(address: str, port: int, dial: Dial) -> trio.SocketStream:
    try:
        sock = trio.socket.from_stdlib_socket(dial(address, port))
    except OSError as problem:
        raise _refused(address, port, problem.errno) from problem
    try:
        await trio.lowlevel.wait_writable(sock)
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise _refused(address, port, code)
        return trio.SocketStream(sock)
    except BaseException:
        sock.close()
        raise


def _refused(address: str, port: int, code: int | None) -> ProbeFailure:
    said = os.strerror(code or 0).lower()
    return ProbeFailure(f"dial tcp {_authority(address, port)}: connect: {said}")


def _authority(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


async def _ask_http(http: Raw, target: Target) -> None:
    address, port = http.get("host") or target.address, target.port(http["port"])
    path = http.get("path") or "/"
    path = path if path.startswith("/") else "/" + path
    headers = {h["name"].title(): h.get("value", "") for h in http.get("httpHeaders") or ()}
    headers = {"Host": f"{address}:{port}", "User-Agent": _AGENT, "Accept": "*/*"} | headers
    lines = [f"GET {path} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items()), "Connection: close", "", ""]
    secure = str(http.get("scheme") or "HTTP").upper() == "HTTPS"
    url = f"{'https' if secure else 'http'}://{address}:{port}{path}"
    try:
        status = await _http_status("\r\n".join(lines).encode(), address, port, target.dial, secure=secure)
    except ProbeFailure as problem:
        raise ProbeFailure(f'Get "{url}": {problem}') from problem
    if not 200 <= status < 400:
        raise ProbeFailure(f"HTTP probe failed with statuscode: {status}")


async def _ask_grpc(grpc: Raw, target: Target) -> None:
    address, port = target.address, target.port(grpc["port"])
    stream = await _connect(address, port, target.dial)
    try:
        await grpc_health.check(stream, _authority(address, port), grpc.get("service") or "", _AGENT)
    except grpc_health.Unhealthy as problem:
        raise ProbeFailure(str(problem)) from problem
    finally:
        await trio.aclose_forcefully(stream)


async def _http_status(request: bytes, address: str, port: int, dial: Dial, *, secure: bool) -> int:
    raw = await _connect(address, port, dial)
    stream: trio.abc.Stream = _unverified_tls(raw) if secure else raw
    head = b""
    try:
        await stream.send_all(request)
        while b"\r\n" not in head and len(head) < _HEAD_LIMIT:
            data = await stream.receive_some()
            if not data:
                raise ProbeFailure("EOF")
            head += data
    except (trio.BrokenResourceError, ssl.SSLError) as problem:
        raise ProbeFailure("connection reset by peer") from problem
    finally:
        await trio.aclose_forcefully(stream)
    words = head.split(b" ", 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1][:3].isdigit():
        raise ProbeFailure("malformed HTTP response")
    return int(words[1][:3])


def _unverified_tls(stream: trio.SocketStream) -> trio.SSLStream[trio.SocketStream]:
    """Wrap for TLS whose certificate is not looked at (kubelet's probes don't either)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return trio.SSLStream(stream, context, https_compatible=True)


async def run_command(command: list[str], container: Container) -> None:
    """Run a command in a container to its end.

    Raises:
        ProbeFailure: Its exit status isn't 0; the message is what it wrote.
    """
    try:
        session = await container.exec(command, stdin=False, tty=False)
    except (LookupError, OSError) as problem:
        raise ProbeFailure(str(problem)) from problem
    output: list[bytes] = []

    async def collect(stream: trio.abc.ReceiveStream) -> None:
        async for data in stream:
            if sum(map(len, output)) < _OUTPUT_LIMIT:
                output.append(bytes(data))

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(collect, session.stdout)
            if session.stderr is not None:
                nursery.start_soon(collect, session.stderr)
            status = await session.wait()
    finally:
        with trio.CancelScope(shield=True):
            await session.aclose()
    if status:
        told = b"".join(output)[:_OUTPUT_LIMIT].decode(errors="replace").strip()
        raise ProbeFailure(told or f"command exited with {status}")
