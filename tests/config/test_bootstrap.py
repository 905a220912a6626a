from typing import Any

import pytest
import yaml

from devmesh.config import kinds
from devmesh.config.bootstrap import bootstrap
from devmesh.config.gateway_kinds import GATEWAY_CLASS, KUBERNETES_GATEWAY
from devmesh.config.kinds import BUILT_IN, Kind, Kinds
from devmesh.config.store import Store, Stored
from devmesh.config.typed import typed

SYSTEM = "istio-system"


@pytest.fixture
def store() -> Store:
    store = Store(Kinds(BUILT_IN))
    bootstrap(store, http_port=8080, https_port=8443)
    return store


def have(store: Store, kind: Kind, namespace: str, name: str) -> Stored:
    found = store.get(kind, namespace, name)
    assert found is not None
    return found


def mesh(store: Store) -> Any:
    return yaml.safe_load(have(store, kinds.CONFIG_MAP, SYSTEM, "istio").raw["data"]["mesh"])


def test_the_ingress_service_has_more_ports_where_they_are_given(store: Store) -> None:
    bootstrap(store, http_port=8080, https_port=8443, more_ports={"tcp": (40123, 31400)})
    service = have(store, kinds.SERVICE, SYSTEM, "istio-ingressgateway")
    found = {port["name"]: port for port in service.raw["spec"]["ports"]}
    tcp = found["tcp"]
    assert (tcp["port"], tcp["nodePort"], tcp["targetPort"]) == (40123, 40123, 31400)


def test_what_istios_demo_profile_has_is_there(store: Store) -> None:
    assert [n.name for n in store.list(kinds.NAMESPACE)] == ["default", SYSTEM, "kube-system"]
    assert have(store, kinds.NAMESPACE, "", "default").labels["istio-injection"] == "enabled"
    assert [d.name for d in store.list(kinds.DEPLOYMENT)] == ["istio-egressgateway", "istio-ingressgateway"]
    assert [n.name for n in store.list(kinds.NODE)] == ["devmesh"]
    assert mesh(store)["accessLogFile"] == "/dev/stdout"
    assert have(store, kinds.SERVICE, "default", "kubernetes")
    for stored in store.all():
        if stored.key.kind is not kinds.CUSTOM_RESOURCE_DEFINITION:
            typed(stored)


def test_the_gateway_api_is_there_with_its_classes(store: Store) -> None:
    """Istio's tasks ask for the definition, and apply it from the net where it isn't there."""
    name = "gateways.gateway.networking.k8s.io"
    definition = have(store, kinds.CUSTOM_RESOURCE_DEFINITION, "", name).raw
    assert {c["type"]: c["status"] for c in definition["status"]["conditions"]} == {
        "NamesAccepted": "True",
        "Established": "True",
    }
    assert store.kinds.plural("gateway.networking.k8s.io", "gateways") is KUBERNETES_GATEWAY
    classes = {c.name: c.raw["spec"]["controllerName"] for c in store.list(GATEWAY_CLASS)}
    assert classes["istio"] == "istio.io/gateway-controller"


def test_a_definition_that_goes_leaves_a_kind_of_devmeshs_own(store: Store) -> None:
    name = "gateways.gateway.networking.k8s.io"
    store.delete(have(store, kinds.CUSTOM_RESOURCE_DEFINITION, "", name).key)
    assert store.kinds.plural("gateway.networking.k8s.io", "gateways") is KUBERNETES_GATEWAY


def test_the_documented_commands_find_the_ingress(store: Store) -> None:
    service = have(store, kinds.SERVICE, SYSTEM, "istio-ingressgateway").raw
    http2 = next(port for port in service["spec"]["ports"] if port["name"] == "http2")
    assert service["status"]["loadBalancer"]["ingress"][0]["ip"] == "127.0.0.1"
    assert (http2["port"], http2["nodePort"], http2["targetPort"]) == (8080, 8080, 8080)
    pod = have(store, kinds.DEPLOYMENT, SYSTEM, "istio-ingressgateway").raw["spec"]["template"]
    assert pod["metadata"]["annotations"]["inject.istio.io/templates"] == "gateway"
    assert pod["metadata"]["labels"]["istio"] == "ingressgateway"
    assert [(c["name"], c["image"]) for c in pod["spec"]["containers"]] == [("istio-proxy", "auto")]


def test_each_namespace_has_its_default_account(store: Store) -> None:
    store.create(kinds.NAMESPACE, {"metadata": {"name": "shop"}})
    assert {a.namespace for a in store.list(kinds.SERVICE_ACCOUNT) if a.name == "default"} == {
        "default",
        "kube-system",
        SYSTEM,
        "shop",
    }


def test_a_kept_store_keeps_what_users_changed() -> None:
    store = Store(Kinds(BUILT_IN))
    bootstrap(store, http_port=8080, https_port=8443)
    deployment = have(store, kinds.DEPLOYMENT, SYSTEM, "istio-ingressgateway")
    scaled = {**deployment.raw, "spec": {**deployment.raw["spec"], "replicas": 0}}
    store.update(kinds.DEPLOYMENT, scaled, manager="kubectl")
    config = have(store, kinds.CONFIG_MAP, SYSTEM, "istio")
    store.update(
        kinds.CONFIG_MAP, {**config.raw, "data": {"mesh": "trustDomain: edited\n"}}, manager="kubectl"
    )
    count = len(list(store.all()))
    bootstrap(store, http_port=9080, https_port=9443)
    assert have(store, kinds.DEPLOYMENT, SYSTEM, "istio-ingressgateway").raw["spec"]["replicas"] == 0
    assert mesh(store) == {"trustDomain": "edited"}
    assert len(list(store.all())) == count
    ports = have(store, kinds.SERVICE, SYSTEM, "istio-ingressgateway").raw["spec"]["ports"]
    assert [port["nodePort"] for port in ports] == [9080, 9443]


def test_ports_that_a_gateway_opened_stay_on_the_ingress_service(store: Store) -> None:
    service = have(store, kinds.SERVICE, SYSTEM, "istio-ingressgateway")
    more = {"name": "tcp", "port": 31400, "nodePort": 31400, "targetPort": 31400, "protocol": "TCP"}
    spec = {**service.raw["spec"], "ports": [*service.raw["spec"]["ports"], more]}
    store.update(kinds.SERVICE, {**service.raw, "spec": spec})
    bootstrap(store, http_port=8080, https_port=8443)
    ports = have(store, kinds.SERVICE, SYSTEM, "istio-ingressgateway").raw["spec"]["ports"]
    assert [port["port"] for port in ports] == [8080, 8443, 31400]


def test_a_changed_mesh_config_of_the_mesh_file_wins() -> None:
    store = Store(Kinds(BUILT_IN))
    for given in ({"trustDomain": "one"}, {"trustDomain": "two"}):
        bootstrap(store, http_port=1, https_port=2, mesh_config=given)
        assert mesh(store)["trustDomain"] == given["trustDomain"]
