"""Serves the API on 127.0.0.1: plain HTTP for the dashboard, TLS for kubectl."""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from devmesh.api.guard import Asgi, Receive, Send
from devmesh.api.streams import Streams

if TYPE_CHECKING:
    from hypercorn.config import Config

log = logging.getLogger(__name__)

BACKLOG = 128
LAST_WORDS = 5.0
"""Seconds in which a client that sends no more still gets the rest of its answer."""

SEND_TIMEOUT = 30.0
"""Seconds a client may take to read what it was sent, before its connection is closed."""

GRACE = 0.5
"""Seconds that answers under way have to end by themselves when the server does."""


class PortTaken(OSError):
    """Another process listens there; the message says how to choose another port."""


@dataclass(frozen=True, slots=True)
class Bound:
    """The sockets of the API, listening; connections wait until `serve` takes them."""

    plain: socket.socket
    tls: socket.socket | None

    @property
    def port(self) -> int:
        return int(self.plain.getsockname()[1])

    @property
    def tls_port(self) -> int:
        return int(self.tls.getsockname()[1]) if self.tls else 0

    def close(self) -> None:
        self.plain.close()
        if self.tls:
            self.tls.close()


def bind(host: str, port: int, tls_port: int | None, *, fallback: bool = False) -> Bound:
    """Listen at once, so that clients that come early wait rather than fail.

    Args:
        port, tls_port: 0 lets the system choose; `tls_port` None means no TLS.
        fallback: Choose another port where the wanted one is taken.

    Raises:
        PortTaken: It is taken, and there is no `fallback`.
    """
    plain = _listen(host, port, fallback, "--port")
    try:
        tls = None if tls_port is None else _listen(host, tls_port, fallback, "--tls-port")
    except OSError:
        plain.close()
        raise
    return Bound(plain, tls)


def _listen(host: str, port: int, fallback: bool, flag: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            if not fallback:
                raise PortTaken(
                    error.errno,
                    f"cannot listen on {host}:{port}: {error.strerror}; choose another with {flag}",
                ) from error
            listener.bind((host, 0))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


async def serve(
    app: Asgi,
    bound: Bound,
    *,
    streams: Streams,
    shutdown: trio.Event,
    tls: ssl.SSLContext | None = None,
    task_status: trio.TaskStatus[tuple[int, int]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve `app` until `shutdown`; then long answers end at once, others have `GRACE` seconds.

    Started with the plain and the TLS port. `bound` is closed at the end.
    """
    from hypercorn.config import Config
    from hypercorn.trio.worker_context import WorkerContext

    config = Config()
    config.h11_max_incomplete_size = 64 * 1024
    config.websocket_max_message_size = 1024 * 1024
    config.keep_alive_timeout = 120
    config.include_server_header = False
    config.accesslog = config.errorlog = None
    context = WorkerContext(None)
    listeners: list[trio.abc.Listener[Any]] = [_listener(bound.plain)]
    if bound.tls and tls:
        listeners.append(trio.SSLListener(_listener(bound.tls), tls, https_compatible=True))
    opened: set[trio.abc.Stream] = set()
    try:
        async with trio.open_nursery() as closing:
            async with trio.open_nursery() as connections:
                async with trio.open_nursery() as accepting:
                    handler = partial(_connection, _shielded(app), config, context, opened)
                    accept = partial(trio.serve_listeners, handler, listeners, handler_nursery=connections)
                    accepting.start_soon(accept)
                    task_status.started((bound.port, bound.tls_port))
                    await shutdown.wait()
                    accepting.cancel_scope.cancel()
                streams.end()
                await context.terminated.set()
                closing.start_soon(_close_late, opened)
                connections.cancel_scope.deadline = trio.current_time() + 2 * GRACE
            closing.cancel_scope.cancel()
    finally:
        bound.close()


def _listener(listener: socket.socket) -> trio.SocketListener:
    return trio.SocketListener(trio.socket.from_stdlib_socket(listener))


async def _close_late(opened: set[trio.abc.Stream]) -> None:
    """Close what is still open after `GRACE`: a send is shielded, and ends when its stream is closed."""
    await trio.sleep(GRACE)
    for stream in tuple(opened):
        await trio.aclose_forcefully(stream)


async def _connection(
    app: Asgi, config: Config, context: Any, opened: set[trio.abc.Stream], stream: trio.abc.Stream
) -> None:
    """Serve one connection; whatever goes wrong ends it alone."""
    from hypercorn.app_wrappers import ASGIWrapper
    from hypercorn.trio.tcp_server import TCPServer
    from hypercorn.typing import ConnectionState

    scope = trio.CancelScope()
    bounded: Any = _Bounded(stream, scope)
    server = TCPServer(ASGIWrapper(app), config, context, ConnectionState({}), bounded)
    opened.add(stream)
    try:
        with scope:
            await server.run()
    except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
        log.debug("client closed the connection")
    except* Exception:
        log.exception("connection to the API failed")
    finally:
        opened.discard(stream)
        await trio.aclose_forcefully(stream)


class _Bounded:
    """A stream whose writes end: hypercorn shields them, so a client that never reads would stay for ever.

    When the client has gone while it was being answered, hypercorn waits for its next request until the
    keep-alive ends; `LAST_WORDS` after the client's end the connection's `scope` is cancelled.
    """

    def __init__(self, stream: trio.abc.Stream, scope: trio.CancelScope) -> None:
        self._stream, self._scope = stream, scope

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        try:
            data = bytes(await self._stream.receive_some(max_bytes))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._expect_the_end()
            raise
        if not data:
            self._expect_the_end()
        return data

    def _expect_the_end(self) -> None:
        self._scope.deadline = min(self._scope.deadline, trio.current_time() + LAST_WORDS)

    async def send_all(self, data: bytes) -> None:
        with trio.move_on_after(SEND_TIMEOUT) as limit:
            await self._stream.send_all(data)
        if limit.cancelled_caught:
            await trio.aclose_forcefully(self._stream)
            raise trio.BrokenResourceError("the client did not read for too long")

    async def aclose(self) -> None:
        with trio.move_on_after(GRACE, shield=True):
            await self._stream.aclose()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _shielded(app: Asgi) -> Asgi:
    """Let each message be sent whole.

    With ``Connection: close`` hypercorn tells the application of the disconnect from within the
    last `send`; quart-trio then cancels that very `send`, and the connection is never closed.
    """

    async def shielded(scope: Any, receive: Receive, send: Send) -> None:
        async def sending(message: Any) -> None:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + SEND_TIMEOUT + GRACE):
                await send(message)

        await app(scope, receive, sending)

    return shielded


def urls(bound: Bound, host: str = "127.0.0.1") -> Sequence[str]:
    """Return what the API is reached at: plain, and by TLS where it is served."""
    name = f"[{host}]" if ":" in host else host
    return [f"http://{name}:{bound.port}"] + ([f"https://{name}:{bound.tls_port}"] if bound.tls else [])
