"""Clients and servers of HTTP/2 on the reactor in memory: hyper-h2, an implementation that is not ours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings

from devmesh.proxy.reactor import Connection
from tests.proxy.meshes import End

Fields = list[tuple[str, str]]


@dataclass
class Message:
    """What arrived on one stream."""

    head: Fields = field(default_factory=list)
    informational: list[Fields] = field(default_factory=list)
    body: bytes = b""
    trailers: Fields | None = None
    ended: bool = False
    reset: int | None = None

    def __getitem__(self, name: str) -> str:
        return ",".join(value for key, value in self.head if key == name)

    def has(self, name: str) -> bool:
        return any(key == name for key, _ in self.head)


class Peer:
    """One end that speaks HTTP/2 by hyper-h2.

    Attributes:
        messages: By stream.
        reads: Whether it credits what it gets, so that more is sent.
        gone: The code of the GOAWAY that came.
    """

    def __init__(self, connection: Connection, *, client: bool, window: int | None = None) -> None:
        config = h2.config.H2Configuration(client_side=client, header_encoding="latin-1")
        config.validate_outbound_headers = config.normalize_outbound_headers = False
        self.h2 = h2.connection.H2Connection(config)
        if window is not None:
            self.h2.local_settings = h2.settings.Settings(
                client=client, initial_values={h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window}
            )
        self.messages: dict[int, Message] = {}
        self.reads = True
        self.gone: int | None = None
        self.end = End(connection)
        self.end.on_data = self._arrived
        self.on_event: Callable[[Peer, h2.events.Event], None] = lambda peer, event: None
        self.h2.initiate_connection()
        self.flush()

    def flush(self) -> None:
        data = self.h2.data_to_send()
        if data:
            self.end.connection.send(data)

    def request(
        self, fields: Fields | None = None, body: bytes = b"", *, end: bool = True, **pseudo: str
    ) -> int:
        """Begin a request; return its stream."""
        number = self.h2.get_next_available_stream_id()
        head = {"method": "GET", "scheme": "http", "path": "/x", "authority": "b", **pseudo}
        named = [(f":{name}", value) for name, value in head.items() if value]
        self.h2.send_headers(number, [*named, *(fields or [])], end_stream=end and not body)
        self.messages[number] = Message()
        if body:
            self.h2.send_data(number, body, end_stream=end)
        self.flush()
        return number

    def answer(
        self,
        number: int,
        body: bytes = b"",
        fields: Fields | None = None,
        trailers: Fields | None = None,
        status: str = "200",
        *,
        end: bool = True,
    ) -> None:
        ended = end and not body and trailers is None
        self.h2.send_headers(number, [(":status", status), *(fields or [])], end_stream=ended)
        if body:
            self.h2.send_data(number, body, end_stream=end and trailers is None)
        if trailers is not None:
            self.h2.send_headers(number, trailers, end_stream=True)
        self.flush()

    def send(self, number: int, body: bytes, *, end: bool = False) -> None:
        self.h2.send_data(number, body, end_stream=end)
        self.flush()

    def reset(self, number: int, code: int = h2.errors.ErrorCodes.CANCEL) -> None:
        self.h2.reset_stream(number, code)
        self.flush()

    def _arrived(self, end: End) -> None:
        data, end.data = end.data, b""
        if not data:
            return
        for event in self.h2.receive_data(data):
            self._take(event)
            self.on_event(self, event)
        self.flush()

    def _take(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.ConnectionTerminated):
            self.gone = int(event.error_code)
            return
        number = getattr(event, "stream_id", None)
        if not number:
            return
        message = self.messages.setdefault(number, Message())
        match event:
            case h2.events.InformationalResponseReceived():
                message.informational.append(list(event.headers))
            case h2.events.RequestReceived() | h2.events.ResponseReceived():
                message.head = list(event.headers)
            case h2.events.DataReceived():
                message.body += event.data
                if self.reads:
                    self.h2.acknowledge_received_data(event.flow_controlled_length, number)
            case h2.events.TrailersReceived():
                message.trailers = list(event.headers)
            case h2.events.StreamEnded():
                message.ended = True
            case h2.events.StreamReset():
                message.reset = int(event.error_code)


class Server:
    """An application of HTTP/2 (with prior knowledge) behind `b`.

    Attributes:
        peers: Its connections.
        answer: Called with each request that is complete; by default answered with 200 and ``hello``.
    """

    def __init__(self, answer: Callable[[Peer, int], None] | None = None) -> None:
        self.peers: list[Peer] = []
        self.answer = answer or (lambda peer, number: peer.answer(number, b"hello"))
        self.on_event: Callable[[Peer, h2.events.Event], None] = lambda peer, event: None

    def __call__(self, connection: Connection) -> None:
        peer = Peer(connection, client=False)
        peer.on_event = self._event
        self.peers.append(peer)

    @property
    def heads(self) -> list[Message]:
        """All requests, of all connections."""
        return [message for peer in self.peers for message in peer.messages.values()]

    def _event(self, peer: Peer, event: h2.events.Event) -> None:
        self.on_event(peer, event)
        if isinstance(event, h2.events.StreamEnded):
            self.answer(peer, event.stream_id)
