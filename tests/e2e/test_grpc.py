"""gRPC and HTTP/2 through a real mesh: grpcio's own client and server, curl, h2load."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.e2e.applications import APPS, Agent, Applications, applications
from tests.e2e.bookinfo import eventually
from tests.e2e.test_traffic import destination_rule, virtual_service

CALLS = Path(__file__).with_name("calls")
TO = "greeter:9000"
GATEWAY = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: calls}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 80, name: http2, protocol: HTTP2}, hosts: ["*"]}
"""
ROUTE = "route: [{destination: {host: greeter, port: {number: 9000}}}]"

pytestmark = [pytest.mark.netns, pytest.mark.slow]


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Applications]:
    """A mesh of `calls/`: of processes, since the image would need grpcio."""
    source = tmp_path_factory.mktemp("source") / "calls"
    shutil.copytree(CALLS, source)
    shutil.copy(APPS / "server.py", source)
    with applications("process", tmp_path_factory.mktemp("calls"), source, "calls.yaml") as found:
        yield found


@pytest.fixture
def mesh(calls: Applications) -> Iterator[Applications]:
    for index in range(2):
        calls.agent("greeter", index)("calls")
    yield calls
    calls.clean()


@pytest.fixture
def client(mesh: Applications) -> Agent:
    return mesh.agent("client")


def rule(text: str, mesh: Applications) -> None:
    mesh.apply(virtual_service(f"{{{text}, {ROUTE}}}", host="greeter"))


def metrics(mesh: Applications) -> str:
    api = mesh.mesh.status["api"]
    token = Path(api["token_file"]).read_text().strip()
    asked = urllib.request.Request(f"{api['url']}/metrics", headers={"authorization": f"Bearer {token}"})
    with urllib.request.urlopen(asked, timeout=10) as answer:
        return str(answer.read().decode())


def called(mesh: Applications) -> int:
    return sum(mesh.agent("greeter", index)("calls")["calls"] for index in range(2))


def cancelled(mesh: Applications) -> int:
    return sum(mesh.agent("greeter", index)("calls", clear=False)["cancelled"] for index in range(2))


def test_a_unary_call_has_its_metadata_both_ways(client: Agent) -> None:
    answer = client("call", target=TO, metadata={"x-a": "1", "x-raw-bin": "00ff80"}, timeout=8)
    assert answer["code"] == "OK"
    told, got = answer["answer"], answer["answer"]["got"]
    assert told["pod"].startswith("greeter-")
    assert (got["x-a"], got["x-envoy-attempt-count"], got["x-forwarded-proto"]) == ("1", "1", "http")
    assert "URI=spiffe://cluster.local/ns/default/sa/default" in got["x-forwarded-client-cert"]
    assert answer["answer"]["raw"] == "00ff80"
    assert 6 < told["remaining"] <= 8
    assert (answer["head"]["x-head"], answer["head"]["x-raw-bin"], answer["tail"]["x-tail"]) == (
        "1",
        "00ff",
        "2",
    )


def test_calls_of_one_connection_are_balanced(mesh: Applications, client: Agent) -> None:
    """What a Service of kube-proxy cannot do: it balances connections."""
    found = client("many_calls", target=TO, times=60)
    assert len(found) == 2
    assert all(pod.startswith("greeter-") and count > 10 for pod, count in found.items())


def test_large_messages(client: Agent) -> None:
    assert client("call", target=TO, size=4_000_000)["answer"]["size"] == 4_000_000
    assert client("out", target=TO, number=8, size=1_000_000)["count"] == 8


def test_a_hundred_thousand_messages_of_the_server(client: Agent) -> None:
    found = client("out", target=TO, number=100_000)
    assert (found["count"], found["ordered"]) == (100_000, True)


def test_a_hundred_thousand_messages_of_the_client(client: Agent) -> None:
    assert client("into", target=TO, number=100_000, size=10) == "100000 1000000"


def test_both_talk_in_turns(client: Agent) -> None:
    assert client("talk", target=TO, number=500) == {"count": 500}


def test_messages_are_counted(mesh: Applications, client: Agent) -> None:
    def counted(name: str) -> float:
        text = metrics(mesh)
        found = re.findall(
            rf'^{name}{{reporter="source".*destination_service_name="greeter".*}} (\d+)$', text, re.MULTILINE
        )
        return sum(map(float, found))

    before = counted("istio_response_messages_total")
    client("out", target=TO, number=123)
    assert counted("istio_response_messages_total") == before + 123
    counted_there = 'istio_requests_total{reporter="destination"'
    lines = [line for line in metrics(mesh).splitlines() if line.startswith(counted_there)]
    line = next(line for line in lines if 'request_protocol="grpc"' in line)
    assert 'grpc_response_status="0"' in line
    assert 'response_code="200"' in line
    assert 'connection_security_policy="mutual_tls"' in line


def test_a_deadline_ends_a_call_everywhere(mesh: Applications, client: Agent) -> None:
    answer = client("call", target=TO, method="Slow", timeout=0.3)
    assert answer["code"] in ("DEADLINE_EXCEEDED", "UNAVAILABLE")
    assert answer["seconds"] < 2
    eventually(
        lambda: sum(mesh.agent("greeter", i)("calls", clear=False)["cancelled"] for i in range(2)) == 1, 5
    )


def test_a_call_that_is_cancelled_is_cancelled_at_the_server(mesh: Applications, client: Agent) -> None:
    assert client("cancel", target=TO, after=0.2) == "CANCELLED"
    eventually(
        lambda: sum(mesh.agent("greeter", i)("calls", clear=False)["cancelled"] for i in range(2)) == 1, 5
    )


