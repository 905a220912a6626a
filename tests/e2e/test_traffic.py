"""What becomes of requests on their way: bodies, routing, faults, retries, balancing, logs."""

from __future__ import annotations

import collections
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.applications import OUTSIDE, Applications, outside
from tests.e2e.bookinfo import eventually

ECHO = "http://echo"
WAYS = [("client", "echo"), ("outsider", "echo.default")]  # two hops with mutual TLS, and one in plain text


def virtual_service(*rules: str, host: str = "echo", name: str = "", more: str = "") -> str:
    """Return a VirtualService with these `http` rules, in YAML's flow style; TO_ECHO is the usual route."""
    lines = "\n".join(f"  - {rule}" for rule in rules).replace("TO_ECHO", ROUTE)
    return f"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name or host.partition(".")[0]}}}
spec:
  hosts: [{host}]
{more}
  http:
{lines}
"""


def destination_rule(spec: str, host: str = "echo") -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {host.partition(".")[0]}}}
spec: {{host: {host}, {spec}}}
"""


ROUTE = "route: [{destination: {host: echo}}]"
VERSIONS = destination_rule("subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]")


# -- HTTP as it is --


@pytest.mark.parametrize(("source", "host"), WAYS)
def test_a_request_arrives_as_it_was_sent(clean: Applications, source: str, host: str) -> None:
    answer = clean.get(
        f"http://{host}/a%20b//c;d?x=1&x=2&y=%2F", source, method="PATCH", body="b\xe9d\0y",
        headers={"X-Request-ID": "keep-me", "X-Forwarded-For": "1.2.3.4", "X-Mixed": "Case", "Cookie": "a=b"},
    )  # fmt: skip
    seen, got = answer["seen"], answer["got"]
    assert (seen["method"], seen["path"]) == ("PATCH", "/a%20b//c;d?x=1&x=2&y=%2F")
    assert (seen["body"], got["content-length"], got["host"]) == ("b\xe9d\0y", "5", host)
    assert (got["x-request-id"], got["x-forwarded-for"]) == ("keep-me", "1.2.3.4")
    assert (got["x-mixed"], got["cookie"], got["x-forwarded-proto"]) == ("Case", "a=b", "http")
    assert answer["reason"] == "OK"  # Envoy has its own words


def test_what_proxies_add_and_do_not_pass_on(clean: Applications) -> None:
    got = clean.get(f"{ECHO}/")["got"]
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", got["x-request-id"])
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", got["traceparent"])
    assert (got["x-b3-sampled"], got["x-envoy-attempt-count"]) == ("1", "1")
    assert len(got["x-b3-traceid"]) == 32
    assert "x-forwarded-for" not in got  # Istio's sidecars leave it alone
    assert not {name for name in got if name.startswith("x-envoy")} - {"x-envoy-attempt-count"}
    said = {"x-envoy-decorator-operation": "forged", "server": "mine"}
    fields = "&".join(f"field={name}:{value}" for name, value in said.items())
    for source, host, server in (("client", "echo", "envoy"), ("outsider", "echo.default", "istio-envoy")):
        headers = clean.get(f"http://{host}/?{fields}&field=x-own:kept", source)["headers"]
        assert (headers["server"], headers["x-own"]) == (server, "kept")
        assert headers["x-envoy-upstream-service-time"].isdigit()
        assert headers.get("x-envoy-decorator-operation") != "forged"


def test_traces_go_on(clean: Applications) -> None:
    trace, span = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    got = clean.get(f"{ECHO}/", headers={"traceparent": f"00-{trace}-{span}-01"})["got"]
    assert got["traceparent"].split("-")[1] == trace
    assert got["traceparent"].split("-")[2] != span


