"""HTTP/1.1 from an application to another, on the reactor in memory: no socket, no waiting."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devmesh.model.outside import OutsideNames
from devmesh.model.port import Protocol
from devmesh.proxy.reactor import Connection
from devmesh.snapshot.cluster import Endpoint
from devmesh.snapshot.network import MARK_HOP
from devmesh.snapshot.proxy import MtlsMode
from devmesh.snapshot.route import Rewrite, Route, Weighted
from tests.proxy.meshes import (
    APP,
    CLUSTER,
    GET,
    OK,
    TO_B,
    App,
    Mesh,
    body_of,
    cluster,
    endpoint,
    head_of,
    post,
    snapshot,
    status_of,
)

PLAIN = snapshot()
HOP = snapshot(clusters=(cluster(endpoint(hop=True)),))
SECURE = snapshot(clusters=(cluster(endpoint(mtls=True)),))


@pytest.mark.parametrize("first", [PLAIN, HOP, SECURE], ids=["plain", "hop", "mtls"])
def test_a_request_arrives_and_its_answer_comes_back(first: object) -> None:
    mesh = Mesh(first)  # type: ignore[arg-type]
    answer = mesh.call(GET)
    assert (status_of(answer), body_of(answer)) == (200, b"hello")
    assert head_of(answer)["server"] == "envoy"
    assert "x-envoy-upstream-service-time" in head_of(answer)
    heard = head_of(mesh.app.heard)
    assert heard["host"] == "b"
    assert heard["x-forwarded-proto"] == "http"
    assert len(heard["x-request-id"]) == 36
    assert heard["x-envoy-attempt-count"] == "1"


def test_both_sides_tell_of_a_request() -> None:
    mesh = Mesh(SECURE)
    mesh.call(post(b"abc"))
    inside, outside = mesh.sink.requests
    assert (inside.reporter, outside.reporter) == ("destination", "source")
    for record in (inside, outside):
        assert record.mtls
        assert record.source is not None
        assert (record.source.name, record.destination and record.destination.name) == ("a", "b")
        assert record.source_principal == "spiffe://cluster.local/ns/default/sa/a"
        assert record.destination_principal == "spiffe://cluster.local/ns/default/sa/b"
        assert (record.status, record.flags, record.details) == (200, "", "via_upstream")
        assert (record.bytes_received, record.bytes_sent) == (3, 5)
        assert (record.method, record.path, record.authority) == ("POST", "/x", "b")
    assert outside.upstream_cluster == CLUSTER
    assert inside.upstream_cluster == "inbound|8080||"
    assert inside.server_name == "outbound_.80_._.b.default.svc.cluster.local"
    assert inside.trace_id == outside.trace_id
    assert inside.parent_span_id == outside.span_id
    assert inside.request_id == outside.request_id


@pytest.mark.parametrize("first", [HOP, SECURE], ids=["hop", "mtls"])
def test_both_sides_tell_the_callers_own_address(first: object) -> None:
    mesh = Mesh(first)  # type: ignore[arg-type]
    mesh.call(GET)
    inside, outside = mesh.sink.requests
    assert outside.upstream_local.startswith("10.1.0.1:")
    assert inside.downstream_remote == outside.upstream_local


def test_the_application_learns_who_called_by_mutual_tls_alone() -> None:
    mesh = Mesh(SECURE)
    mesh.call(GET.replace(b"\r\n\r\n", b"\r\nx-forwarded-client-cert: By=liar\r\n\r\n"))
    certificate = head_of(mesh.app.heard)["x-forwarded-client-cert"]
    assert certificate.startswith("By=spiffe://cluster.local/ns/default/sa/b;Hash=")
    assert certificate.endswith(';Subject="";URI=spiffe://cluster.local/ns/default/sa/a')
    assert len(certificate.split("Hash=")[1].split(";")[0]) == 64

    mesh = Mesh(HOP)
    mesh.call(GET.replace(b"\r\n\r\n", b"\r\nx-forwarded-client-cert: By=liar\r\n\r\n"))
    assert "x-forwarded-client-cert" not in head_of(mesh.app.heard)


def test_connections_are_kept_and_used_again_in_turn() -> None:
    mesh = Mesh()
    client = mesh.client()
    for _ in range(3):
        client.connection.send(GET)
        mesh.reactor.settle()
    assert client.data.count(b"hello") == 3
    assert len(mesh.app.ends) == 1


def test_pipelined_requests_are_answered_in_order() -> None:
    def numbered(data: bytes) -> bytes:
        n = data.count(b"HTTP/1.1")
        return b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n%d" % n

    mesh = Mesh(app=App(numbered))
    client = mesh.client()
    client.connection.send(GET * 5)
    mesh.reactor.settle()
    assert [part[:1] for part in client.data.split(b"\r\n\r\n")[1:]] == [b"1", b"2", b"3", b"4", b"5"]


def test_a_thousand_pipelined_requests_that_the_proxy_answers_itself_need_no_stack() -> None:
    mesh = Mesh()
    answer = mesh.call(b"GET / HTTP/1.1\r\nhost: nobody\r\n\r\n" * 1000)
    assert answer.count(b"404 Not Found") == 1000


CHUNKED = (
    b"POST /x HTTP/1.1\r\nhost: b\r\ntransfer-encoding: chunked\r\n\r\n"
    b"3\r\nabc\r\n5;name=value\r\nhello\r\n0\r\nx-checksum: 1\r\n\r\n"
)


def test_chunked_bodies_and_trailers_pass_as_they_are() -> None:
    def echo(data: bytes) -> bytes | None:
        if not data.endswith(b"x-checksum: 1\r\n\r\n"):
            return None
        return b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + body_of(data)

    mesh = Mesh(SECURE, App(echo))
    answer = mesh.call(CHUNKED)
    assert body_of(answer) == body_of(CHUNKED)
    assert [(r.bytes_received, r.bytes_sent) for r in mesh.sink.requests] == [(8, 8), (8, 8)]


def test_a_body_without_a_length_ends_with_its_connection_and_is_chunked_for_the_client() -> None:
    mesh = Mesh(app=App(None))
    client = mesh.client()
    client.connection.send(GET)
    mesh.reactor.settle()
    (end,) = mesh.app.ends
    end.connection.send(b"HTTP/1.0 200 OK\r\n\r\nhello ")
    mesh.reactor.settle()
    end.connection.send(b"world")
    end.connection.finish()
    mesh.reactor.settle()
    assert head_of(client.data)["transfer-encoding"] == "chunked"
    assert body_of(client.data) == b"6\r\nhello \r\n5\r\nworld\r\n0\r\n\r\n"
    assert not client.ended


def test_expect_continue_is_answered_by_the_proxy() -> None:
    mesh = Mesh(app=App(lambda data: OK if data.endswith(b"abc") else None))
    client = mesh.client()
    client.connection.send(
        b"POST /x HTTP/1.1\r\nhost: b\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n"
    )
    mesh.reactor.settle()
    assert client.data == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.connection.send(b"abc")
    mesh.reactor.settle()
    assert client.data.endswith(b"hello")
    assert b"expect" not in mesh.app.heard


def test_early_hints_pass_and_a_second_continue_does_not() -> None:
    answer = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n" + OK
    mesh = Mesh(app=App(answer))
    told = mesh.call(GET)
    assert told.startswith(b"HTTP/1.1 103 Unknown\r\nlink: </a.css>\r\n\r\nHTTP/1.1 200 OK")


def test_head_has_a_length_and_no_body() -> None:
    mesh = Mesh(app=App(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n"))
    client = mesh.client()
    client.connection.send(GET.replace(b"GET", b"HEAD") + GET.replace(b"GET", b"HEAD"))
    mesh.reactor.settle()
    assert client.data.count(b"content-length: 500\r\n") == 2


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_some_statuses_have_no_body(status: bytes) -> None:
    mesh = Mesh(app=App(b"HTTP/1.1 " + status + b"\r\n\r\n"))
    client = mesh.client()
    client.connection.send(GET + GET)
    mesh.reactor.settle()
    assert client.data.count(status) == 2


def test_websockets_are_carried_both_ways() -> None:
    def agree(data: bytes) -> bytes:
        if data.endswith(b"\r\n\r\n"):
            return b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n"
        return b"pong"

    mesh = Mesh(SECURE, App(agree))
    client = mesh.client()
    client.connection.send(
        b"GET /ws HTTP/1.1\r\nhost: b\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"
        b"sec-websocket-key: x\r\n\r\n"
    )
    mesh.reactor.settle()
    assert status_of(client.data) == 101
    assert head_of(client.data)["upgrade"] == "websocket"
    client.connection.send(b"ping")
    mesh.reactor.settle()
    assert client.data.endswith(b"\r\n\r\npong")
    client.connection.close()
    mesh.reactor.settle()
    assert {record.status for record in mesh.sink.requests} == {101}


def test_what_a_client_says_before_the_server_agreed_to_upgrade_is_carried_too() -> None:
    def agree(data: bytes) -> bytes | None:
        if data.endswith(b"\r\n\r\n"):
            return b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n"
        return data[-5:]

    mesh = Mesh(SECURE, App(agree))
    client = mesh.client()
    client.connection.send(
        b"GET /ws HTTP/1.1\r\nhost: b\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\nearly"
    )
    mesh.reactor.settle()
    assert client.data.endswith(b"\r\n\r\nearly")


def test_other_upgrades_are_refused() -> None:
    mesh = Mesh()
    answer = mesh.call(GET.replace(b"\r\n\r\n", b"\r\nconnection: upgrade\r\nupgrade: foo\r\n\r\n"))
    assert status_of(answer) == 403


def test_http_1_0_is_asked_to_upgrade() -> None:
    answer = Mesh().call(b"GET / HTTP/1.0\r\nhost: b\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 426 Upgrade Required\r\n")
    assert body_of(answer) == b"Upgrade Required"


def test_what_connection_names_is_not_sent_on() -> None:
    mesh = Mesh()
    mesh.call(GET.replace(b"\r\n\r\n", b"\r\nconnection: keep-alive, foo\r\nfoo: 1\r\nkeep-alive: 5\r\n\r\n"))
    assert head_of(mesh.app.heard).keys().isdisjoint({"connection", "foo", "keep-alive"})


def test_connection_close_is_obeyed() -> None:
    mesh = Mesh()
    client = mesh.client()
    client.connection.send(GET.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
    mesh.reactor.settle()
    assert head_of(client.data)["connection"] == "close"
    assert client.ended


@pytest.mark.parametrize("first", [PLAIN, SECURE], ids=["plain", "mtls"])
def test_large_bodies_are_streamed_and_who_is_slow_slows_the_sender(first: object) -> None:
    size = 3_000_000
    mesh = Mesh(first, App(None))  # type: ignore[arg-type]
    client = mesh.client()
    client.connection.pause()
    client.connection.send(GET)
    mesh.reactor.settle()
    (end,) = mesh.app.ends
    end.connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
    end.connection.send(b"x" * size)
    mesh.reactor.settle()
    assert end.connection.pending > size / 2  # held where it comes from, not in the middle
    client.connection.resume()
    mesh.reactor.settle()
    assert len(body_of(client.data)) == size
    assert mesh.sink.requests[-1].bytes_sent == size


def test_a_large_upload_is_streamed_and_a_slow_application_slows_the_client() -> None:
    size = 3_000_000
    mesh = Mesh(app=App(lambda data: OK if len(data) > size else None))
    slow: list[bool] = []
    accept = mesh.app

    def unread(connection: object) -> None:
        connection.pause()  # type: ignore[attr-defined]
        slow.append(True)
        accept(connection)  # type: ignore[arg-type]

    mesh.reactor.serve(None, *APP, unread)
    client = mesh.client()
    client.connection.send(post(b"x" * size))
    mesh.reactor.settle()
    assert slow
    assert client.connection.pending > size / 2
    mesh.app.ends[0].connection.resume()
    mesh.reactor.settle()
    assert status_of(client.data) == 200


def test_a_body_larger_than_a_buffer_waits_for_the_handshake_and_goes_on() -> None:
    size = 300_000
    mesh = Mesh(SECURE, App(lambda data: OK if len(data) > size else None))
    client = mesh.client()
    client.connection.send(post(b"x" * size))
    mesh.reactor.settle()
    assert status_of(client.data) == 200


def test_a_connection_whose_upload_ended_in_full_buffers_serves_the_next_request() -> None:
    """Of this size the last piece is the first that finds the application's buffers full."""
    mesh = Mesh(app=App(lambda data: OK if data.endswith((b"x", b"\r\n\r\n")) else None))
    client, accept = mesh.client(), mesh.app

    def slow(connection: Connection) -> None:
        accept(connection)
        connection.pause()

    mesh.reactor.serve(None, *APP, slow)
    client.connection.send(post(b"-" * 327_500 + b"x"))
    mesh.reactor.settle()
    mesh.app.ends[0].connection.resume()
    mesh.reactor.settle()
    client.connection.send(GET)
    mesh.reactor.settle()
    assert client.data.count(b"HTTP/1.1 200 OK") == 2


