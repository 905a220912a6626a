"""ServiceEntries: how their hosts, addresses and endpoints are found."""

from __future__ import annotations

import pytest

from devmesh.model.port import Protocol
from devmesh.pilot.compiler import Compiled, compile_mesh
from devmesh.snapshot.cluster import Cluster, ClusterKind
from tests.pilot.meshes import Mesh, istio, mesh, service


def entry(spec: str, name: str = "x", namespace: str = "default") -> str:
    return istio("ServiceEntry", name, spec, namespace)


def tcp(addresses: str, host: str = "db.example", extra: str = "") -> str:
    return f"""
hosts: [{host}]
addresses: {addresses}
ports: [{{number: 5432, name: tcp, protocol: TCP}}]
{extra}
"""


def cluster_of(made: Mesh, to: str) -> str:
    return made.connect("a", to).cluster


DB = "outbound|5432||db.example"


@pytest.mark.parametrize(
    ("to", "cluster"),
    [
        ("192.0.2.1:5432", DB),
        ("192.0.3.1:5432", "PassthroughCluster"),
        ("192.0.2.1:5433", "PassthroughCluster"),
        ("[2001:db8::7]:5432", DB),
    ],
)
def test_a_network_of_addresses_leads_to_the_entry(to: str, cluster: str) -> None:
    made = mesh(service("a"), entry(tcp("[192.0.2.0/24, '2001:db8::/64']")))
    assert cluster_of(made, to) == cluster


def test_of_two_networks_the_smaller_wins_and_an_address_before_all() -> None:
    made = mesh(
        service("a"),
        entry(tcp("[192.0.0.0/16]", "wide.example"), "wide"),
        entry(tcp("[192.0.2.0/24]", "narrow.example"), "narrow"),
        entry(tcp("[192.0.2.9]", "one.example"), "one"),
    )
    found = [cluster_of(made, f"{a}:5432") for a in ("192.0.5.1", "192.0.2.1", "192.0.2.9")]
    assert found == [f"outbound|5432||{n}.example" for n in ("wide", "narrow", "one")]


def test_without_addresses_a_tcp_port_takes_every_address() -> None:
    made = mesh(service("a"), entry("hosts: [db.example]\nports: [{number: 5432, name: t, protocol: TCP}]"))
    assert cluster_of(made, "192.0.9.9:5432") == DB


def test_tls_on_a_network_goes_by_the_name_asked_for() -> None:
    spec = "hosts: [s.example]\naddresses: [192.0.2.0/24]\nports: [{number: 443, name: t, protocol: TLS}]"
    made = mesh(service("a"), entry(spec))
    assert made.connect("a", "192.0.2.7:443", sni="s.example").cluster == "outbound|443||s.example"


def test_requests_go_by_their_host_whatever_the_network() -> None:
    spec = "hosts: [w.example]\naddresses: [192.0.2.0/24]\nports: [{number: 80, name: h, protocol: HTTP}]"
    made = mesh(service("a"), entry(spec))
    assert made.get("a", "192.0.9.9", host="w.example").cluster == "outbound|80||w.example"


def compiled(made: Mesh, **resolved: tuple[str, ...]) -> Compiled:
    names = {name.replace("_", "."): found for name, found in resolved.items()}
    made.last = compile_mesh(made.store, made.instances, version=1, resolved=names, previous=made.last)
    return made.last


def cluster(found: Compiled, name: str) -> Cluster:
    return found.snapshot.proxies["a-0"].outbound.clusters[name]


def by_dns(resolution: str = "DNS", extra: str = "", host: str = "w.example") -> Mesh:
    spec = f"hosts: [{host}]\nresolution: {resolution}\nports: [{{number: 80, name: h, protocol: HTTP}}]\n"
    return mesh(service("a"), entry(spec + extra))


W = "outbound|80||w.example"


def test_the_names_of_dns_entries_are_wanted() -> None:
    endpoints = """
endpoints:
- address: one.example
- address: 192.0.2.1
- address: b.default.svc.cluster.local
- address: localhost
- address: host.docker.internal
"""
    assert compiled(by_dns()).names == {"w.example"}
    assert compiled(by_dns(extra=endpoints)).names == {"one.example"}
    assert compiled(by_dns("STATIC", "endpoints: [{address: 192.0.2.1}]")).names == frozenset()


@pytest.mark.parametrize(
    ("resolution", "kind", "addresses"),
    [
        ("DNS", ClusterKind.STRICT_DNS, ["192.0.2.1", "192.0.2.2"]),
        ("DNS_ROUND_ROBIN", ClusterKind.LOGICAL_DNS, ["192.0.2.1"]),
    ],
)
def test_what_was_found_for_a_name_is_balanced_over(
    resolution: str, kind: ClusterKind, addresses: list[str]
) -> None:
    found = cluster(compiled(by_dns(resolution), w_example=("192.0.2.1", "192.0.2.2")), W)
    assert found.kind is kind
    assert [(e.address, e.port, e.name) for e in found.endpoints] == [(a, 80, "w.example") for a in addresses]


