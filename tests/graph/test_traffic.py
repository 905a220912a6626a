"""The graph of Bookinfo: what is a node, what an edge says."""

from __future__ import annotations

import dataclasses

import pytest

from devmesh.graph.inventory import Inventory
from devmesh.graph.tally import Fold
from devmesh.graph.topology import SPARKS, Edge, Graph, Node
from devmesh.graph.traffic import build_graph
from devmesh.model.service import Resolution, Service
from devmesh.snapshot.cluster import ServiceRef
from devmesh.snapshot.feed import SnapshotFeed
from devmesh.snapshot.snapshot import Snapshot
from devmesh.telemetry.record import Record
from devmesh.telemetry.recorder import Recorder
from tests.telemetry.bookinfo import (
    DETAILS,
    INGRESS,
    NOON,
    PRODUCTPAGE,
    REVIEWS,
    both,
    call,
    instance,
    snapshot,
)


class Mesh:
    """Bookinfo whose clock is moved by hand; it began an hour before noon."""

    def __init__(self, first: Snapshot | None = None) -> None:
        self.now = NOON - 3600
        self.feed = SnapshotFeed(first or snapshot())
        self.recorder = Recorder(self.feed, lambda: self.now)
        self.now = NOON

    def saw(self, *records: Record) -> Mesh:
        for record in records:
            self.recorder.request(record)
        return self

    def graph(self, window: int = 60) -> Graph:
        now = self.recorder.clock()
        fold = Fold(self.recorder.edges.window(window, now), now)
        for flow in self.recorder.edges.flows():
            fold.add(flow)
        return build_graph(fold, Inventory.of(self.feed.current), seconds=window, mesh="bookinfo")

    def edge(self, window: int = 60) -> Edge:
        (edge,) = self.graph(window).edges
        return edge

    def node(self, node_id: str) -> Node:
        return next(node for node in self.graph().nodes if node.id == node_id)


def test_workloads_without_traffic_are_nodes() -> None:
    graph = Mesh().graph()
    assert not graph.edges
    assert [node.id for node in graph.nodes] == [
        "workload:default/details-v1",
        "workload:default/productpage-v1",
        "workload:default/ratings-v1",
        "workload:default/reviews-v1",
        "workload:default/reviews-v2",
        "workload:default/reviews-v3",
        "workload:istio-system/istio-ingressgateway",
    ]
    reviews = graph.nodes[5]
    assert (reviews.kind, reviews.app, reviews.version, reviews.service) == (
        "workload",
        "reviews",
        "v3",
        "reviews",
    )
    assert (reviews.health, reviews.ready, reviews.replicas, reviews.meshed) == ("idle", 1, 1, True)
    assert graph.nodes[-1].kind == "gateway"


def test_both_reports_of_a_call_are_one_edge() -> None:
    edge = Mesh().saw(*both(PRODUCTPAGE, DETAILS)).edge()
    assert edge.source == "workload:default/productpage-v1"
    assert edge.target == "workload:default/details-v1"
    assert edge.rate == pytest.approx(1 / 59, abs=1e-3)
    assert edge.codes == {"200": edge.rate}
    assert (edge.flags, edge.mtls, edge.health, edge.route) == ({}, 1.0, "ok", "default")
    assert edge.p50 == pytest.approx(20, rel=0.05)
    assert edge.sent == pytest.approx(295 / 59, abs=0.1)
    assert edge.source_principal == "spiffe://cluster.local/ns/default/sa/bookinfo-productpage"


def test_a_caller_without_a_proxy_is_told_by_the_destination() -> None:
    plain = {"reporter": "destination", "mtls": False, "source_principal": ""}
    edge = Mesh().saw(call(PRODUCTPAGE, DETAILS, **plain)).edge()
    assert (edge.source, edge.mtls) == ("workload:default/productpage-v1", 0.0)


def test_an_unknown_caller_is_a_node() -> None:
    mesh = Mesh().saw(call(None, DETAILS, reporter="destination", mtls=False))
    assert mesh.edge().source == "unknown"
    assert mesh.node("unknown").kind == "unknown"


def test_the_share_of_mutual_tls_is_what_the_destination_saw() -> None:
    mesh = Mesh()
    mesh.saw(*(r for _ in range(3) for r in both(PRODUCTPAGE, DETAILS)))
    mesh.saw(*both(PRODUCTPAGE, DETAILS, mtls=False))
    assert mesh.edge().mtls == 0.75


def test_a_request_that_no_workload_answered_goes_to_the_service() -> None:
    mesh = Mesh().saw(call(PRODUCTPAGE, None, status=503, flags="UH"))
    edge = mesh.edge()
    assert edge.target == "service:default/reviews"
    assert (edge.error_rate, edge.health, list(edge.flags)) == (1.0, "failing", ["UH"])
    assert mesh.node("service:default/reviews").kind == "service"
    assert mesh.node("workload:default/productpage-v1").health == "failing"


@pytest.mark.parametrize(
    ("service", "node_id"),
    [
        (ServiceRef("httpbin.org", "httpbin.org", "default"), "external:httpbin.org"),
        (ServiceRef("", "PassthroughCluster", ""), "external:PassthroughCluster"),
        (ServiceRef("BlackHoleCluster", "BlackHoleCluster", ""), "external:BlackHoleCluster"),
        (None, "unknown"),
    ],
)
def test_the_outside(service: ServiceRef | None, node_id: str) -> None:
    outside = Service("httpbin.org", "httpbin.org", "default", (), resolution=Resolution.DNS, external=True)
    first = snapshot()
    first = dataclasses.replace(first, services={**first.services, outside.host: outside})
    mesh = Mesh(first).saw(call(PRODUCTPAGE, None, service=service))
    assert mesh.edge().target == node_id
    assert mesh.node(node_id).kind == node_id.partition(":")[0]


