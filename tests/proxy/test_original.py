"""Where a connection goes that no rule has a cluster for."""

from devmesh.model.identity import Identity
from devmesh.model.workload import Instance, Workload
from devmesh.proxy.outbound import original_endpoint
from devmesh.snapshot.cluster import Cluster, ClusterKind, Endpoint, ServiceRef
from devmesh.snapshot.snapshot import Snapshot

PASSTHROUGH = Cluster("PassthroughCluster", ServiceRef("", "", ""), 0, kind=ClusterKind.ORIGINAL_DST)
CART = Instance(
    "uid-cart",
    "cart-0",
    Workload("cart", "default"),
    Identity("cluster.local", "default", "cart"),
    ("10.0.0.1",),
    True,
)
MESH = Snapshot(
    instances={CART.id: CART},
    by_address={"10.0.0.1": CART.id},
    backends={("240.0.0.1", 80): (("10.0.0.1", 8080), ("10.0.0.2", 8080)), ("240.0.0.2", 80): ()},
)


def test_the_outside_is_dialled_as_it_was() -> None:
    assert original_endpoint(PASSTHROUGH, ("192.0.2.1", 443), MESH, 0.0) == Endpoint("192.0.2.1", 443)


def test_a_pods_address_leads_into_its_namespace() -> None:
    found = original_endpoint(PASSTHROUGH, ("10.0.0.1", 9), MESH, 0.0)
    assert found == Endpoint("10.0.0.1", 9, CART.id, CART.workload, CART.identity)


def test_a_services_address_leads_to_one_of_its_endpoints() -> None:
    found = [original_endpoint(PASSTHROUGH, ("240.0.0.1", 80), MESH, draw) for draw in (0.0, 0.9)]
    assert [endpoint and endpoint.key for endpoint in found] == [("10.0.0.1", 8080), ("10.0.0.2", 8080)]


def test_a_service_without_endpoints_leads_nowhere() -> None:
    assert original_endpoint(PASSTHROUGH, ("240.0.0.2", 80), MESH, 0.5) is None
