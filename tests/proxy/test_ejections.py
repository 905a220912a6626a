"""Outlier detection in the data plane, on a virtual clock."""

from __future__ import annotations

from dataclasses import replace

from devmesh.proxy.cluster_stats import values
from devmesh.proxy.pools import ClusterState
from devmesh.snapshot.cluster import Cluster, OutlierDetection
from devmesh.snapshot.route import Retry, Route, Weighted
from tests.proxy.meshes import CLUSTER, GET, OK, App, Mesh, body_of, cluster, endpoint, snapshot, status_of

BAD = App(OK.replace(b"200 OK", b"503 No").replace(b"hello", b"wrong"))
ILL = endpoint(address="10.1.0.3")
ONCE = OutlierDetection(consecutive_5xx=1, interval=1, base_ejection_time=10, max_ejection_percent=100)


def detecting(settings: OutlierDetection = ONCE, **more: object) -> Cluster:
    return replace(cluster(endpoint(), ILL), outlier=settings, **more)  # type: ignore[arg-type]


def mesh_of(made: Cluster, *, retry: Retry | None = None, timeout: float | None = None) -> Mesh:
    route = Route(destinations=(Weighted(CLUSTER),), retry=retry, timeout=timeout)
    mesh = Mesh(snapshot(route, clusters=(made,)))
    mesh.reactor.serve(None, "10.1.0.3", 8080, BAD)
    return mesh


def state(mesh: Mesh) -> ClusterState:
    return mesh.plane.state("a").cluster(CLUSTER)


def calls(mesh: Mesh, count: int) -> list[int]:
    return [status_of(mesh.call(GET)) for _ in range(count)]


def counted(mesh: Mesh, *names: str) -> list[int]:
    found = values(state(mesh), mesh.feed.current.proxies["a"].outbound.clusters[CLUSTER])
    return [found[f"outlier_detection.ejections_{name}"] for name in names]


def test_one_bad_answer_and_the_endpoint_is_left_alone() -> None:
    mesh = mesh_of(detecting())
    assert sorted(calls(mesh, 40)) == [*[200] * 39, 503]
    assert counted(mesh, "active", "enforced_total", "enforced_consecutive_5xx") == [1, 1, 1]


def test_it_is_tried_again_when_its_time_is_over() -> None:
    mesh = mesh_of(detecting())
    calls(mesh, 40)
    mesh.reactor.advance(9.5)
    assert set(calls(mesh, 20)) == {200}
    mesh.reactor.advance(2)
    assert 503 in calls(mesh, 40)
    assert counted(mesh, "active", "enforced_total") == [1, 2]


def test_with_the_default_percentage_none_of_two_goes() -> None:
    mesh = mesh_of(detecting(replace(ONCE, max_ejection_percent=10)))
    assert calls(mesh, 60).count(503) > 10
    active, overflow = counted(mesh, "active", "overflow")
    assert active == 0
    assert overflow > 10


def test_all_ejected_is_no_healthy_upstream() -> None:
    mesh = mesh_of(replace(detecting(), endpoints=(ILL,)))
    assert calls(mesh, 1) == [503]
    assert body_of(mesh.call(GET)) == b"no healthy upstream"
    assert mesh.sink.requests[-1].flags == "UH"


def test_with_a_threshold_all_ejected_is_panic() -> None:
    mesh = mesh_of(replace(detecting(replace(ONCE, min_health_percent=50)), endpoints=(ILL,)))
    calls(mesh, 1)
    assert body_of(mesh.call(GET)) == b"wrong"
    assert state(mesh).balancing.panics == 1


def test_who_refuses_connections_is_ejected() -> None:
    gone = endpoint(address="10.1.0.9")
    mesh = mesh_of(replace(detecting(), endpoints=(endpoint(), gone)))
    assert calls(mesh, 40).count(503) == 1


def test_who_does_not_answer_in_time_is_ejected() -> None:
    mesh = mesh_of(replace(detecting(), endpoints=(endpoint(),)), timeout=0.5)
    mesh.app.answer = None
    client = mesh.client()
    client.connection.send(GET)
    mesh.reactor.advance(1)
    assert status_of(client.data) == 504
    assert counted(mesh, "active") == [1]


def test_an_overflow_is_nobodys_fault() -> None:
    full = detecting()
    mesh = mesh_of(replace(full, limits=replace(full.limits, max_pending_requests=0)))
    assert calls(mesh, 10) == [503] * 10
    assert counted(mesh, "active") == [0]


def test_a_retry_goes_to_those_that_are_left() -> None:
    again = Retry(attempts=3, on=frozenset({"5xx"}))
    mesh = mesh_of(detecting(), retry=again)
    for _ in range(20):
        client = mesh.client()
        client.connection.send(GET)
        mesh.reactor.advance(0.3)
        assert status_of(client.data) == 200


def test_grpcs_status_in_the_head_is_judged() -> None:
    mesh = mesh_of(replace(detecting(), endpoints=(endpoint(),)))
    mesh.app.answer = OK.replace(b"\r\n\r\n", b"\r\ngrpc-status: 14\r\n\r\n")
    grpc = GET.replace(b"\r\n\r\n", b"\r\ncontent-type: application/grpc\r\n\r\n")
    mesh.call(GET)
    assert counted(mesh, "active") == [0]
    mesh.call(grpc)
    assert counted(mesh, "active") == [1]


def test_other_settings_begin_anew_and_none_end_it() -> None:
    mesh = mesh_of(detecting())
    calls(mesh, 20)
    mesh.publish(snapshot(clusters=(detecting(replace(ONCE, interval=2)),)))
    mesh.call(GET)
    assert state(mesh).detector is not None
    mesh.publish(snapshot(clusters=(replace(detecting(), outlier=None),)))
    assert 503 in calls(mesh, 40)
    assert state(mesh).detector is None


def test_tcp_connections_that_fail_eject_too() -> None:
    gone = endpoint(address="10.1.0.9")
    mesh = mesh_of(replace(detecting(), endpoints=(endpoint(), gone)))
    ended = 0
    for _ in range(30):
        client = mesh.client(9000)
        mesh.reactor.settle()
        ended += client.ended
    assert ended == 1


def test_nothing_is_swept_where_nothing_was_ejected() -> None:
    mesh = mesh_of(replace(detecting(), endpoints=(endpoint(),)))
    calls(mesh, 5)
    assert state(mesh).sweeping is None