def test_errors_in_and_out_are_told_in_words() -> None:
    mesh = Mesh().saw(*both(PRODUCTPAGE, REVIEWS["v3"]), *both(PRODUCTPAGE, REVIEWS["v3"], status=500))
    reviews = mesh.node("workload:default/reviews-v3")
    assert (reviews.health, reviews.error_rate) == ("failing", 0.5)
    assert reviews.reason == "50 % of requests in answered 5xx (500): failing from 10 %"
    assert "of requests out" in mesh.node("workload:default/productpage-v1").reason


def test_replicas_that_are_not_ready_are_told_without_traffic() -> None:
    node = Mesh(snapshot(without=("ratings-v1",))).node("workload:default/ratings-v1")
    assert (node.health, node.reason) == ("failing", "0 of 1 replica is ready")


def test_a_gateways_rate_is_what_it_sends_on() -> None:
    mesh = Mesh().saw(call(INGRESS, PRODUCTPAGE), call(INGRESS, None, status=404, flags="NR", service=None))
    gateway = mesh.node("workload:istio-system/istio-ingressgateway")
    assert gateway.rate == pytest.approx(2 / 59, abs=1e-3)
    assert gateway.error_rate == 0.5


def test_the_sparkline_is_the_rate_in_thirty_pieces() -> None:
    mesh = Mesh()
    for second in range(-59, 0):
        mesh.saw(*(call(PRODUCTPAGE, DETAILS, at=NOON + second, duration=0.0) for _ in range(4)))
    mesh.now = NOON - 0.001
    node = mesh.node("workload:default/details-v1")
    assert len(node.sparkline) == SPARKS
    assert node.sparkline[1:] == pytest.approx([4.0] * 29, rel=0.01)
    assert node.rate == pytest.approx(4, rel=0.02)


def test_the_end_of_the_sparkline_does_not_drop_when_a_piece_begins() -> None:
    mesh = Mesh()
    for second in range(-58, 0):
        mesh.saw(*(call(PRODUCTPAGE, DETAILS, at=NOON + second, duration=0.0) for _ in range(4)))
    mesh.now = NOON + 0.01
    assert mesh.node("workload:default/details-v1").sparkline[-1] == pytest.approx(4.0, rel=0.01)


@pytest.mark.parametrize("window", [1, 30, 60, 120, 300, 900, 3600])
def test_every_window_shows_a_request_that_just_ended(window: int) -> None:
    mesh = Mesh().saw(*both(PRODUCTPAGE, DETAILS, at=NOON - 0.02))
    edge = mesh.edge(window)
    assert edge.rate > 0
    assert sum(mesh.graph(window).nodes[0].sparkline) > 0


def test_old_traffic_leaves_the_graph() -> None:
    mesh = Mesh().saw(*both(PRODUCTPAGE, DETAILS))
    mesh.now = NOON + 120
    assert not mesh.graph().edges
    assert mesh.graph(600).edges


def test_tcp_is_connections_and_bytes() -> None:
    mesh = Mesh()
    record = call(PRODUCTPAGE, DETAILS, protocol="tcp", status=0)
    mesh.recorder.opened(record)
    mesh.recorder.progress(record, 5900, 590)
    edge = mesh.edge()
    assert (edge.protocol, edge.p50, edge.codes, edge.health) == ("tcp", None, {}, "ok")
    assert (edge.received, edge.sent) == (pytest.approx(100), pytest.approx(10))
    record = call(PRODUCTPAGE, DETAILS, protocol="tcp", status=0)
    mesh.recorder.opened(record)
    record.flags = "UF"
    mesh.recorder.closed(record)
    assert mesh.edge().error_rate == 0.5


def test_an_open_connection_that_only_moves_bytes_is_an_edge() -> None:
    mesh = Mesh()
    record = call(PRODUCTPAGE, DETAILS, protocol="tcp", status=0)
    mesh.recorder.opened(record)
    mesh.now = NOON + 300
    mesh.recorder.progress(record, 60, 0)
    assert (mesh.edge().rate, mesh.edge().health) == (0.0, "ok")


def test_a_workload_that_is_gone_stays_while_its_traffic_is_in_the_window() -> None:
    mesh = Mesh().saw(*both(PRODUCTPAGE, REVIEWS["v2"]))
    fewer = {key: one for key, one in mesh.feed.current.instances.items() if "reviews-v2" not in key}
    mesh.feed.publish(dataclasses.replace(snapshot(2), instances=fewer))
    node = mesh.node("workload:default/reviews-v2")
    assert (node.app, node.replicas, node.meshed) == ("reviews", 0, False)
    assert mesh.graph().version == 2


def test_replicas_of_one_workload_are_one_node() -> None:
    first = snapshot()
    more = instance(DETAILS, 9, id="second", pod="details-v1-two", ready=False, meshed=False)
    node = Mesh(dataclasses.replace(first, instances={**first.instances, "second": more})).node(
        "workload:default/details-v1"
    )
    assert (node.ready, node.replicas, node.meshed, node.health) == (1, 2, True, "degraded")
