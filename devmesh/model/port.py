"""A port of a Service, and what is spoken on it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Protocol(Enum):
    """What is spoken on a port. `AUTO` is decided per connection, by its first bytes."""

    AUTO = "auto"
    HTTP = "http"
    HTTP2 = "http2"
    GRPC = "grpc"
    GRPC_WEB = "grpc-web"
    HTTPS = "https"
    TLS = "tls"
    TCP = "tcp"
    MONGO = "mongo"
    MYSQL = "mysql"
    REDIS = "redis"
    UDP = "udp"

    @property
    def is_http(self) -> bool:
        """Whether the proxy reads requests here (HTTPS and TLS are opaque to it)."""
        return self in _HTTP

    @property
    def is_http2(self) -> bool:
        """Whether it is HTTP/2 that is spoken to the workload (Istio counts gRPC-Web as that)."""
        return self in (Protocol.HTTP2, Protocol.GRPC, Protocol.GRPC_WEB)


_HTTP = {Protocol.HTTP, Protocol.HTTP2, Protocol.GRPC, Protocol.GRPC_WEB}
_APP_PROTOCOLS = {
    "kubernetes.io/h2c": Protocol.HTTP2,
    "kubernetes.io/ws": Protocol.HTTP,
    "kubernetes.io/wss": Protocol.HTTPS,
}
# The server speaks first there, so that Istio never waits for the client (SMTP, DNS, MySQL, MongoDB).
_NEVER_SNIFFED = (25, 53, 3306, 27017)


@dataclass(frozen=True, slots=True)
class Port:
    """One port of a Service.

    `target` is where the workload listens: a number, or the name of a container's port that
    is looked up per instance.
    """

    name: str
    number: int
    protocol: Protocol
    target: int | str


def protocol_of(
    name: str, app_protocol: str | None = None, transport: str = "TCP", number: int = 0
) -> Protocol:
    """Return what a Service port speaks.

    Istio, "Explicit protocol selection": ``appProtocol`` in place of the name, if there is one; of either
    what is before the first dash (``http-web``; ``grpc-web`` has one itself). Unknown is sniffed, save on
    well-known ports.
    """
    if transport.upper() == "UDP":
        return Protocol.UDP
    if app_protocol:
        if (known := _APP_PROTOCOLS.get(app_protocol)) is not None:
            return known
        name = app_protocol
    if name[:8].lower() == "grpc-web":
        return Protocol.GRPC_WEB
    return _named(name.partition("-")[0]) or (Protocol.TCP if number in _NEVER_SNIFFED else Protocol.AUTO)


def _named(word: str) -> Protocol | None:
    try:
        found = Protocol(word.lower())
    except ValueError:
        return None
    return None if found is Protocol.AUTO else found
