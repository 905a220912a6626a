"""PyPI's kubernetes, the second real client."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from devmesh.config.kinds import POD
from devmesh.config.store import Key
from tests.api.serving import Served
from tests.api.test_kubectl import make_pod

kubernetes = pytest.importorskip("kubernetes")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[Any]:
    from kubernetes import config

    client = config.new_client_from_config(served.environment["KUBECONFIG"])
    yield client
    client.close()


@pytest.fixture
def core(client: Any) -> Any:
    return kubernetes.client.CoreV1Api(client)


def test_objects_come_and_go(core: Any) -> None:
    body = kubernetes.client.V1ConfigMap(
        metadata=kubernetes.client.V1ObjectMeta(name="made"), data={"a": "1"}
    )
    made = core.create_namespaced_config_map("default", body)
    assert made.metadata.uid
    patched = core.patch_namespaced_config_map("made", "default", {"data": {"b": "2"}})
    assert patched.data == {"a": "1", "b": "2"}
    core.delete_namespaced_config_map("made", "default")
    with pytest.raises(kubernetes.client.ApiException) as refused:
        core.read_namespaced_config_map("made", "default")
    assert refused.value.status == 404


def test_an_old_version_conflicts(core: Any) -> None:
    made = core.create_namespaced_config_map(
        "default", kubernetes.client.V1ConfigMap(metadata={"name": "contended"}, data={"a": "1"})
    )
    core.patch_namespaced_config_map("contended", "default", {"data": {"a": "2"}})
    made.data = {"a": "3"}
    with pytest.raises(kubernetes.client.ApiException) as refused:
        core.replace_namespaced_config_map("contended", "default", made)
    assert refused.value.status == 409
    assert "the object has been modified" in refused.value.body


def test_custom_objects_are_plain_json(client: Any) -> None:
    custom = kubernetes.client.CustomObjectsApi(client)
    body = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "plain"},
        "spec": {"hosts": ["reviews"], "http": [{"route": [{"destination": {"host": "reviews"}}]}]},
    }
    custom.create_namespaced_custom_object("networking.istio.io", "v1", "default", "virtualservices", body)
    found = custom.list_cluster_custom_object("networking.istio.io", "v1", "virtualservices")
    assert "plain" in [item["metadata"]["name"] for item in found["items"]]


def test_a_watch_tells_what_is_there_and_what_comes(core: Any, served: Served) -> None:
    make_pod(served, "seen", "app", app="seen")
    watch, told, first = kubernetes.watch.Watch(), [], threading.Event()

    def follow() -> None:
        for event in watch.stream(
            core.list_namespaced_pod, "default", label_selector="app=seen", timeout_seconds=10
        ):
            told.append((event["type"], event["object"].status.phase))
            first.set()
            if event["type"] == "DELETED":
                watch.stop()

    thread = threading.Thread(target=follow)
    thread.start()
    assert first.wait(5)
    key = Key(POD, "default", "seen")
    served.run(served.store.patch_status, key, {"phase": "Failed"})
    served.run(served.store.remove, key)
    thread.join(10)
    assert told == [("ADDED", "Running"), ("MODIFIED", "Failed"), ("DELETED", "Failed")]


def test_exec_and_port_forward_over_the_older_channels(core: Any, served: Served) -> None:
    from kubernetes.stream import portforward, stream

    from tests.api.serving import upper

    make_pod(served, "older", "app")
    session = stream(
        core.connect_get_namespaced_pod_exec,
        "older",
        "default",
        command=["sh", "-c", "echo hi"],
        stdout=True,
        stderr=True,
        stdin=False,
        tty=False,
        _preload_content=False,
    )
    raw = session.sock.sock  # the library leaves both open at times
    session.run_forever(timeout=5)
    assert session.read_stdout() == "hi\n"
    assert session.returncode == 0
    session.close()
    raw.close()
    served.containers.ports["default", "older", 80] = upper
    forwarded = portforward(core.connect_get_namespaced_pod_portforward, "older", "default", ports="80")
    connection = forwarded.socket(80)
    connection.settimeout(5)
    connection.sendall(b"hello")
    assert connection.recv(100) == b"HELLO"
    raw = forwarded.websocket.sock
    connection.close()
    for thread in threading.enumerate():  # the library's own, which reads from `raw` until it notices
        if thread.name.startswith("Kubernetes port forward"):
            thread.join(5)
    raw.close()


def test_logs_are_text(core: Any, served: Served) -> None:
    make_pod(served, "log", "app")
    assert core.read_namespaced_pod_log("log", "default", tail_lines=1) == "second line of app\n"


def test_the_version_is_told(client: Any) -> None:
    assert kubernetes.client.VersionApi(client).get_code().major == "1"