def test_an_endpoint_that_is_a_services_name_leads_into_the_mesh() -> None:
    """A ServiceEntry may name a Service; its pods can be reached in their own namespaces alone."""
    name, address = "b.default.svc.cluster.local", "240.240.0.9"
    there = Endpoint(name, APP[1])
    mesh = Mesh(
        replace(
            snapshot(clusters=(cluster(there),)),
            names={name: (address,)},
            backends={(address, APP[1]): (APP,)},
        )
    )
    assert status_of(mesh.call(GET)) == 200
    assert mesh.reactor.dialled[0] == ("b", *APP, MARK_HOP)


def test_an_endpoint_whose_name_was_given_an_address_is_not_looked_up() -> None:
    mesh = Mesh(snapshot(clusters=(cluster(Endpoint("api.example.com", APP[1])),)))
    mesh.plane.outside = OutsideNames({"*.example.com": [APP[0]]})
    assert status_of(mesh.call(GET)) == 200
    assert mesh.reactor.dialled[0][1:3] == APP


def test_strict_resets_plain_text() -> None:
    mesh = Mesh(snapshot(mode=MtlsMode.STRICT))
    stranger = mesh.stranger()
    stranger.connection.send(GET)
    mesh.reactor.settle()
    assert stranger.data == b""
    assert stranger.reset
    assert not mesh.app.ends


