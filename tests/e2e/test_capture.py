"""Names and connections of workloads that know of no mesh: DNS, original destinations, protocols, egress."""

from __future__ import annotations

import collections
import json
import os
import socket
import time

import pytest

from tests.e2e.applications import OUTSIDE, Applications, outside
from tests.e2e.bookinfo import eventually

A, AAAA, SRV = 1, 28, 33
NXDOMAIN = 3
OUTSIDE_V6 = f"2001:db8::{os.getpid() % 9000 + 1}"


def address_of(apps: Applications, service: str, namespace: str = "default") -> str:
    return apps.mesh.kubectl("get", "service", service, "-n", namespace, "-o", "jsonpath={.spec.clusterIP}")


# -- DNS --


@pytest.mark.parametrize("source", ["client", "outsider"])
def test_a_services_names(clean: Applications, source: str) -> None:
    ask, echo = clean.agent(source), address_of(clean, "echo")
    names = ["echo.default", "Echo.Default", "echo.default.svc", "echo.default.svc.cluster.local"]
    assert [ask("lookup", name=name) for name in names] == [[echo]] * 4
    own = {"client": [echo], "outsider": unknown("echo")}[source]
    assert ask("lookup", name="echo") == own  # short names are of the caller's namespace
    legacy = {"client": unknown("legacy"), "outsider": [address_of(clean, "legacy", "old")]}[source]
    assert ask("lookup", name="legacy") == legacy


@pytest.mark.parametrize("tcp", [False, True])
def test_answers_as_resolvers_want_them(clean: Applications, tcp: bool) -> None:
    def ask(name: str, kind: int) -> tuple[int, list[str]]:
        answer = clean.agent("client")("ask", name=name, kind=kind, tcp=tcp)
        return answer["code"], answer["answers"]

    name = "echo.default.svc.cluster.local"
    assert ask(name, A) == (0, [address_of(clean, "echo")])
    assert ask(name, AAAA) == (0, [])  # not NXDOMAIN: musl would give up
    assert ask("nosuch.default.svc.cluster.local", A) == (NXDOMAIN, [])
    code, answers = ask(f"_http._tcp.{name}", SRV)
    assert (code, len(answers), answers[0][8:12]) == (0, 1, "0050")  # port 80


def test_headless_services_and_their_pods(clean: Applications) -> None:
    ask = clean.agent("client")
    pods = {clean.address("app=db", index=n) for n in (0, 1)}
    assert set(ask("lookup", name="db")) == pods
    both = [ask("lookup", name=name) for name in ("db-0.db", "db-1.db.default.svc.cluster.local")]
    assert {found[0] for found in both} == pods
    for pod in ("db-0", "db-1"):
        answer = clean.get(f"http://{pod}.db:8080/")
        assert (answer["seen"]["pod"], answer["headers"]["server"]) == (pod, "envoy")
        assert "x-forwarded-client-cert" in answer["got"]  # mutual TLS to a headless service's pod, too
        assert ask("raw", host=f"{pod}.db", port=9000, data="x", end=True)["data"] == "x\n1 bytes"
    assert clean.agent("client")("lookup", name="db-7.db") == ["error -2"]


@pytest.mark.parametrize("source", ["client", "outsider"])
def test_other_names_are_asked_of_others(clean: Applications, source: str) -> None:
    """What they say is what they say on this machine: that there is none, or that nobody can tell."""
    ask = clean.agent(source)
    assert ask("lookup", name="localhost")[-1] in ("127.0.0.1", "::1")
    for name in ("nosuch.invalid", "nosuch"):
        assert ask("lookup", name=name) == unknown(name)


def unknown(name: str) -> list[str]:
    """Return what this machine's own resolver says of a name that nobody has."""
    try:
        socket.getaddrinfo(name, None)
    except socket.gaierror as error:
        return [f"error {error.errno}"]
    raise AssertionError(f"somebody answers for {name}")


# -- capture --

FIRST = {9001: "declared", 7082: "sniffed"}


def test_no_variable_is_changed(clean: Applications) -> None:
    names = {name.lower() for name in clean.agent("client")("environment")}
    assert not {name for name in names if "proxy" in name or name.startswith("ld_")}


@pytest.mark.parametrize("source", ["client", "outsider"])
@pytest.mark.parametrize("port", [80, 8081, 7000, 7080])
def test_http_is_found_by_name_by_app_protocol_and_by_its_bytes(
    clean: Applications, source: str, port: int
) -> None:
    answer = clean.get(f"http://echo.default:{port}/", source)
    server = {"client": "envoy", "outsider": "istio-envoy"}[source]
    assert (answer["status"], answer["headers"]["server"]) == (200, server)
    assert answer["seen"]["peer"] == "127.0.0.6"


@pytest.mark.parametrize("source", ["client", "outsider"])
@pytest.mark.parametrize("port", [9000, 7001, 7081])
def test_tcp_is_carried_as_it_is(clean: Applications, source: str, port: int) -> None:
    data = "\0\x01binary\xff" * 1000
    said = clean.agent(source)("raw", host="echo.default", port=port, data=data, end=True)
    assert (said["data"], said["error"]) == (f"{data}\n9000 bytes", "")
    if source == "client":
        assert f"outbound|{port}||echo.default.svc.cluster.local" in clean.logged('"- - -"', f":{port} ")


