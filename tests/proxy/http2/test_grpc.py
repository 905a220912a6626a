"""gRPC through the mesh, hyper-h2 on both ends."""

from __future__ import annotations

from dataclasses import replace

import pytest

from devmesh.snapshot.route import DirectResponse, Fault, Redirect, Retry, Rewrite, Route
from devmesh.traffic import retry
from tests.proxy.http2.peers import Fields, Message, Peer, Server
from tests.proxy.http2.test_conversations import client_of, http2_cluster, speaking
from tests.proxy.meshes import TO_B, App, Mesh, cluster, head_of, snapshot, status_of

GRPC: Fields = [("content-type", "application/grpc"), ("te", "trailers")]
HELLO = b"\0\0\0\0\5hello"


def call(mesh: Mesh, more: Fields | None = None, body: bytes = HELLO) -> tuple[Peer, Message]:
    client = client_of(mesh)
    number = client.request([*GRPC, *(more or [])], body, method="POST", path="/pkg.Service/Method")
    mesh.reactor.settle()
    return client, client.messages[number]


def serving(code: str = "0", body: bytes = HELLO) -> Server:
    return Server(lambda peer, number: peer.answer(number, body, GRPC[:1], trailers=[("grpc-status", code)]))


def routed(route: Route, server: Server | App | None = None) -> Mesh:
    return Mesh(snapshot(route, clusters=(http2_cluster(),)), server or serving())  # type: ignore[arg-type]


def test_a_unary_call() -> None:
    server = serving()
    mesh = speaking(server, mtls=True)
    _, answer = call(mesh)
    assert answer.body == HELLO
    assert answer.trailers == [("grpc-status", "0")]
    assert server.heads[0]["te"] == "trailers"
    inbound, outbound = mesh.sink.requests
    for record in (inbound, outbound):
        assert (record.protocol, record.status, record.grpc_status) == ("grpc", 200, 0)
        assert (record.request_messages, record.response_messages) == (1, 1)
        assert record.details == "via_upstream"


