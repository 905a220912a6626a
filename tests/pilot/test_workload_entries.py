"""WorkloadEntries behind Services and ServiceEntries."""

from __future__ import annotations

import pytest

from devmesh.config import kinds
from devmesh.snapshot.cluster import Endpoint
from tests.pilot.meshes import Mesh, istio, mesh, service

RATINGS_DB = "outbound|3306||db.example.com"


def entry(name: str, address: str, spec: str = "", labels: str = "{app: db}", meta: str = "") -> str:
    return f"""
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {{name: {name}{meta}}}
spec: {{address: {address}, labels: {labels}{spec}}}
"""


def selecting(protocol: str = "TCP", location: str = "MESH_INTERNAL") -> str:
    return istio(
        "ServiceEntry",
        "db",
        f"""
hosts: [db.example.com]
addresses: [240.0.0.1]
location: {location}
resolution: STATIC
ports: [{{number: 3306, name: sql, protocol: {protocol}, targetPort: 3307}}]
workloadSelector: {{labels: {{app: db}}}}
""",
    )


def endpoints(found: Mesh, cluster: str = RATINGS_DB) -> list[tuple[str, int]]:
    snapshot = found.compile().snapshot
    return [e.key for e in snapshot.proxies["a-0"].outbound.clusters[cluster].endpoints]


def test_a_service_entry_selects_workload_entries_and_pods_of_its_namespace() -> None:
    found = mesh(service("a"), service("db"), selecting(), entry("vm", "192.0.2.1"))
    assert endpoints(found) == [("10.0.0.2", 3307), ("192.0.2.1", 3307)]


def test_those_of_another_namespace_are_not_selected() -> None:
    other = entry("vm", "192.0.2.1", meta=", namespace: other")
    assert endpoints(mesh(service("a"), selecting(), other)) == []


def test_a_service_selects_workload_entries_as_it_does_pods() -> None:
    found = mesh(service("a"), service("db", "http:80:8080"), entry("vm", "192.0.2.1"))
    assert endpoints(found, "outbound|80||db.default.svc.cluster.local") == [
        ("10.0.0.2", 8080),
        ("192.0.2.1", 8080),
    ]


def test_ports_of_an_entry_come_before_the_target_port() -> None:
    found = mesh(service("a"), selecting(), entry("vm", "192.0.2.1", ", ports: {sql: 13306}"))
    assert endpoints(found) == [("192.0.2.1", 13306)]


def test_labels_of_the_metadata_come_before_those_of_the_spec() -> None:
    found = mesh(
        service("a"),
        selecting(),
        entry("vm", "192.0.2.1", labels="{app: other}", meta=", labels: {app: db}"),
    )
    assert endpoints(found) == [("192.0.2.1", 3307)]


def test_weight_locality_and_account_are_the_endpoints() -> None:
    spec = ", weight: 7, locality: eu/eu-1/a, serviceAccount: mysql"
    found = mesh(service("a"), selecting(), entry("vm", "192.0.2.1", spec))
    [endpoint] = found.compile().snapshot.proxies["a-0"].outbound.clusters[RATINGS_DB].endpoints
    assert (endpoint.weight, endpoint.locality) == (7, "eu/eu-1/a")
    assert str(endpoint.identity) == "spiffe://cluster.local/ns/default/sa/mysql"
    assert endpoint.workload is not None
    assert (endpoint.workload.name, endpoint.workload.kind) == ("vm", "WorkloadEntry")


@pytest.mark.parametrize(
    ("labels", "location", "mtls"),
    [
        ("{app: db}", "MESH_INTERNAL", False),
        ("{app: db, security.istio.io/tlsMode: istio}", "MESH_INTERNAL", True),
        ("{app: db, security.istio.io/tlsMode: istio}", "MESH_EXTERNAL", False),
    ],
)
def test_mutual_tls_is_spoken_to_those_that_say_so(labels: str, location: str, mtls: bool) -> None:
    found = mesh(
        service("a"), selecting(location=location), entry("vm", "192.0.2.1", ", serviceAccount: x", labels)
    )
    [endpoint] = found.compile().snapshot.proxies["a-0"].outbound.clusters[RATINGS_DB].endpoints
    assert endpoint.mtls is mtls


def test_subsets_select_workload_entries_by_label() -> None:
    found = mesh(
        service("a"),
        selecting(),
        entry("one", "192.0.2.1", labels="{app: db, version: v1}"),
        entry("two", "192.0.2.2", labels="{app: db, version: v2}"),
        istio("DestinationRule", "db", "host: db.example.com\nsubsets: [{name: v2, labels: {version: v2}}]"),
    )
    assert endpoints(found, "outbound|3306|v2|db.example.com") == [("192.0.2.2", 3307)]


@pytest.mark.parametrize(("status", "gets"), [("True", 1), ("False", 0)])
def test_an_entry_whose_agent_reports_its_health_gets_calls_while_healthy(status: str, gets: int) -> None:
    meta = ', annotations: {proxy.istio.io/health-checks-enabled: "true"}'
    found = mesh(service("a"), selecting(), entry("vm", "192.0.2.1", meta=meta))
    stored = found.store.get(kinds.WORKLOAD_ENTRY, "default", "vm")
    assert stored is not None
    found.store.patch_status(stored.key, {"conditions": [{"type": "Healthy", "status": status}]})
    assert len(endpoints(found)) == gets


GROUP = """
---
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {name: vms}
spec:
  metadata: {labels: {app: db, tier: data}}
  template: {ports: {sql: 13306}, serviceAccount: mysql, locality: eu/one, weight: 3, labels: {version: v1}}
"""
MEMBER = ", annotations: {istio.io/autoRegistrationGroup: vms}"


def in_group(found: Mesh) -> Endpoint:
    [endpoint] = found.compile().snapshot.proxies["a-0"].outbound.clusters[RATINGS_DB].endpoints
    return endpoint


def test_an_entry_of_a_group_has_what_its_template_says() -> None:
    endpoint = in_group(
        mesh(service("a"), selecting(), GROUP, entry("vm", "192.0.2.1", labels="{}", meta=MEMBER))
    )
    assert (endpoint.port, endpoint.weight, endpoint.locality) == (13306, 3, "eu/one")
    assert str(endpoint.identity) == "spiffe://cluster.local/ns/default/sa/mysql"
    assert endpoint.workload is not None
    assert endpoint.workload.labels == {"app": "db", "tier": "data", "version": "v1"}


def test_what_the_entry_says_itself_goes_before_its_template() -> None:
    spec = ", ports: {sql: 9}, weight: 1, locality: us, serviceAccount: own"
    endpoint = in_group(mesh(service("a"), selecting(), GROUP, entry("vm", "192.0.2.1", spec, meta=MEMBER)))
    assert (endpoint.port, endpoint.weight, endpoint.locality) == (9, 1, "us")
    assert str(endpoint.identity) == "spiffe://cluster.local/ns/default/sa/own"


@pytest.mark.parametrize(("status", "gets"), [("", 0), ("False", 0), ("True", 1)])
def test_an_entry_of_a_group_with_a_probe_gets_calls_once_it_is_healthy(status: str, gets: int) -> None:
    probed = GROUP + "  probe: {tcpSocket: {port: 13306}}\n"
    found = mesh(service("a"), selecting(), probed, entry("vm", "192.0.2.1", meta=MEMBER))
    stored = found.store.get(kinds.WORKLOAD_ENTRY, "default", "vm")
    assert stored is not None
    if status:
        found.store.patch_status(stored.key, {"conditions": [{"type": "Healthy", "status": status}]})
    assert len(endpoints(found)) == gets
