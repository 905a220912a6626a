from __future__ import annotations

import pytest

from devmesh.model.port import Protocol, protocol_of


@pytest.mark.parametrize(
    ("name", "app_protocol", "number", "protocol"),
    [
        ("http", None, 1, Protocol.HTTP),
        ("http-web", None, 1, Protocol.HTTP),
        ("HTTP2-x", None, 1, Protocol.HTTP2),
        ("httpweb", None, 1, Protocol.AUTO),
        ("grpc", None, 1, Protocol.GRPC),
        ("grpc-web", None, 1, Protocol.GRPC_WEB),
        ("grpc-web-x", None, 1, Protocol.GRPC_WEB),
        ("grpc-api", None, 1, Protocol.GRPC),
        ("", None, 1, Protocol.AUTO),
        ("x", None, 3306, Protocol.TCP),
        ("", None, 27017, Protocol.TCP),
        ("", None, 53, Protocol.TCP),
        ("http", None, 3306, Protocol.HTTP),
        ("tcp", "http", 1, Protocol.HTTP),
        ("http", "tcp", 1, Protocol.TCP),
        ("http", "kafka", 1, Protocol.AUTO),
        ("x", "kubernetes.io/h2c", 1, Protocol.HTTP2),
        ("x", "kubernetes.io/ws", 1, Protocol.HTTP),
        ("x", "kubernetes.io/wss", 1, Protocol.HTTPS),
        ("mysql", None, 1, Protocol.MYSQL),
    ],
)
def test_what_a_port_speaks_is_said_by_its_app_protocol_or_its_name(
    name: str, app_protocol: str | None, number: int, protocol: Protocol
) -> None:
    assert protocol_of(name, app_protocol, number=number) is protocol


def test_udp_is_udp_whatever_the_name_says() -> None:
    assert protocol_of("http", "http", "UDP") is Protocol.UDP
