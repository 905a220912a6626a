"""What goes wrong, and what the client gets then: Envoy's statuses, bodies, flags."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest

from devmesh.model.identity import Identity
from devmesh.proxy.pruning import prune
from devmesh.snapshot.cluster import ClusterKind, Limits
from devmesh.snapshot.route import Fault, HeaderOps, Mirror, Retry, Route, Weighted
from devmesh.traffic.retry import DEFAULT
from tests.proxy.meshes import (
    CLUSTER,
    GET,
    OK,
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

BEFORE_HEADERS = b"upstream connect error or disconnect/reset before headers. "
GONE = endpoint(address="10.1.0.9")
ALWAYS_AGAIN = Retry(attempts=2, on=frozenset({"5xx"}))


def to_b(**changed: object) -> Route:
    return Route(destinations=(Weighted(CLUSTER),), **changed)  # type: ignore[arg-type]


def test_a_refused_connection_is_tried_again_and_told() -> None:
    mesh = Mesh(snapshot(to_b(retry=DEFAULT), clusters=(cluster(GONE),)))
    client = mesh.client()
    client.connection.send(GET)
    mesh.reactor.advance(1)
    assert status_of(client.data) == 503
    reason = b"retried and the latest reset reason: remote connection failure"
    assert body_of(client.data) == BEFORE_HEADERS + reason
    assert len(mesh.reactor.dialled) == 3
    (record,) = mesh.sink.requests
    assert (record.flags, record.attempts) == ("UF,URX", 3)
    assert record.details == (
        "upstream_reset_before_response_started{remote_connection_failure|"
        "delayed_connect_error:_Connection_refused}"
    )


def test_a_refused_connection_of_http2_is_not_tried_for_ever() -> None:
    mesh = Mesh(snapshot(to_b(retry=DEFAULT), clusters=(replace(cluster(GONE), http2=True),)))
    client = mesh.client()
    client.connection.send(GET)
    mesh.reactor.advance(5)
    assert status_of(client.data) == 503
    assert mesh.sink.requests[0].flags == "UF,URX"


def test_another_endpoint_takes_the_request_of_one_that_refuses() -> None:
    retry = Retry(attempts=5, on=DEFAULT.on)
    mesh = Mesh(snapshot(to_b(retry=retry), clusters=(cluster(GONE, endpoint()),)))
    client = mesh.client()
    for _ in range(20):
        client.connection.send(GET)
        mesh.reactor.advance(1)
    assert client.data.count(b"hello") == 20


def test_a_retry_goes_to_the_endpoints_of_by_then() -> None:
    route = to_b(retry=replace(DEFAULT, base_interval=2.0, max_interval=2.0))
    mesh = Mesh(snapshot(route, clusters=(cluster(GONE),)))
    client = mesh.client()
    client.connection.send(GET)
    mesh.reactor.settle()
    mesh.feed.publish(snapshot(route, clusters=(cluster(endpoint()),), version=2))
    mesh.reactor.advance(10)
    assert (status_of(client.data), len(mesh.reactor.dialled)) == (200, 2)


def test_a_delayed_request_goes_to_the_endpoints_of_by_then() -> None:
    route = to_b(fault=Fault(delay=2.0, delay_percent=100.0))
    mesh = Mesh(snapshot(route, clusters=(cluster(GONE),)))
    client = mesh.client()
    client.connection.send(GET)
    mesh.reactor.settle()
    mesh.feed.publish(snapshot(route, clusters=(cluster(endpoint()),), version=2))
    mesh.reactor.advance(3)
    assert (status_of(client.data), len(mesh.reactor.dialled)) == (200, 1)


def test_no_endpoint_is_no_healthy_upstream() -> None:
    mesh = Mesh(snapshot(clusters=(cluster(),)))
    answer = mesh.call(GET)
    assert (status_of(answer), body_of(answer)) == (503, b"no healthy upstream")
    assert (mesh.sink.requests[0].flags, mesh.sink.requests[0].details) == ("UH", "no_healthy_upstream")


def test_no_route_is_an_empty_404() -> None:
    mesh = Mesh()
    answer = mesh.call(b"GET / HTTP/1.1\r\nhost: nobody\r\n\r\n")
    assert (status_of(answer), body_of(answer)) == (404, b"")
    assert mesh.sink.requests[0].flags == "NR"


def test_an_upstream_that_closes_before_its_response() -> None:
    mesh = Mesh(app=App(None))
    client = mesh.client()
    client.connection.send(GET)
    mesh.reactor.settle()
    mesh.app.ends[0].connection.close()
    mesh.reactor.settle()
    assert body_of(client.data) == BEFORE_HEADERS + b"reset reason: connection termination"
    assert mesh.sink.requests[0].flags == "UC"


def test_an_upstream_that_speaks_no_http() -> None:
    mesh = Mesh(app=App(b"SSH-2.0-OpenSSH_9\r\n"))
    answer = mesh.call(GET)
    assert status_of(answer) == 502
    assert body_of(answer) == BEFORE_HEADERS + b"reset reason: protocol error"
    assert mesh.sink.requests[0].flags == "UPE"


def test_an_upstream_that_breaks_off_cuts_the_client_off_too() -> None:
    mesh = Mesh(app=App(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhel"))
    client = mesh.client()
    client.connection.send(GET)
    mesh.reactor.settle()
    mesh.app.ends[0].connection.close()
    mesh.reactor.settle()
    assert client.ended
    (record,) = mesh.sink.requests
    told = "upstream_reset_after_response_started{protocol_error}"  # the real Envoy's
    assert (record.status, record.flags, record.details) == (200, "UPE", told)


def test_a_connection_that_was_closed_while_idle_costs_no_request() -> None:
    """The race that every proxy with a pool knows: the server closes just as we send."""
    mesh = Mesh()
    client = mesh.client()
    client.connection.send(GET)
    mesh.reactor.settle()
    old = mesh.app.ends[0].connection
    client.connection.send(GET)
    old.abort()
    mesh.reactor.settle()
    assert client.data.count(b"hello") == 2
    assert [record.attempts for record in mesh.sink.requests] == [1, 1]


def test_the_routes_timeout_answers_504() -> None:
    mesh = Mesh(snapshot(to_b(timeout=0.5)), App(None))
    client = mesh.client()
    client.connection.send(GET)
    mesh.reactor.advance(0.49)
    assert client.data == b""
    mesh.reactor.advance(0.02)
    assert (status_of(client.data), body_of(client.data)) == (504, b"upstream request timeout")
    (record,) = mesh.sink.requests
    assert (record.flags, record.details) == ("UT", "response_timeout")
    assert head_of(mesh.app.heard)["x-envoy-expected-rq-timeout-ms"] == "500"


def test_a_timeout_begins_when_the_request_is_complete() -> None:
    mesh = Mesh(snapshot(to_b(timeout=0.5)), App(lambda data: OK if data.endswith(b"abc") else None))
    client = mesh.client()
    client.connection.send(post(b"abc")[:-1])
    mesh.reactor.advance(5)
    client.connection.send(b"c")
    mesh.reactor.settle()
    assert status_of(client.data) == 200


def test_each_try_has_its_own_timeout() -> None:
    retry = Retry(attempts=1, on=frozenset({"5xx"}), per_try_timeout=0.2)
    mesh = Mesh(snapshot(to_b(retry=retry)), App(None))
    client = mesh.client()
    client.connection.send(GET)
    mesh.reactor.advance(1)
    assert status_of(client.data) == 504
    assert (mesh.sink.requests[0].flags, mesh.sink.requests[0].details) == (
        "UT,URX",
        "upstream_per_try_timeout",
    )
    assert len(mesh.app.ends) == 2


def test_a_bad_answer_is_tried_again_with_the_body() -> None:
    def second_time_lucky(data: bytes) -> bytes:
        return OK if b"x-envoy-attempt-count: 2" in data else OK.replace(b"200 OK", b"503 No")

    mesh = Mesh(snapshot(to_b(retry=ALWAYS_AGAIN)), App(second_time_lucky))
    client = mesh.client()
    client.connection.send(post(b"abc"))
    mesh.reactor.advance(1)
    assert status_of(client.data) == 200
    assert mesh.app.heard.count(b"\r\n\r\nabc") == 2
    assert mesh.sink.requests[0].attempts == 2


def test_the_default_policy_leaves_503_alone() -> None:
    mesh = Mesh(snapshot(to_b(retry=DEFAULT)), App(OK.replace(b"200 OK", b"503 No")))
    assert status_of(mesh.call(GET)) == 503
    assert mesh.sink.requests[0].attempts == 1


def test_a_body_too_large_to_keep_is_not_sent_twice() -> None:
    mesh = Mesh(snapshot(to_b(retry=ALWAYS_AGAIN)), App(None))
    client = mesh.client()
    client.connection.send(post(b"x" * 200_000))
    mesh.reactor.settle()
    mesh.app.ends[0].connection.send(OK.replace(b"200 OK", b"503 No"))
    mesh.reactor.advance(1)
    assert status_of(client.data) == 503
    assert len(mesh.app.ends) == 1


def test_an_abort_has_envoys_body() -> None:
    mesh = Mesh(snapshot(to_b(fault=Fault(abort_status=500, abort_percent=100))))
    answer = mesh.call(GET)
    assert (status_of(answer), body_of(answer)) == (500, b"fault filter abort")
    (record,) = mesh.sink.requests
    assert (record.flags, record.details, record.destination) == ("FI", "fault_filter_abort", None)
    assert record.service is not None
    assert record.service.name == "b"
    assert not mesh.app.ends


def test_a_delay_comes_before_the_abort_and_no_timeout_cuts_it() -> None:
    fault = Fault(delay=7, delay_percent=100, abort_status=418, abort_percent=100)
    mesh = Mesh(snapshot(to_b(fault=fault, timeout=0.5)))
    client = mesh.client()
    client.connection.send(GET)
    mesh.reactor.advance(6.9)
    assert client.data == b""
    mesh.reactor.advance(0.2)
    assert status_of(client.data) == 418
    assert mesh.sink.requests[0].flags == "DI,FI"
    assert mesh.sink.requests[0].duration == pytest.approx(7, abs=0.1)


def test_a_delayed_request_is_sent_with_its_body() -> None:
    mesh = Mesh(snapshot(to_b(fault=Fault(delay=2, delay_percent=100))))
    client = mesh.client()
    client.connection.send(post(b"abc"))
    mesh.reactor.advance(3)
    assert status_of(client.data) == 200
    assert mesh.app.heard.endswith(b"\r\n\r\nabc")
    assert mesh.sink.requests[0].flags == "DI"


def test_a_client_that_goes_away_takes_its_request_along() -> None:
    mesh = Mesh(app=App(None))
    client = mesh.client()
    client.connection.send(GET)
    mesh.reactor.settle()
    client.connection.close()
    mesh.reactor.settle()
    (record,) = mesh.sink.requests
    assert (record.status, record.flags, record.details) == (0, "DC", "downstream_remote_disconnect")
    assert mesh.app.ends[0].ended


def test_too_many_requests_at_once_overflow() -> None:
    limits = Limits(max_connections=1, max_pending_requests=1)
    full = replace(cluster(endpoint()), limits=limits)
    mesh = Mesh(snapshot(clusters=(full,)), App(None))
    clients = [mesh.client() for _ in range(3)]
    for client in clients:
        client.connection.send(GET)
        mesh.reactor.settle()
    over = clients[2].data
    assert (status_of(over), head_of(over)["x-envoy-overloaded"]) == (503, "true")
    assert body_of(over) == BEFORE_HEADERS + b"reset reason: overflow"
    assert mesh.sink.requests[0].flags == "UO"
    for _ in range(2):
        mesh.app.ends[0].connection.send(OK)
        mesh.reactor.settle()
    assert [status_of(client.data) for client in clients] == [200, 200, 503]
    assert len(mesh.app.ends) == 1


def test_a_mirror_gets_a_copy_and_its_answer_goes_nowhere() -> None:
    other = cluster(endpoint(address="10.1.0.3"), name="outbound|80||c.default.svc.cluster.local")
    mesh = Mesh(snapshot(to_b(mirrors=(Mirror(other.name),)), clusters=(cluster(endpoint()), other)))
    copies = App(OK.replace(b"hello", b"other"))
    mesh.reactor.serve(None, "10.1.0.3", 8080, copies)
    answer = mesh.call(post(b"abc"))
    assert body_of(answer) == b"hello"
    assert head_of(copies.heard)["host"] == "b-shadow"
    assert copies.heard.endswith(b"abc")
    assert len(mesh.sink.requests) == 2


def test_header_operations_change_both_ways() -> None:
    route = to_b(
        request_headers=HeaderOps(remove=("x-secret",), set=(("x-user", "%REQ(x-name)%"),)),
        response_headers=HeaderOps(add=(("x-version", "1"),), remove=("x-internal",)),
    )
    mesh = Mesh(snapshot(route), App(OK.replace(b"\r\n\r\n", b"\r\nX-Internal: 1\r\n\r\n")))
    answer = mesh.call(GET.replace(b"\r\n\r\n", b"\r\nx-secret: 1\r\nx-name: jason\r\n\r\n"))
    heard = head_of(mesh.app.heard)
    assert heard["x-user"] == "jason"
    assert "x-secret" not in heard
    assert head_of(answer)["x-version"] == "1"
    assert "x-internal" not in head_of(answer)


def test_a_server_that_is_somebody_else_is_not_spoken_to() -> None:
    impostor = replace(endpoint(mtls=True), identity=Identity("cluster.local", "default", "c"))
    mesh = Mesh(snapshot(clusters=(cluster(impostor),)))
    answer = mesh.call(GET)
    assert status_of(answer) == 503
    assert "verify_SAN_list" in mesh.sink.requests[-1].details
    assert not mesh.app.ends


def test_an_endpoint_that_is_a_name_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def found(name: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        asked.append(name)
        return [(2, 1, 6, "", ("10.7.7.7", 0))] if name == "b.example" else []

    monkeypatch.setattr(socket, "getaddrinfo", found)
    named = replace(cluster(endpoint(address="b.example")), kind=ClusterKind.STRICT_DNS)
    mesh = Mesh(snapshot(clusters=(named,)))
    mesh.reactor.serve(None, "10.7.7.7", 8080, mesh.app)
    for _ in range(2):
        assert body_of(mesh.call(GET)) == b"hello"
    assert asked == ["b.example"]
    unknown = replace(cluster(endpoint(address="nobody.example")), kind=ClusterKind.STRICT_DNS)
    assert body_of(Mesh(snapshot(clusters=(unknown,))).call(GET)) == b"no healthy upstream"


def test_idle_connections_go_with_their_endpoint() -> None:
    mesh = Mesh()
    mesh.call(GET)
    (end,) = mesh.app.ends
    list(prune(mesh.plane, mesh.feed.current))
    mesh.reactor.settle()
    assert not end.ended
    mesh.publish(snapshot(clusters=(cluster(),)))
    list(prune(mesh.plane, mesh.feed.current))
    mesh.reactor.settle()
    assert end.ended
    assert not mesh.plane.state("a").cluster(CLUSTER).pools


def test_idle_connections_end_when_their_time_is_over() -> None:
    short = replace(cluster(endpoint()), limits=Limits(idle_timeout=100))
    mesh = Mesh(snapshot(clusters=(short,)))
    mesh.call(GET)
    for _ in range(3):
        list(prune(mesh.plane, mesh.feed.current))
        mesh.reactor.advance(60)
    assert mesh.app.ends[0].ended
