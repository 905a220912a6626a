"""Up, a crash, up again, down: nothing is lost, nothing is left."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from devmesh.config.statedir import StateDir
from tests.e2e.bookinfo import DEVMESH, SAMPLE, Bookinfo, devmesh, eventually, running


def processes_in(state: Path) -> list[str]:
    """Return the command lines of all processes that carry the state folder's name."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                environment = (entry / "environ").read_bytes()
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if f"XDG_STATE_HOME={state}".encode() in environment and "kubectl" not in command:
                found.append(command)
    return found


def containers_of(mesh: str) -> list[str]:
    done = subprocess.run(
        ["docker", "ps", "-aq", "--filter", f"label=devmesh.mesh={mesh}"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.split()


@pytest.mark.parametrize(
    "runtime",
    [
        pytest.param("process", marks=[pytest.mark.netns, pytest.mark.slow]),
        pytest.param("docker", marks=[pytest.mark.docker, pytest.mark.slow]),
    ],
)
def test_a_killed_mesh_comes_back_whole(runtime: str, tmp_path: Path) -> None:
    name = f"crash-{runtime}-{os.getpid()}"
    with running(name, runtime, tmp_path) as mesh:
        mesh.apply("virtual-service-all-v1.yaml", "virtual-service-reviews-v3.yaml")
        before = mesh.kubectl("get", "virtualservices", "-o", "name")
        assert mesh.get().stars == "red"
        _kill(mesh)

        ports = [f"--{port}=0" for port in ("port", "tls-port", "http-port", "https-port")]
        devmesh(mesh.environment, "up", "-d", "-f", str(SAMPLE), "--runtime", runtime, *ports, timeout=180)
        again = Bookinfo(name, mesh.environment, json.loads(mesh.devmesh("status", "-o", "json")))
        assert again.kubectl("get", "virtualservices", "-o", "name") == before
        assert again.get().stars == "red"
        assert len(again.kubectl("get", "pods", "-o", "name").split()) == 6
    eventually(lambda: not processes_in(tmp_path))
    assert not containers_of(name) or runtime == "process"


def _kill(mesh: Bookinfo) -> None:
    load = subprocess.Popen(
        [str(Path(sys.executable).with_name("devmesh")), "traffic", f"http://{mesh.ingress}/productpage",
         "--rate", "20", "--duration", "3s", "-q"],
        env=mesh.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.kill(mesh.status["pid"], signal.SIGKILL)
    load.wait(60)


@pytest.mark.netns
@pytest.mark.slow
def test_down_leaves_nothing_and_purge_forgets(tmp_path: Path) -> None:
    with running("gone", "process", tmp_path) as mesh:
        environment = mesh.environment
        said = devmesh(environment, "down", "--purge")
        assert not processes_in(tmp_path)
        assert not (tmp_path / "devmesh" / "gone").exists()
        del said
    assert "is not running" in devmesh(environment, "status", check=False)


@pytest.mark.netns
@pytest.mark.slow
def test_ctrl_c_ends_a_mesh_in_the_foreground(tmp_path: Path) -> None:
    environment = dict(os.environ) | {"XDG_STATE_HOME": str(tmp_path), "DEVMESH_MESH": "front"}
    command = [
        str(Path(sys.executable).with_name("devmesh")),
        "up",
        "-f",
        str(SAMPLE),
        "--runtime",
        "process",
    ]
    ports = [f"--{port}=0" for port in ("port", "tls-port", "http-port", "https-port")]
    process = subprocess.Popen(
        [*command, *ports], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout
    said = ""
    for line in process.stdout:
        said += line
        if "#token=" in line:
            break
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=60)
    assert process.returncode in (0, 130), said + rest
    assert not processes_in(tmp_path)


@pytest.mark.netns
@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.2, 0.5, 0.8])
def test_down_ends_a_mesh_that_is_only_starting(tmp_path: Path, seconds: float) -> None:
    environment = os.environ | {"XDG_STATE_HOME": str(tmp_path), "DEVMESH_MESH": "early"}
    ports = [f"--{port}=0" for port in ("port", "tls-port", "http-port", "https-port")]
    up = subprocess.Popen(
        [str(DEVMESH), "up", "-d", "-f", str(SAMPLE), "--runtime", "process", *ports],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    state = StateDir("early", tmp_path / "devmesh" / "early")
    eventually(state.is_held, every=0.01)
    time.sleep(seconds)
    assert "stopped" in devmesh(environment, "down", check=False)
    said, _ = up.communicate(timeout=60)
    assert "Traceback" not in said
    assert up.returncode == 0 or "the mesh was stopped while it started" in said
    assert not processes_in(tmp_path)
    assert not (state.path / "run.json").exists()


@pytest.mark.netns
@pytest.mark.slow
def test_a_port_of_the_gateway_that_is_taken_ends_up(tmp_path: Path) -> None:
    environment = os.environ | {"XDG_STATE_HOME": str(tmp_path), "DEVMESH_MESH": "taken"}
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        others = [f"--{port}=0" for port in ("port", "tls-port", "https-port")]
        up = ("up", "-d", "-f", str(SAMPLE), "--runtime", "process", *others, f"--http-port={port}")
        said = devmesh(environment, *up, check=False)
    assert (
        f"cannot listen on 127.0.0.1:{port}: Address already in use; choose another with --http-port" in said
    )
    assert not processes_in(tmp_path)


@pytest.mark.docker
@pytest.mark.slow
def test_containers_of_a_killed_mesh_go_when_it_comes_back_without_docker(tmp_path: Path) -> None:
    name = f"swap-{os.getpid()}"
    with running(name, "docker", tmp_path) as mesh:
        os.kill(mesh.status["pid"], signal.SIGKILL)
        assert containers_of(name)
        ports = [f"--{port}=0" for port in ("port", "tls-port", "http-port", "https-port")]
        mesh.devmesh("up", "-d", "-f", str(SAMPLE), "--runtime", "process", *ports, timeout=120)
        eventually(lambda: not containers_of(name), timeout=30)


MESH = """
apiVersion: devmesh.dev/v1alpha1
kind: Mesh
metadata: {{name: small}}
spec:
  resources: [{resources}]
  images: [{{match: app, process: {{command: ["{{python}}", -c, "{program}"]}}}}]
  dns: {{hosts: {{payments.example.com: [{address}]}}}}
  meshConfig: {{outboundTrafficPolicy: {{mode: {mode}}}}}
"""
PAUSE = "import time; time.sleep(600)"
POD = """
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{{name: main, image: app}}]
"""


@pytest.mark.netns
@pytest.mark.slow
def test_changes_of_the_mesh_file_are_followed(tmp_path: Path) -> None:
    source = tmp_path / "mesh"
    source.mkdir()
    file = source / "devmesh.yaml"
    for name in ("one", "two"):
        (source / f"{name}.yaml").write_text(POD.format(name=name))

    def write(resources: str, program: str, address: str, mode: str) -> None:
        text = MESH.format(resources=resources, program=program, address=address, mode=mode)
        file.write_text(text)

    write("one.yaml", PAUSE, "192.0.2.1", "ALLOW_ANY")
    with running(f"follow-{os.getpid()}", "process", tmp_path, source=source) as mesh:
        lookup = ("exec", "one", "--", "getent", "ahostsv4", "payments.example.com")
        assert "192.0.2.1 " in mesh.kubectl(*lookup)
        write("one.yaml, two.yaml", f"print('anew', flush=True); {PAUSE}", "192.0.2.2", "REGISTRY_ONLY")
        eventually(lambda: "Running" in mesh.kubectl("get", "pod", "two", check=False), 10)
        assert "192.0.2.2 " in mesh.kubectl(*lookup)
        eventually(lambda: "anew" in mesh.kubectl("logs", "two", "-c", "main"), 5)
        config = mesh.kubectl("get", "cm", "istio", "-n", "istio-system", "-o", "jsonpath={.data.mesh}")
        assert "REGISTRY_ONLY" in config
        write("two.yaml", PAUSE, "192.0.2.2", "REGISTRY_ONLY")
        eventually(lambda: "NotFound" in mesh.kubectl("get", "pod", "one", check=False), 10)