@pytest.mark.parametrize(("source", "host"), [("client", "echo"), ("outsider", "echo.default")])
def test_servers_may_speak_first(clean: Applications, source: str, host: str) -> None:
    seconds = {}
    for port in FIRST:
        said = clean.agent(source)("talk", host=host, port=port, lines=["a", "b"])
        assert (said["error"], said["said"]) == ("", ["250 a", "250 b"])
        seconds[port] = said["seconds"]
    assert seconds[7082] > 0.1  # what is sniffed waits for the client first
    assert source == "outsider" or seconds[9001] < 0.1


@pytest.mark.parametrize(("source", "host"), [("client", "echo"), ("outsider", "echo.default")])
def test_a_server_that_has_ended_still_hears_the_client(clean: Applications, source: str, host: str) -> None:
    clean.seen()
    assert clean.agent(source)("after_its_end", host=host, port=9001, size=3_000_000)["ended"]
    assert eventually(clean.seen, 5) == [{"after the end": 3_000_000}]


def test_calls_to_oneself(clean: Applications) -> None:
    own = clean.address("app=client")
    pod = clean.agent("client").pod
    peers = {
        "http://client/": "127.0.0.6",  # by way of the proxy
        f"http://{own}:8080/": own,  # past it, as over the loopback
        "http://127.0.0.1:8080/": "127.0.0.1",
        "http://[::1]:8080/": "::1",
    }
    if not clean.has_ipv6("client"):
        del peers["http://[::1]:8080/"]
    assert clean.get("http://localhost:8080/")["seen"]["pod"] == pod
    for url, peer in peers.items():
        seen = clean.get(url)["seen"]
        assert (url, seen["pod"], seen["peer"]) == (url, pod, peer)


@pytest.mark.parametrize("source", ["client", "outsider"])
def test_pods_are_reached_by_address(clean: Applications, source: str) -> None:
    targets = [("app=echo,version=v2", "default", "echo-v2"), ("app=legacy", "old", "legacy")]
    for selector, namespace, name in targets:
        for address in clean.addresses(selector, namespace):
            host = f"[{address}]" if ":" in address else address
            assert clean.get(f"http://{host}:8080/", source)["seen"]["pod"].startswith(name)
            said = clean.agent(source)("raw", host=address, port=9000, data="x", end=True)
            assert said["data"] == "x\n1 bytes"


def test_without_a_proxy_a_service_leads_to_its_ready_endpoints_by_chance(clean: Applications) -> None:
    found = clean.agent("outsider")("many", url="http://echo.default/", times=240, threads=4)
    assert {status for status, *_ in found} == {200}
    pods = collections.Counter(pod for _, pod, _, _ in found)
    assert len(pods) == 3
    assert min(pods.values()) > 40
    legacy = clean.agent("outsider")("many", url="http://legacy/", times=60)
    assert len({pod for _, pod, _, _ in legacy}) == 2
    answer = clean.get("http://legacy/", "outsider")
    assert answer["got"].keys() == {"host", "connection"}  # nobody was in between


@pytest.mark.parametrize("source", ["client", "outsider"])
def test_what_is_not_ready_gets_no_request(clean: Applications, source: str) -> None:
    load = clean.agent(source)
    unready = clean.agent("echo-v1")
    load.begin("load", url="http://echo.default/", seconds=3.5)
    try:
        time.sleep(0.3)
        unready("state", ready=False)
        eventually(lambda: unready.pod not in ready_pods(clean), 5)
        gone = time.time() + 0.2
        time.sleep(0.8)
        back = time.time()
    finally:
        unready("state", ready=True)
    found = load.end()
    assert [answer for answer in found if answer[1] != 200] == []
    during = {pod for at, _, pod in found if gone < at < back}
    assert len(during) == 2
    assert unready.pod not in during
    assert unready.pod in {pod for at, _, pod in found if at < gone}
    eventually(lambda: unready.pod in ready_pods(clean), 5)


def ready_pods(apps: Applications) -> list[str]:
    path = "{.subsets[0].addresses[*].targetRef.name}"
    return apps.mesh.kubectl("get", "endpoints", "echo", "-o", f"jsonpath={path}").split()


def test_a_rollout_fails_no_request(clean: Applications) -> None:
    load = clean.agent("client")
    load.begin("load", url="http://echo/", seconds=8)
    clean.mesh.kubectl("rollout", "restart", "deploy/echo-v2", "deploy/echo-v1")
    clean.mesh.kubectl("rollout", "status", "deploy/echo-v1", "--timeout=30s")
    found = load.end()
    assert [answer for answer in found if answer[1] != 200] == []
    assert len({pod for _, _, pod in found}) > 3
    clean.mesh.kubectl("rollout", "status", "deploy/echo-v2", "--timeout=30s")


# -- the outside --


