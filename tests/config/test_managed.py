"""Objects that devmesh keeps, and the addresses that it gives to load balancers."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from devmesh.config import kinds, managed
from devmesh.config.kinds import BUILT_IN, Kinds
from devmesh.config.store import Store, Stored


@pytest.fixture
def store() -> Store:
    store = Store(Kinds(BUILT_IN))
    store.create(kinds.NAMESPACE, {"metadata": {"name": "default"}})
    return store


def service(*ports: int, name: str = "gw", type_: str = "LoadBalancer") -> dict[str, Any]:
    spec = {"type": type_, "ports": [{"name": f"p{port}", "port": port} for port in ports or (80,)]}
    return {"metadata": {"name": name, "namespace": "default"}, "spec": spec}


def kept(store: Store, raw: dict[str, Any]) -> Stored:
    found = managed.keep(store, kinds.SERVICE, raw)
    assert found is not None
    return found


def address(store: Store, stored: Stored) -> str:
    managed.give_address(store, stored)
    found = store.by_key(stored.key)
    assert found is not None
    return str(found.raw["status"]["loadBalancer"]["ingress"][0]["ip"])


def test_an_object_is_made_complete_and_then_left_alone(store: Store) -> None:
    made = kept(store, service())
    assert made.raw["spec"]["clusterIP"].startswith("240.240.")
    assert made.raw["spec"]["ports"][0]["nodePort"] >= 30_000
    version = store.version
    kept(store, service())
    assert store.version == version


def test_it_changes_with_what_is_wanted_and_keeps_what_the_server_gave(store: Store) -> None:
    before = kept(store, service())
    after = kept(store, service(80, 443))
    assert [port["port"] for port in after.raw["spec"]["ports"]] == [80, 443]
    assert after.raw["spec"]["clusterIP"] == before.raw["spec"]["clusterIP"]
    assert after.raw["spec"]["ports"][0]["nodePort"] == before.raw["spec"]["ports"][0]["nodePort"]


def test_what_people_changed_stays_until_something_else_is_wanted(store: Store) -> None:
    made = kept(store, service())
    labelled = {**made.raw, "metadata": {**made.metadata, "labels": {"mine": "yes"}}}
    store.update(kinds.SERVICE, labelled)
    assert kept(store, service()).labels == {"mine": "yes"}


def test_the_replicas_of_a_deployment_stay(store: Store) -> None:
    def deployment(image: str) -> dict[str, Any]:
        pod = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": image}]}}
        spec = {"selector": {"matchLabels": {"a": "b"}}, "template": pod}
        return {"metadata": {"name": "gw", "namespace": "default"}, "spec": spec}

    made = managed.keep(store, kinds.DEPLOYMENT, deployment("one"))
    assert made is not None
    store.update(kinds.DEPLOYMENT, {**made.raw, "spec": {**made.raw["spec"], "replicas": 3}})
    after = managed.keep(store, kinds.DEPLOYMENT, deployment("two"))
    assert after is not None
    assert after.raw["spec"]["replicas"] == 3
    assert after.raw["spec"]["template"]["spec"]["containers"][0]["image"] == "two"


def test_an_object_of_somebody_elses_is_left_alone(store: Store) -> None:
    store.create(kinds.SERVICE, service(9999))
    assert [port["port"] for port in kept(store, service(80)).raw["spec"]["ports"]] == [9999]


def test_what_cannot_be_made_is_logged_and_breaks_nothing(store: Store) -> None:
    raw = service()
    raw["metadata"]["namespace"] = "nowhere"
    assert managed.keep(store, kinds.SERVICE, raw) is None


def test_a_load_balancer_gets_a_loopback_address_of_its_own_and_keeps_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(managed, "may_listen_low", lambda: True)
    first = address(store, kept(store, service(18080)))
    assert first.startswith("127.1.")
    assert address(store, kept(store, service(18080, name="other"))) != first
    assert address(store, kept(store, service(18080))) == first


def test_without_the_right_to_low_ports_it_is_that_of_the_host(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(managed, "may_listen_low", lambda: False)
    assert address(store, kept(store, service())) == "127.0.0.1"


def test_an_internal_service_gets_none(store: Store) -> None:
    made = kept(store, service(type_="ClusterIP"))
    managed.give_address(store, made)
    found = store.by_key(made.key)
    assert found is not None
    assert found.raw["status"] == {"loadBalancer": {}}


def test_an_address_where_another_mesh_listens_is_passed_over() -> None:
    first = managed.loopback("gw.default", ())
    with socket.create_server((first, 0)) as listener:
        port = listener.getsockname()[1]
        assert managed.loopback("gw.default", (), [port]) != first
    assert managed.loopback("gw.default", [first]) != first
