"""The small HTTP/1.1 server that answers on the ports of the admin interface."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote

from devmesh.proxy import local
from devmesh.proxy.body import Body, body_of
from devmesh.proxy.http1 import Malformed, Request, parse_request
from devmesh.proxy.reactor import HIGH, Connection, Owner, Reactor

PLAIN, JSON = "text/plain; charset=UTF-8", "application/json"
IDLE = 60.0  # seconds that a connection may carry nothing


@dataclass(frozen=True, slots=True)
class Asked:
    """A request; of a parameter given twice the first counts (Envoy: ``getFirstValue``)."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, method: str, target: str) -> Asked:
        path, _, query = target.partition("?")
        pairs = parse_qsl(query, keep_blank_values=True)
        return cls(method, unquote(path), dict(reversed(pairs)))


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer."""

    body: str = ""
    status: int = 200
    content_type: str = PLAIN
    headers: tuple[tuple[str, str], ...] = ()


def as_json(value: Any) -> Reply:
    """Return `value` as Envoy prints JSON: one blank for each level."""
    return Reply(json.dumps(value, indent=1, ensure_ascii=False), content_type=JSON)


Answer = Callable[[Asked, Callable[[Reply], None]], None]
"""Answers a request: at once or later, once, by the function it is given."""


class AdminServer(Owner):
    """Owns one connection; requests are answered one after the other."""

    def __init__(self, reactor: Reactor, connection: Connection, answer: Answer) -> None:
        self._reactor, self._connection, self._answer = reactor, connection, answer
        self._buffer = b""
        self._body: Body | None = None  # of a request whose end has not arrived yet
        self._request: Request | None = None
        self._idle = reactor.deadline(IDLE, connection.close)
        connection.owner = self

    def readable(self) -> None:
        data = self._connection.recv()
        if data is None:
            return
        if not data:
            self.lost("")
            return
        self._buffer += data
        if len(self._buffer) > HIGH:
            self._connection.pause()
        if self._request is None or self._body is not None:
            self._serve()

    def lost(self, reason: str) -> None:
        self._idle.cancel()
        self._connection.close()

    def _serve(self) -> None:
        try:
            request = self._request or parse_request(self._buffer, "http")
            if request is None:
                return
            if self._request is None:
                self._request, self._body = request, body_of(request.length)
                self._buffer = self._buffer[request.size :]
            body = self._body
            if body is not None and not body.done:
                self._buffer = self._buffer[body.take(self._buffer) :]
                if not body.done:
                    return
        except Malformed as error:
            answer = local.refusal(error.status, error.details, self._reactor.time(), "envoy")
            self._connection.send(answer)
            self._end()
            return
        self._body = None
        self._answer(Asked.of(request.method, request.path), self._reply)

    def _reply(self, reply: Reply) -> None:
        request, self._request = self._request, None
        if request is None:
            return
        fields = [
            ("content-type", reply.content_type),
            ("cache-control", "no-cache, max-age=0"),
            ("x-content-type-options", "nosniff"),
            *reply.headers,
        ]
        data = local.reply(
            reply.status,
            reply.body.encode(),
            fields,
            self._reactor.time(),
            "envoy",
            close=request.close,
            head_only=request.method == "HEAD",
        )
        self._connection.send(data)
        self._idle.cancel()
        if request.close:
            self._end()
            return
        self._idle = self._reactor.deadline(IDLE, self._connection.close)
        self._connection.resume()
        if self._buffer:
            self._serve()

    def _end(self) -> None:
        """Close after what is pending, once the client has closed too or a second has passed."""
        self._idle.cancel()
        self._connection.finish()
        self._idle = self._reactor.deadline(1.0, self._connection.close)
