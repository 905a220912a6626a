"""The metrics of the application itself, which Istio's agent adds to the proxy's on port 15020."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from devmesh.proxy.plane import Plane
from devmesh.proxy.reactor import Owner
from devmesh.snapshot.network import MARK_PROXY

log = logging.getLogger(__name__)

TIMEOUT = 5.0  # seconds
_MOST = 16 << 20  # bytes
Then = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Scrape:
    """Where an application tells its metrics (``prometheus.io/port`` and ``path``), on its pod's loopback."""

    port: int
    path: str = "/metrics"


def fetch(plane: Plane, instance: str, scrape: Scrape, then: Then) -> None:
    """Have `then` called with the application's metrics; with nothing where it doesn't answer."""
    _Fetch(plane, instance, scrape, then)


class _Fetch(Owner):
    """Asks once. HTTP/1.0: the answer ends with its connection, and is in one piece."""

    def __init__(self, plane: Plane, instance: str, scrape: Scrape, then: Then) -> None:
        self._then: Then | None = then
        self._data = b""
        self._where = f"port {scrape.port} of {instance}"
        self._deadline = plane.reactor.deadline(TIMEOUT, lambda: self._end("it took too long"))
        try:
            self._connection = plane.reactor.dial(self, instance, "127.0.0.1", scrape.port, mark=MARK_PROXY)
        except OSError as error:
            self._fail(str(error))
            return
        self._connection.send(f"GET {scrape.path} HTTP/1.0\r\nhost: localhost\r\n\r\n".encode("latin-1"))

    def readable(self) -> None:
        data = self._connection.recv()
        if data is None:
            return
        self._data += data
        if not data:
            self._end(self._connection.error)
        elif len(self._data) > _MOST:
            self._end("it is too much")

    def lost(self, reason: str) -> None:
        self._end(reason)

    def _end(self, why: str) -> None:
        self._connection.close()
        head, _, body = self._data.partition(b"\r\n\r\n")
        status = head[:16].split(b" ")[1:2]
        if why or status != [b"200"]:
            self._fail(why or f"it answered {head[:60]!r}")
        else:
            self._tell(body.decode("utf-8", "replace"))

    def _fail(self, why: str) -> None:
        log.info("no metrics of the application on %s: %s", self._where, why)
        self._tell("")

    def _tell(self, text: str) -> None:
        self._deadline.cancel()
        then, self._then = self._then, None
        if then is not None:
            then(text)
