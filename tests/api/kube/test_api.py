"""The API without HTTP: requests in, answers out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devmesh.api.kube.api import KubeApi
from devmesh.api.kube.deps import KubeDeps
from devmesh.api.kube.request import Answer, Request, wanted, warning_headers
from devmesh.config.kinds import CONFIG_MAP, DEPLOYMENT
from devmesh.testing.containers import FakeContainers
from tests.api.serving import new_store

MAPS = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"


@pytest.fixture
def api() -> KubeApi:
    containers: Any = FakeContainers.__new__(FakeContainers)
    return KubeApi(KubeDeps(new_store(), containers))


async def ask(
    api: KubeApi,
    method: str,
    path: str,
    body: Any = None,
    media: str = "application/json",
    **query: str,
) -> tuple[int, Any]:
    answer = await api.answer(request(method, path, body, media, **query))
    assert isinstance(answer.body, bytes)
    return answer.status, json.loads(answer.body)


def request(
    method: str, path: str, body: Any = None, media: str = "application/json", **query: str
) -> Request:
    content = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else b""
    headers = {"content-type": media, "user-agent": "test/1"}
    return Request(method, path, {name: [value] for name, value in query.items()}, headers, content)


def config_map(name: str = "a", **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "data": data}


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/api/v1/namespaces/default/nothings", 404),
        ("GET", "/api/v2/namespaces/default/pods", 404),
        ("GET", "/apis/apps/v1beta1/deployments", 404),
        ("GET", f"{MAPS}/a/scale", 404),
        ("GET", f"{MAPS}/a/b/c", 404),
        ("GET", "/api/v1/pods/a", 404),
        ("GET", "/apis/nothing", 404),
        ("POST", f"{MAPS}/a", 405),
        ("PUT", MAPS, 405),
        ("POST", "/api/v1/configmaps", 405),
        ("PATCH", f"{MAPS}/a", 415),
        ("GET", "/openapi/v3/apis/nothing/v1", 404),
    ],
)
async def test_what_is_not_served(api: KubeApi, method: str, path: str, code: int) -> None:
    status, body = await ask(api, method, path)
    assert (status, body["kind"], body["status"]) == (code, "Status", "Failure")


async def test_an_old_version_conflicts(api: KubeApi) -> None:
    _, made = await ask(api, "POST", MAPS, config_map(a="1"))
    await ask(api, "PUT", f"{MAPS}/a", config_map(a="2"))
    status, body = await ask(api, "PUT", f"{MAPS}/a", {**made, "data": {"a": "3"}})
    assert (status, body["reason"]) == (409, "Conflict")
    assert body["details"] == {"name": "a", "kind": "configmaps"}


async def test_another_uid_conflicts(api: KubeApi) -> None:
    await ask(api, "POST", MAPS, config_map())
    wrong = {**config_map(), "metadata": {"name": "a", "uid": "other"}}
    assert (await ask(api, "PUT", f"{MAPS}/a", wrong))[0] == 409
    status, body = await ask(api, "DELETE", f"{MAPS}/a", {"preconditions": {"uid": "other"}})
    assert (status, "UID in precondition: other" in body["message"]) == (409, True)


async def test_names_and_namespaces_have_to_be_the_urls(api: KubeApi) -> None:
    await ask(api, "POST", MAPS, config_map())
    assert (await ask(api, "PUT", f"{MAPS}/a", config_map("b")))[0] == 400
    elsewhere = {"metadata": {"name": "x", "namespace": "kube-system"}}
    assert (await ask(api, "POST", MAPS, elsewhere))[0] == 400
    assert (await ask(api, "POST", MAPS, {"kind": "Secret", "apiVersion": "v1", "metadata": {}}))[0] == 400


async def test_clients_cannot_set_what_is_the_servers(api: KubeApi) -> None:
    metadata = {"name": "d", "uid": "mine", "generation": 9, "creationTimestamp": "2001-01-01T00:00:00Z"}
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    body = {"metadata": metadata, "spec": spec, "status": {"replicas": 7}}
    status, made = await ask(api, "POST", DEPLOYMENTS, body)
    assert status == 201
    assert made["metadata"]["uid"] != "mine"
    assert made["metadata"]["generation"] == 1
    assert not made["metadata"]["creationTimestamp"].startswith("2001")
    assert "status" not in made
    _, after = await ask(api, "PUT", f"{DEPLOYMENTS}/d", {**made, "status": {"replicas": 7}})
    assert "status" not in after
    _, told = await ask(api, "PUT", f"{DEPLOYMENTS}/d/status", {**made, "status": {"replicas": 7}})
    assert told["status"] == {"replicas": 7}
    assert told["metadata"]["generation"] == 1


async def test_scale_sees_and_sets_replicas_alone(api: KubeApi) -> None:
    api.deps.store.create(
        DEPLOYMENT,
        {
            "metadata": {"name": "d"},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": {"a": "b"}},
                "template": {
                    "metadata": {"labels": {"a": "b"}},
                    "spec": {"containers": [{"name": "c", "image": "i"}]},
                },
            },
        },
    )
    _, seen = await ask(api, "GET", f"{DEPLOYMENTS}/d/scale")
    assert (seen["spec"]["replicas"], seen["status"]["selector"]) == (1, "a=b")
    media = "application/merge-patch+json"
    status, after = await ask(api, "PATCH", f"{DEPLOYMENTS}/d/scale", {"spec": {"replicas": 3}}, media)
    assert (status, after["spec"]["replicas"]) == (200, 3)
    status, refused = await ask(api, "PATCH", f"{DEPLOYMENTS}/d/scale", {"spec": {"replicas": -1}}, media)
    assert (status, refused["details"]["causes"][0]["field"]) == (422, "spec.replicas")


async def test_pages_of_a_list_share_its_version(api: KubeApi) -> None:
    for n in range(5):
        api.deps.store.create(CONFIG_MAP, config_map(f"c{n}"))
    _, first = await ask(api, "GET", MAPS, limit="2")
    api.deps.store.create(CONFIG_MAP, config_map("later"))
    assert first["metadata"]["remainingItemCount"] == 3
    query = {"limit": "2", "continue": first["metadata"]["continue"]}
    _, second = await ask(api, "GET", MAPS, **query)
    assert [item["metadata"]["name"] for item in second["items"]] == ["c2", "c3"]
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    assert (await ask(api, "GET", MAPS, **{"continue": "!"}))[0] == 400


async def test_a_dry_run_is_complete_and_stores_nothing(api: KubeApi) -> None:
    status, body = await ask(api, "POST", MAPS, config_map(), dryRun="All")
    assert status == 201
    assert body["metadata"]["uid"]
    assert api.deps.store.list(CONFIG_MAP) == []
    assert (await ask(api, "POST", MAPS, config_map(), dryRun="Some"))[0] == 400


async def test_an_unchanged_update_writes_nothing(api: KubeApi) -> None:
    _, made = await ask(api, "POST", MAPS, config_map(a="1"))
    _, after = await ask(api, "PUT", f"{MAPS}/a", config_map(a="1"))
    assert after["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


async def test_collections_are_deleted_by_selector(api: KubeApi) -> None:
    for n in range(3):
        one = {"metadata": {"name": f"c{n}", "labels": {"n": str(n)}}}
        api.deps.store.create(CONFIG_MAP, one)
    await ask(api, "DELETE", MAPS, labelSelector="n in (0,2)")
    assert [s.name for s in api.deps.store.list(CONFIG_MAP)] == ["c1"]


async def test_apply_needs_a_manager(api: KubeApi) -> None:
    media = "application/apply-patch+yaml"
    status, body = await ask(api, "PATCH", f"{MAPS}/a", config_map(), media)
    assert (status, body["details"]["causes"][0]["field"]) == (422, "fieldManager")
    text = b"apiVersion: v1\nkind: ConfigMap\ndata: {when: 2026-01-01}\n"
    status, body = await ask(api, "PATCH", f"{MAPS}/a", text, media, fieldManager="me")
    assert (status, body["data"]) == (201, {"when": "2026-01-01"})


async def test_yaml_can_be_sent_and_had(api: KubeApi) -> None:
    text = b"metadata: {name: y}\ndata: {a: b}\n"
    assert (await ask(api, "POST", MAPS, text, "application/yaml"))[0] == 201
    answer = await api.answer(Request("GET", f"{MAPS}/y", {}, {"accept": "application/yaml"}))
    assert isinstance(answer.body, bytes)
    assert b"kind: ConfigMap\n" in answer.body
    assert (await ask(api, "POST", MAPS, b"{", "application/yaml"))[0] == 400
    assert (await ask(api, "POST", MAPS, b"a", "text/html"))[0] == 415


async def test_aggregated_discovery_tells_all_at_once(api: KubeApi) -> None:
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
    answer = await api.answer(Request("GET", "/apis", {}, {"accept": accept}))
    assert isinstance(answer.body, bytes)
    groups = {item["metadata"]["name"]: item["versions"] for item in json.loads(answer.body)["items"]}
    assert [v["version"] for v in groups["networking.istio.io"]] == ["v1", "v1beta1", "v1alpha3"]
    order = list(groups)
    assert order.index("networking.istio.io") < order.index("gateway.networking.k8s.io")


async def test_only_known_forms_are_answered() -> None:
    assert wanted("").as_ == ""
    assert wanted("application/json;as=Table;v=v1;g=meta.k8s.io,application/json").as_ == "Table"
    assert wanted("application/vnd.kubernetes.protobuf,application/json").media == "application/json"
    with pytest.raises(Exception, match="only the following"):
        wanted("application/vnd.kubernetes.protobuf")


def test_warnings_are_one_line_each_and_bounded() -> None:
    headers = warning_headers(['say "hi"\r\nX: y'])
    assert headers == (("Warning", '299 - "say \\"hi\\"  X: y"'),)
    assert len(warning_headers(str(n) for n in range(100))) == 33


SCALARS = st.none() | st.booleans() | st.integers(-2, 2) | st.text("a-", max_size=3)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                ["metadata", "spec", "name", "labels", "containers", "template", "selector", "managedFields"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    ANYTHING,
    st.sampled_from(
        [
            "POST",
            "PUT",
            "strategic-merge-patch+json",
            "merge-patch+json",
            "json-patch+json",
            "apply-patch+yaml",
        ]
    ),
    st.sampled_from(
        [
            MAPS,
            DEPLOYMENTS,
            "/apis/networking.istio.io/v1/namespaces/default/virtualservices",
            "/apis/apps/v1/namespaces/default/deployments/a/scale",
        ]
    ),
)
async def test_no_body_makes_it_fail(body: Any, how: str, path: str) -> None:
    containers: Any = None
    api = KubeApi(KubeDeps(new_store(), containers))
    api.deps.store.create(CONFIG_MAP, config_map("a"))
    method, media = (how, "application/json") if how.isupper() else ("PATCH", f"application/{how}")
    single = method != "POST" and not path.endswith("scale")
    answer: Answer = await api.answer(
        request(method, f"{path}/a" if single else path, body, media, fieldManager="me", force="true")
    )
    assert answer.status < 500, answer.body


async def test_older_kubectls_get_a_document_without_definitions(api: KubeApi) -> None:
    accept = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
    answer = await api.answer(Request("GET", "/openapi/v2", {}, {"accept": accept}))
    assert answer.content_type == accept.replace("@", ".")
    assert answer.body == b"\n\x032.0\x12\r\n\x07devmesh\x12\x02v1B\x00"


async def test_every_group_and_version_has_its_schemas(api: KubeApi) -> None:
    _, index = await ask(api, "GET", "/openapi/v3")
    assert len(index["paths"]) > 20
    for path, found in index["paths"].items():
        status, document = await ask(api, "GET", found["serverRelativeURL"].partition("?")[0])
        assert status == 200, path
        text = json.dumps(document["paths"])
        for name in document["components"]["schemas"]:
            text = text.replace(f'"#/components/schemas/{name}"', '""')
        assert "#/components/schemas/" not in text, path
        patches = [p["patch"] for p in document["paths"].values() if "patch" in p]
        assert all(any(q["name"] == "fieldValidation" for q in p["parameters"]) for p in patches)
