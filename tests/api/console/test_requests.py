"""Which requests a query asks for."""

from __future__ import annotations

from typing import Any

import pytest

from devmesh.api.console.answers import Refused, RequestView
from devmesh.api.console.requests import FILTERS, compile_filter
from devmesh.snapshot.origin import Origin
from tests.telemetry.bookinfo import DETAILS, INGRESS, NOON, PRODUCTPAGE, call

RECORD = call(
    PRODUCTPAGE, DETAILS, status=503, flags="UF,URX", request_id="r1", trace_id="t1", path="/details/7?x=1"
)


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ({}, True),
        ({"workload": "details-v1"}, True),
        ({"workload": "productpage"}, True),
        ({"workload": "default/details-v1"}, True),
        ({"workload": "ratings-v1"}, False),
        ({"source": "productpage-v1"}, True),
        ({"source": "details-v1"}, False),
        ({"destination": "details"}, True),
        ({"destination": "unknown"}, False),
        ({"service": "details"}, True),
        ({"service": "details.default.svc.cluster.local"}, True),
        ({"namespace": "default"}, True),
        ({"namespace": "prod"}, False),
        ({"status": "503"}, True),
        ({"status": "5xx"}, True),
        ({"status": "4xx,503"}, True),
        ({"status": "error"}, True),
        ({"status": "50"}, False),
        ({"status": "200,404"}, False),
        ({"flags": "URX"}, True),
        ({"flags": "uh,uf"}, True),
        ({"flags": "UR"}, False),
        ({"protocol": "http"}, True),
        ({"protocol": "tcp"}, False),
        ({"method": "get"}, True),
        ({"path": "details/7"}, True),
        ({"path": "x=2"}, False),
        ({"request_id": "r1"}, True),
        ({"request_id": "r"}, False),
        ({"trace_id": "t1"}, True),
        ({"since": str(NOON)}, True),
        ({"since": str(NOON + 1)}, False),
        ({"reporter": "source"}, True),
        ({"reporter": "destination"}, False),
        ({"status": "503", "method": "POST"}, False),
    ],
)
def test_filters(query: dict[str, str], wanted: bool) -> None:
    assert compile_filter(query)(RECORD) == wanted


def test_every_filter_has_a_case() -> None:
    (mark,) = test_filters.pytestmark
    assert {name for query, _ in mark.args[1] for name in query} >= set(FILTERS)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"reporter": "source"}, True),
        ({"reporter": "source", "mtls": False}, True),
        ({"reporter": "destination"}, False),
        ({"reporter": "destination", "mtls": False}, True),
    ],
)
def test_a_request_is_told_once(changed: dict[str, Any], told: bool) -> None:
    assert compile_filter({})(call(PRODUCTPAGE, DETAILS, **changed)) == told


def test_a_plain_call_from_inside_the_mesh_is_told_once_too() -> None:
    told = compile_filter({}, {("default", "productpage-v1")})
    plain = {"reporter": "destination", "mtls": False}
    assert not told(call(PRODUCTPAGE, DETAILS, **plain))
    assert told(call(DETAILS, PRODUCTPAGE, **plain))
    assert told(call(None, DETAILS, **plain))


@pytest.mark.parametrize("query", [{"statuss": "1"}, {"status": "abc"}, {"since": "noon"}, {"reporter": "x"}])
def test_nonsense_is_refused(query: dict[str, str]) -> None:
    with pytest.raises(Refused) as refused:
        compile_filter(query)
    assert refused.value.status == 400


def test_a_view_names_the_rule_that_routed_it() -> None:
    origin = Origin("VirtualService", "default", "reviews", "spec.http[1]", "reviews.yaml", 14)
    view = RequestView.of(call(INGRESS, None, origin=origin, upstream_time=None))
    assert view.rule == "VirtualService default/reviews spec.http[1] (reviews.yaml:14)"
    assert (view.source, view.destination, view.upstream_time) == (
        "istio-system/istio-ingressgateway",
        "",
        None,
    )
