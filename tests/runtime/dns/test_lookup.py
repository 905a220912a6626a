"""What a name means on this machine."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from devmesh.model.outside import OutsideNames
from devmesh.runtime.dns import lookup, message
from devmesh.runtime.dns.lookup import Found, HostLookup


@contextmanager
def name_server(
    monkeypatch: pytest.MonkeyPatch, records: dict[int, list[tuple[bytes, int]]]
) -> Iterator[None]:
    """Answer what `forward.ask` would ask the network, by record type: data and time to live."""

    async def ask(
        packet: bytes, query: message.Query, servers: object, make: object, *, by_tcp: bool
    ) -> bytes:
        await trio.lowlevel.checkpoint()
        found = records.get(query.type, [])
        body = b"".join(
            b"\xc0\x0c" + struct.pack("!HHIH", query.type, 1, ttl, len(data)) + data for data, ttl in found
        )
        head = struct.pack("!HHHHHH", query.id, 0x8180, 1, len(found), 0, 0)
        return head + packet[12:] + body

    monkeypatch.setattr(lookup.forward, "ask", ask)
    yield


def v4(text: str) -> bytes:
    return socket.inet_aton(text)


def looking(tmp_path: Path, hosts: str = "", outside: dict[str, list[str]] | None = None) -> HostLookup:
    path = tmp_path / "hosts"
    path.write_text(hosts)
    return HostLookup(OutsideNames(outside or {}), lambda: ("192.0.2.53",), path)


async def test_dns_says_addresses_and_for_how_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = {message.A: [(v4("192.0.2.1"), 300), (v4("192.0.2.2"), 20)]}
    with name_server(monkeypatch, records):
        assert await looking(tmp_path)("w.example") == Found(("192.0.2.1", "192.0.2.2"), 20.0)


async def test_ipv6_counts_where_there_is_no_ipv4(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    six = socket.inet_pton(socket.AF_INET6, "2001:db8::1")
    with name_server(monkeypatch, {message.AAAA: [(six, 9)]}):
        assert await looking(tmp_path)("w.example") == Found(("2001:db8::1",), 9.0)
    with name_server(monkeypatch, {message.AAAA: [(six, 9)], message.A: [(v4("192.0.2.1"), 8)]}):
        assert await looking(tmp_path)("w.example") == Found(("192.0.2.1",), 8.0)


async def test_the_hosts_file_goes_before_dns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = "127.0.0.1 localhost\n# 192.0.2.9 w.example\n::1 W.example\n192.0.2.7\tother w.example # mine\n"
    with name_server(monkeypatch, {message.A: [(v4("192.0.2.1"), 300)]}):
        assert await looking(tmp_path, hosts)("w.example") == Found(("192.0.2.7",))


async def test_the_mesh_files_stand_ins_go_before_all(tmp_path: Path) -> None:
    found = looking(tmp_path, "192.0.2.7 w.example", {"*.example": ["127.0.0.1"]})
    assert await found("w.example") == Found(("127.0.0.1",))


async def test_what_dns_does_not_know_the_system_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(name: str, port: object, **more: object) -> list[tuple[object, ...]]:
        if name != "nas.local":
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return [(socket.AF_INET, 1, 6, "", ("192.0.2.8", 0))] * 2

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with name_server(monkeypatch, {}):
        assert await looking(tmp_path)("nas.local") == Found(("192.0.2.8",))
        assert await looking(tmp_path)("nowhere.example") is None
