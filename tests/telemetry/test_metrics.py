"""The Prometheus text: golden, valid for a second parser, bounded."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from devmesh.telemetry import labels
from devmesh.telemetry.exposition import expose, label_text
from devmesh.telemetry.metrics import BOUNDS, OVERFLOW, HttpSeries, MetricStore
from devmesh.telemetry.record import Record
from devmesh.telemetry.recorder import Recorder
from tests.telemetry.bookinfo import DETAILS, INGRESS, NOON, PRODUCTPAGE, both, call

GOLDEN = Path(__file__).parent / "golden"


def recorder(*records: Record) -> Recorder:
    made = Recorder(clock=lambda: NOON)
    for record in records:
        made.request(record)
    return made


def lines(of: Recorder, prefix: str) -> list[str]:
    return [line for line in "".join(of.expose()).splitlines() if line.startswith(prefix)]


def test_one_call_in_prometheus_text() -> None:
    made = recorder(*both(PRODUCTPAGE, DETAILS, bytes_received=512))
    text = "".join(piece for piece in expose(made.metrics) if "istio_build" not in piece)
    assert text == (GOLDEN / "one_call.txt").read_text()


def test_labels_of_the_sources_report() -> None:
    (line,) = lines(recorder(call(PRODUCTPAGE, DETAILS)), "istio_requests_total{")
    assert line == (
        'istio_requests_total{reporter="source",source_workload="productpage-v1",'
        'source_canonical_service="productpage",source_canonical_revision="v1",'
        'source_workload_namespace="default",'
        'source_principal="spiffe://cluster.local/ns/default/sa/bookinfo-productpage",'
        'source_app="productpage",source_version="v1",source_cluster="Kubernetes",'
        'destination_workload="details-v1",destination_workload_namespace="default",'
        'destination_principal="spiffe://cluster.local/ns/default/sa/bookinfo-details",'
        'destination_app="details",destination_version="v1",'
        'destination_service="details.default.svc.cluster.local",'
        'destination_canonical_service="details",destination_canonical_revision="v1",'
        'destination_service_name="details",destination_service_namespace="default",'
        'destination_cluster="Kubernetes",request_protocol="http",response_code="200",'
        'grpc_response_status="",response_flags="-",connection_security_policy="unknown"} 1'
    )


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        pytest.param(
            call(PRODUCTPAGE, None, status=503, flags="UH", destination_principal=""),
            {
                "destination_workload": "unknown",
                "destination_principal": "unknown",
                "destination_service": "reviews.default.svc.cluster.local",
                "destination_cluster": "unknown",
                "response_flags": "UH",
            },
            id="no healthy upstream",
        ),
        pytest.param(
            call(None, DETAILS, reporter="destination", mtls=False, source_principal=""),
            {"source_workload": "unknown", "connection_security_policy": "none"},
            id="plain text from outside the mesh",
        ),
        pytest.param(
            call(PRODUCTPAGE, DETAILS, reporter="destination"),
            {"connection_security_policy": "mutual_tls"},
            id="mutual TLS",
        ),
        pytest.param(
            call(INGRESS, PRODUCTPAGE),
            {"source_canonical_revision": "latest", "source_version": "unknown"},
            id="gateway",
        ),
        pytest.param(
            call(
                PRODUCTPAGE,
                None,
                service=None,
                authority="httpbin.org:80",
                upstream_cluster="PassthroughCluster",
            ),
            {
                "destination_service": "httpbin.org",
                "destination_service_name": "PassthroughCluster",
                "destination_service_namespace": "unknown",
            },
            id="passthrough",
        ),
        pytest.param(
            call(PRODUCTPAGE, DETAILS, protocol="grpc", grpc_status=14),
            {"grpc_response_status": "14", "request_protocol": "grpc"},
            id="gRPC",
        ),
    ],
)
def test_label_values(record: Record, expected: dict[str, str]) -> None:
    values = dict(zip(labels.HTTP, labels.http_labels(record), strict=True))
    assert {name: values[name] for name in expected} == expected


def test_messages_of_grpc_are_counted_without_what_is_known_only_at_the_end() -> None:
    record = call(PRODUCTPAGE, DETAILS, protocol="grpc", request_messages=2, response_messages=3)
    of = recorder(record)
    going_on = call(PRODUCTPAGE, DETAILS, protocol="grpc", status=0, request_messages=1)
    of.messages(going_on)
    [asked], [answered] = (
        lines(of, "istio_request_messages_total{"),
        lines(of, "istio_response_messages_total{"),
    )
    assert asked.endswith(" 3")
    assert answered.endswith(" 3")
    assert 'destination_workload="details-v1"' in asked
    for name in ("response_code", "request_protocol", "response_flags", "connection_security_policy"):
        assert name not in asked
    assert len(lines(of, "istio_requests_total{")) == 1


def test_tcp_has_its_own_labels_and_counters() -> None:
    made = recorder()
    record = call(PRODUCTPAGE, DETAILS, protocol="tcp", status=0)
    made.opened(record)
    made.progress(record, 100, 2000)
    made.progress(record, 1, 1)
    made.closed(record)
    values = {}
    for family in text_string_to_metric_families("".join(made.expose())):
        for sample in family.samples:
            if sample.name.startswith("istio_tcp"):
                assert list(sample.labels) == list(labels.TCP)
                values[sample.name] = sample.value
    assert values == {
        "istio_tcp_received_bytes_total": 101,
        "istio_tcp_sent_bytes_total": 2001,
        "istio_tcp_connections_opened_total": 1,
        "istio_tcp_connections_closed_total": 1,
    }
    assert not lines(made, "istio_requests_total{")


@given(st.lists(st.floats(min_value=0, max_value=4e6), max_size=30))
def test_buckets_are_cumulative_and_end_with_the_count(values: list[float]) -> None:
    series = HttpSeries(())
    for value in values:
        series.observe(value, 0, 0)
    for bound, seen in zip(BOUNDS, _cumulated(series.durations), strict=False):
        assert seen == sum(value <= bound for value in values)
    assert sum(series.durations) == series.count == len(values)


def _cumulated(counts: list[int]) -> list[int]:
    return [sum(counts[: n + 1]) for n in range(len(counts))]


@given(st.text())
def test_every_label_value_survives_a_parser(value: str) -> None:
    value = value.replace("\r", "").replace("\x00", "")
    text = f"a_metric{{{label_text(('x',), (value,))}}} 1\n"
    if any(value.count(c) for c in "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"):
        return  # the parser in Python splits lines at these; Prometheus' own doesn't
    ((sample,),) = (family.samples for family in text_string_to_metric_families(text))
    assert sample.labels == {"x": value}


def test_past_the_limit_one_series_takes_the_rest() -> None:
    store = MetricStore(limit=2)
    for n in range(5):
        record = call(PRODUCTPAGE, DETAILS, status=200 + n)
        store.http(labels.http_labels(record)).observe(1.0, 0, 0)
    assert len(store) == 3
    last = store.http_series()[-1]
    assert last.count == 3
    assert (last.labels[0], last.labels[1], store.overflowed) == ("source", OVERFLOW, 3)


def test_the_exposition_comes_in_pieces() -> None:
    made = recorder(*(call(PRODUCTPAGE, DETAILS, status=200 + n) for n in range(30)))
    assert max(len(piece) for piece in made.expose()) < 200_000
    text = "".join(made.expose())
    assert {f.name for f in text_string_to_metric_families(text)} >= {
        "istio_requests",
        "istio_request_duration_milliseconds",
        "istio_build",
        "process_resident_memory_bytes",
    }


def test_others_may_add_metrics() -> None:
    made = recorder()
    made.sources.append(lambda: [("devmesh_connections", "gauge", "Open connections.", 3)])
    families = {f.name: f for f in text_string_to_metric_families("".join(made.expose()))}
    assert families["devmesh_connections"].samples[0].value == 3
    assert families["process_resident_memory_bytes"].samples[0].value > 1e6
