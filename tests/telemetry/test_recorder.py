"""One record goes everywhere, and costs little."""

from __future__ import annotations

from contextlib import aclosing

from devmesh.model.workload import Workload
from devmesh.snapshot.cluster import ServiceRef
from devmesh.snapshot.feed import SnapshotFeed
from devmesh.snapshot.snapshot import MeshSettings
from devmesh.telemetry import labels
from devmesh.telemetry.record import RecordSink
from devmesh.telemetry.recorder import Recorder
from tests.telemetry.bookinfo import DETAILS, NOON, PRODUCTPAGE, REVIEWS, call, snapshot


async def logged(recorder: Recorder) -> list[str]:
    async with aclosing(recorder.logs.read(lambda _: True)) as batches:
        return [line.text async for batch in batches for line in batch]


async def test_a_request_is_counted_listed_and_logged() -> None:
    recorder: Recorder = Recorder(clock=lambda: NOON)
    sink: RecordSink = recorder
    sink.request(call(PRODUCTPAGE, DETAILS, sampled=True, trace_id="t1"))
    assert recorder.metrics.http_series()[0].count == 1
    assert [flow.latest.count for flow in recorder.edges.flows()] == [1]
    assert [record.path for record in recorder.requests.latest()] == ["/details/0"]
    assert [span.path for span in recorder.spans.trace("t1")] == ["/details/0"]
    assert len(await logged(recorder)) == 1
    assert recorder.revision == 1


async def test_with_the_access_log_off_no_line_is_kept() -> None:
    feed = SnapshotFeed(snapshot())
    recorder = Recorder(feed, lambda: NOON)
    recorder.request(call(PRODUCTPAGE, DETAILS))
    feed.publish(snapshot(2, mesh=MeshSettings(access_log="")))
    recorder.request(call(PRODUCTPAGE, DETAILS))
    assert len(await logged(recorder)) == 1
    assert len(recorder.requests) == 2


async def test_mesh_settings_change_the_format() -> None:
    feed = SnapshotFeed(snapshot())
    recorder = Recorder(feed, lambda: NOON)
    feed.publish(snapshot(2, mesh=MeshSettings(access_log_format="%RESPONSE_CODE%")))
    recorder.request(call(PRODUCTPAGE, DETAILS))
    assert await logged(recorder) == ["200\n"]


def test_equal_workloads_of_two_snapshots_are_one_series() -> None:
    recorder = Recorder(clock=lambda: NOON)
    for _ in range(3):
        fresh = Workload("details-v1", "default", labels={"app": "details", "version": "v1"})
        recorder.request(call(PRODUCTPAGE, fresh))
    (series,) = recorder.metrics.http_series()
    assert series.count == 3
    assert len(recorder.edges.flows()) == 1


def test_what_differs_is_told_apart() -> None:
    recorder = Recorder(clock=lambda: NOON)
    for changed in ({}, {"status": 500}, {"flags": "FI"}, {"mtls": False}, {"source_principal": ""}):
        recorder.request(call(PRODUCTPAGE, DETAILS, **changed))
    assert len(recorder.edges.flows()) == 5
    assert len(recorder.metrics) == 4  # the source doesn't report its security


def test_a_workload_whose_labels_changed_is_shown_with_the_new_ones() -> None:
    recorder = Recorder(clock=lambda: NOON)
    recorder.request(call(PRODUCTPAGE, DETAILS))
    relabelled = Workload("details-v1", "default", labels={"app": "details", "version": "v2"})
    recorder.request(call(PRODUCTPAGE, relabelled, service=call(PRODUCTPAGE, DETAILS).service))
    (flow,) = recorder.edges.flows()
    assert flow.destination is relabelled
    assert len(recorder.metrics) == 2


def test_a_failed_tcp_connection_is_told_at_its_end() -> None:
    recorder = Recorder(clock=lambda: NOON)
    record = call(PRODUCTPAGE, None, protocol="tcp", status=0)
    recorder.opened(record)
    record.flags = "UF"
    recorder.closed(record)
    counts = {flow.key.flags: flow.latest.count for flow in recorder.edges.flows()}
    assert counts == {"": 1, "UF": 1}
    assert recorder.requests.latest()[0].flags == "UF"


def test_lookups_are_bounded_though_every_host_is_new() -> None:
    recorder = Recorder(clock=lambda: NOON)
    for n in range(6000):
        recorder.request(
            call(PRODUCTPAGE, None, service=None, authority=f"h{n}", upstream_cluster="PassthroughCluster")
        )
    assert len(recorder._bound) <= 4096
    assert len(recorder.metrics) <= 2001
    assert recorder.metrics.overflowed > 0


def test_hosts_without_a_service_are_told_apart() -> None:
    recorder = Recorder(clock=lambda: NOON)
    passthrough = ServiceRef("", "PassthroughCluster", "unknown")
    for name in ("httpbin.org", "example.com:8080"):
        recorder.request(
            call(
                PRODUCTPAGE,
                None,
                service=passthrough,
                authority=name,
                upstream_cluster="PassthroughCluster",
            )
        )
    index = labels.HTTP.index("destination_service")
    found = {series.labels[index] for series in recorder.metrics.http_series()}
    assert found == {"httpbin.org", "example.com"}


def test_traces_are_listed_newest_first_and_spans_sorted() -> None:
    recorder = Recorder(clock=lambda: NOON)
    for trace, at in (("t1", NOON), ("t2", NOON + 1), ("t1", NOON - 1)):
        recorder.request(call(PRODUCTPAGE, REVIEWS["v1"], at=at, sampled=True, trace_id=trace))
    assert recorder.spans.latest() == ["t1", "t2"]
    assert [span.started for span in recorder.spans.trace("t1")] == [NOON - 1, NOON]
