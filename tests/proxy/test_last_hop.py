"""Where a workload's proxy takes what comes for it: into the pod, elsewhere in it, or out of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from devmesh.model.port import Protocol
from devmesh.snapshot.cluster import Limits
from devmesh.snapshot.network import MARK_PROXY
from devmesh.snapshot.proxy import LastHop, MtlsMode
from devmesh.snapshot.snapshot import Snapshot
from tests.proxy.meshes import APP, GET, App, Mesh, body_of, cluster, endpoint, snapshot

OUTSIDE = LastHop("127.0.0.1", 5000, outside=True)
IN_POD = LastHop("127.0.0.1", 5000)


def leading(last: LastHop | None, protocol: Protocol = Protocol.HTTP, *, mtls: bool = True) -> Snapshot:
    made = snapshot(
        clusters=(cluster(endpoint(mtls=mtls, hop=True)),), inbound=protocol, mode=MtlsMode.PERMISSIVE
    )
    b = made.proxies["b"]
    ports = {APP[1]: replace(b.inbound.ports[APP[1]], last_hop=last)}
    return replace(made, proxies={**made.proxies, "b": replace(b, inbound=replace(b.inbound, ports=ports))})


def named(text: bytes) -> App:
    return App(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(text), text))


@pytest.fixture
def mesh() -> Mesh:
    found = Mesh(leading(None))
    found.reactor.serve(None, "127.0.0.1", 5000, named(b"outside"))
    found.reactor.serve("b", "127.0.0.1", 5000, named(b"in the pod"))
    return found


@pytest.mark.parametrize(
    ("last", "answer"), [(None, b"hello"), (OUTSIDE, b"outside"), (IN_POD, b"in the pod")]
)
def test_requests_go_where_the_last_hop_is(mesh: Mesh, last: LastHop | None, answer: bytes) -> None:
    mesh.publish(leading(last))
    assert body_of(mesh.call(GET)) == answer
    where = (None if last is OUTSIDE else "b", *((last.address, last.port) if last else APP), MARK_PROXY)
    assert mesh.reactor.dialled[-1] == where


def test_a_connection_that_is_open_follows_a_change_with_its_next_request(mesh: Mesh) -> None:
    client = mesh.client()
    answers = []
    for last in (None, OUTSIDE, IN_POD, None):
        mesh.publish(leading(last))
        client.data = b""
        client.connection.send(GET)
        mesh.reactor.settle()
        answers.append(body_of(client.data))
    assert answers == [b"hello", b"outside", b"in the pod", b"hello"]


def test_a_request_under_way_is_answered_from_where_it_went(mesh: Mesh) -> None:
    held: list[Callable[[], None]] = []

    def later(data: bytes) -> None:
        end = mesh.app.ends[-1]
        held.append(lambda: end.connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nold"))

    mesh.app.answer = later
    client = mesh.client()
    client.connection.send(GET)
    mesh.reactor.settle()
    mesh.publish(leading(OUTSIDE))
    held[0]()
    mesh.reactor.settle()
    assert body_of(client.data) == b"old"


def test_the_workload_stays_who_it_is(mesh: Mesh) -> None:
    mesh.publish(leading(OUTSIDE))
    mesh.call(GET)
    [server, client] = sorted(mesh.sink.requests, key=lambda r: r.reporter)
    assert server.reporter == "destination"
    assert server.destination is not None
    assert server.destination.name == "b"
    assert server.destination_principal == "spiffe://cluster.local/ns/default/sa/b"
    assert (server.upstream_host, server.downstream_local) == ("127.0.0.1:5000", "10.1.0.2:8080")
    assert client.destination == server.destination


def test_whole_connections_go_there_too(mesh: Mesh) -> None:
    mesh.publish(leading(OUTSIDE, Protocol.TCP))
    mesh.reactor.serve(None, "127.0.0.1", 5000, App(b"outside"))
    assert mesh.call(b"anything", 9000) == b"outside"
    [record] = [r for r in mesh.sink.opens if r.reporter == "destination"]
    assert record.upstream_host == "127.0.0.1:5000"


def test_limits_of_the_receiving_side_hold_for_whole_connections(mesh: Mesh) -> None:
    made = leading(None, Protocol.TCP)
    b = made.proxies["b"]
    ports = {APP[1]: replace(b.inbound.ports[APP[1]], limits=Limits(max_connections=1))}
    b = replace(b, inbound=replace(b.inbound, ports=ports))
    mesh.publish(replace(made, proxies={**made.proxies, "b": b}))
    first, second = mesh.stranger(), mesh.stranger()
    first.connection.send(b"x")
    second.connection.send(b"x")
    mesh.reactor.advance(1)
    assert (first.ended, second.ended) == (False, True)
    assert [r.flags for r in mesh.sink.closes] == ["UO"]


def test_where_nobody_listens_the_caller_gets_503(mesh: Mesh) -> None:
    mesh.publish(leading(LastHop("127.0.0.1", 1, outside=True)))
    client = mesh.client()
    client.connection.send(GET)
    mesh.reactor.advance(5)  # it is tried again
    assert client.data.startswith(b"HTTP/1.1 503 ")
