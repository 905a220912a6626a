"""Which pods get a proxy, and what they are then."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from devmesh.config.defaulting.pods import pod_spec, scheduled_pod
from devmesh.config.kinds import BUILT_IN, NAMESPACE, POD, Kinds
from devmesh.config.store import Raw, Store
from devmesh.runtime.instances import describe
from devmesh.runtime.pods.admission import PROXY, admit, app_containers, is_gateway, is_injected, is_meshed


def pod(labels: Any = None, annotations: Any = None, containers: Any = None, **spec: Any) -> Raw:
    return {
        "metadata": {
            "name": "a",
            "namespace": "default",
            "labels": labels or {},
            "annotations": annotations or {},
        },
        "spec": {"containers": containers or [{"name": "main", "image": "app"}], **spec},
    }


INJECT = "sidecar.istio.io/inject"


@pytest.mark.parametrize(
    ("namespace", "raw", "injected"),
    [
        pytest.param({}, pod(), False, id="nobody says anything"),
        pytest.param({"istio-injection": "enabled"}, pod(), True, id="the namespace says yes"),
        pytest.param({"istio-injection": "enabled"}, pod({INJECT: "false"}), False, id="the pod says no"),
        pytest.param({"istio-injection": "enabled"}, pod({}, {INJECT: "false"}), False, id="by annotation"),
        pytest.param({}, pod({INJECT: "true"}), True, id="the pod says yes"),
        pytest.param({}, pod({}, {INJECT: "true"}), False, id="an annotation alone asks nobody"),
        pytest.param({}, pod({"istio.io/rev": "default"}), True, id="the pod names a revision"),
        pytest.param({}, pod({"istio.io/rev": "x", INJECT: "false"}), False, id="but says no"),
        pytest.param({"istio-injection": "disabled"}, pod({INJECT: "true"}), False, id="disabled wins"),
        pytest.param({"istio.io/rev": "default"}, pod(), True, id="by revision"),
        pytest.param({"istio-injection": "enabled"}, pod(hostNetwork=True), False, id="host network"),
    ],
)
def test_injection_follows_istios_rule(namespace: dict[str, str], raw: Raw, injected: bool) -> None:
    assert is_injected(raw, namespace) is injected


@pytest.fixture
def store() -> Store:
    store = Store(Kinds(BUILT_IN))
    labels = {"istio-injection": "enabled"}
    store.create(NAMESPACE, {"metadata": {"name": "default", "labels": labels}})
    return store


def test_an_injected_pod_shows_its_proxy(store: Store) -> None:
    raw = admit(store, pod({"app": "reviews", "version": "v1"}))
    assert [c["name"] for c in raw["spec"]["containers"]] == ["main", PROXY]
    assert [c["name"] for c in app_containers(raw)] == ["main"]
    assert is_meshed(raw)
    assert not is_gateway(raw)
    assert raw["metadata"]["labels"]["service.istio.io/canonical-name"] == "reviews"
    assert raw["metadata"]["labels"]["service.istio.io/canonical-revision"] == "v1"
    assert raw["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"] == "main"


def test_admission_happens_once(store: Store) -> None:
    raw = admit(store, pod())
    assert admit(store, raw) is raw


def test_a_gateway_is_a_proxy_alone(store: Store) -> None:
    annotations = {"inject.istio.io/templates": "gateway"}
    raw = admit(store, pod(None, annotations, [{"name": PROXY, "image": "auto"}]))
    assert is_gateway(raw)
    assert app_containers(raw) == []
    assert raw["spec"]["containers"][0]["image"] != "auto"


def test_an_instance_says_who_the_pod_is(store: Store) -> None:
    labels = {"app": "reviews", "istio-locality": "europe.west"}
    ports = [{"name": "http", "containerPort": 9080}]
    containers = [{"name": "main", "image": "app", "ports": ports}]
    raw = admit(store, pod(labels, None, containers, serviceAccountName="bookinfo-reviews"))
    stored = store.create(POD, raw)
    instance = describe(store, stored, ("10.0.0.1",), ready=True, trust_domain="cluster.local")
    assert str(instance.identity) == "spiffe://cluster.local/ns/default/sa/bookinfo-reviews"
    assert (instance.workload.kind, instance.workload.name) == ("Pod", "a")
    assert instance.ports == {"http": 9080, "http-envoy-prom": 15090}
    assert instance.locality == "europe/west"
    assert instance.meshed


@pytest.mark.parametrize(
    ("labels", "locality"),
    [
        ({"topology.kubernetes.io/region": "r1", "topology.kubernetes.io/zone": "z1"}, "r1/z1"),
        ({"topology.kubernetes.io/region": "r1", "topology.istio.io/subzone": "s1"}, "r1//s1"),
        ({"topology.kubernetes.io/region": "r1", "istio-locality": "r2.z2"}, "r2/z2"),
        ({}, ""),
    ],
)
def test_a_pods_labels_say_where_it_is(store: Store, labels: dict[str, str], locality: str) -> None:
    stored = store.create(POD, admit(store, pod({"app": "a", **labels}, None)))
    instance = describe(store, stored, ("10.0.0.1",), ready=True, trust_domain="cluster.local")
    assert instance.locality == locality


def test_writing_an_admitted_pod_again_changes_nothing_by_defaults(store: Store) -> None:
    raw = admit(store, pod())
    spec = copy.deepcopy(raw["spec"])
    pod_spec(spec)
    scheduled_pod(spec)
    assert spec == raw["spec"]
    assert raw["spec"]["serviceAccountName"] == "default"
