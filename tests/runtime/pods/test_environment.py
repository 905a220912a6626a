"""A container's variables."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import pytest

from devmesh.config.kinds import BUILT_IN, CONFIG_MAP, NAMESPACE, POD, SECRET, SERVICE, Kinds
from devmesh.config.store import Store, Stored
from devmesh.runtime.pods.environment import ConfigProblem, expand, service_links, variables


@pytest.fixture
def store() -> Store:
    store = Store(Kinds(BUILT_IN))
    store.create(NAMESPACE, {"metadata": {"name": "default"}})
    return store


@pytest.fixture
def pod(store: Store) -> Stored:
    metadata = {"name": "a", "labels": {"app": "web"}, "annotations": {"note": 'say "x"\nplease'}}
    return store.create(POD, {"metadata": metadata, "spec": {"containers": [], "nodeName": "devmesh"}})


def env_of(store: Store, pod: Stored, *env: Any, **container: Any) -> dict[str, str]:
    raw = {"name": "main", "env": list(env), **container}
    return variables(store, pod, raw, ("10.0.0.1", "fd00::1"))


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("$(A)", "1"),
        ("$(A)$(B)", "12"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$(C)", "$(C)"),
        ("$A ${A}", "$A ${A}"),
        ("$(A", "$(A"),
        ("100$", "100$"),
    ],
)
def test_expansion_is_kubernetes_own(text: str, expanded: str) -> None:
    env: Mapping[str, str] = {"A": "1", "B": "2"}
    assert expand(text, env) == expanded


def test_later_variables_see_earlier_ones(store: Store, pod: Stored) -> None:
    env = env_of(store, pod, {"name": "A", "value": "1"}, {"name": "B", "value": "$(A)-$(C)"}, {"name": "C"})
    assert env == {"A": "1", "B": "1-$(C)", "C": ""}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "a"),
        ("metadata.namespace", "default"),
        ("metadata.labels['app']", "web"),
        ("status.podIP", "10.0.0.1"),
        ("status.podIPs", "10.0.0.1,fd00::1"),
        ("spec.nodeName", "devmesh"),
        ("metadata.annotations", 'note="say \\"x\\"\\nplease"'),
    ],
)
def test_fields_of_the_pod(store: Store, pod: Stored, path: str, value: str) -> None:
    assert env_of(store, pod, {"name": "X", "valueFrom": {"fieldRef": {"fieldPath": path}}}) == {"X": value}


def test_what_is_missing_is_named_unless_optional(store: Store, pod: Stored) -> None:
    reference: dict[str, Any] = {"name": "conf", "key": "a"}
    with pytest.raises(ConfigProblem, match='configmap "conf" not found'):
        env_of(store, pod, {"name": "X", "valueFrom": {"configMapKeyRef": reference}})
    optional = {"name": "X", "valueFrom": {"configMapKeyRef": {**reference, "optional": True}}}
    assert env_of(store, pod, optional) == {}
    store.create(CONFIG_MAP, {"metadata": {"name": "conf"}, "data": {}})
    with pytest.raises(ConfigProblem, match="couldn't find key a in ConfigMap default/conf"):
        env_of(store, pod, {"name": "X", "valueFrom": {"configMapKeyRef": reference}})


def test_secrets_are_decoded(store: Store, pod: Stored) -> None:
    data = {"password": base64.b64encode(b"hush").decode()}
    store.create(SECRET, {"metadata": {"name": "keys"}, "data": data})
    assert env_of(store, pod, envFrom=[{"secretRef": {"name": "keys"}}]) == {"password": "hush"}


@pytest.mark.parametrize(
    ("resource", "divisor", "value"),
    [
        ("limits.cpu", "1", "1"),
        ("limits.cpu", "1m", "250"),
        ("limits.memory", "1Mi", "64"),
        ("requests.memory", "1", "0"),
    ],
)
def test_resources_are_rounded_up(store: Store, pod: Stored, resource: str, divisor: str, value: str) -> None:
    reference = {"resource": resource, "divisor": divisor}
    env = {"name": "X", "valueFrom": {"resourceFieldRef": reference}}
    limits = {"cpu": "250m", "memory": "64Mi"}
    assert env_of(store, pod, env, resources={"limits": limits}) == {"X": value}


def test_services_are_linked(store: Store) -> None:
    ports = [{"name": "http", "port": 80}, {"name": "grpc-web", "port": 81}]
    spec = {"clusterIP": "240.240.0.1", "ports": ports}
    store.create(SERVICE, {"metadata": {"name": "my-db"}, "spec": spec})
    store.create(SERVICE, {"metadata": {"name": "none"}, "spec": {**spec, "clusterIP": "None"}})
    links = service_links(store, "default")
    assert links["MY_DB_SERVICE_HOST"] == "240.240.0.1"
    assert links["MY_DB_SERVICE_PORT_GRPC_WEB"] == "81"
    assert links["MY_DB_PORT"] == "tcp://240.240.0.1:80"
    assert links["MY_DB_PORT_81_TCP_ADDR"] == "240.240.0.1"
    assert not [name for name in links if name.startswith("NONE")]
