"""Bookinfo without root and without Docker: user namespaces, as a user who may do nothing."""

from __future__ import annotations

import json
import os
import shutil
import site
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.bookinfo import ROOT, SAMPLE, Bookinfo
from tests.e2e.test_security import STRICT

NOBODY = 65534
AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")


def interpreter() -> str:
    """Return a Python that nobody may run and that takes this one's packages."""
    version = "import sys; print(sys.version_info[:2])"
    for path in dict.fromkeys((sys.executable, "/usr/bin/python3")):
        # By a shell, since setpriv's own exec still has root's way with folders.
        done = subprocess.run([*AS_NOBODY, "sh", "-c", '"$0" -c "$1"', path, version], capture_output=True,
                              text=True, check=False)  # fmt: skip
        if done.returncode == 0 and done.stdout.strip() == str(tuple(sys.version_info[:2])):
            return path
    pytest.skip(f"no Python {sys.version_info[0]}.{sys.version_info[1]} that an unprivileged user may run")


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder of nobody's, with what it needs of this checkout (which it may not be allowed to read)."""
    folder = Path("/tmp") / f"devmesh-nobody-{os.getpid()}"
    folder.mkdir(mode=0o755)
    skipped = shutil.ignore_patterns(
        "__pycache__", "kubernetes", "kubectl*", "playwright*", "envoy*", "mypy", "mypyc"
    )
    own = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "devmesh", folder / "code" / "devmesh", ignore=own)
    shutil.copytree(site.getsitepackages()[0], folder / "code", ignore=skipped, dirs_exist_ok=True)
    shutil.copytree(SAMPLE, folder / "bookinfo", ignore=skipped)
    for path in (folder, *folder.iterdir()):
        os.chown(path, NOBODY, NOBODY)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.netns
@pytest.mark.slow
def test_bookinfo_runs_for_a_user_without_any_privilege(home: Path) -> None:
    environment = {
        "HOME": str(home), "XDG_STATE_HOME": str(home / "state"), "PYTHONPATH": str(home / "code"),
        "PATH": os.environ["PATH"], "DEVMESH_MESH": "rootless", "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    command = [*AS_NOBODY, interpreter(), "-m", "devmesh"]

    def devmesh(*words: str) -> str:
        done = subprocess.run(
            [*command, *words],
            env=environment,
            cwd=home,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    ports = [f"--{port}=0" for port in ("port", "tls-port", "http-port", "https-port")]
    devmesh("up", "-d", "-f", str(home / "bookinfo"), *ports)
    try:
        status = json.loads(devmesh("status", "-o", "json"))
        config = devmesh("kubeconfig", "--path").strip()
        mesh = Bookinfo("rootless", {**environment, "KUBECONFIG": config}, status)
        assert mesh.get().status == 200
        mesh.kubectl("apply", "-f", "-", stdin=STRICT)
        inside = ("exec", "deploy/productpage-v1", "-c", "productpage", "--")
        assert '"reviews"' in mesh.kubectl(*inside, "curl", "-s", "http://reviews:9080/reviews/0")
        assert str(NOBODY) in mesh.kubectl(*inside, "id", "-u")
        mesh.kubectl("scale", "deploy/details-v1", "--replicas=2")
        mesh.kubectl("rollout", "status", "deploy/details-v1", "--timeout=30s")
        _gateway_of_its_own(mesh)
        assert "GET /reviews/0" in mesh.kubectl("logs", "-l", "app=reviews", "-c", "reviews")
    finally:
        devmesh("down")
    left = subprocess.run(
        ["pgrep", "-u", str(NOBODY), "-f", str(home)], capture_output=True, text=True, check=False
    )
    assert not left.stdout


def _gateway_of_its_own(mesh: Bookinfo) -> None:
    """A Gateway API gateway is reached by its node port, as low ports may not be listened on."""
    mesh.kubectl("apply", f"-f{SAMPLE / 'gateway-api' / 'bookinfo-gateway.yaml'}")
    mesh.kubectl("wait", "--for=condition=programmed", "gtw", "bookinfo-gateway", "--timeout=30s")
    path = "jsonpath={.spec.ports[?(@.port==80)].nodePort}"
    port = mesh.kubectl("get", "svc", "bookinfo-gateway-istio", "-o", path)
    done = subprocess.run(
        ["curl", "-sS", "--noproxy", "*", "--max-time", "20", f"http://127.0.0.1:{port}/productpage"],
        capture_output=True, text=True, check=True, timeout=30,
    )  # fmt: skip
    assert "<title>Simple Bookstore App</title>" in done.stdout
