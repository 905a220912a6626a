"""What EnvoyFilters become: the rate limits of proxies, and what is said of everything else."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from devmesh.config.finding import Finding
from devmesh.snapshot.match import Exact, Prefix, Suffix
from devmesh.snapshot.rate_limits import (
    Allowance,
    Bucket,
    DestinationCluster,
    GenericKey,
    HeaderTest,
    HeaderValueMatch,
    Limiting,
    RemoteAddress,
    RequestHeader,
    Rule,
    SourceCluster,
)
from devmesh.snapshot.route import HeaderOps, Route
from tests.pilot.envoy_filters.tasks import (
    API_ROUTE,
    CONFIG,
    GLOBAL,
    LOCAL,
    PER_ROUTE,
    VIRTUAL_HOSTS,
    VIRTUAL_SERVICE,
)
from tests.pilot.meshes import INGRESS, Mesh, bookinfo

PAGE = Rule((RequestHeader(":path", "PATH"),))


def made(*texts: str) -> Mesh:
    mesh = bookinfo("bookinfo-gateway")
    mesh.apply(INGRESS)
    for text in texts:
        mesh.apply(text)
    return mesh


def found(mesh: Mesh) -> list[Finding]:
    return [finding for finding in mesh.compile().findings if finding.kind == "EnvoyFilter"]


def limiting(mesh: Mesh, workload: str = "productpage-v1", port: int = 9080) -> Limiting | None:
    [proxy] = [p for p in mesh.compile().snapshot.proxies.values() if p.instance.workload.name == workload]
    return proxy.inbound.ports[port].limiting


def edge(mesh: Mesh) -> tuple[Limiting | None, dict[str, Route]]:
    """The limits of the gateway's port, and its routes by name and first match."""
    proxies = mesh.compile().snapshot.proxies.values()
    [listener] = next(p.gateway for p in proxies if p.instance.workload.name == "istio-ingressgateway")
    assert listener.routes is not None
    routes = [route for host in listener.routes.virtual_hosts for route in host.routes]
    return listener.limiting, {route.name: route for route in routes}


def test_the_local_task_limits_the_selected_workload_alone() -> None:
    mesh = made(LOCAL)
    limits = limiting(mesh)
    assert limits is not None
    [limit] = limits.local
    assert (limit.bucket, limit.enabled, limit.enforced) == (Bucket(4, 4, 60.0), 100, 100)
    assert limit.response_headers == HeaderOps(set=(("x-local-rate-limit", "true"),))
    assert limit.first
    assert limiting(mesh, "reviews-v1") is None
    assert found(mesh) == []


def test_the_local_task_limits_one_port_alone() -> None:
    limits = limiting(made(PER_ROUTE))
    assert limits is not None
    assert limits.local[0].bucket is None
    assert limits.otherwise.local is not None
    assert limits.otherwise.local.bucket == Bucket(4, 4, 60.0)
    other = PER_ROUTE.replace("inbound|http|9080", "inbound|http|9999")
    limits = limiting(made(other))
    assert limits is not None
    assert limits.otherwise.local is None


def test_the_global_task_limits_the_gateways_routes() -> None:
    mesh = made(CONFIG, VIRTUAL_SERVICE, GLOBAL, VIRTUAL_HOSTS, API_ROUTE)
    limits, routes = edge(mesh)
    assert limits is not None
    [limit] = limits.shared
    assert (limit.domain, limit.denies, limit.timeout, limit.first) == ("ratelimit", True, 10.0, False)
    page = next(route for name, route in routes.items() if name != "api")
    assert page.limits is not None
    assert page.limits.rules == (PAGE,)
    api = routes["api"].limits
    assert api is not None
    [rule] = api.rules  # in place of the virtual host's
    [action] = rule.actions
    assert isinstance(action, HeaderValueMatch)
    assert (action.key, action.value) == ("PATH", "api")
    assert action.headers[0].test is not None
    assert action.headers[0].test("/api/v1/products/12")
    assert not action.headers[0].test("/api/v1/products")