@pytest.mark.parametrize("source", ["client", "outsider"])
def test_the_outside_is_reached_as_without_a_mesh(clean: Applications, source: str) -> None:
    reach_the_outside(clean, source, OUTSIDE)
    if clean.has_ipv6(source):
        reach_the_outside(clean, source, OUTSIDE_V6)


def reach_the_outside(clean: Applications, source: str, address: str) -> None:
    host = f"[{address}]" if ":" in address else address
    with outside(address, "http=18080", "tcp=19000", "first=19001", "http=80"):
        agent = clean.agent(source)
        for port in (18080, 80):
            assert clean.get(f"http://{host}:{port}/", source)["seen"]["pod"] == "outside"
        said = agent("raw", host=address, port=19000, data="hello", end=True)
        assert (said["data"], said["error"]) == ("hello\n5 bytes", "")
        assert agent("talk", host=address, port=19001, lines=["a"])["said"] == ["250 a"]
        refused = agent("raw", host=address, port=19009, data="x")
        assert (refused["data"], refused["seconds"] < 1) == ("", True)
    if source == "client":
        assert ":80 " in clean.logged("PassthroughCluster", "allow_any")


ENTRIES = f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: static}}
spec:
  hosts: [static.example.com]
  ports:
  - {{number: 80, name: http, protocol: HTTP, targetPort: 18080}}
  - {{number: 5000, name: tcp, protocol: TCP, targetPort: 19000}}
  resolution: STATIC
  endpoints: [{{address: {OUTSIDE}}}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: service}}
spec:
  hosts: [service.example.com]
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  resolution: DNS
  endpoints: [{{address: echo.default.svc.cluster.local}}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: none}}
spec:
  hosts: ["*.wild.example.com"]
  addresses: [{OUTSIDE}]
  ports:
  - {{number: 18080, name: http, protocol: HTTP}}
  - {{number: 19000, name: tcp, protocol: TCP}}
  resolution: NONE
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: inside}}
spec:
  hosts: [inside.example.com]
  location: MESH_INTERNAL
  ports: [{{number: 80, name: http, protocol: HTTP, targetPort: 8080}}]
  resolution: STATIC
  workloadSelector: {{labels: {{app: echo}}}}
"""


def entries(clean: Applications) -> None:
    agent = clean.agent("client")
    assert clean.get("http://static.example.com/")["seen"]["pod"] == "outside"
    said = agent("raw", host="static.example.com", port=5000, data="hello", end=True)
    assert said["data"] == "hello\n5 bytes"
    assert clean.get("http://service.example.com/")["seen"]["pod"].startswith("echo-")
    answer = clean.get(f"http://{OUTSIDE}:18080/", host="a.wild.example.com")
    assert (answer["seen"]["pod"], answer["got"]["host"]) == ("outside", "a.wild.example.com")
    assert agent("raw", host=OUTSIDE, port=19000, data="x", end=True)["data"] == "x\n1 bytes"
    inside = clean.get("http://inside.example.com/")
    assert inside["seen"]["pod"].startswith("echo-")
    assert "x-forwarded-client-cert" in inside["got"]


def test_what_serviceentries_add(clean: Applications) -> None:
    with outside(OUTSIDE, "http=18080", "tcp=19000"):
        clean.apply(ENTRIES)
        time.sleep(0.2)
        entries(clean)
        # Without a proxy they are as unknown as beside Istio.
        known = clean.agent("outsider")("lookup", name="static.example.com")
        assert known == unknown("static.example.com")
    logged = clean.logged('"static.example.com"')
    assert "outbound|80||static.example.com" in logged


def test_registry_only_lets_out_what_has_an_entry(clean: Applications) -> None:
    config = ("configmap", "istio", "-n", "istio-system")
    before = clean.mesh.kubectl("get", *config, "-o", "jsonpath={.data.mesh}")

    def configure(mesh: str) -> None:
        patch = json.dumps({"data": {"mesh": mesh}})
        clean.mesh.kubectl("patch", *config, "--type=merge", "-p", patch)
        time.sleep(0.2)

    with outside(OUTSIDE, "http=18080", "tcp=19000", "first=19001", "http=80"):
        clean.apply(ENTRIES)
        configure(f"{before}\noutboundTrafficPolicy: {{mode: REGISTRY_ONLY}}\n")
        try:
            entries(clean)
            blocked = clean.get(f"http://{OUTSIDE}/")
            assert (blocked["status"], blocked["body"], blocked["headers"]["server"]) == (502, "", "envoy")
            assert "502 - direct_response" in clean.logged("block_all")
            assert clean.get("http://echo/", host="unknown.example.com")["status"] == 502
            agent = clean.agent("client")
            assert agent("raw", host=OUTSIDE, port=19001, data="hello")["error"] == "ConnectionResetError"
            hello = "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"
            assert agent("raw", host=OUTSIDE, port=443, data=hello)["error"] == "ConnectionResetError"
            assert "BlackHoleCluster" in clean.logged("BlackHoleCluster")
            assert clean.get("http://echo/")["status"] == 200
            assert clean.get(f"http://{OUTSIDE}/", "outsider")["status"] == 200
        finally:
            configure(before)
        assert clean.get(f"http://{OUTSIDE}/")["status"] == 200
