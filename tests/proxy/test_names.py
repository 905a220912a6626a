"""Endpoints that are names, or loopback: whose, and where they lead."""

from __future__ import annotations

from dataclasses import replace

import pytest

from devmesh.model.outside import OutsideNames
from devmesh.model.port import Protocol
from devmesh.snapshot.cluster import ClusterKind, Endpoint
from devmesh.snapshot.network import MARK_HOP, MARK_PROXY
from devmesh.snapshot.proxy import Target, TcpRoute
from devmesh.snapshot.route import Route, Weighted
from tests.proxy.meshes import APP, CLUSTER, App, Mesh, body_of, cluster, snapshot, status_of
from tests.proxy.test_tcp import client_hello

GET = b"GET /x HTTP/1.1\r\nhost: b\r\n\r\n"


def leading(endpoint: Endpoint, **outside: list[str]) -> Mesh:
    made = Mesh(snapshot(clusters=(cluster(endpoint),)))
    made.plane.outside = OutsideNames({name.replace("_", "."): found for name, found in outside.items()})
    return made


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "127.0.0.9", "localhost", "api.localhost"])
def test_loopback_is_the_callers_own_pod(address: str) -> None:
    mesh = leading(Endpoint(address, 5000))
    mesh.call(GET)
    found = address if ":" in address or address[0].isdigit() else "127.0.0.1"
    assert mesh.reactor.dialled[0] == ("a", found, 5000, MARK_PROXY)


def test_a_unix_socket_is_the_callers_own_pods() -> None:
    mesh = leading(Endpoint("unix:///run/app.sock", 5000))
    mesh.reactor.serve("a", "unix:///run/app.sock", 5000, App())
    assert body_of(mesh.call(GET)) == b"hello"
    assert mesh.sink.requests[0].upstream_host == "/run/app.sock"


@pytest.mark.parametrize(
    "endpoint",
    [
        Endpoint("host.docker.internal", 5000),
        Endpoint("host.containers.internal", 5000),
        Endpoint("w.example", 5000),
        Endpoint("127.0.0.1", 5000, name="w.example"),
    ],
)
def test_a_name_of_this_machine_is_this_machines_loopback(endpoint: Endpoint) -> None:
    mesh = leading(endpoint, w_example=["127.0.0.1"])
    mesh.reactor.serve(None, "127.0.0.1", 5000, App())
    assert body_of(mesh.call(GET)) == b"hello"
    assert mesh.reactor.dialled[0] == (None, "127.0.0.1", 5000, MARK_PROXY)


def test_a_name_that_was_found_to_be_a_pods_goes_into_that_pod() -> None:
    mesh = leading(Endpoint(APP[0], APP[1], name="b-0.b.example"))
    assert body_of(mesh.call(GET)) == b"hello"
    assert mesh.reactor.dialled[0] == ("b", *APP, MARK_HOP)


def dynamic(**outside: list[str]) -> Mesh:
    made = snapshot(
        Route(destinations=(Weighted(CLUSTER),)),
        clusters=(replace(cluster(), kind=ClusterKind.DYNAMIC, port=443),),
        targets={443: Target(Protocol.TLS, None, (TcpRoute((Weighted(CLUSTER),), ("*.example",)),))},
    )
    table = made.proxies["a"].outbound.by_port[80].routes
    assert table is not None
    everything = replace(table, default=next(iter(table.exact.values())))
    outbound = made.proxies["a"].outbound
    ports = {**outbound.by_port, 80: replace(outbound.by_port[80], routes=everything)}
    a = replace(made.proxies["a"], outbound=replace(outbound, by_port=ports))
    mesh = Mesh(replace(made, proxies={**made.proxies, "a": a}))
    mesh.plane.outside = OutsideNames({name.replace("_", "."): found for name, found in outside.items()})
    return mesh


@pytest.mark.parametrize(
    ("host", "dialled"),
    [
        ("w.example", ("192.0.2.1", 80)),
        ("W.example:8080", ("192.0.2.1", 8080)),
        ("192.0.2.9", ("192.0.2.9", 80)),
    ],
)
def test_a_dynamic_cluster_goes_where_the_host_header_says(host: str, dialled: tuple[str, int]) -> None:
    mesh = dynamic(w_example=["192.0.2.1"])
    mesh.reactor.serve(None, *dialled, App())
    assert body_of(mesh.call(GET.replace(b"host: b", f"host: {host}".encode()))) == b"hello"
    assert mesh.reactor.dialled[0][1:3] == dialled


def test_a_dynamic_cluster_has_nobody_where_the_name_means_nothing() -> None:
    mesh = dynamic(w_example=[])
    assert status_of(mesh.call(GET.replace(b"host: b", b"host: w.example"))) == 503


def test_a_dynamic_cluster_of_tls_goes_to_the_name_asked_for() -> None:
    mesh = dynamic(w_example=["192.0.2.1"])
    server = App(None)
    mesh.reactor.serve(None, "192.0.2.1", 443, server)
    hello = client_hello("w.example")
    client = mesh.client(443)
    client.connection.send(hello)
    mesh.reactor.settle()
    assert server.heard == hello