def test_strict_holds_for_the_next_request_of_a_connection_that_began_before() -> None:
    mesh = Mesh(HOP)
    stranger = mesh.stranger()
    stranger.connection.send(GET)
    mesh.reactor.settle()
    assert stranger.data.endswith(b"hello")
    mesh.publish(snapshot(mode=MtlsMode.STRICT))
    stranger.connection.send(GET)
    mesh.reactor.settle()
    assert stranger.reset


def test_a_stranger_in_plain_text_is_served_where_permitted() -> None:
    mesh = Mesh()
    stranger = mesh.stranger()
    stranger.connection.send(GET)
    mesh.reactor.settle()
    assert head_of(stranger.data)["server"] == "istio-envoy"
    (record,) = mesh.sink.requests
    assert (record.mtls, record.source, record.source_principal) == (False, None, "")


def test_tls_of_the_applications_own_passes_through_where_permitted() -> None:
    mesh = Mesh(app=App(b"the server's flight"))
    stranger = mesh.stranger()
    hello = bytes.fromhex("160301002f0100002b0303") + bytes(32) + bytes.fromhex("0000021301010000000000")
    hello = hello[:3] + (len(hello) - 5).to_bytes(2) + hello[5:]
    hello = hello[:6] + (len(hello) - 9).to_bytes(3) + hello[9:]
    stranger.connection.send(hello)
    mesh.reactor.settle()
    assert mesh.app.heard == hello
    assert stranger.data == b"the server's flight"


