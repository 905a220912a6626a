"""A process of this machine in a workload's place."""

from __future__ import annotations

import pytest

from devmesh.pilot.swaps import ANNOTATION
from devmesh.snapshot.proxy import LastHop
from tests.pilot.meshes import Mesh, deployment, istio, mesh, service


def swap(to: str = "Deployment/b", address: str = "127.0.0.1", ports: str = "{}", name: str = "b") -> str:
    return f"""
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {{name: {name}, annotations: {{{ANNOTATION}: {to}}}}}
spec: {{address: "{address}", ports: {ports}, labels: {{app: b, version: v1}}}}
"""


def last_hops(found: Mesh, instance: str = "b-0") -> dict[int, LastHop | None]:
    return {n: p.last_hop for n, p in found.compile().snapshot.proxies[instance].inbound.ports.items()}


@pytest.fixture
def two() -> Mesh:
    return mesh(service("a"), service("b", "http:80:8080", "admin:81:9090"))


def test_without_a_swap_the_last_hop_is_what_was_called(two: Mesh) -> None:
    assert last_hops(two) == {8080: None, 9090: None}


def test_a_swap_without_ports_serves_all_at_their_own_numbers(two: Mesh) -> None:
    two.apply(swap())
    assert last_hops(two) == {
        8080: LastHop("127.0.0.1", 8080, outside=True),
        9090: LastHop("127.0.0.1", 9090, outside=True),
    }


@pytest.mark.parametrize("ports", ["{http: 5000}", '{"8080": 5000}'])
def test_a_swap_with_ports_leaves_the_others_to_the_pod(two: Mesh, ports: str) -> None:
    two.apply(swap(ports=ports))
    assert last_hops(two) == {8080: LastHop("127.0.0.1", 5000, outside=True), 9090: None}


def test_callers_are_steered_as_before(two: Mesh) -> None:
    before = two.compile().snapshot.proxies["a-0"]
    two.apply(swap())
    assert two.compile().snapshot.proxies["a-0"] is before
    outcome = two.get("a", "b/")
    assert outcome.workload == "b"
    assert outcome.mtls
    assert outcome.endpoint is not None
    assert outcome.endpoint.instance == "b-0"


def test_only_the_workload_that_is_named_is_swapped() -> None:
    found = mesh(service("b", "http:80:8080"), deployment("b2", "v2", app="b"), swap())
    assert last_hops(found)[8080] is not None
    assert last_hops(found, "b2-0") == {8080: None}


def test_a_swapped_workload_is_ready_though_its_own_containers_are_not(two: Mesh) -> None:
    two.change("b-0", ready=False)
    assert two.get("a", "b/").flags == "UH"
    two.apply(swap())
    assert two.get("a", "b/").workload == "b"


def test_a_pod_that_ends_gets_nothing_even_when_swapped(two: Mesh) -> None:
    two.apply(swap())
    two.change("b-0", ready=False, ending=True)
    assert two.get("a", "b/").flags == "UH"


def test_a_swap_is_no_endpoint_of_its_own(two: Mesh) -> None:
    two.apply(swap())
    endpoints = two.compile().snapshot.proxies["a-0"].outbound.clusters[
        "outbound|80||b.default.svc.cluster.local"
    ].endpoints  # fmt: skip
    assert [e.address for e in endpoints] == ["10.0.0.2"]


def test_the_end_of_a_swap_gives_the_place_back(two: Mesh) -> None:
    two.apply(swap())
    two.compile()
    stored = two.compile().snapshot
    assert stored.proxies["b-0"].inbound.ports[8080].last_hop
    from devmesh.config import kinds

    found = two.store.get(kinds.WORKLOAD_ENTRY, "default", "b")
    assert found is not None
    two.store.delete(found.key)
    assert last_hops(two) == {8080: None, 9090: None}


def test_policies_of_the_workload_stay_in_force(two: Mesh) -> None:
    two.apply(swap() + istio("PeerAuthentication", "default", "mtls: {mode: STRICT}"))
    assert two.compile().snapshot.proxies["b-0"].inbound.ports[8080].mtls.value == "STRICT"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (swap("Deployment/c"), "there is no pod of Deployment/c"),
        (swap() + swap(name="younger"), "swapped already, by b"),
    ],
)
def test_a_swap_that_is_not_in_force_is_told(two: Mesh, text: str, says: str) -> None:
    two.apply(text)
    [finding] = [f for f in two.compile().findings if f.code == "DM0305"]
    assert says in finding.message


def test_a_workload_outside_the_mesh_cannot_be_swapped() -> None:
    found = mesh(service("a"), deployment("b", inject=False), swap())
    [finding] = [f for f in found.compile().findings if f.code == "DM0305"]
    assert "has no proxy" in finding.message
