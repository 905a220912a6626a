"""gRPC's health protocol (``grpc.health.v1.Health/Check``), asked as kubelet asks it.

One unary call over HTTP/2 with prior knowledge: "GRPC Health Checking Protocol" and "gRPC over HTTP2" of
the gRPC project. The messages of failures are kubelet's own (``pkg/probe/grpc``).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote

import trio

if TYPE_CHECKING:
    from h2.connection import H2Connection
    from h2.events import Event

SERVING = 1
_STATUSES = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")
_PATH = "/grpc.health.v1.Health/Check"
_UNIMPLEMENTED = "12"
_PREFIX = struct.Struct("!BI")  # of a message: whether it is compressed, its length
_LIMIT = 64 << 10


class Unhealthy(Exception):
    """The answer is another than SERVING, or none; the message says which."""


@dataclass(slots=True)
class _Answer:
    http_status: str = ""
    code: str = ""
    message: str = ""
    body: bytearray = field(default_factory=bytearray)
    ended: bool = False


async def check(stream: trio.abc.Stream, authority: str, service: str, agent: str) -> None:
    """Ask for a service's health; "" is the server's own.

    Raises:
        Unhealthy: It is not SERVING, or the other side speaks another protocol.
    """
    import h2.config
    import h2.connection
    import h2.exceptions

    connection = h2.connection.H2Connection(
        h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
    )
    try:
        _ask(connection, authority, service, agent)
        await stream.send_all(connection.data_to_send())
        answer = await _receive(stream, connection)
    except (h2.exceptions.H2Error, UnicodeDecodeError) as error:
        raise Unhealthy(f"error: health rpc probe failed: it does not speak HTTP/2: {error}") from error
    except trio.BrokenResourceError as error:
        raise Unhealthy("error: health rpc probe failed: connection reset by peer") from error
    _judge(answer)


def _ask(connection: H2Connection, authority: str, service: str, agent: str) -> None:
    connection.initiate_connection()
    headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", _PATH),
        (":authority", authority),
        ("content-type", "application/grpc"),
        ("user-agent", agent),
        ("te", "trailers"),
    ]
    stream_id = connection.get_next_available_stream_id()
    connection.send_headers(stream_id, headers)
    message = _request(service)
    connection.send_data(stream_id, _PREFIX.pack(0, len(message)) + message, end_stream=True)


async def _receive(stream: trio.abc.Stream, connection: H2Connection) -> _Answer:
    answer = _Answer()
    while not answer.ended:
        data = await stream.receive_some()
        if not data:
            raise Unhealthy("error: health rpc probe failed: the connection ended without an answer")
        if data.startswith(b"HTTP/"):  # a long frame to HTTP/2, whose rest would be waited for
            raise Unhealthy("error: health rpc probe failed: it does not speak HTTP/2, but HTTP/1")
        for event in connection.receive_data(bytes(data)):
            _take(answer, event, connection)
        if waiting := connection.data_to_send():
            await stream.send_all(waiting)
    return answer


def _take(answer: _Answer, event: Event, connection: H2Connection) -> None:
    from h2 import events

    if isinstance(event, events.ResponseReceived | events.TrailersReceived):
        headers = {str(name): str(value) for name, value in event.headers or ()}
        answer.http_status = headers.get(":status", answer.http_status)
        answer.code = headers.get("grpc-status", answer.code)
        answer.message = unquote(headers.get("grpc-message", answer.message))
    elif isinstance(event, events.DataReceived):
        connection.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id or 0)
        answer.body += event.data or b""
        if len(answer.body) > _LIMIT:
            raise Unhealthy("error: health rpc probe failed: the answer is too large")
    elif isinstance(event, events.StreamReset):
        raise Unhealthy(f"error: health rpc probe failed: stream reset, code {event.error_code}")
    elif isinstance(event, events.ConnectionTerminated):
        raise Unhealthy(f"error: health rpc probe failed: connection ended, code {event.error_code}")
    answer.ended = answer.ended or isinstance(event, events.StreamEnded)


def _judge(answer: _Answer) -> None:
    if answer.code == _UNIMPLEMENTED:
        raise Unhealthy(
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): "
            + answer.message
        )
    if answer.code != "0":
        told = f"code = {answer.code} desc = {answer.message}" if answer.code else "no grpc-status"
        http = "" if answer.http_status == "200" else f" (HTTP status {answer.http_status})"
        raise Unhealthy(f"error: health rpc probe failed: rpc error: {told}{http}")
    status = _status(bytes(answer.body[_PREFIX.size :]))
    if status != SERVING:
        name = _STATUSES[status] if status < len(_STATUSES) else str(status)
        raise Unhealthy(f'service unhealthy (responded with "{name}")')


def _request(service: str) -> bytes:
    """Return a HealthCheckRequest: field 1 is the service's name."""
    name = service.encode()
    return b"\x0a" + _varint(len(name)) + name if name else b""


def _status(message: bytes) -> int:
    """Read a HealthCheckResponse: field 1 is the status; what isn't there is 0."""
    if message[:1] != b"\x08":
        return 0
    number = 0
    for position, byte in enumerate(message[1:6]):
        number |= (byte & 0x7F) << 7 * position
        if byte < 0x80:
            break
    return number


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*found, number))
