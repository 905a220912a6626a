import pytest
from hypothesis import given
from hypothesis import strategies as st

from devmesh.config.addresses import NoAddressLeft, node_port, virtual_address
from devmesh.config.store import Store
from tests.config.conftest import Apply

SERVICE = "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{ports: [{{port: 80}}]{more}}}\n"


def test_a_name_has_the_same_address_everywhere() -> None:
    assert virtual_address("reviews.default", set()) == virtual_address("reviews.default", set())
    assert virtual_address("reviews.default", set()) != virtual_address("ratings.default", set())


@given(st.text(), st.sets(st.integers(1, 300)))
def test_an_address_is_in_the_range_and_free(name: str, more: set[int]) -> None:
    first = virtual_address(name, set())
    second = virtual_address(name, {first})
    assert first.startswith("240.240.")
    assert second != first


def test_the_next_free_one_is_taken() -> None:
    taken: set[str] = set()
    for _ in range(300):
        taken.add(virtual_address("same", taken))
    assert len(taken) == 300
    assert not {"240.240.0.0", "240.240.255.255"} & taken


def test_when_all_are_taken_that_is_told() -> None:
    everything = {f"240.240.{n >> 8}.{n & 255}" for n in range(65536)}
    with pytest.raises(NoAddressLeft, match="delete Services"):
        virtual_address("x", everything)
    with pytest.raises(NoAddressLeft):
        node_port("x", set(range(30000, 32768)))


@pytest.mark.parametrize(
    ("more", "address"),
    [
        (", clusterIP: None", "None"),
        (", clusterIP: 10.1.2.3", "10.1.2.3"),
        (", clusterIPs: [10.1.2.4]", "10.1.2.4"),
    ],
)
def test_a_given_address_is_honoured(apply: Apply, more: str, address: str) -> None:
    assert apply(SERVICE.format(name="a", more=more)).raw["spec"]["clusterIP"] == address


def test_an_external_name_has_no_address(apply: Apply) -> None:
    spec = apply(SERVICE.format(name="a", more=", type: ExternalName, externalName: b.example.com")).raw[
        "spec"
    ]
    assert "clusterIP" not in spec


def test_node_ports_are_given_and_kept(apply: Apply) -> None:
    text = SERVICE.format(name="a", more=", type: NodePort")
    first = apply(text).raw["spec"]["ports"][0]["nodePort"]
    assert 30000 <= first <= 32767
    assert apply(text + "# again\n").raw["spec"]["ports"][0]["nodePort"] == first
    other = apply(SERVICE.format(name="b", more=", type: LoadBalancer")).raw["spec"]["ports"][0]["nodePort"]
    assert other != first


def test_a_service_avoids_what_another_was_given(apply: Apply, store: Store) -> None:
    wanted = apply.admit(SERVICE.format(name="b", more="")).raw["spec"]["clusterIP"]
    apply(SERVICE.format(name="a", more=f", clusterIP: {wanted}"))
    assert apply(SERVICE.format(name="b", more="")).raw["spec"]["clusterIP"] != wanted
