"""The console's API over Quart's test client, with Bookinfo's traffic."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families
from trio.testing import MockClock

from devmesh.graph.topology import Graph
from tests.api.console.conftest import STATUS, Console
from tests.telemetry.bookinfo import DETAILS, INGRESS, NOON, PRODUCTPAGE, REVIEWS, both, call


async def test_a_request_is_on_the_graph_at_once(console: Console) -> None:
    console.record(*both(PRODUCTPAGE, DETAILS))
    console.now = NOON + 1
    graph = await console.json("/devmesh/v1/graph?window=60")
    assert (graph["mesh"], graph["window"], graph["version"]) == ("bookinfo", 60, 1)
    (edge,) = graph["edges"]
    assert edge["source"] == "workload:default/productpage-v1"
    assert edge["target"] == "workload:default/details-v1"
    assert edge["rate"] > 0
    assert edge["mtls"] == 1
    assert {node["name"] for node in graph["nodes"]} >= {"reviews-v3", "ratings-v1", "istio-ingressgateway"}


async def test_the_answer_is_what_the_schema_says(console: Console) -> None:
    console.record(*both(PRODUCTPAGE, DETAILS), call(INGRESS, PRODUCTPAGE))
    text = await console.text("/devmesh/v1/graph")
    assert msgspec.json.decode(text, type=Graph).mesh == "bookinfo"


@pytest.mark.parametrize(
    ("wanted", "start"),
    [("text", "mesh bookinfo"), ("dot", "digraph"), ("mermaid", "flowchart LR"), ("json", "{")],
)
async def test_the_graph_comes_in_other_formats(console: Console, wanted: str, start: str) -> None:
    console.record(call(PRODUCTPAGE, DETAILS))
    assert (await console.text(f"/devmesh/v1/graph?format={wanted}")).startswith(start)


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("graph?format=png", 400, "format 'png' is none of: text, json, dot, mermaid"),
        ("graph?window=0", 400, "window 0 is not between 1 and 3600"),
        ("graph?window=1m", 400, "window '1m' is not a whole number"),
        ("requests?colour=red", 400, "unknown parameter 'colour'"),
        ("requests?status=bad", 400, "status 'bad' is not like 503, 5xx or error"),
        ("requests?reporter=me", 400, "reporter 'me' is none of: one, all, source, destination"),
        ("events?topics=rain", 400, "topics 'rain': there is only graph"),
        ("access-log?workload=detail-v1", 404, "did you mean 'details-v1'?"),
        ("access-log?namespace=prod", 404, "nothing runs in namespace 'prod'; namespaces with pods: default"),
        ("proxy-config/bananas/default/details-v1", 404, "'bananas' is none of: clusters, listeners"),
        ("proxy-config/routes/default/nobody", 404, "no pod or workload 'nobody' in namespace 'default'"),
    ],
)
async def test_what_cannot_be_answered_says_why(
    console: Console, path: str, status: int, message: str
) -> None:
    failure = await console.json(f"/devmesh/v1/{path}", status)
    assert failure["code"] == status
    assert message in failure["message"]


async def test_status_and_findings_are_passed_on(console: Console) -> None:
    assert await console.json("/devmesh/v1/status") == STATUS
    (finding,) = await console.json("/devmesh/v1/findings")
    assert finding["code"] == "IST0101"
    assert finding["path"] == "spec.hosts[0]"


async def test_metrics_are_valid_prometheus_text(console: Console) -> None:
    console.record(*both(PRODUCTPAGE, DETAILS))
    families = {f.name: f for f in text_string_to_metric_families(await console.text("/metrics"))}
    assert len(families["istio_requests"].samples) == 2
    assert families["devmesh_snapshot_version"].samples[0].value == 1


async def test_requests_are_told_once_newest_first(console: Console) -> None:
    console.record(*both(PRODUCTPAGE, DETAILS), *both(PRODUCTPAGE, REVIEWS["v1"], at=NOON + 1, status=503))
    views = await console.json("/devmesh/v1/requests")
    assert [view["destination"] for view in views] == ["default/reviews-v1", "default/details-v1"]
    assert len(await console.json("/devmesh/v1/requests?reporter=all")) == 4
    (failed,) = await console.json("/devmesh/v1/requests?status=5xx&workload=productpage")
    assert failed["status"] == 503
    assert failed["duration"] == 20.0
    assert len(await console.json("/devmesh/v1/requests?limit=1")) == 1


async def test_the_access_log_of_a_workload(console: Console) -> None:
    console.record(*both(PRODUCTPAGE, DETAILS), *both(PRODUCTPAGE, REVIEWS["v1"]))
    lines = await console.text("/devmesh/v1/access-log?namespace=default&workload=details-v1")
    assert lines.count("\n") == 1
    assert lines.startswith('[2026-03-01T12:00:00.000Z] "GET /details/0 HTTP/1.1" 200')
    assert (await console.text("/devmesh/v1/access-log?workload=productpage-v1&tail=1")).count("\n") == 1


async def test_the_access_log_of_all_says_whose_line_it_is(console: Console) -> None:
    console.record(*both(PRODUCTPAGE, DETAILS))
    lines = (await console.text("/devmesh/v1/access-log")).splitlines()
    assert [line.split()[0] for line in lines] == [
        "[pod/productpage-v1-abcde/istio-proxy]",
        "[pod/details-v1-abcde/istio-proxy]",
    ]


async def follow(
    console: Console,
    path: str,
    enough: Callable[[bytes], bool],
    act: Callable[[], None],
    begun: bytes = b"",
) -> bytes:
    """Read a stream until `enough`, `act` once it has `begun`, and hang up.

    Speaks ASGI itself: Quart's test connection never ends after a disconnect.
    """
    url, _, query = path.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": url,
        "raw_path": url.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 20001),
        "extensions": {},
    }
    received, hung_up = b"", trio.Event()
    to_app, app_receives = trio.open_memory_channel[Any](2)
    app_sends, from_app = trio.open_memory_channel[Any](0)

    async def run() -> None:
        await console.app(scope, app_receives.receive, app_sends.send)  # type: ignore[arg-type]
        hung_up.set()

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await to_app.send({"type": "http.request", "body": b"", "more_body": False})
            assert (await from_app.receive())["status"] == 200
            received += (await from_app.receive())["body"]
            while begun not in received:
                received += (await from_app.receive())["body"]
            act()
            while not enough(received):
                received += (await from_app.receive())["body"]
            await to_app.send({"type": "http.disconnect"})
            await hung_up.wait()
    return received


async def test_the_access_log_is_followed(console: Console, autojump_clock: MockClock) -> None:
    console.record(call(PRODUCTPAGE, DETAILS))
    got = await follow(
        console,
        "/devmesh/v1/access-log?workload=productpage-v1&follow=true",
        lambda text: text.count(b"\n") == 2,
        lambda: console.record(call(PRODUCTPAGE, REVIEWS["v2"])),
    )
    assert b"/details/0" in got
    assert b"/reviews/0" in got


async def test_events_bring_the_graph_and_then_what_changed(
    console: Console, autojump_clock: MockClock
) -> None:
    started = trio.current_time()
    got = await follow(
        console,
        "/devmesh/v1/events?topics=graph&window=60",
        lambda text: text.count(b"event: graph\n") == 2,
        lambda: console.record(call(PRODUCTPAGE, DETAILS)),
        begun=b"event: graph",
    )
    assert trio.current_time() - started < 1
    events = [event for event in got.split(b"\n\n") if event.startswith(b"event: graph\ndata: ")]
    first, second = (msgspec.json.decode(event.partition(b"data: ")[2], type=Graph) for event in events)
    assert not first.edges
    assert second.edges[0].target == "workload:default/details-v1"


async def test_a_quiet_mesh_only_pings(console: Console, autojump_clock: MockClock) -> None:
    started = trio.current_time()
    got = await follow(
        console, "/devmesh/v1/events", lambda text: text.count(b"event: ping\n") == 2, lambda: None
    )
    assert got.count(b"event: graph\n") == 1
    assert trio.current_time() - started == pytest.approx(10, abs=0.5)


@pytest.mark.parametrize("path", ["events", "access-log?follow=true"])
async def test_long_answers_end_with_the_server(
    console: Console, autojump_clock: MockClock, path: str
) -> None:
    console.record(call(PRODUCTPAGE, DETAILS))
    with trio.fail_after(1.5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(console.text, f"/devmesh/v1/{path}")
            await trio.sleep(1)
            console.streams.end()


async def test_proxy_config_by_workload_and_by_pod(console: Console) -> None:
    by_pod = await console.json("/devmesh/v1/proxy-config/routes/default/details-v1-abcde")
    assert by_pod == await console.json("/devmesh/v1/proxy-config/routes/default/deploy/details-v1")
    assert by_pod[0]["virtual_service"] == "reviews.default"


async def test_the_secret_is_shown_without_its_key(console: Console) -> None:
    text = await console.text("/devmesh/v1/proxy-config/secret/default/details-v1")
    chain, root = msgspec.json.decode(text)
    assert chain["identity"] == "spiffe://cluster.local/ns/default/sa/bookinfo-details"
    assert chain["valid_cert"]
    assert chain["not_after"] == "2026-03-02T12:00:00Z"
    assert root["resource_name"] == "ROOTCA"
    assert "PRIVATE" not in text


async def test_openapi_names_every_route(console: Console) -> None:
    document = await console.json("/devmesh/v1/openapi.json")
    assert document["paths"].keys() >= {"/devmesh/v1/graph", "/devmesh/v1/events", "/devmesh/v1/requests"}
    graph = document["components"]["schemas"]["Graph"]
    assert graph["required"] == ["time", "window", "version", "mesh", "nodes", "edges"]
    rules = {rule.rule for rule in console.app.url_map.iter_rules()}
    for path in document["paths"]:
        if "{" not in path:
            assert path in rules


def test_importing_the_console_imports_nothing_heavy() -> None:
    heavy = ("quart", "cryptography", "hypercorn", "prometheus_client")
    code = f"import sys, devmesh.api.console.blueprint; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