@pytest.mark.parametrize(("source", "host"), WAYS)
def test_bodies_are_framed_as_http_says(clean: Applications, source: str, host: str) -> None:
    def ask(path: str, method: str = "GET", **args: Any) -> dict[str, Any]:
        return clean.get(f"http://{host}{path}", source, method=method, **args)

    chunked = ask(
        "/", "POST", body="5;ext=1\r\nhello\r\n1\r\n!\r\n0\r\nx-t: 1\r\n\r\n",
        headers={"transfer-encoding": "chunked", "trailer": "x-t"},
    )  # fmt: skip
    assert (chunked["seen"]["body"], chunked["seen"]["trailers"]) == ("hello!", [["x-t", "1"]])
    head = ask("/", "HEAD")
    assert (head["status"], head["size"], int(head["headers"]["content-length"]) > 100) == (200, 0, True)
    assert [ask(f"/?status={status}")["size"] for status in (204, 304)] == [0, 0]
    trailers = ask("/?frame=trailers&size=100000")
    assert (trailers["size"], trailers["trailers"]) == (100000, [["x-sum", "42"]])
    until_close = ask("/?frame=close&size=100000")
    assert (until_close["size"], until_close["error"]) == (100000, "")
    assert ask("/?hint=1&size=3")["informed"] == [103]
    for frame in ("", "&frame=chunked"):
        cut = ask(f"/?end=early&size=1000{frame}")
        assert (cut["status"], cut["size"], cut["error"]) == (200, 500, "EOFError")


@pytest.mark.parametrize(("source", "host"), WAYS)
def test_a_client_that_waits_for_100_continue_gets_it(clean: Applications, source: str, host: str) -> None:
    answer = clean.agent(source)("expect", host=host, port=80, body="hello")
    assert (answer["informed"], answer["status"]) == ([100], 200)
    assert json.loads(answer["body"])["body"] == "hello"


@pytest.mark.parametrize(("source", "host"), WAYS)
def test_requests_sent_at_once_are_answered_in_order(clean: Applications, source: str, host: str) -> None:
    methods = ["GET", "HEAD", "POST", "GET", "GET"]
    data = "".join(
        f"{method} /{n}?delay={0.1 if n == 0 else 0} HTTP/1.1\r\nhost: {host}\r\n"
        + ("content-length: 3\r\n\r\nabc" if method == "POST" else "\r\n")
        for n, method in enumerate(methods)
    )
    said = clean.agent(source)("raw", host=host, port=80, data=data, answers=5, methods=methods)
    paths = [json.loads(a["body"])["path"][:2] if a["body"] else "" for a in said["answers"]]
    assert paths == ["/0", "", "/2", "/3", "/4"]
    assert "connection" not in said["answers"][0]["headers"]


HOST = "host: echo\r\n"
MALFORMED = [
    ("GET / HTTP/1.1\r\n\r\n", "400 Bad Request"),
    ("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", "400 Bad Request"),
    (f"POST / HTTP/1.1\r\n{HOST}content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", "400 Bad Request"),
    (f"POST / HTTP/1.1\r\n{HOST}content-length: 1\r\ncontent-length: 2\r\n\r\n", "400 Bad Request"),
    (f"GET / HTTP/1.1\r\n{HOST} folded\r\n\r\n", "400 Bad Request"),
    (f"GET / HTTP/1.1\r\n{HOST}x: a\0b\r\n\r\n", "400 Bad Request"),
    ("GET / HTTP/1.1\nhost: echo\n\n", "400 Bad Request"),
    (f"GET / HTTP/1.1\r\n{HOST}x: {'a' * 70000}\r\n\r\n", "431 Request Header Fields Too Large"),
    (f"GET / HTTP/1.0\r\n{HOST}\r\n", "426 Upgrade Required"),
]


@pytest.mark.parametrize(("source", "host"), WAYS)
def test_what_is_no_request_is_refused(clean: Applications, source: str, host: str) -> None:
    clean.seen()
    for data, status in MALFORMED:
        said = clean.agent(source)("raw", host=host, port=80, data=data)
        assert said["data"].startswith(f"HTTP/1.1 {status}\r\n"), (data[:60], said)
        assert "connection: close\r\n" in said["data"]
        assert said["error"] == ""
    assert clean.seen() == []