def test_an_unnamed_port_of_a_workload_is_the_inbound_passthrough() -> None:
    mesh = Mesh()
    mesh.reactor.serve("b", APP[0], 9999, mesh.app)
    stranger = mesh.stranger(9999)
    stranger.connection.send(GET)
    mesh.reactor.settle()
    assert stranger.data.endswith(b"hello")
    assert mesh.sink.requests[0].upstream_cluster == "InboundPassthroughCluster"


def test_an_unknown_port_is_sniffed() -> None:
    mesh = Mesh(snapshot(inbound=Protocol.AUTO, clusters=(cluster(endpoint(mtls=True)),)))
    assert mesh.call(GET, port=7000).endswith(b"hello")
    assert len(mesh.sink.requests) == 2
    mesh.app.answer = b"pong"
    assert mesh.call(b"\x00\x01ping", port=7000) == b"pong"
    assert len(mesh.sink.opens) == 2


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_split_of_the_bytes_gives_the_same(data: st.DataObject) -> None:
    stream = GET + CHUNKED + post(b"abc") + GET
    cuts = sorted(data.draw(st.sets(st.integers(1, len(stream) - 1), max_size=12)))
    pieces = [stream[i:j] for i, j in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    mesh = Mesh(app=App(None))
    client = mesh.client()
    for piece in pieces:
        client.connection.send(piece)
        mesh.reactor.settle()
        _answer_each(mesh)
    _answer_each(mesh)
    mesh.reactor.settle()
    assert client.data.count(b"hello") == 4
    bodies = [record.bytes_received for record in mesh.sink.requests]
    assert bodies == [0, 8, 3, 0]


def _answer_each(mesh: Mesh) -> None:
    """Answer as often as whole requests have arrived that were not answered."""
    for _ in range(8):
        (end,) = mesh.app.ends or (None,)
        if end is None:
            return
        whole = (
            end.data.count(b"GET /x")
            + end.data.count(b"\r\n\r\nabc")
            + end.data.count(b"x-checksum: 1\r\n\r\n")
        )
        if whole <= len(mesh.sink.requests):
            return
        end.connection.send(OK)
        mesh.reactor.settle()


def test_a_config_change_drops_no_request_in_flight() -> None:
    mesh = Mesh(app=App(None))
    client = mesh.client()
    client.connection.send(GET)
    mesh.reactor.settle()
    mesh.publish(snapshot(TO_B, clusters=()))
    mesh.app.ends[0].connection.send(OK)
    mesh.reactor.settle()
    assert client.data.endswith(b"hello")
    client.connection.send(GET)
    mesh.reactor.settle()
    assert b"503 Service Unavailable" in client.data
    assert mesh.sink.requests[-1].flags == "NC"


@pytest.mark.parametrize(
    ("route", "weighted", "host"), [("", "w", "w"), ("r", "w", "r"), ("r", "", "r"), ("", "", "b")]
)
def test_the_host_is_the_routes_or_the_chosen_destinations(route: str, weighted: str, host: str) -> None:
    to = (Weighted(CLUSTER, 1, authority=weighted or None), Weighted(CLUSTER, 1, authority=weighted or None))
    mesh = Mesh(snapshot(Route(destinations=to, rewrite=Rewrite(authority=route) if route else None)))
    mesh.call(GET)
    assert head_of(mesh.app.heard)["host"] == host
    assert head_of(mesh.app.heard).get("x-envoy-original-host", "b") == "b"