@pytest.mark.parametrize("port", [9000, 7000])
def test_health_and_reflection(client: Agent, port: int) -> None:
    """On a port that is named, and on one that is sniffed."""
    assert client("is_healthy", target=f"greeter:{port}", service="test.Echo") == "SERVING"
    services, file = client("reflected", target=f"greeter:{port}")
    assert "grpc.health.v1.Health" in services
    assert file == "grpc_health/v1/health.proto"


@pytest.mark.parametrize(
    "code", ["CANCELLED", "DEADLINE_EXCEEDED", "INTERNAL", "RESOURCE_EXHAUSTED", "UNAVAILABLE"]
)
def test_calls_are_tried_again_by_status(mesh: Applications, client: Agent, code: str) -> None:
    condition = code.lower().replace("_", "-")
    rule(f"retries: {{attempts: 4, retryOn: {condition}}}", mesh)
    failing = {"fail": code, "times": "1"}
    eventually(lambda: client("call", target=TO, metadata=failing)["code"] == "OK", 5)
    called(mesh)
    assert client("call", target=TO, metadata={"fail": "ABORTED"})["code"] == "ABORTED"
    assert called(mesh) == 1


def test_a_fault_by_grpc_status(mesh: Applications, client: Agent) -> None:
    rule("fault: {abort: {percentage: {value: 100}, grpcStatus: RESOURCE_EXHAUSTED}}", mesh)

    def fails() -> bool:
        found = client("call", target=TO)
        return (found["code"], found.get("details")) == ("RESOURCE_EXHAUSTED", "fault filter abort")

    eventually(fails, 5)
    line = mesh.logged("test.Echo/Unary", " FI ")
    assert '"POST /test.Echo/Unary HTTP/2" 200 FI fault_filter_abort' in line


def test_a_fault_by_http_status_is_one_of_grpc(mesh: Applications, client: Agent) -> None:
    rule("fault: {abort: {percentage: {value: 100}, httpStatus: 503}}", mesh)
    eventually(lambda: client("call", target=TO)["code"] == "UNAVAILABLE", 5)


def test_the_time_a_route_gives(mesh: Applications, client: Agent) -> None:
    rule("timeout: 0.3s", mesh)

    def ends() -> bool:
        found = client("call", target=TO, method="Slow", timeout=10)
        return (found["code"], found["details"]) == ("UNAVAILABLE", "upstream request timeout")

    eventually(ends, 5)


def test_a_circuit_breaker(mesh: Applications, client: Agent) -> None:
    mesh.apply(destination_rule(
        "trafficPolicy: {connectionPool: {http: {http2MaxRequests: 1}}}", host="greeter"))  # fmt: skip

    def breaks() -> bool:
        return client("many_calls", target=TO, times=40, threads=16).get("UNAVAILABLE", 0) > 0

    eventually(breaks, 10)


def test_a_gateway_takes_grpc(mesh: Applications) -> None:
    mesh.apply(GATEWAY)
    mesh.apply(
        virtual_service(
            f"{{match: [{{uri: {{prefix: /test.Echo/}}}}], {ROUTE}}}",
            host='"*"',
            name="edge",
            more="  gateways: [calls]",
        )
    )
    with grpc.insecure_channel(mesh.mesh.ingress) as channel:
        unary = channel.unary_unary("/test.Echo/Unary")

        def works() -> dict[str, Any]:
            return dict(json.loads(unary(b"x", timeout=5)))

        def tried() -> object:
            try:
                return works()
            except grpc.RpcError as error:
                raise AssertionError(str(error)) from error

        told = eventually(tried, 10)
        assert isinstance(told, dict)
        assert "x-forwarded-for" in told["got"]


# -- HTTP/2 by other clients --


@pytest.mark.parametrize(("option", "version"), [("--http2", "1.1"), ("--http2-prior-knowledge", "2")])
def test_curl(client: Agent, option: str, version: str) -> None:
    """Without prior knowledge curl asks for an upgrade, which Envoy does not take up either."""
    command = ["curl", "-sS", option, "-w", "\n%{http_version} %{http_code}", "http://greeter/a?x=1"]
    done = client("run", command=[*command, "-d", "some body"])
    body, _, said = done["out"].rpartition("\n")
    assert said == f"{version} 200", done
    seen = json.loads(body)
    assert (seen["method"], seen["path"], seen["body"]) == ("POST", "/a?x=1", "some body")


def test_h2load(mesh: Applications, client: Agent) -> None:
    done = client("run", command=["h2load", "-n", "3000", "-c", "4", "-m", "20", "http://greeter/ready"])
    assert "3000 succeeded, 0 failed, 0 errored, 0 timeout" in done["out"], done
    assert "status codes: 3000 2xx" in done["out"]


def test_curl_at_the_gateway(mesh: Applications) -> None:
    mesh.apply(GATEWAY)
    mesh.apply(virtual_service(
        "{route: [{destination: {host: greeter, port: {number: 80}}}]}", host='"*"', name="edge",
        more="  gateways: [calls]"))  # fmt: skip

    def answered() -> bool:
        done = subprocess.run(
            ["curl", "-sS", "--http2-prior-knowledge", "-w", "%{http_version}", "-o", "/dev/null",
             f"http://{mesh.mesh.ingress}/ready"],
            capture_output=True, text=True, check=False, timeout=10,
        )  # fmt: skip
        return done.stdout == "2"

    eventually(answered, 10)