def resident(apps: Applications) -> int:
    """Return what memory the mesh has, in KiB."""
    text = Path(f"/proc/{apps.mesh.status['pid']}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0])


LARGE = 50_000_000


@pytest.mark.parametrize(("source", "host"), WAYS)
def test_large_bodies_are_streamed_in_little_memory(clean: Applications, source: str, host: str) -> None:
    before = most = resident(clean)
    agent = clean.agent(source)
    for args in (
        {"url": f"http://{host}/?size={LARGE}"},
        {"url": f"http://{host}/?size={LARGE}&frame=chunked"},
        {"url": f"http://{host}/", "method": "POST", "size": LARGE},
        {"url": f"http://{host}/?slow=0.005", "method": "POST", "size": LARGE // 10},
        {"url": f"http://{host}/?size={LARGE // 10}", "slow": 0.005},
    ):
        agent.begin("http", **args)
        while not agent.ready(0.05):
            most = max(most, resident(clean))
        answer = agent.end()
        assert (answer["status"], answer["error"]) == (200, "")
        size = json.loads(answer["body"])["size"] if "method" in args else answer["size"]
        assert size in (LARGE, LARGE // 10)
    assert most - before < 20_000


def test_uploads_on_new_connections_do_not_stall(clean: Applications) -> None:
    for n in range(3):
        clean.mesh.kubectl("delete", "pod", "-l", "app=echo,version=v2", "--wait=false") if not n else None
        answers = [clean.get(f"{ECHO}/", method="POST", size=300_000, timeout=5) for _ in range(6)]
        assert [a["status"] for a in answers] == [200] * 6
    clean.mesh.kubectl("rollout", "status", "deploy/echo-v2", "--timeout=30s")


@pytest.mark.parametrize(("source", "host"), WAYS)
def test_websockets_pass(clean: Applications, source: str, host: str) -> None:
    answer = clean.agent(source)("websocket", host=host, port=80, size=300_000)
    assert (answer["status"], answer["echoed"]) == (101, 300_005)


def test_connections_to_an_application_are_kept(clean: Applications) -> None:
    clean.apply(VERSIONS + "---" + virtual_service("route: [{destination: {host: echo, subset: v2}}]"))
    time.sleep(0.1)
    numbers = {clean.get(f"{ECHO}/")["seen"]["connection"] for _ in range(10)}
    assert len(numbers) <= 2


# -- routes --

MATCHES: dict[str, tuple[str, dict[str, Any], dict[str, Any] | None]] = {
    "exact": ("uri: {exact: /exact}", {"path": "/exact?q=1"}, {"path": "/exact/"}),
    "prefix": ("uri: {prefix: /pre}", {"path": "/prefix/x"}, {"path": "/Pre"}),
    "regex": ("uri: {regex: '/r[0-9]+'}", {"path": "/r12?x"}, {"path": "/r12/"}),
    "case": (
        "uri: {exact: /CaSe}, ignoreUriCase: true", {"path": "/cAsE"}, {"path": "/cAsE2"},
    ),
    "method": ("uri: {prefix: /m}, method: {exact: PUT}", {"path": "/m", "method": "PUT"}, {"path": "/m"}),
    "header": (
        "uri: {prefix: /h}, headers: {x-a: {exact: one}}",
        {"path": "/h", "headers": {"X-A": "one"}}, {"path": "/h", "headers": {"X-A": "one1"}},
    ),
    "header-prefix": (
        "uri: {prefix: /h}, headers: {x-b: {prefix: one}}",
        {"path": "/h", "headers": {"x-b": "one-two"}}, {"path": "/h", "headers": {"x-b": "on"}},
    ),
    "header-regex": (
        "uri: {prefix: /h}, headers: {x-c: {regex: 'a+'}}",
        {"path": "/h", "headers": {"x-c": "aaa"}}, {"path": "/h", "headers": {"x-c": "aab"}},
    ),
    "header-present": (
        "uri: {prefix: /h}, headers: {x-d: {}}", {"path": "/h", "headers": {"x-d": "any"}}, {"path": "/h"},
    ),
    "without": (
        "uri: {prefix: /w}, withoutHeaders: {x-a: {exact: one}}",
        {"path": "/w", "headers": {"x-a": "two"}}, {"path": "/w", "headers": {"x-a": "one"}},
    ),
    "query": (
        "uri: {prefix: /q}, queryParams: {a: {exact: '1'}, b: {regex: 'x.*'}}",
        {"path": "/q?b=xy&a=1"}, {"path": "/q?a=1&b=y"},
    ),
    "authority": (
        "authority: {exact: echo.default}", {"path": "/", "host": "echo.default"},
        {"path": "/", "host": "echo.default.svc"},
    ),
    "port": ("uri: {prefix: /port}, port: 8081", {"path": "/port", "port": 8081}, {"path": "/port"}),
    "labels": (
        "uri: {prefix: /l}, sourceLabels: {app: client}", {"path": "/l"}, {"path": "/l", "source": "db"},
    ),
    "namespace": (
        "uri: {prefix: /n}, sourceNamespace: away", {"path": "/n", "source": "remote"}, {"path": "/n"},
    ),
    "scheme": ("uri: {prefix: /s}, scheme: {exact: http}", {"path": "/s"}, None),
}  # fmt: skip


def test_every_kind_of_match(clean: Applications) -> None:
    rules = [
        f"{{match: [{{{match}}}], headers: {{response: {{set: {{x-rule: {name}}}}}}}, {ROUTE}}}"
        for name, (match, _, _) in MATCHES.items()
    ]
    rules.append(f"{{headers: {{response: {{set: {{x-rule: none}}}}}}, {ROUTE}}}")
    clean.apply(virtual_service(*rules))
    time.sleep(0.1)

    def rule(request: dict[str, Any]) -> str:
        request = dict(request)
        port, source = request.pop("port", 80), request.pop("source", "client")
        name = "echo.default.svc.cluster.local" if source == "remote" else "echo"
        url = f"http://{name}{'' if port == 80 else f':{port}'}{request.pop('path')}"
        return str(clean.get(url, source, **request)["headers"]["x-rule"])

    for name, (_, accepted, refused) in MATCHES.items():
        assert rule(accepted) == name
        assert refused is None or rule(refused) == "none", name


def test_the_first_rule_wins_and_no_rule_is_404(clean: Applications) -> None:
    clean.apply(
        virtual_service(
            "{name: one, match: [{uri: {prefix: /a}}, {uri: {prefix: /b}}], directResponse: {status: 201}}",
            "{match: [{uri: {prefix: /a}}], directResponse: {status: 202}}",
        )
    )
    time.sleep(0.1)
    assert [clean.get(f"{ECHO}{path}")["status"] for path in ("/a", "/b", "/c")] == [201, 201, 404]
    missing = clean.get(f"{ECHO}/c")
    assert (missing["body"], missing["headers"]["server"]) == ("", "envoy")
    assert "404 NR route_not_found" in clean.logged('"GET /c HTTP/1.1"')


def test_rewrites_and_redirects(clean: Applications) -> None:
    clean.apply(
        virtual_service(
            "{match: [{uri: {prefix: /old/}}], rewrite: {uri: /new/, authority: other}, TO_ECHO}",
            "{match: [{uri: {exact: /one}}], rewrite: {uri: /two}, TO_ECHO}",
            r"{match: [{uri: {prefix: /re}}], rewrite: {uriRegexRewrite: {match: '^/re/(\w+)/(\w+)', "
            r"rewrite: '/\2/\1'}}, TO_ECHO}",
            "{match: [{uri: {exact: /go}}], redirect: {uri: /there, authority: else, redirectCode: 307}}",
            "{match: [{uri: {prefix: /tls}}], redirect: {scheme: https, derivePort: FROM_PROTOCOL_DEFAULT}}",
        )
    )
    time.sleep(0.1)
    answer = clean.get(f"{ECHO}/old/x?q=1")
    assert (answer["seen"]["path"], answer["got"]["host"]) == ("/new/x?q=1", "other")
    assert answer["got"]["x-envoy-original-path"] == "/old/x?q=1"
    assert clean.get(f"{ECHO}/one")["seen"]["path"] == "/two"
    assert clean.get(f"{ECHO}/re/a/b?x")["seen"]["path"] == "/b/a?x"
    moved = clean.get(f"{ECHO}/go?q=1")
    assert (moved["status"], moved["headers"]["location"]) == (307, "http://else/there?q=1")
    moved = clean.get(f"{ECHO}/tls/x?q=1")
    assert (moved["status"], moved["headers"]["location"]) == (301, "https://echo/tls/x?q=1")


def test_header_operations_apply_on_both_levels(clean: Applications) -> None:
    rule = """{headers: {request: {set: {x-set: new, host: made.up}, add: {x-add: b}, remove: [x-gone]},
      response: {add: {x-add: r}, remove: [x-secret]}},
      route: [{destination: {host: echo},
      headers: {request: {add: {x-route: d}}, response: {set: {x-set: d}}}}]}"""
    clean.apply(virtual_service(rule))
    time.sleep(0.1)
    answer = clean.get(
        f"{ECHO}/?field=x-secret:1&field=x-add:a&field=x-set:1",
        headers={"x-set": "old", "x-add": "a", "x-gone": "1"},
    )
    got, fields = answer["got"], answer["seen"]["headers"]
    assert (got["x-set"], got["x-route"], got["host"], "x-gone" in got) == ("new", "d", "made.up", False)
    assert [value for name, value in fields if name == "x-add"] == ["a", "b"]
    assert [value for name, value in answer["fields"] if name == "x-add"] == ["a", "r"]
    assert (answer["headers"]["x-set"], "x-secret" in answer["headers"]) == ("d", False)


def test_weights_share_out_and_subsets_select(clean: Applications) -> None:
    clean.apply(
        VERSIONS + "---" + virtual_service(
            "route: [{destination: {host: echo, subset: v1}, weight: 25}, "
            "{destination: {host: echo, subset: v2}, weight: 75}]"
        )
    )  # fmt: skip
    time.sleep(0.1)
    found = clean.agent("client")("many", url=f"{ECHO}/", times=600, threads=3)
    counts = collections.Counter(app for _, _, app, _ in found)
    assert counts.keys() == {"v1", "v2"}
    assert counts["v2"] / 600 == pytest.approx(0.75, abs=0.08)


def test_subsets_that_lead_nowhere(clean: Applications) -> None:
    rule = destination_rule("subsets: [{name: nobody, labels: {version: v9}}]")
    clean.apply(
        rule + "---" + virtual_service(
            "{match: [{uri: {exact: /undefined}}], route: [{destination: {host: echo, subset: nosuch}}]}",
            "{match: [{uri: {exact: /nohost}}], route: [{destination: {host: nosuch}}]}",
            "route: [{destination: {host: echo, subset: nobody}}]",
        )
    )  # fmt: skip
    time.sleep(0.1)
    for path, body, words in (
        ("/undefined", "", "503 NC cluster_not_found"),
        ("/nohost", "", "503 NC cluster_not_found"),
        ("/empty", "no healthy upstream", "503 UH no_healthy_upstream"),
    ):
        answer = clean.get(f"{ECHO}{path}")
        assert (answer["status"], answer["body"]) == (503, body)
        assert words in clean.logged(f'"GET {path} HTTP/1.1"')


def test_balancers(clean: Applications) -> None:
    def pods(balancer: str, times: int) -> list[str]:
        clean.apply(destination_rule(f"trafficPolicy: {{loadBalancer: {{simple: {balancer}}}}}"))
        time.sleep(0.1)
        return [pod for _, pod, _, _ in clean.agent("client")("many", url=f"{ECHO}/", times=times)]

    turns = pods("ROUND_ROBIN", 30)
    assert len(set(turns)) == 3
    assert turns[:3] * 10 == turns
    shares = collections.Counter(pods("RANDOM", 300))
    assert len(shares) == 3
    assert min(shares.values()) > 60
    assert len(set(pods("LEAST_REQUEST", 60))) == 3


def test_least_request_avoids_who_is_busy(clean: Applications) -> None:
    clean.apply(destination_rule("trafficPolicy: {loadBalancer: {simple: LEAST_REQUEST}}"))
    time.sleep(0.1)
    clean.seen()
    busy = clean.agent("client")
    for _ in range(6):  # on threads of the agent's, so that they are at work all at once
        busy("begin_http", url=f"{ECHO}/?delay=1.5")
    time.sleep(0.2)
    slow = collections.Counter(s["pod"] for s in clean.seen())
    assert sum(slow.values()) == 6
    assert max(slow.values()) <= 3


# -- faults, time-outs, retries --


def test_faults(clean: Applications) -> None:
    clean.apply(
        virtual_service(
            "{match: [{uri: {prefix: /abort}}], "
            "fault: {abort: {httpStatus: 418, percentage: {value: 100}}}, TO_ECHO}",
            "{match: [{uri: {prefix: /delay}}], timeout: 0.1s, "
            "fault: {delay: {fixedDelay: 0.5s, percentage: {value: 100}}}, TO_ECHO}",
            "{match: [{uri: {prefix: /never}}], fault: {abort: {httpStatus: 500}}, TO_ECHO}",
            "{match: [{uri: {prefix: /half}}], "
            "fault: {abort: {httpStatus: 500, percentage: {value: 50}}}, TO_ECHO}",
        )
    )
    time.sleep(0.1)
    aborted = clean.get(f"{ECHO}/abort")
    assert (aborted["status"], aborted["body"]) == (418, "fault filter abort")
    assert aborted["headers"]["content-type"] == "text/plain"
    assert "418 FI fault_filter_abort" in clean.logged('"GET /abort HTTP/1.1"')
    delayed = clean.get(f"{ECHO}/delay")
    assert delayed["status"] == 200  # the time-out begins behind the delay
    assert 0.5 <= delayed["seconds"] < 1
    assert "200 DI via_upstream" in clean.logged('"GET /delay HTTP/1.1"')
    assert clean.get(f"{ECHO}/never")["status"] == 200
    found = clean.agent("client")("many", url=f"{ECHO}/half", times=200)
    assert 60 < sum(status == 500 for status, *_ in found) < 140


def test_time_outs(clean: Applications) -> None:
    clean.apply(virtual_service("{timeout: 0.2s, TO_ECHO}"))
    time.sleep(0.1)
    late = clean.get(f"{ECHO}/late?delay=1")
    assert (late["status"], late["body"]) == (504, "upstream request timeout")
    assert late["headers"]["content-type"] == "text/plain"
    assert 0.2 <= late["seconds"] < 0.6
    assert "504 UT response_timeout" in clean.logged('"GET /late?delay=1 HTTP/1.1"')
    assert clean.get(f"{ECHO}/?delay=0.05")["status"] == 200


def test_retries_are_counted(clean: Applications) -> None:
    clean.apply(
        virtual_service(
            "{match: [{uri: {prefix: /never}}], retries: {attempts: 0}, TO_ECHO}",
            "{match: [{uri: {prefix: /5xx}}], retries: {attempts: 3, retryOn: 5xx}, TO_ECHO}",
            "{match: [{uri: {prefix: /code}}], retries: {attempts: 1, retryOn: '429'}, TO_ECHO}",
            "{match: [{uri: {prefix: /each}}], timeout: 2s, "
            "retries: {attempts: 2, perTryTimeout: 0.2s, retryOn: 'reset,5xx'}, TO_ECHO}",
            ROUTE,
        )
    )
    time.sleep(0.1)
    for path, status, tries in (
        ("/never?status=503", 503, 1),
        ("/5xx?status=500", 500, 4),
        ("/5xx?status=404", 404, 1),
        ("/code?status=429", 429, 2),
        ("/each?delay=1", 504, 3),
        ("/default?status=503", 503, 1),  # Istio since 1.24
    ):
        clean.seen()
        answer = clean.get(f"{ECHO}{path}")
        time.sleep(0.05)
        seen = clean.seen()
        assert (path, answer["status"], len(seen)) == (path, status, tries)
        counts = [dict(s["headers"])["x-envoy-attempt-count"] for s in seen]
        assert counts == [str(n + 1) for n in range(tries)]
    assert "500 URX via_upstream" in clean.logged('"GET /5xx?status=500 HTTP/1.1"')
    assert "504 UT,URX" in clean.logged('"GET /each?delay=1 HTTP/1.1"')


def test_a_retry_sends_the_body_again(clean: Applications) -> None:
    clean.apply(virtual_service("{retries: {attempts: 1, retryOn: 5xx}, TO_ECHO}"))
    time.sleep(0.1)
    clean.seen()
    clean.get(f"{ECHO}/?status=500", method="POST", body="hello")
    assert [seen["body"] for seen in clean.seen()] == ["hello", "hello"]


def test_mirrors_get_copies(clean: Applications) -> None:
    clean.apply(
        virtual_service(
            "{route: [{destination: {host: echo}}], mirror: {host: client, port: {number: 80}}, "
            "mirrorPercentage: {value: 100}}"
        )
    )
    time.sleep(0.1)
    clean.seen("client")
    clean.get(f"{ECHO}/copied?delay=0.01", method="POST", body="both")
    copies: list[dict[str, Any]] = []
    eventually(lambda: copies.extend(clean.seen("client")) or copies, 5)
    (copy,) = copies
    assert (copy["method"], copy["path"], copy["body"]) == ("POST", "/copied?delay=0.01", "both")
    assert dict(copy["headers"])["host"] == "echo-shadow"
    assert dict(copy["headers"])["x-envoy-attempt-count"] == "1"


# -- the proxy's own answers --


def test_why_there_is_no_answer(clean: Applications) -> None:
    before = "upstream connect error or disconnect/reset before headers. "
    clean.apply(VERSIONS + "---" + virtual_service("route: [{destination: {host: echo, subset: v2}}]"))
    time.sleep(0.1)
    for end in ("reset", "close"):
        answer = clean.get(f"{ECHO}/{end}?end={end}")
        assert (answer["status"], answer["body"]) == (503, f"{before}reset reason: connection termination")
        logged = clean.logged(f'"GET /{end}?end={end} HTTP/1.1"', "inbound|8080", deployment="echo-v2")
        assert "503 UC upstream_reset_before_response_started{connection_termination}" in logged


ENTRY = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: shut}
spec:
  hosts: [shut.example.com]
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: 18099}]
  resolution: STATIC
  endpoints: [{address: %s}]
