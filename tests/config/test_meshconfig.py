import pytest
import yaml

from devmesh.config import meshconfig
from tests.config.conftest import Apply


def said(text: str) -> list[str]:
    return [str(cause) for cause in meshconfig.check_text(text, ("data", "mesh"))]


def test_the_demo_profile_logs_and_traces_everything() -> None:
    config = meshconfig.effective({})
    assert config["accessLogFile"] == "/dev/stdout"
    assert config["defaultConfig"]["tracing"]["sampling"] == 100
    assert said(meshconfig.written(config)) == []


def test_what_is_given_goes_over_the_defaults() -> None:
    config = meshconfig.effective({"defaultConfig": {"tracing": {"sampling": 1}}, "trustDomain": "td"})
    assert config["defaultConfig"] == {"tracing": {"sampling": 1}}
    assert config["trustDomain"] == "td"
    assert yaml.safe_load(meshconfig.written(config)) == config
    assert meshconfig.DEMO["trustDomain"] == "cluster.local"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "accessLogFle: x",
            'data.mesh.accessLogFle: unknown field "accessLogFle" (did you mean "accessLogFile"?)',
        ),
        ("outboundTrafficPolicy: {mode: REGISTRY}", "Unsupported value"),
        ("connectTimeout: 5", "not a duration"),
        ("defaultConfig: {tracing: {sampling: 101}}", "between 0 and 100"),
        ("defaultHttpRetryPolicy: {attempts: 1, retryOn: never}", "Unsupported value"),
        ("trustDomainAliases: [a]", "data.mesh.trustDomainAliases: has no effect in devmesh"),
        ("a: [", "not YAML (line 2)"),
        ("- a", "must be one object"),
    ],
)
def test_what_is_wrong_or_without_effect_is_told(text: str, message: str) -> None:
    assert message in said(text)[0]


def test_snake_case_is_read_too() -> None:
    assert said("access_log_file: /dev/stdout\nmesh_mTLS: {}\n") in (
        [],
        ["data.mesh.meshMTLS: has no effect in devmesh"],
    )


def test_an_edit_of_the_config_map_is_checked(apply: Apply) -> None:
    apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: istio-system}\n")
    text = """
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: 'trustDomainAliases: [a]'}
"""
    assert "no effect" in apply.admit(text).said[0]
