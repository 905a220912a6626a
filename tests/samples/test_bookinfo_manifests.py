"""The sample's YAML agrees with itself and with the names that Istio's examples use."""

import fnmatch
from typing import Any

import pytest
import yaml

from tests.samples.bookinfo import ROOT

APPS = {"productpage": ["v1"], "details": ["v1"], "ratings": ["v1"], "reviews": ["v1", "v2", "v3"]}
NAMES = [f"{app}-{version}" for app, versions in APPS.items() for version in versions]
MESH = yaml.safe_load((ROOT / "devmesh.yaml").read_text())["spec"]


def load(pattern: str) -> list[dict[str, Any]]:
    files = sorted(ROOT.glob(pattern))
    assert files, pattern
    return [document for file in files for document in yaml.safe_load_all(file.read_text())]


def named(kind: str, pattern: str = "kube/*.yaml") -> dict[str, dict[str, Any]]:
    return {document["metadata"]["name"]: document for document in load(pattern) if document["kind"] == kind}


def subsets() -> dict[str, list[str]]:
    rules = named("DestinationRule", "networking/destination-rule-all.yaml").values()
    return {rule["spec"]["host"]: [subset["name"] for subset in rule["spec"]["subsets"]] for rule in rules}


def test_there_is_a_workload_for_each_version() -> None:
    assert named("Deployment").keys() == set(NAMES)
    assert named("Service").keys() == APPS.keys()
    assert named("ServiceAccount").keys() == {f"bookinfo-{app}" for app in APPS}


@pytest.mark.parametrize("app", APPS)
def test_services_select_all_versions_by_app_on_a_port_named_http(app: str) -> None:
    service = named("Service")[app]
    assert service["metadata"]["labels"] == {"app": app, "service": app}
    assert service["spec"] == {"ports": [{"name": "http", "port": 9080}], "selector": {"app": app}}
    assert named("ServiceAccount")[f"bookinfo-{app}"]["metadata"]["labels"] == {"account": app}


@pytest.mark.parametrize("name", NAMES)
def test_deployments_carry_app_and_version_and_their_own_account(name: str) -> None:
    app, version = name.rsplit("-", 1)
    deployment = named("Deployment")[name]
    labels = {"app": app, "version": version}
    pod = deployment["spec"]["template"]
    assert deployment["metadata"]["labels"] == labels == deployment["spec"]["selector"]["matchLabels"]
    assert pod["metadata"]["labels"] == labels
    assert pod["spec"]["serviceAccountName"] == f"bookinfo-{app}"
    (container,) = pod["spec"]["containers"]
    assert container["name"] == app
    assert container["image"].startswith(f"docker.io/istio/examples-bookinfo-{app}-{version}:")
    assert container["ports"] == [{"containerPort": 9080}]


def test_every_image_can_be_built_and_run_from_here() -> None:
    for deployment in named("Deployment").values():
        image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
        (entry,) = [entry for entry in MESH["images"] if fnmatch.fnmatch(image, entry["match"])]
        context = ROOT / entry["build"]["context"]
        assert "ARG BASE_IMAGE" in (context / "Dockerfile").read_text()
        python, program, *_ = entry["process"]["command"]
        assert python == "{python}"
        assert (ROOT / entry["process"]["workdir"] / program).is_file()


def test_an_image_is_one_version_in_both_runtimes() -> None:
    for version in APPS["reviews"]:
        (entry,) = [entry for entry in MESH["images"] if f"-reviews-{version}:" in entry["match"]]
        assert entry["build"]["args"] == {"service_version": version}
        assert entry["process"]["command"][-1] == version


def test_the_plain_state_has_no_fault_and_no_split() -> None:
    files = [file for pattern in MESH["resources"] for file in ROOT.glob(pattern)]
    assert all(list(ROOT.glob(pattern)) for pattern in MESH["resources"])
    routing = [
        document
        for file in files
        for document in yaml.safe_load_all(file.read_text())
        if document["kind"] == "VirtualService"
    ]
    assert [document["metadata"]["name"] for document in routing] == ["bookinfo"]


def test_routes_lead_to_subsets_that_have_names() -> None:
    for document in load("networking/virtual-service-*.yaml") + load("networking/fault-injection-*.yaml"):
        for route in document["spec"]["http"]:
            weights = [destination.get("weight", 100) for destination in route["route"]]
            assert sum(weights) == 100
            for destination in route["route"]:
                assert destination["destination"]["subset"] in subsets()[destination["destination"]["host"]]


def test_every_version_has_a_subset() -> None:
    assert all(set(versions) <= set(subsets()[app]) for app, versions in APPS.items())


def test_the_set_of_examples_is_istios() -> None:
    names = {file.name for file in (ROOT / "networking").iterdir()}
    assert names >= {
        "bookinfo-gateway.yaml",
        "destination-rule-all.yaml",
        "virtual-service-all-v1.yaml",
        "virtual-service-ratings-test-abort.yaml",
        "virtual-service-ratings-test-delay.yaml",
        "virtual-service-reviews-50-v3.yaml",
        "virtual-service-reviews-80-20.yaml",
        "virtual-service-reviews-90-10.yaml",
        "virtual-service-reviews-jason-v2-v3.yaml",
        "virtual-service-reviews-test-v2.yaml",
        "virtual-service-reviews-v3.yaml",
    }
