"""Connection pools on a virtual clock: Envoy's limits, what overflows, what is counted."""

from __future__ import annotations

from dataclasses import replace

from devmesh.proxy.cluster_stats import values
from devmesh.proxy.pools import ClusterState
from devmesh.proxy.pruning import prune
from devmesh.snapshot.cluster import Limits, RetryBudget
from devmesh.snapshot.route import Retry, Route, Weighted
from tests.proxy.meshes import (
    CLUSTER,
    GET,
    OK,
    App,
    End,
    Mesh,
    body_of,
    cluster,
    endpoint,
    head_of,
    snapshot,
    status_of,
)

SILENT = endpoint(address="10.1.0.8")  # where nobody answers, and nobody refuses
OVERFLOW = b"upstream connect error or disconnect/reset before headers. reset reason: overflow"


def limited(limits: Limits, *, retry: Retry | None = None, app: App | None = None) -> Mesh:
    route = Route(destinations=(Weighted(CLUSTER),), retry=retry)
    return Mesh(snapshot(route, clusters=(replace(cluster(endpoint()), limits=limits),)), app or App(None))


def state(mesh: Mesh) -> ClusterState:
    return mesh.plane.state("a").cluster(CLUSTER)


def counted(mesh: Mesh, *names: str) -> list[int]:
    found = values(state(mesh), mesh.feed.current.proxies["a"].outbound.clusters[CLUSTER])
    return [found[name] for name in names]


def clients(mesh: Mesh, count: int) -> list[End]:
    made = [mesh.client() for _ in range(count)]
    for client in made:
        client.connection.send(GET)
        mesh.reactor.settle()
    return made


def answer(mesh: Mesh, number: int = 0, data: bytes = OK) -> None:
    mesh.app.ends[number].connection.send(data)
    mesh.reactor.settle()


def test_one_connection_and_one_that_waits_is_the_tasks_circuit_breaker() -> None:
    mesh = limited(Limits(max_connections=1, max_pending_requests=1, max_requests_per_connection=1))
    first, second, third = clients(mesh, 3)
    assert (status_of(third.data), body_of(third.data)) == (503, OVERFLOW)
    assert head_of(third.data)["x-envoy-overloaded"] == "true"
    assert counted(mesh, "upstream_rq_pending_overflow", "upstream_rq_pending_total") == [1, 2]
    assert counted(mesh, "upstream_cx_overflow", "upstream_rq_active", "upstream_rq_pending_active") == [
        1,
        1,
        1,
    ]
    assert counted(mesh, "circuit_breakers.default.rq_pending_open") == [1]
    answer(mesh)
    answer(mesh, 1)
    assert [status_of(client.data) for client in (first, second)] == [200, 200]
    assert counted(mesh, "upstream_cx_total", "upstream_cx_max_requests", "upstream_rq_total") == [2, 2, 2]
    assert counted(mesh, "upstream_rq_200", "upstream_rq_503", "upstream_rq_5xx") == [2, 1, 1]


def test_a_request_is_pending_until_its_connection_is_up() -> None:
    mesh = limited(Limits(max_pending_requests=1))
    one, two = mesh.client(), mesh.client()
    one.connection.send(GET)
    two.connection.send(GET)
    mesh.reactor.settle()
    assert sorted(status_of(client.data) for client in (one, two)) == [0, 503]
    answer(mesh)
    assert sorted(status_of(client.data) for client in (one, two)) == [200, 503]


def test_too_many_requests_overflow_once_they_have_a_connection() -> None:
    mesh = limited(Limits(max_requests=1))
    first, second = clients(mesh, 2)
    assert (status_of(second.data), body_of(second.data)) == (503, OVERFLOW)
    assert len(mesh.app.heard.split(b"GET ")) == 2  # the second was never sent
    assert counted(mesh, "upstream_rq_active_overflow", "circuit_breakers.default.rq_open") == [1, 1]
    answer(mesh)
    assert status_of(first.data) == 200
    assert counted(mesh, "upstream_rq_active", "circuit_breakers.default.remaining_rq") == [0, 1]


def test_what_waits_does_not_count_among_the_requests() -> None:
    mesh = limited(Limits(max_requests=1, max_connections=1))
    first, second = clients(mesh, 2)
    answer(mesh)
    answer(mesh)
    assert [status_of(client.data) for client in (first, second)] == [200, 200]


def test_an_endpoint_without_a_connection_gets_one_beyond_the_limit() -> None:
    limits = Limits(max_connections=1)
    two = replace(cluster(endpoint(), endpoint(address="10.1.0.3")), limits=limits)
    mesh = Mesh(snapshot(clusters=(two,)), App(None))
    mesh.reactor.serve(None, "10.1.0.3", 8080, mesh.app)
    clients(mesh, 8)
    assert counted(mesh, "upstream_cx_active") == [2]
    assert counted(mesh, "upstream_cx_overflow")[0] >= 1


def test_a_client_that_gives_up_waits_no_longer() -> None:
    mesh = limited(Limits(max_connections=1, max_pending_requests=1))
    _, second = clients(mesh, 2)
    second.connection.close()
    mesh.reactor.settle()
    assert counted(mesh, "upstream_rq_pending_active", "upstream_rq_cancelled") == [0, 1]
    (third,) = clients(mesh, 1)
    assert third.data == b""