def test_a_rewritten_call_tells_its_own_original_path_alone() -> None:
    app = App(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    rewritten = replace(TO_B, rewrite=Rewrite("/other"))
    call(Mesh(snapshot(rewritten), app), [("x-envoy-original-path", "/forged")])
    assert app.heard.startswith(b"POST /other HTTP/1.1\r\n")
    assert app.heard.count(b"x-envoy-original-path: ") == 1
    assert b"x-envoy-original-path: /pkg.Service/Method\r\n" in app.heard


@pytest.mark.parametrize(
    ("route", "status", "message"),
    [
        (Route(direct=DirectResponse(418, b"tea 100% \xc3")), "2", "tea 100%25 %C3"),
        (Route(direct=DirectResponse(401)), "16", None),
        (Route(redirect=Redirect(path="/other")), "2", None),
        (replace(TO_B, fault=Fault(abort_status=503, abort_percent=100)), "14", "fault filter abort"),
        (replace(TO_B, fault=Fault(abort_grpc_status=8, abort_percent=100)), "8", "fault filter abort"),
        (replace(TO_B, destinations=(replace(TO_B.destinations[0], cluster="none"),)), "14", None),
    ],
)
def test_the_proxys_own_answers_are_statuses_of_grpc(route: Route, status: str, message: str | None) -> None:
    mesh = routed(route)
    _, answer = call(mesh)
    assert (answer[":status"], answer["content-type"], answer["grpc-status"]) == (
        "200", "application/grpc", status,
    )  # fmt: skip
    assert answer["grpc-message"] == (message or "")
    assert (answer.body, answer.ended) == (b"", True)
    [record] = mesh.sink.requests
    assert (record.status, record.grpc_status) == (200, int(status))


def test_a_fault_by_grpc_status_is_a_plain_200_for_others() -> None:
    mesh = routed(replace(TO_B, fault=Fault(abort_grpc_status=8, abort_percent=100)))
    answer = mesh.call(b"GET /x HTTP/1.1\r\nhost: b\r\n\r\n")
    assert status_of(answer) == 200
    assert answer.endswith(b"fault filter abort")
    assert "grpc-status" not in head_of(answer)


def test_a_route_is_not_found() -> None:
    mesh = routed(replace(TO_B, matches=()))
    client = client_of(mesh)
    number = client.request(GRPC, method="POST", authority="nobody")
    mesh.reactor.settle()
    assert client.messages[number]["grpc-status"] == "12"
    assert mesh.sink.requests[0].flags == "NR"


def test_a_server_that_cannot_be_reached_is_unavailable() -> None:
    mesh = speaking()
    mesh.reactor.places.clear()
    _, answer = call(mesh)
    assert answer["grpc-status"] == "14"
    assert answer["grpc-message"].startswith("upstream connect error or disconnect/reset before headers.")


@pytest.mark.parametrize(
    ("condition", "code"), [(name, code) for name, code in retry.GRPC_CONDITIONS.items()]
)
def test_calls_are_tried_again_by_their_status(condition: str, code: int) -> None:
    codes = [code, code, 0]
    server = Server(
        lambda peer, number: peer.answer(number, fields=[*GRPC[:1], ("grpc-status", str(codes.pop(0)))])
    )
    mesh = routed(replace(TO_B, retry=Retry(attempts=2, on=frozenset({condition}))), server)
    client, answer = call(mesh)
    mesh.reactor.advance(1)
    assert len(server.heads) == 3
    assert [message.body for message in server.heads] == [HELLO] * 3
    assert client.messages[1]["grpc-status"] == "0"
    assert answer.ended


def test_a_status_after_the_head_is_not_tried_again() -> None:
    server = serving("14")
    mesh = routed(replace(TO_B, retry=Retry(attempts=2, on=frozenset({"unavailable"}))), server)
    _, answer = call(mesh)
    mesh.reactor.advance(1)
    assert (len(server.heads), answer.trailers) == (1, [("grpc-status", "14")])
    assert mesh.sink.requests[0].grpc_status == 14


def test_a_refused_stream_is_tried_again() -> None:
    server = Server()
    seen: list[int] = []

    def answer(peer: Peer, number: int) -> None:
        seen.append(number)
        if len(seen) == 1:
            peer.reset(number, 7)
        else:
            peer.answer(number, fields=[*GRPC[:1], ("grpc-status", "0")])

    server.answer = answer
    mesh = routed(replace(TO_B, retry=retry.DEFAULT), server)
    client, _ = call(mesh)
    mesh.reactor.advance(1)
    assert (seen, client.messages[1]["grpc-status"]) == ([1, 3], "0")


@pytest.mark.parametrize(
    ("asked", "allowed", "told", "after"),
    [
        ("2S", None, "2000m", 2.0),
        ("2S", 1.0, "1000m", 1.0),
        ("500m", 1.0, "500m", 0.5),
        ("", 1.0, "1000m", 1.0),
    ],
)
def test_a_deadline_is_kept_and_passed_on(asked: str, allowed: float | None, told: str, after: float) -> None:
    server = Server(lambda peer, number: None)
    mesh = routed(replace(TO_B, timeout=allowed), server)
    _, answer = call(mesh, [("grpc-timeout", asked)] if asked else [])
    assert server.heads[0]["grpc-timeout"] == told
    mesh.reactor.advance(after - 0.05)
    assert not answer.ended
    mesh.reactor.advance(0.1)
    assert (answer["grpc-status"], answer["grpc-message"]) == ("14", "upstream request timeout")
    assert server.heads[0].reset is not None
    assert mesh.sink.requests[0].flags == "UT"


def test_without_a_deadline_a_call_lasts() -> None:
    server = Server(lambda peer, number: None)
    mesh = routed(TO_B, server)
    _, answer = call(mesh)
    mesh.reactor.advance(3600)
    assert not answer.ended
    assert not server.heads[0].has("grpc-timeout")


def test_the_servers_side_keeps_the_deadline_too() -> None:
    server = Server(lambda peer, number: None)
    mesh = speaking(server)
    stranger = Peer(mesh.reactor.connect(mesh.inbound, original=("10.1.0.2", 8080)), client=True)
    number = stranger.request([*GRPC, ("grpc-timeout", "1S")], HELLO, method="POST")
    mesh.reactor.advance(1.1)
    answer = stranger.messages[number]
    assert (answer["grpc-status"], answer["grpc-message"]) == ("4", "downstream duration timeout")
    [record] = mesh.sink.requests
    assert (record.details, record.grpc_status) == ("max_duration_timeout", 4)


def test_messages_of_a_stream_that_lasts_are_told_of_meanwhile() -> None:
    mesh = speaking(Server(lambda peer, number: None))
    told: list[tuple[int, int]] = []
    mesh.sink.messages = lambda record: told.append(  # type: ignore[method-assign]
        (record.request_messages, record.response_messages)
    )
    client = client_of(mesh)
    number = client.request(GRPC, method="POST", end=False)
    client.send(number, HELLO * 2 + HELLO[:3])
    mesh.reactor.advance(6)
    assert told == [(2, 0)]
    client.send(number, HELLO[3:])
    mesh.reactor.advance(20)
    assert told == [(2, 0), (1, 0)]
    client.reset(number)
    mesh.reactor.settle()
    [record] = mesh.sink.requests
    assert (record.request_messages, record.response_messages, record.status) == (0, 0, 0)


def test_grpc_by_http1_is_answered_as_grpc_too() -> None:
    mesh = Mesh(snapshot(Route(direct=DirectResponse(503, b"no")), clusters=(cluster(),)))
    answer = mesh.call(
        b"POST /x HTTP/1.1\r\nhost: b\r\ncontent-type: application/grpc+proto\r\ncontent-length: 0\r\n\r\n"
    )
    assert status_of(answer) == 200
    head = head_of(answer)
    assert (head["grpc-status"], head["grpc-message"], head["content-length"]) == ("14", "no", "0")
