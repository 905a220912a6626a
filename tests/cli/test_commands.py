"""The commands against a fake API: what they ask, what they print, how they exit."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from devmesh.cli.failure import CliFailure
from devmesh.cli.main import COMMANDS, cli
from devmesh.config.statedir import StateDir
from tests.cli.fake_api import FakeApi, serving

Run = Callable[..., Result]
POD = {
    "kind": "Pod",
    "metadata": {
        "name": "cart-1",
        "namespace": "default",
        "uid": "u1",
        "labels": {"app": "cart", "security.istio.io/tlsMode": "istio"},
        "creationTimestamp": "2026-01-01T00:00:00Z",
    },
    "spec": {
        "containers": [{"name": "cart", "image": "shop/cart:1"}, {"name": "istio-proxy", "image": "auto"}]
    },
    "status": {
        "phase": "Running",
        "podIP": "10.244.0.9",
        "containerStatuses": [
            {
                "name": "cart",
                "ready": False,
                "restartCount": 3,
                "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}},
                "lastState": {"terminated": {"exitCode": 2, "reason": "Error"}},
            }
        ],
        "conditions": [{"type": "Ready", "status": "False", "reason": "ContainersNotReady"}],
    },
}
EVENT = {
    "metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"},
    "type": "Warning",
    "reason": "BackOff",
    "message": "Back-off restarting failed container",
    "source": {"component": "kubelet"},
}
EVENTS = "/api/v1/namespaces/default/events?fieldSelector=involvedObject.uid=u1"


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StateDir:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("DEVMESH_MESH", raising=False)
    monkeypatch.chdir(tmp_path)
    return StateDir.of("shop")


@pytest.fixture
def api(state: StateDir) -> Iterator[FakeApi]:
    with serving(state) as fake:
        yield fake


@pytest.fixture
def run(state: StateDir) -> Run:
    def call(*words: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(cli, words, input=stdin)

    return call


def failure(result: Result) -> CliFailure:
    assert isinstance(result.exception, CliFailure), result.output
    return result.exception


def test_every_command_has_help(run: Run) -> None:
    listed = run("--help").output
    for name in COMMANDS:
        assert f"  {name}" in listed
        done = run(name, "--help")
        assert done.exit_code == 0, name
        assert "Usage:" in done.output


def test_without_a_mesh_the_next_step_is_named(run: Run) -> None:
    assert "start one with `devmesh up`" in str(failure(run("get", "pods", "--mesh", "shop")))


def test_the_other_meshes_that_run_are_named(run: Run, api: FakeApi) -> None:
    assert "running are: shop" in str(failure(run("status", "--mesh", "other")))


def test_the_only_mesh_that_runs_is_meant(run: Run, api: FakeApi) -> None:
    api.add("GET", "/devmesh/v1/status", {
        "mesh": "shop", "pid": 1, "runtime": "process", "version": "0", "api": {},
        "gateways": {"http": "127.0.0.1:80"},
        "workloads": [{"name": "cart", "namespace": "default", "ready": 1, "replicas": 1, "meshed": True}],
    })  # fmt: skip
    place = {
        "kind": "Service",
        "namespace": "",
        "name": "a",
        "path": "",
        "file": "a.yaml",
        "line": 4,
        "column": 2,
    }
    api.add("GET", "/devmesh/v1/findings", [
        {"code": "DM0005", "severity": "error", "message": "unknown field", **place},
        {"code": "KIA0203", "severity": "info", "message": "nothing behind it", **place},
    ])  # fmt: skip
    done = run("status")
    assert done.exit_code == 0
    assert "#token=a-token" in done.output
    assert "default     cart       1/1     yes" in done.output
    assert done.output.splitlines()[-1] == "error      a.yaml:4:2: Service a: unknown field [DM0005]"
    assert len(json.loads(run("status", "-o", "json").output)["findings"]) == 2


def test_what_became_of_each_is_told_as_json_too(run: Run, api: FakeApi) -> None:
    cart = "/apis/apps/v1/namespaces/default/deployments/cart"
    state = {"conditions": [{"type": "Available", "status": "True"}]}
    api.add("GET", cart, {"metadata": {"labels": {}}, "status": state})
    for method, path in (("PATCH", cart), ("PATCH", f"{cart}/scale"), ("DELETE", cart)):
        api.add(method, path, {})
    told = {"kind": "Deployment", "namespace": "default", "name": "cart"}
    for words, result in (
        (("label", "deploy", "cart", "a=b"), "labeled"),
        (("scale", "deploy/cart", "--replicas", "2"), "scaled"),
        (("wait", "deploy/cart", "--for", "condition=available"), "condition met"),
        (("delete", "deploy", "cart"), "deleted"),
    ):
        assert json.loads(run(*words, "-o", "json").output) == [{**told, "result": result}]


def test_what_was_done_before_a_failure_is_told_as_json(run: Run, api: FakeApi) -> None:
    api.add("DELETE", "/api/v1/namespaces/default/pods/a", {})
    done = run("delete", "pod", "a", "b", "-o", "json")
    assert [one["name"] for one in json.loads(done.output)] == ["a"]
    assert "not found" in str(failure(done))


@pytest.mark.parametrize("wrong", [("--duration", "5x"), ("--rate", "0")], ids=["duration", "rate"])
def test_demo_refuses_wrong_traffic_before_it_starts_anything(run: Run, wrong: tuple[str, str]) -> None:
    done = run("demo", *wrong)
    assert done.exit_code == 2 or failure(done).status == 2


def test_get_prints_the_servers_table(run: Run, api: FakeApi) -> None:
    columns = [{"name": "Name", "priority": 0}, {"name": "Node", "priority": 1}]
    row = {"cells": ["cart-1", None], "object": {"metadata": {"namespace": "default"}}}
    api.add("GET", "/api/v1/namespaces/default/pods", {"columnDefinitions": columns, "rows": [row]})
    api.add("GET", "/api/v1/pods", {"columnDefinitions": columns, "rows": [row]})
    assert run("get", "po").output == "NAME\ncart-1\n"
    assert run("get", "pods", "-o", "wide").output == "NAME     NODE\ncart-1   <none>\n"
    assert run("get", "pod", "-A", "--no-headers").output == "default     cart-1\n"


def test_get_knows_what_it_does_not_know(run: Run, api: FakeApi) -> None:
    assert 'doesn\'t have a resource type "carts"' in str(failure(run("get", "carts")))


def test_describe_tells_a_pods_state_and_events(run: Run, api: FakeApi) -> None:
    api.add("GET", "/api/v1/namespaces/default/pods/cart-1", POD)
    api.add("GET", EVENTS, {"items": [EVENT]})
    lines = run("describe", "pod/cart-1").output.splitlines()
    assert lines[0] == "Name:             cart-1"
    assert "                  security.istio.io/tlsMode=istio" in lines
    text = "\n".join(lines)
    assert "      Reason:       CrashLoopBackOff" in text
    assert "      Exit Code:    2" in text
    assert "BackOff" in lines[-1]


def test_a_secrets_values_are_not_described(run: Run, api: FakeApi) -> None:
    from devmesh.cli.describe import description

    text = "\n".join(description({"kind": "Secret", "metadata": {"name": "s"}, "data": {"key": "aHVzaA=="}}))
    assert "aHVzaA" not in text
    assert "8 characters" in text


def test_apply_says_what_became_of_each(run: Run, api: FakeApi, tmp_path: Path) -> None:
    path = "/api/v1/namespaces/default/services"
    query = "?fieldManager=devmesh-apply&force=true&fieldValidation=Strict"
    api.add("GET", f"{path}/old", {"metadata": {"resourceVersion": "5"}})
    for name, version in (("old", "5"), ("new", "6")):
        api.add("PATCH", f"{path}/{name}{query}", {"metadata": {"resourceVersion": version}})
    api.add("PATCH", f"{path}/bad{query}", 'unknown field "spec.prots"', 422)
    document = "{{apiVersion: v1, kind: Service, metadata: {{name: {}}}}}\n"
    (tmp_path / "all.yaml").write_text("---\n".join(document.format(name) for name in ("old", "new", "bad")))
    done = run("apply", "-f", "all.yaml")
    assert done.output.splitlines() == ["service/old unchanged", "service/new created"]
    assert str(failure(done)) == 'all.yaml:5:1: service/bad: unknown field "spec.prots"'


def test_apply_names_the_line_of_each_wrong_field(run: Run, api: FakeApi, tmp_path: Path) -> None:
    path = "/api/v1/namespaces/default/services/bad?fieldManager=devmesh-apply&force=true"
    wrong = [
        {"field": "spec.prots", "message": 'unknown field "spec.prots" (did you mean "ports"?)'},
        {"field": "spec.type", "message": "Unsupported value"},
        {"field": "spec.selector[app]", "message": "Required value"},
    ]
    status = {"kind": "Status", "message": "all in one line", "details": {"causes": wrong}}
    api.add("PATCH", f"{path}&fieldValidation=Strict", status, 422)
    spec = "spec:\n  prots: []\n  type: Foo\n  selector: {}\n"
    (tmp_path / "x.yaml").write_text(f"apiVersion: v1\nkind: Service\nmetadata: {{name: bad}}\n{spec}")
    assert str(failure(run("apply", "-f", "x.yaml"))).splitlines() == [
        'x.yaml:5:3: service/bad: unknown field "spec.prots" (did you mean "ports"?)',
        "x.yaml:6:3: service/bad: spec.type: Unsupported value",
        "x.yaml:7:3: service/bad: spec.selector[app]: Required value",
    ]


def test_apply_goes_on_after_a_kind_that_is_unknown(run: Run, api: FakeApi, tmp_path: Path) -> None:
    path = "/api/v1/namespaces/default/services/a?fieldManager=devmesh-apply&force=true"
    api.add("PATCH", f"{path}&fieldValidation=Strict", {"metadata": {"resourceVersion": "5"}})
    unknown = "apiVersion: v1\nkind: Servce\nmetadata: {name: b}\n---\n"
    (tmp_path / "x.yaml").write_text(f"{unknown}{{apiVersion: v1, kind: Service, metadata: {{name: a}}}}\n")
    done = run("apply", "-f", "x.yaml")
    assert done.output == "service/a created\n"
    assert str(failure(done)).startswith('x.yaml:2:1: Servce b: no matches for kind "Servce" in version "v1"')
    assert 'did you mean "Service"?' in str(failure(done))


def test_what_the_api_warns_of_is_printed(run: Run, api: FakeApi, tmp_path: Path) -> None:
    path = "/api/v1/namespaces/default/services/a?fieldManager=devmesh-apply&force=true"
    api.add("PATCH", f"{path}&fieldValidation=Strict", {"metadata": {"resourceVersion": "5"}})
    api.warnings.append(r'299 - "spec.x: \"y\" has no effect in devmesh"')
    (tmp_path / "x.yaml").write_text("{apiVersion: v1, kind: Service, metadata: {name: a}}")
    done = run("apply", "-f", "x.yaml")
    assert 'Warning: spec.x: "y" has no effect in devmesh\n' in done.stderr
    assert done.stdout == "service/a created\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"a: [", "x.yaml:2:1: while parsing a flow node"),
        (b"a: 1", "x.yaml:1:1: a resource has apiVersion and kind"),
        (b"\xff", "x.yaml:1:1: not UTF-8"),
        (b"kind: A\nkind: B", "x.yaml:2:1: the key 'kind' is there twice"),
        (b"# nothing", "no resource in x.yaml"),
    ],
    ids=["yaml", "object", "bytes", "twice", "empty"],
)
def test_apply_names_the_file_that_is_wrong(
    run: Run, api: FakeApi, tmp_path: Path, text: bytes, message: str
) -> None:
    (tmp_path / "x.yaml").write_bytes(text)
    assert str(failure(run("apply", "-f", "x.yaml"))).startswith(message)


def test_delete_needs_to_know_which(run: Run, api: FakeApi) -> None:
    assert failure(run("delete", "pods")).status == 2
    assert failure(run("delete")).status == 2
    assert not [asked for asked in api.asked if asked[0] == "DELETE"]


def test_delete_goes_on_after_a_failure(run: Run, api: FakeApi) -> None:
    api.add("DELETE", "/api/v1/namespaces/default/pods/b", {})
    done = run("delete", "pod", "a", "b")
    assert 'pod "b" deleted' in done.output
    assert "not found" in str(failure(done))


def test_logs_of_a_deployment_are_its_oldest_pods(run: Run, api: FakeApi) -> None:
    api.add(
        "GET",
        "/apis/apps/v1/namespaces/default/deployments/cart",
        {"spec": {"selector": {"matchLabels": {"app": "cart"}}}},
    )
    api.add("GET", "/api/v1/namespaces/default/pods?labelSelector=app=cart", {"items": [POD]})
    log = "/api/v1/namespaces/default/pods/cart-1/log?container="
    api.add("GET", f"{log}cart&tailLines=2", "one\ntwo\n")
    api.add("GET", f"{log}istio-proxy", "access\n")
    assert run("logs", "deploy/cart", "--tail", "2").output == "one\ntwo\n"
    assert run("logs", "deploy/cart", "--access").output == "access\n"


def test_wait_ends_when_the_condition_is_met_and_says_what_was_not(run: Run, api: FakeApi) -> None:
    api.add("GET", "/api/v1/namespaces/default/pods/cart-1", POD)
    done = run("wait", "pod/cart-1", "--for", "condition=Ready=False")
    assert done.output == "pod/cart-1 condition met\n"
    late = run("wait", "pod/cart-1", "--for", "condition=Ready", "--timeout", "0s")
    assert "timed out waiting for condition=Ready" in str(failure(late))


def test_labels_that_are_there_need_overwrite(run: Run, api: FakeApi) -> None:
    path = "/api/v1/namespaces/default/pods/cart-1"
    api.add("GET", path, POD)
    api.add("PATCH", path, POD)
    assert "--overwrite" in str(failure(run("label", "pod", "cart-1", "app=basket")))
    assert (
        run("label", "pod", "cart-1", "app=basket", "tier-", "--overwrite").output == "pod/cart-1 labeled\n"
    )
    assert api.asked[-1][2] == {"metadata": {"labels": {"app": "basket", "tier": None}}}


def test_proxy_config_prints_istioctls_columns(run: Run, api: FakeApi) -> None:
    row = {
        "endpoint": "10.244.0.9:9080",
        "status": "HEALTHY",
        "outlier_check": "OK",
        "cluster": "outbound|9080||cart",
    }
    api.add("GET", "/devmesh/v1/proxy-config/endpoints/shop/cart", [row])
    lines = run("proxy-config", "ep", "cart.shop").output.splitlines()
    assert lines == [
        "ENDPOINT          STATUS    OUTLIER CHECK   CLUSTER",
        "10.244.0.9:9080   HEALTHY   OK              outbound|9080||cart",
    ]
    assert failure(run("proxy-config", "everything", "cart")).status == 2


def test_json_is_json(run: Run, api: FakeApi) -> None:
    api.add("GET", "/devmesh/v1/graph?window=60", {"nodes": []})
    assert json.loads(run("graph", "-o", "json").output) == {"nodes": []}
    assert "devmesh" in json.loads(run("version", "-o", "json").output)


def test_the_version_tells_what_its_core_is(run: Run) -> None:
    core = json.loads(run("version", "-o", "json").output)["core"]
    assert core == "pure Python"
    assert f"core {core}" in run("version").output