def test_a_name_that_is_not_known_yet_is_left_to_who_connects() -> None:
    [endpoint] = cluster(compiled(by_dns()), W).endpoints
    assert (endpoint.address, endpoint.name) == ("w.example", "")


def test_a_name_without_addresses_has_no_endpoint() -> None:
    assert cluster(compiled(by_dns(), w_example=()), W).endpoints == ()


def test_labels_weights_and_ports_hold_for_each_address_of_a_name() -> None:
    made = by_dns(extra="endpoints: [{address: e.example, ports: {h: 8080}, weight: 5, labels: {v: '1'}}]")
    made.apply(istio("DestinationRule", "w", "host: w.example\nsubsets: [{name: one, labels: {v: '1'}}]"))
    found = cluster(compiled(made, e_example=("192.0.2.1", "192.0.2.2")), "outbound|80|one|w.example")
    assert [(e.port, e.weight) for e in found.endpoints] == [(8080, 5), (8080, 5)]


def test_what_did_not_change_is_the_same_object_after_a_lookup() -> None:
    made = by_dns()
    addresses = ("192.0.2.1",)
    first = cluster(compiled(made, w_example=addresses), W)
    assert cluster(compiled(made, w_example=addresses), W) is first
    assert cluster(compiled(made, w_example=("192.0.2.2",)), W) is not first


def test_dynamic_dns_goes_where_the_request_says() -> None:
    found = cluster(compiled(by_dns("DYNAMIC_DNS", host="'*.example'")), "outbound|80||*.example")
    assert (found.kind, found.endpoints) == (ClusterKind.DYNAMIC, ())


def test_entries_of_one_namespace_for_one_host_are_one_service() -> None:
    first = "hosts: [w.example]\nresolution: STATIC\nendpoints: [{address: 192.0.2.1}]\n"
    second = first.replace("192.0.2.1", "192.0.2.2")
    made = mesh(
        service("a"),
        entry(first + "ports: [{number: 80, name: h, protocol: HTTP}]", "first"),
        entry(second + "ports: [{number: 80, name: h, protocol: HTTP}, {number: 81, name: i}]", "second"),
    )
    found = compiled(made)
    assert [e.address for e in cluster(found, W).endpoints] == ["192.0.2.1", "192.0.2.2"]
    assert cluster(found, "outbound|81||w.example").endpoints


@pytest.mark.parametrize(
    ("export_to", "seen"), [("['*']", True), ("['.']", False), ("[default]", True), ("['~']", False)]
)
def test_an_entry_is_seen_where_it_is_exported_to(export_to: str, seen: bool) -> None:
    spec = f"hosts: [w.example]\nresolution: STATIC\nexportTo: {export_to}\n"
    spec += "endpoints: [{address: 192.0.2.1}]\n"
    made = mesh(
        service("a"), entry(spec + "ports: [{number: 80, name: h, protocol: HTTP}]", namespace="away")
    )
    assert (made.get("a", "w.example").cluster == W) is seen


def test_the_entry_of_the_callers_namespace_comes_first() -> None:
    spec = "hosts: [w.example]\nresolution: STATIC\nports: [{number: 80, name: h, protocol: HTTP}]\n"
    made = mesh(
        service("a"),
        entry(spec + "endpoints: [{address: 192.0.2.1}]", namespace="away"),
        entry(spec + "endpoints: [{address: 192.0.2.2}]"),
    )
    assert [e.address for e in cluster(compiled(made), W).endpoints] == ["192.0.2.2"]


@pytest.mark.parametrize(
    ("protocol", "spoken"),
    [("HTTP", Protocol.HTTP), ("grpc", Protocol.GRPC), ("MONGO", Protocol.MONGO), ("''", Protocol.AUTO)],
)
def test_protocols_are_named_in_any_case_and_sniffed_where_not(protocol: str, spoken: Protocol) -> None:
    spec = f"hosts: [w.example]\nresolution: STATIC\nports: [{{number: 99, name: h, protocol: {protocol}}}]"
    made = mesh(service("a"), entry(spec))
    [port] = made.compile().snapshot.services["w.example"].ports
    assert port.protocol is spoken


CONFIG = """
---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: "outboundTrafficPolicy: {mode: ALLOW_ANY_DYNAMIC_DNS}"}
"""


def test_requests_that_nobody_knows_may_go_where_their_host_says() -> None:
    made = mesh(service("a"), CONFIG)
    assert made.get("a", "192.0.2.1", host="w.example").cluster == "AllowAnyDynamicDNSCluster"
    assert made.connect("a", "192.0.2.1:9").cluster == "PassthroughCluster"
    made.apply(istio("Sidecar", "a", "outboundTrafficPolicy: {mode: ALLOW_ANY}"))
    assert made.get("a", "192.0.2.1", host="w.example").cluster == "PassthroughCluster"
