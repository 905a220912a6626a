"""Access log lines, byte for byte as Envoy writes them with Istio's default format."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from devmesh.snapshot.snapshot import MeshSettings
from devmesh.telemetry.accesslog import (
    DEFAULT_JSON,
    compile_json,
    compile_settings,
    compile_text,
    start_time,
)
from devmesh.telemetry.record import Record
from tests.telemetry.bookinfo import DETAILS, NOON, PRODUCTPAGE, call

HTTP = call(
    PRODUCTPAGE,
    DETAILS,
    at=NOON + 18.4099,
    duration=0.0231,
    upstream_time=0.0229,
    bytes_received=7,
    user_agent="curl/8.9.1",
    forwarded_for="10.244.0.1",
    request_id="6c0e7a0e-9b1c-4b51-9a5e-0b8f6f2f1a11",
    upstream_host="10.0.0.2:9080",
    upstream_local="10.0.0.1:51234",
    downstream_local="240.240.0.7:9080",
    downstream_remote="10.0.0.1:41878",
)
TCP = call(
    PRODUCTPAGE,
    DETAILS,
    protocol="tcp",
    method="",
    path="",
    authority="",
    status=0,
    details="",
    upstream_time=None,
    bytes_received=120,
    bytes_sent=4096,
    duration=1.5,
    upstream_host="10.0.0.9:3306",
    upstream_cluster="outbound|3306||mysql.default.svc.cluster.local",
    upstream_local="10.0.0.1:40000",
    downstream_local="240.240.0.9:3306",
    downstream_remote="10.0.0.1:39999",
    route="",
)


def line(record: Record, template: str = "") -> str:
    return compile_settings(MeshSettings(access_log_format=template)).render(record)


def test_an_http_request_in_the_default_format() -> None:
    assert line(HTTP) == (
        '[2026-03-01T12:00:18.409Z] "GET /details/0 HTTP/1.1" 200 - via_upstream - "-" 7 295 23 22 '
        '"10.244.0.1" "curl/8.9.1" "6c0e7a0e-9b1c-4b51-9a5e-0b8f6f2f1a11" "details:9080" '
        '"10.0.0.2:9080" outbound|9080||details.default.svc.cluster.local 10.0.0.1:51234 '
        "240.240.0.7:9080 10.0.0.1:41878 - default\n"
    )


def test_a_tcp_connection_in_the_default_format() -> None:
    assert line(TCP) == (
        '[2026-03-01T12:00:00.000Z] "- - -" 0 - - - "-" 120 4096 1500 - "-" "-" "-" "-" '
        '"10.0.0.9:3306" outbound|3306||mysql.default.svc.cluster.local 10.0.0.1:40000 '
        "240.240.0.9:3306 10.0.0.1:39999 - -\n"
    )


def test_what_the_proxy_answers_itself_has_no_upstream() -> None:
    refused = call(
        PRODUCTPAGE,
        None,
        status=503,
        flags="UF,URX",
        details="upstream_reset_before_response_started{connection failure}",
        transport_failure="delayed connect error: 111",
        duration=0.0009,
        upstream_time=None,
        original_path="/reviews/0",
        path="/v2/reviews/0",
    )
    assert line(refused) == (
        '[2026-03-01T12:00:00.000Z] "GET /reviews/0 HTTP/1.1" 503 UF,URX '
        'upstream_reset_before_response_started{connection_failure} - "delayed_connect_error:_111" '
        '0 295 0 - "-" "-" "-" "reviews:9080" "-" outbound|9080||reviews.default.svc.cluster.local '
        "- - - - default\n"
    )


def test_json_has_its_24_keys_with_numbers_and_nulls() -> None:
    fields = msgspec.json.decode(compile_settings(MeshSettings(access_log_json=True)).render(TCP))
    assert list(fields) == list(DEFAULT_JSON)
    assert len(fields) == 24
    assert (fields["bytes_sent"], fields["response_code"], fields["duration"]) == (4096, 0, 1500)
    assert fields["method"] is fields["upstream_service_time"] is None
    assert fields["response_flags"] == "-"
    assert fields["start_time"] == "2026-03-01T12:00:00.000Z"


def test_a_json_format_of_ones_own() -> None:
    mesh = MeshSettings(
        access_log_json=True, access_log_format='{"code": "%RESPONSE_CODE%", "to": "x-%ROUTE_NAME%"}'
    )
    assert compile_settings(mesh).render(HTTP) == '{"code":200,"to":"x-default"}\n'


def test_a_broken_json_format_falls_back_to_the_default() -> None:
    mesh = MeshSettings(access_log_json=True, access_log_format="%RESPONSE_CODE%")
    assert list(msgspec.json.decode(compile_settings(mesh).render(HTTP))) == list(DEFAULT_JSON)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("%RESPONSE_CODE%", "200"),
        ("100%% %PROTOCOL%", "100% HTTP/1.1"),
        ("%REQ(X-NONE?:METHOD)%", "GET"),
        ("%REQ(:PATH):4%", "/det"),
        ("%REQ(USER-AGENT)% %REQ(user-agent)%", "curl/8.9.1 curl/8.9.1"),
        ("%START_TIME(%s.%3f)%", "1772366418.409"),
        ("%START_TIME(%Y/%m/%d %H)%", "2026/03/01 12"),
        ("%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", "10.0.0.1"),
        ("%UPSTREAM_REQUEST_ATTEMPT_COUNT%", "1"),
        ("%RESP(X-OTHER)%|%DYNAMIC_METADATA(a:b)%", "-|-"),
    ],
)
def test_operators(template: str, expected: str) -> None:
    assert line(HTTP, template) == expected + "\n"


def test_req_without_query() -> None:
    record = call(PRODUCTPAGE, DETAILS, path="/details/0?u=1")
    assert line(record, "%REQ_WITHOUT_QUERY(:PATH)%") == "/details/0\n"


def test_operators_without_a_value_here_are_named() -> None:
    assert compile_text("%REQ(X-TEAM)% %CEL(request.path)% %PROTOCOL%").unknown == (
        "%REQ(X-TEAM)%",
        "%CEL(request.path)%",
    )
    assert compile_json(DEFAULT_JSON).unknown == ()
    assert compile_settings(MeshSettings()).unknown == ()


@pytest.mark.parametrize(
    ("epoch", "text"), [(0.9996, "1970-01-01T00:00:00.999Z"), (NOON + 0.5, "2026-03-01T12:00:00.500Z")]
)
def test_milliseconds_are_cut_not_rounded(epoch: float, text: Any) -> None:
    assert start_time(epoch) == text