AGAIN = Retry(attempts=2, on=frozenset({"5xx"}), base_interval=1.0, max_interval=10.0)
BAD = OK.replace(b"200 OK", b"500 No")


def test_no_more_retries_at_once_than_the_limit() -> None:
    mesh = limited(Limits(max_retries=1), retry=AGAIN)
    first, second = clients(mesh, 2)
    answer(mesh, 0, BAD)
    answer(mesh, 1, BAD)
    assert status_of(second.data) == 500
    assert mesh.sink.requests[0].flags == "UO"
    assert counted(mesh, "upstream_rq_retry", "upstream_rq_retry_overflow") == [1, 1]
    assert counted(mesh, "circuit_breakers.default.rq_retry_open") == [1]
    mesh.reactor.advance(2)
    answer(mesh, 1)  # whose connection is idle again
    assert status_of(first.data) == 200
    assert counted(mesh, "upstream_rq_retry_success", "circuit_breakers.default.rq_retry_open") == [1, 0]


def test_the_last_retry_is_counted_and_over() -> None:
    mesh = limited(Limits(), retry=AGAIN, app=App(BAD))
    (client,) = clients(mesh, 1)
    mesh.reactor.advance(10)
    assert status_of(client.data) == 500
    assert counted(mesh, "upstream_rq_retry", "upstream_rq_retry_limit_exceeded") == [2, 1]
    assert state(mesh).retries == 0


def test_a_retry_budget_is_a_share_of_what_is_under_way() -> None:
    mesh = limited(Limits(retry_budget=RetryBudget(50.0, 1)), retry=AGAIN)
    clients(mesh, 4)
    for number in range(3):
        answer(mesh, number, BAD)
    # Four under way, of which three have failed: one is allowed in any case, and half of what is left.
    assert counted(mesh, "upstream_rq_retry", "upstream_rq_retry_overflow") == [1, 2]


def test_who_takes_too_long_to_connect_is_counted() -> None:
    short = replace(cluster(endpoint(address="10.1.0.99")), limits=Limits(connect_timeout=1))
    mesh = Mesh(snapshot(clusters=(short,)))
    (client,) = clients(mesh, 1)
    assert status_of(client.data) == 503
    names = ("upstream_cx_total", "upstream_cx_connect_fail", "upstream_rq_pending_failure_eject")
    assert counted(mesh, *names) == [1, 1, 1]
    assert counted(mesh, "upstream_rq_total", "upstream_rq_503") == [0, 1]


def test_an_idle_connection_ends_to_the_second() -> None:
    mesh = limited(Limits(idle_timeout=2.0), app=App())
    mesh.call(GET)
    mesh.reactor.advance(1.5)
    mesh.call(GET)
    assert len(mesh.app.ends) == 1
    mesh.reactor.advance(1.9)
    assert not mesh.app.ends[0].ended
    mesh.reactor.advance(0.2)
    assert mesh.app.ends[0].ended
    assert counted(mesh, "upstream_cx_idle_timeout", "upstream_cx_active") == [1, 0]


def test_an_old_connection_ends_with_its_request() -> None:
    mesh = limited(Limits(max_connection_duration=5.0))
    (client,) = clients(mesh, 1)
    mesh.reactor.advance(6)
    assert not mesh.app.ends[0].ended
    answer(mesh)
    assert status_of(client.data) == 200
    assert mesh.app.ends[0].ended
    assert counted(mesh, "upstream_cx_max_duration_reached") == [1]


def test_an_old_connection_that_is_idle_ends_at_once() -> None:
    mesh = limited(Limits(max_connection_duration=5.0), app=App())
    mesh.call(GET)
    mesh.reactor.advance(4.9)
    assert not mesh.app.ends[0].ended
    mesh.reactor.advance(0.2)
    assert mesh.app.ends[0].ended


def test_a_tcp_connection_lasts_no_longer_than_allowed() -> None:
    mesh = limited(Limits(max_connection_duration=5.0))
    client = mesh.client(9000)
    client.connection.send(b"ping")
    mesh.reactor.advance(4.9)
    assert not client.ended
    mesh.reactor.advance(0.2)
    assert client.ended
    assert mesh.sink.closes[0].flags == "DT"


def test_a_tcp_connection_too_many_is_refused() -> None:
    mesh = limited(Limits(max_connections=1))
    first, second = mesh.client(9000), mesh.client(9000)
    mesh.reactor.settle()
    assert (first.ended, second.ended) == (False, True)
    assert mesh.sink.closes[0].flags == "UO"
    assert counted(mesh, "upstream_cx_overflow", "upstream_cx_active") == [1, 1]


def test_what_is_in_use_outlives_its_cluster() -> None:
    mesh = limited(Limits(), retry=AGAIN)
    (client,) = clients(mesh, 1)
    answer(mesh, 0, BAD)  # and now it waits for its retry
    held = state(mesh)
    mesh.plane.state("a").close_idle()
    mesh.publish(replace(snapshot(clusters=()), version=2))
    list(prune(mesh.plane, mesh.feed.current))
    assert state(mesh) is held
    mesh.reactor.advance(2)
    answer(mesh, 1)
    assert status_of(client.data) == 200
    assert held.retries == 0
    mesh.plane.state("a").close_idle()
    list(prune(mesh.plane, mesh.feed.current))
    assert CLUSTER not in mesh.plane.state("a").clusters