def test_without_the_service_devmesh_keeps_the_limits_of_its_configuration() -> None:
    mesh = made(CONFIG, GLOBAL, VIRTUAL_HOSTS)
    limits, _ = edge(mesh)
    assert limits is not None
    quota = limits.shared[0].quota
    assert quota is not None
    assert quota.root.children["PATH_/productpage"].allowance == Allowance(1, 60, "PATH_/productpage")
    assert quota.root.children["PATH"].allowance == Allowance(100, 60, "PATH")
    [said] = found(mesh)
    assert (said.code, said.severity) == ("DM0330", "info")
    assert "ConfigMap default/ratelimit-config" in said.message


def test_without_service_and_configuration_it_is_told() -> None:
    [said] = found(made(GLOBAL, VIRTUAL_HOSTS))
    assert (said.code, said.path) == ("DM0331", "spec.configPatches[0]")
    assert "requests get 500" in said.message


SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: ratelimit, annotations: {}}
spec: {selector: {app: ratelimit}, ports: [{name: grpc-port, port: 8081}]}
"""


def test_a_service_that_is_there_is_asked() -> None:
    mesh = made(CONFIG, GLOBAL, VIRTUAL_HOSTS, SERVICE)
    limits, _ = edge(mesh)
    assert limits is not None
    assert limits.shared[0].quota is None
    assert found(mesh) == []


def test_a_service_can_be_devmeshs_own() -> None:
    own = SERVICE.replace("annotations: {}", "annotations: {devmesh.dev/rate-limits: embedded}")
    limits, _ = edge(made(CONFIG, GLOBAL, VIRTUAL_HOSTS, own))
    assert limits is not None
    assert limits.shared[0].quota is not None


def test_an_added_cluster_stands_for_the_service_that_it_leads_to() -> None:
    document = yaml.safe_load(GLOBAL)
    value = document["spec"]["configPatches"][0]["patch"]["value"]["typed_config"]
    value["rate_limit_service"]["grpc_service"]["envoy_grpc"] = {"cluster_name": "rate_limit_cluster"}
    address = {"socket_address": {"address": "ratelimit.default.svc.cluster.local", "port_value": 8081}}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
    cluster = {"name": "rate_limit_cluster", "load_assignment": {"endpoints": endpoints}}
    document["spec"]["configPatches"].append(
        {"applyTo": "CLUSTER", "patch": {"operation": "ADD", "value": cluster}}
    )
    mesh = made(SERVICE, yaml.safe_dump(document), VIRTUAL_HOSTS)
    limits, _ = edge(mesh)
    assert limits is not None
    assert limits.shared[0].cluster == "outbound|8081||ratelimit.default.svc.cluster.local"
    assert found(mesh) == []


def patched(text: str, **changes: Any) -> str:
    """`text` with other values in its first patch: ``match__context`` is the context of its match."""
    document = yaml.safe_load(text)
    for path, value in changes.items():
        *steps, last = path.split("__")
        place = document["spec"]["configPatches"][0]
        for step in steps:
            place = place.setdefault(step, {})
        place[last] = value
    return yaml.safe_dump(document)


@pytest.mark.parametrize(
    ("changes", "path", "message"),
    [
        (
            {"match__context": "SIDECAR_OUTBOUND"},
            "configPatches[0].match.context",
            "SIDECAR_OUTBOUND has no effect",
        ),
        (
            {"applyTo": "LISTENER"},
            "configPatches[0]",
            "INSERT_BEFORE of a LISTENER is no part of a rate limit",
        ),
        ({"patch__operation": "REMOVE"}, "configPatches[0]", "REMOVE of the HTTP filter"),
        (
            {"patch__value": {"name": "envoy.filters.http.lua", "typed_config": {"@type": "x/Lua"}}},
            "configPatches[0]",
            "INSERT_BEFORE of the HTTP filter 'envoy.filters.http.lua' is not carried out",
        ),
        (
            {"match__listener__filterChain": {"filter": {"name": "envoy.filters.network.tcp_proxy"}}},
            "configPatches[0].match.listener",
            "matches nothing",
        ),
        ({"match__proxy": {"proxyVersion": "1.9"}}, "configPatches[0].match.proxy", "has no effect"),
    ],
)
def test_other_patches_are_told(changes: dict[str, Any], path: str, message: str) -> None:
    said = found(made(patched(LOCAL, **changes)))
    assert [(finding.code, finding.path) for finding in said] == [("DM0304", f"spec.{path}")]
    assert message in said[0].message


def with_value(text: str, **changes: Any) -> str:
    document = yaml.safe_load(text)
    value = document["spec"]["configPatches"][0]["patch"]["value"]["typed_config"]
    value.get("value", value).update(changes)
    return yaml.safe_dump(document)


@pytest.mark.parametrize(
    ("changes", "path", "message"),
    [
        ({"vh_rate_limits": "INCLUDE"}, "vh_rate_limits", "no such field"),
        (
            {"token_bucket": {"max_tokens": 4, "fill_interval": "1ms"}},
            "token_bucket.fill_interval",
            "at least 50ms",
        ),
        ({"token_bucket": {"max_tokens": 0, "fill_interval": "1s"}}, "token_bucket.max_tokens", "at least 1"),
        (
            {"token_bucket": {"max_tokens": "x", "fill_interval": "1s"}},
            "token_bucket.max_tokens",
            "whole number",
        ),
        ({"token_bucket": 4}, "token_bucket", "expected a mapping"),
        (
            {"filter_enabled": {"default_value": {"denominator": "TEN"}}},
            "filter_enabled.default_value.denominator",
            "none of",
        ),
        ({"stat_prefix": 5}, "stat_prefix", "expected a text"),
        ({"status": {"code": "Conflict"}}, "status.code", "as a number"),
        ({"descriptors": [{"entries": []}]}, "descriptors[0].token_bucket", "needs its token bucket"),
        ({"descriptors": {}}, "descriptors", "expected a list"),
        (
            {"always_consume_default_token_bucket": "no"},
            "always_consume_default_token_bucket",
            "true or false",
        ),
    ],
)
def test_values_that_cannot_be_used_are_told(changes: dict[str, Any], path: str, message: str) -> None:
    [said] = found(made(with_value(LOCAL, **changes)))
    assert said.path == f"spec.configPatches[0].patch.value.typed_config.value.{path}"
    assert message in said.message


def test_all_that_a_local_limit_may_say_is_read() -> None:
    mesh = made(
        with_value(
            LOCAL,
            status={"code": 503},
            stage=1,
            descriptors=[
                {
                    "entries": [{"key": "user", "value": "x"}],
                    "tokenBucket": {
                        "maxTokens": 1,
                        "tokensPerFill": {"value": 2},
                        "fillInterval": {"seconds": 5},
                    },
                }
            ],
            rateLimits=[{"actions": [{"genericKey": {"descriptorValue": "x"}}], "stage": 1}],
            filter_enforced={"default_value": {"numerator": 5, "denominator": "TEN_THOUSAND"}},
            request_headers_to_add_when_not_enforced=[{"header": {"key": "X-A", "value": "b"}}],
            response_headers_to_add=[
                {"header": {"key": "x-c", "value": "d"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
            ],
            always_consume_default_token_bucket={"value": False},
            local_rate_limit_per_downstream_connection=True,
            enable_x_ratelimit_headers="DRAFT_VERSION_03",
            rate_limited_as_resource_exhausted=True,
        )
    )
    limits = limiting(mesh)
    assert limits is not None
    [limit] = limits.local
    assert (limit.status, limit.stage, limit.enforced) == (503, 1, 0.05)
    assert limit.buckets == (((("user", "x"),), Bucket(1, 2, 5.0)),)
    assert limit.rules == (Rule((GenericKey("generic_key", "x"),), 1),)
    assert limit.request_headers == HeaderOps(add=(("x-a", "b"),))
    assert limit.response_headers == HeaderOps(set=(("x-c", "d"),))
    assert (limit.takes_default, limit.per_connection, limit.tells, limit.exhausted) == (
        False,
        True,
        True,
        True,
    )
    assert found(mesh) == []


def with_actions(*actions: Any) -> str:
    document = yaml.safe_load(VIRTUAL_HOSTS)
    document["spec"]["configPatches"][0]["patch"]["value"] = {"rate_limits": [{"actions": list(actions)}]}
    return yaml.safe_dump(document)


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ({"remote_address": {}}, RemoteAddress()),
        ({"source_cluster": {}}, SourceCluster()),
        ({"destination_cluster": {}}, DestinationCluster()),
        ({"generic_key": {"descriptor_key": "k", "descriptor_value": "v"}}, GenericKey("k", "v")),
        (
            {"request_headers": {"header_name": "X-User", "descriptor_key": "user", "skip_if_absent": True}},
            RequestHeader("x-user", "user", True),
        ),
        (
            {
                "header_value_match": {
                    "descriptor_value": "v",
                    "expect_match": False,
                    "headers": [
                        {"name": "a", "string_match": {"exact": "b", "ignore_case": True}},
                        {"name": "c", "prefix_match": "d", "invert_match": True},
                        {"name": "e", "suffix_match": "f", "treat_missing_header_as_empty": True},
                        {"name": "g", "present_match": True},
                        {"name": "h", "present_match": False},
                    ],
                }
            },
            HeaderValueMatch(
                "header_match",
                "v",
                (
                    HeaderTest("a", Exact("b", True)),
                    HeaderTest("c", Prefix("d"), inverted=True),
                    HeaderTest("e", Suffix("f"), absent_is_empty=True),
                    HeaderTest("g"),
                    HeaderTest("h", inverted=True),
                ),
                expect=False,
            ),
        ),
    ],
)
def test_each_action_is_read(action: dict[str, Any], expected: object) -> None:
    mesh = made(CONFIG, GLOBAL, with_actions(action))
    _, routes = edge(mesh)
    limits = next(iter(routes.values())).limits
    assert limits is not None
    assert limits.rules[0].actions == (expected,)
    assert [finding.code for finding in found(mesh)] == ["DM0330"]


def test_an_action_that_is_unknown_leaves_its_descriptor_out() -> None:
    mesh = made(CONFIG, GLOBAL, with_actions({"metadata": {"descriptor_key": "x"}}, {"remote_address": {}}))
    _, routes = edge(mesh)
    assert all(route.limits is None for route in routes.values())
    said = [finding for finding in found(mesh) if finding.code == "DM0304"]
    assert said[0].path.endswith("rate_limits[0].actions[0].metadata")


def test_a_regular_expression_that_is_none_is_told() -> None:
    test = {"name": "a", "safe_regex_match": {"regex": "("}}
    mesh = made(
        CONFIG, GLOBAL, with_actions({"header_value_match": {"descriptor_value": "v", "headers": [test]}})
    )
    said = [finding for finding in found(mesh) if finding.code == "DM0304"]
    assert "is no RE2 regular expression" in said[0].message


def test_virtual_hosts_are_chosen_by_name_and_domain() -> None:
    for name, expected in (("*:8080", True), ("bookinfo.com:80", False)):
        text = patched(VIRTUAL_HOSTS, match__routeConfiguration__vhost={"name": name})
        _, routes = edge(made(CONFIG, GLOBAL, text))
        assert any(route.limits for route in routes.values()) is expected, name
    text = patched(VIRTUAL_HOSTS, match__routeConfiguration__vhost={"domainName": "other"})
    _, routes = edge(made(CONFIG, GLOBAL, text))
    assert not any(route.limits for route in routes.values())


def test_filters_of_other_namespaces_are_for_their_own_workloads() -> None:
    assert limiting(made(LOCAL.replace("istio-system", "default"))) is not None
    assert limiting(made(LOCAL.replace("istio-system", "other"))) is None


def test_a_filter_may_be_for_one_port() -> None:
    chain = {"filter": {"name": "envoy.filters.network.http_connection_manager"}, "destinationPort": 9080}
    assert limiting(made(patched(LOCAL, match__listener__filterChain=chain))) is not None
    chain["destinationPort"] = 9999
    assert limiting(made(patched(LOCAL, match__listener__filterChain=chain))) is None


def test_unchanged_tables_stay_the_same_objects() -> None:
    mesh = made(CONFIG, GLOBAL, VIRTUAL_HOSTS, LOCAL)
    first = mesh.compile().snapshot
    second = mesh.compile().snapshot
    assert all(second.proxies[id_] is proxy for id_, proxy in first.proxies.items())


def test_a_configuration_that_is_wrong_is_told() -> None:
    mesh = made(CONFIG.replace("unit: minute", "unit: fortnight"), GLOBAL, VIRTUAL_HOSTS)
    said = [finding for finding in mesh.compile().findings if finding.kind == "ConfigMap"]
    assert said[0].path == "data[config.yaml]"
    assert "'fortnight' is none of" in said[0].message