"""


def test_nobody_listens(clean: Applications) -> None:
    with outside(OUTSIDE):
        clean.apply(ENTRY % OUTSIDE)
        time.sleep(0.1)
        answer = clean.get("http://shut.example.com/shut")
    assert answer["status"] == 503
    assert answer["body"] == (
        "upstream connect error or disconnect/reset before headers. retried and the latest reset reason: "
        "remote connection failure"
    )
    logged = clean.logged('"GET /shut HTTP/1.1"')
    assert "503 UF,URX upstream_reset_before_response_started{remote_connection_failure|" in logged


# -- gateways --

GATEWAY = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [edge.example.com]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: edge}
spec:
  hosts: [edge.example.com, echo]
  gateways: [edge, mesh]
  http:
  - match: [{gateways: [edge], uri: {prefix: /gw}}]
    rewrite: {uri: /from-outside}
    route: [{destination: {host: echo, port: {number: 80}}}]
  - match: [{gateways: [mesh], uri: {prefix: /gw}}]
    rewrite: {uri: /from-inside}
    route: [{destination: {host: echo}}]
  - directResponse: {status: 404, body: {string: neither}}
"""


def test_rules_for_gateways_and_for_the_mesh(clean: Applications) -> None:
    clean.apply(GATEWAY)
    time.sleep(0.2)

    def ask(path: str, host: str) -> Any:
        return clean.mesh.get(path, Host=host)

    page = ask("/gw", "edge.example.com")
    seen = json.loads(page.body)
    got = dict(seen["headers"])
    assert (page.status, seen["path"], page.headers["server"]) == (200, "/from-outside", "istio-envoy")
    assert (got["x-forwarded-for"], got["x-forwarded-proto"], got["x-envoy-internal"]) == (
        "127.0.0.1",
        "http",
        "true",
    )
    assert ask("/other", "edge.example.com").body == "neither"
    assert ask("/gw", "nobody.example.com").status == 404
    assert clean.get(f"{ECHO}/gw")["seen"]["path"] == "/from-inside"
