"""devmesh proxy-config and proxy-status, in istioctl's formats."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from devmesh.cli.envoy_json import camel
from devmesh.cli.main import cli
from devmesh.config.statedir import StateDir
from tests.cli.fake_api import FakeApi, serving

V1, ALL = "outbound|9080|v1|reviews", "outbound|9080||reviews"
ADMIN = "/devmesh/v1/proxies/shop/cart/admin"


def row(name: str, subset: str) -> dict[str, Any]:
    return {
        "service_fqdn": "reviews", "port": "9080", "subset": subset, "direction": "outbound", "type": "EDS",
        "destination_rule": "", "name": name,
    }  # fmt: skip


def configs(resource: str, *items: Any) -> dict[str, Any]:
    return {"configs": [{"@type": f"x.{resource}", **item} for item in items]}


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeApi]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("DEVMESH_MESH", raising=False)
    monkeypatch.chdir(tmp_path)
    with serving(StateDir.of("shop")) as fake:
        fake.add("GET", "/devmesh/v1/proxy-config/clusters/shop/cart", [row(V1, "v1"), row(ALL, "-")])
        found = [{"cluster": {"name": V1, "connect_timeout": "10s"}}, {"cluster": {"name": ALL}}]
        dumped = configs("DynamicCluster", *found)
        fake.add("GET", f"{ADMIN}/config_dump?resource=dynamic_active_clusters", dumped)
        yield fake


def run(*words: str) -> str:
    result = CliRunner().invoke(cli, words)
    assert result.exception is None, result.exception
    return str(result.output)


@pytest.mark.parametrize("command", ["proxy-config", "pc"])
def test_clusters_as_a_table(api: FakeApi, command: str) -> None:
    lines = run(command, "c", "cart.shop").splitlines()
    assert lines[0].split() == [
        "SERVICE",
        "FQDN",
        "PORT",
        "SUBSET",
        "DIRECTION",
        "TYPE",
        "DESTINATION",
        "RULE",
    ]
    assert [line.split()[2] for line in lines[1:]] == ["v1", "-"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["--subset", "v1"], [V1]),
        (["--fqdn", "reviews", "--port", "9080"], [V1, ALL]),
        (["--direction", "inbound"], []),
    ],
)
def test_clusters_can_be_chosen_in_every_format(api: FakeApi, given: list[str], expected: list[str]) -> None:
    assert len(run("pc", "clusters", "cart.shop", *given).splitlines()) == 1 + len(expected)
    found = json.loads(run("pc", "clusters", "cart.shop", *given, "-o", "json"))
    assert [each["name"] for each in found] == expected


def test_configuration_is_envoys_in_camel_case(api: FakeApi) -> None:
    found = yaml.safe_load(run("pc", "cluster", "cart", "-n", "shop", "-o", "yaml"))
    assert found[0] == {"name": V1, "connectTimeout": "10s"}


def test_listeners_are_chosen_by_their_address(api: FakeApi) -> None:
    def listener(host: str, port: int) -> dict[str, Any]:
        where = {"socket_address": {"address": host, "port_value": port}}
        return {"active_state": {"listener": {"name": f"{host}_{port}", "address": where}}}

    found = configs(
        "DynamicListener", listener("0.0.0.0", 80), listener("10.0.0.1", 80), listener("0.0.0.0", 90)
    )
    api.add("GET", f"{ADMIN}/config_dump?resource=dynamic_listeners", found)

    def names(*given: str) -> list[str]:
        return [each["name"] for each in json.loads(run("pc", "l", "cart.shop", "-o", "json", *given))]

    assert names() == ["0.0.0.0_80", "10.0.0.1_80", "0.0.0.0_90"]
    assert names("--port", "80") == ["0.0.0.0_80", "10.0.0.1_80"]
    assert names("--port", "80", "--address", "10.0.0.1") == ["10.0.0.1_80"]


def test_endpoints_are_the_clusters_hosts(api: FakeApi) -> None:
    rows = [{"endpoint": "10.0.0.1:9080", "status": "UNHEALTHY", "outlier_check": "FAILED", "cluster": V1}]
    api.add("GET", "/devmesh/v1/proxy-config/endpoints/shop/cart", rows)
    statuses = {"cluster_statuses": [{"name": V1, "host_statuses": []}, {"name": ALL}]}
    api.add("GET", f"{ADMIN}/clusters?format=json", statuses)
    assert json.loads(run("pc", "ep", "cart.shop", "-o", "json", "--status", "unhealthy")) == [
        {"name": V1, "hostStatuses": []}
    ]
    assert "FAILED" in run("pc", "endpoints", "cart.shop", "--cluster", V1)
    assert "FAILED" not in run("pc", "endpoints", "cart.shop", "--status", "healthy")


def test_secrets_are_as_tools_read_them(api: FakeApi) -> None:
    secret = {
        "name": "default",
        "secret": {"tls_certificate": {"certificate_chain": {"inline_bytes": "eA=="}}},
    }
    api.add("GET", f"{ADMIN}/config_dump?resource=dynamic_active_secrets", configs("DynamicSecret", secret))
    [found] = json.loads(run("pc", "secret", "cart.shop", "-o", "json"))["dynamicActiveSecrets"]
    assert found["secret"]["tlsCertificate"]["certificateChain"]["inlineBytes"] == "eA=="


def test_the_bootstrap_and_everything(api: FakeApi) -> None:
    node = {"node": {"id": "sidecar~1", "user_agent_name": "devmesh"}}
    api.add("GET", f"{ADMIN}/config_dump?resource=bootstrap", configs("Bootstrap", node))
    found = json.loads(run("pc", "bootstrap", "cart.shop"))
    assert found == {"bootstrap": {"node": {"id": "sidecar~1", "userAgentName": "devmesh"}}}
    api.add("GET", f"{ADMIN}/config_dump?include_eds=true", {"configs": []})
    assert json.loads(run("pc", "all", "cart.shop", "-o", "json")) == {"configs": []}
    for view in ("listeners", "routes", "endpoints", "secret"):
        api.add("GET", f"/devmesh/v1/proxy-config/{view}/shop/cart", [])
    assert run("pc", "all", "cart.shop").count("\n\n") == 4


@pytest.mark.parametrize(
    ("given", "query"),
    [([], ""), (["--level", "debug"], "?level=debug"), (["--level", "engine:debug"], "?paths=engine:debug")],
)
def test_log_levels(api: FakeApi, given: list[str], query: str) -> None:
    api.add("POST", f"{ADMIN}/logging{query}", "active loggers:\n  engine: debug\n\n")
    assert run("pc", "log", "cart.shop", *given) == "cart.shop:\nactive loggers:\n  engine: debug\n"


@pytest.mark.parametrize("command", ["proxy-status", "ps"])
def test_the_status_of_all_proxies(api: FakeApi, command: str) -> None:
    names = ("name", "cluster", "cds", "lds", "eds", "rds", "ecds", "istiod", "version")
    rows = [dict.fromkeys(names, "SYNCED")]
    api.add("GET", "/devmesh/v1/proxies", rows)
    assert run(command).splitlines()[0].split() == [name.upper() for name in names]
    assert json.loads(run(command, "-o", "json")) == rows


def test_only_names_of_fields_change_their_case() -> None:
    found = camel(
        {
            "typed_per_filter_config": {"envoy.filters.http.local_ratelimit": {"stat_prefix": "a_b"}},
            "metadata": {"filter_metadata": {"istio": {"default_original_port": 1}}},
            "LABELS": {"app": "x"},
            "@type": "x",
        }
    )
    assert found == {
        "typedPerFilterConfig": {"envoy.filters.http.local_ratelimit": {"statPrefix": "a_b"}},
        "metadata": {"filterMetadata": {"istio": {"default_original_port": 1}}},
        "LABELS": {"app": "x"},
        "@type": "x",
    }
