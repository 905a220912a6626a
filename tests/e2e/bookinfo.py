"""A real mesh with Bookinfo in it, and its real clients."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "samples" / "bookinfo"
NETWORKING = SAMPLE / "networking"
DEVMESH = Path(sys.executable).with_name("devmesh")
KUBECTL = shutil.which("kubectl", path=str(Path(sys.executable).parent)) or "kubectl"


@dataclass(frozen=True, slots=True)
class Page:
    """One answer of the product page, or of another URL."""

    status: int
    body: str
    headers: dict[str, str]

    @property
    def stars(self) -> str:
        """``red``, ``black``, or "" without stars."""
        if "glyphicon-star" not in self.body:
            return ""
        return "red" if 'color="red"' in self.body else "black"


@dataclass(frozen=True, slots=True)
class Bookinfo:
    """A running mesh.

    Attributes:
        environment: With its own state folder and KUBECONFIG.
        ingress: host:port of the ingress gateway.
    """

    name: str
    environment: dict[str, str]
    status: dict[str, Any]

    @property
    def ingress(self) -> str:
        return str(self.status["gateways"]["http"])

    def kubectl(self, *args: str, stdin: str | None = None, check: bool = True, timeout: float = 60) -> str:
        """Run the real kubectl and return what it printed; `check` False returns its errors too."""
        done = subprocess.run(
            [KUBECTL, *args], env=self.environment, input=stdin, capture_output=True, text=True,
            timeout=timeout, check=False,
        )  # fmt: skip
        if check and done.returncode:
            raise AssertionError(f"kubectl {' '.join(args)}: {done.stdout}{done.stderr}")
        return done.stdout if check else done.stdout + done.stderr

    def devmesh(self, *args: str, check: bool = True, timeout: float = 60) -> str:
        """Run the devmesh command on this mesh."""
        return devmesh(self.environment, *args, check=check, timeout=timeout)

    def apply(self, *files: str) -> None:
        """kubectl apply the sample's networking files of these names."""
        self.kubectl("apply", *(f"-f{NETWORKING / file}" for file in files))

    def get(
        self, path: str = "/productpage", user: str | None = None, timeout: float = 30, **headers: str
    ) -> Page:
        """GET from the ingress; `user` is logged in, as the page's cookie has it."""
        host, _, port = self.ingress.partition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=timeout)
        try:
            if user:
                connection.request("POST", "/login", f"username={user}&passwd=x", {
                    "Content-Type": "application/x-www-form-urlencoded"})  # fmt: skip
                login = connection.getresponse()
                login.read()
                headers["Cookie"] = str(login.getheader("set-cookie")).partition(";")[0]
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            body = answer.read().decode()
            return Page(answer.status, body, {k.lower(): v for k, v in answer.getheaders()})
        finally:
            connection.close()

    def python(self, deployment: str, program: str, *args: str, timeout: float = 120) -> str:
        """Run a Python program inside a pod of `deployment` and return what it printed."""
        python = sys.executable if self.status["runtime"] == "process" else "python3"
        return self.kubectl(
            "exec", "-i", f"deploy/{deployment}", "-c", deployment.rpartition("-")[0],
            "--", python, "-", *args,
            stdin=program, timeout=timeout,
        )  # fmt: skip

    def clean(self) -> None:
        """Take away every rule that a test may have applied."""
        self.kubectl(
            "delete", "peerauthentications,serviceentries,sidecars", "--all", "-A", "--ignore-not-found"
        )
        kept = {"bookinfo"}
        found = self.kubectl("get", "virtualservices", "-o", "name").split()
        gone = [name for name in found if name.rpartition("/")[2] not in kept]
        if gone:
            self.kubectl("delete", *gone)


def eventually(check: Callable[[], object], timeout: float = 15, every: float = 0.1) -> object:
    """Return `check()` once it is true; an AssertionError or a false value is tried again."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            if found := check():
                return found
            failure: AssertionError | None = None
        except AssertionError as error:
            failure = error
        if time.monotonic() > deadline:
            raise failure or AssertionError(f"not within {timeout} s")
        time.sleep(every)


def devmesh(environment: dict[str, str], *args: str, check: bool = True, timeout: float = 60) -> str:
    done = subprocess.run(
        [str(DEVMESH), *args], env=environment, capture_output=True, text=True, timeout=timeout, check=False
    )
    if check and done.returncode:
        raise AssertionError(f"devmesh {' '.join(args)} ({done.returncode}): {done.stdout}{done.stderr}")
    return done.stdout if check else done.stdout + done.stderr


@contextmanager
def running(name: str, runtime: str, state: Path, *args: str, source: Path = SAMPLE) -> Iterator[Bookinfo]:
    """Bring a mesh of `source` (the sample) up, and down at the end."""
    environment = dict(os.environ) | {"XDG_STATE_HOME": str(state), "DEVMESH_MESH": name, "HOME": str(state)}
    environment.pop("KUBECONFIG", None)
    ports = [f"--{port}=0" for port in ("port", "tls-port", "http-port", "https-port")]
    up = ["up", "-d", "-f", str(source), "--runtime", runtime, "--wait-timeout", "180s", *ports, *args]
    try:
        devmesh(environment, *up, timeout=240)
        environment["KUBECONFIG"] = devmesh(environment, "kubeconfig", "--path").strip()
        yield Bookinfo(name, environment, json.loads(devmesh(environment, "status", "-o", "json")))
    finally:
        devmesh(environment, "down", check=False, timeout=120)
