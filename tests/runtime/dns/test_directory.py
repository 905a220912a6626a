"""Which names the mesh knows, for whom, and what it says of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from dnslib import QTYPE

from devmesh.model.outside import OutsideNames
from devmesh.runtime.dns import message
from devmesh.runtime.dns.directory import Directory, reversed_address
from devmesh.snapshot.snapshot import Snapshot

from .conftest import DATABASE, MESH, REVIEWS, question, read, texts


def asked(name: str, kind: str = "A", namespace: str = "default", mesh: Snapshot = MESH) -> bytes | None:
    query = message.parse(question(name, kind))
    assert query.name is not None
    found = Directory(mesh).answer(query.name, query.type, namespace)
    if found is None:
        return None
    return message.answer(query, found.code, found.records, found.authority, found.additional, limit=4096)


def texts_of(name: str, kind: str = "A", namespace: str = "default") -> list[str]:
    packet = asked(name, kind, namespace)
    assert packet is not None
    return texts(packet)


@pytest.mark.parametrize(
    ("name", "namespace"),
    [
        ("reviews", "default"),
        ("REVIEWS", "default"),
        ("reviews.default", "other"),
        ("reviews.default.svc", "other"),
        (REVIEWS, "other"),
        (f"{REVIEWS}.", "other"),
    ],
)
def test_the_names_of_a_service(name: str, namespace: str) -> None:
    assert texts_of(name, namespace=namespace) == ["240.240.0.1"]


def test_who_is_outside_the_mesh_knows_services_and_not_what_serviceentries_add() -> None:
    outside = Directory(MESH, meshed=False)
    assert outside.addresses("reviews", "default") == ("240.240.0.1",)
    assert Directory(MESH).addresses("api.example.com", "default") == ("240.240.0.2",)
    assert outside.addresses("api.example.com", "default") is None
    assert outside.addresses("x.example.org", "default") is None


@pytest.mark.parametrize("meshed", [True, False])
def test_names_outside_that_are_given_are_answered_and_hide_no_name_of_the_mesh(meshed: bool) -> None:
    given = {"www.example.net": ["9.9.9.9"], "api.example.com": ["8.8.8.8"], "*.wikipedia.org": ["7.7.7.7"]}
    directory = Directory(MESH, meshed=meshed, outside=OutsideNames(given))
    assert directory.addresses("www.example.net", "default") == ("9.9.9.9",)
    assert directory.addresses("en.wikipedia.org", "default") == ("7.7.7.7",)
    assert directory.addresses("api.example.com", "default") == (("240.240.0.2",) if meshed else ("8.8.8.8",))
    assert directory.addresses("other.example.net", "default") is None
    through = directory.answer("outside", message.A, "default")  # an ExternalName Service
    assert through is not None
    assert len(through.records) == 2
    assert not through.alias


@pytest.mark.parametrize("name", ["reviews", "unknown", "reviews.elsewhere.com"])
def test_a_short_name_means_the_askers_own_namespace(name: str) -> None:
    assert asked(name, namespace="other") is None  # the pod's own resolver is asked


@pytest.mark.parametrize(
    "name", [f"unknown.{REVIEWS[8:]}", "unknown.default.svc", "10-244-0-9.default.pod.cluster.local"]
)
def test_below_the_clusters_domain_nobody_else_is_asked(name: str) -> None:
    packet = asked(name)
    assert packet is not None
    answer = read(packet)
    assert answer.header.rcode == message.NXDOMAIN
    assert [QTYPE[record.rtype] for record in answer.auth] == ["SOA"]


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("api.example.com", "240.240.0.2"),
        ("www.example.org", "240.240.0.3"),
        ("a.b.example.org", "240.240.0.3"),
        ("a.deep.example.org", "240.240.0.4"),
        ("api.example.com.default.svc.cluster.local", "240.240.0.2"),
        ("www.example.org.svc.cluster.local", "240.240.0.3"),
    ],
)
def test_service_entries_and_what_search_lists_make_of_them(name: str, address: str) -> None:
    assert texts_of(name) == [address]


@pytest.mark.parametrize("name", ["example.org", "en.wikipedia.org", "example.com", "com", "."])
def test_names_that_the_world_knows(name: str) -> None:
    assert asked(name) is None


@pytest.mark.parametrize(
    ("name", "kind"), [("reviews", "AAAA"), ("reviews", "TXT"), ("reviews", "HTTPS"), ("empty", "A")]
)
def test_no_such_record_is_not_no_such_name(name: str, kind: str) -> None:
    packet = asked(name, kind)
    assert packet is not None
    answer = read(packet)
    assert (answer.header.rcode, answer.rr) == (message.NOERROR, [])


def test_ipv6_addresses_are_their_own_record() -> None:
    assert texts_of("dual", "A") == ["240.240.0.9"]
    assert texts_of("dual", "AAAA") == ["2001:2::9"]


def test_a_headless_service_is_its_pods() -> None:
    assert texts_of("database.data") == ["10.244.0.3", "10.244.0.4"]
    assert texts_of("db-0.database.data.svc.cluster.local") == ["10.244.0.3"]
    assert texts_of("10-244-0-4.database.data.svc.cluster.local") == ["10.244.0.4"]


@pytest.mark.parametrize("name", ["db-0.database", "db-0.database.data", "db-0.database.data.svc"])
def test_a_pods_short_names_need_no_search_list(name: str) -> None:
    """Containers of a Docker engine have none."""
    assert texts_of(name, namespace="data") == ["10.244.0.3"]


def test_the_name_of_a_pod_by_its_address() -> None:
    assert texts_of("10-244-0-2.default.pod.cluster.local") == ["10.244.0.2"]
    assert texts_of("fd00-10-244--3.data.pod.cluster.local", "AAAA") == ["fd00:10:244::3"]


def test_service_records() -> None:
    assert texts_of(f"_http._tcp.{REVIEWS}", "SRV") == [f"0 100 9080 {REVIEWS}."]
    assert texts_of(f"_tcp-db._tcp.{DATABASE}", "SRV") == [
        f"0 100 15432 10-244-0-3.{DATABASE}.",
        f"0 100 15432 10-244-0-4.{DATABASE}.",
    ]
    assert len(texts_of(REVIEWS, "SRV")) == 2
    packet = asked(f"_nothing._tcp.{REVIEWS}", "SRV")
    assert packet is not None
    assert read(packet).header.rcode == message.NXDOMAIN


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("1.0.240.240", REVIEWS),
        ("2.0.244.10", "10-244-0-2.default.pod.cluster.local"),
    ],
)
def test_names_of_addresses(address: str, name: str) -> None:
    assert texts_of(f"{address}.in-addr.arpa", "PTR") == [f"{name}."]


def test_an_address_of_nobodys_has_no_name() -> None:
    packet = asked("99.99.240.240.in-addr.arpa", "PTR")
    assert packet is not None
    assert read(packet).header.rcode == message.NXDOMAIN
    assert asked("1.1.1.1.in-addr.arpa", "PTR") is None


def test_reversed_names() -> None:
    nibbles = ".".join(reversed("fd00001002440000" + "0" * 15 + "3"))
    assert reversed_address(f"{nibbles}.ip6.arpa") == "fd00:10:244::3"
    assert reversed_address("1.2.3.in-addr.arpa") is None
    assert reversed_address("x.2.3.4.in-addr.arpa") is None
    assert reversed_address("arpa") is None


def test_another_domain_than_clusters() -> None:
    mesh = replace(
        MESH, mesh=replace(MESH.mesh, domain="corp.test"), names={"a.b.svc.corp.test": ("10.0.0.1",)}
    )
    packet = asked("a.b", mesh=mesh)
    assert packet is not None
    assert texts(packet) == ["10.0.0.1"]


@pytest.mark.parametrize(("name", "namespace"), [("inside", "default"), ("inside.default", "other")])
def test_an_external_name_inside_the_mesh(name: str, namespace: str) -> None:
    assert texts_of(name, namespace=namespace) == ["240.240.0.1", f"{REVIEWS}."]
    assert texts_of(name, "CNAME", namespace) == [f"{REVIEWS}."]


def test_an_external_name_outside_the_mesh_is_left_to_be_asked_for() -> None:
    found = Directory(MESH).answer("outside", message.A, "default")
    assert found is not None
    assert found.alias == "www.example.net"
