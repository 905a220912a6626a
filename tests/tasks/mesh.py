"""A real mesh with the workloads of Istio's tasks in it, the real kubectl and the real curl."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.applications import OUTSIDE
from tests.e2e.bookinfo import KUBECTL, Bookinfo, eventually, running

APPS = Path(__file__).with_name("apps")
NETWORKING = (
    "virtualservices,destinationrules,serviceentries,sidecars,workloadentries,workloadgroups,envoyfilters,"
    "gateways.networking.istio.io,peerauthentications,telemetries,ingresses,"
    "httproutes,gateways.gateway.networking.k8s.io"
)


@dataclass(frozen=True, slots=True)
class Curled:
    """What one curl printed and how it ended; `text` has the heads and bodies, in order."""

    text: str
    errors: str
    code: int

    @property
    def first(self) -> str:
        return self.text.splitlines()[0].strip() if self.text else ""

    @property
    def status(self) -> int:
        """Of the last head; 0 without any."""
        lines = [line for line in self.text.splitlines() if line.startswith("HTTP/")]
        return int(lines[-1].split()[1]) if lines else 0

    def header(self, name: str) -> str:
        """Return the last value of a header, "" without any."""
        found = [line for line in self.text.splitlines() if line.lower().startswith(f"{name}:")]
        return found[-1].partition(":")[2].strip() if found else ""


@dataclass(frozen=True, slots=True, repr=False)
class Tasks:
    """The mesh of `apps/`."""

    mesh: Bookinfo
    folder: Path

    @property
    def runtime(self) -> str:
        return str(self.mesh.status["runtime"])

    @property
    def ingress(self) -> tuple[str, int]:
        host, _, port = self.mesh.ingress.partition(":")
        return host, int(port)

    @property
    def secure_ingress(self) -> tuple[str, int]:
        host, _, port = str(self.mesh.status["gateways"]["https"]).partition(":")
        return host, int(port)

    def kubectl(self, *args: str, stdin: str | None = None, check: bool = True) -> str:
        return self.mesh.kubectl(*args, stdin=stdin, check=check)

    def apply(self, text: str) -> str:
        return self.kubectl("apply", "-f", "-", stdin=text)

    def delete(self, *what: str) -> None:
        self.kubectl("delete", "--ignore-not-found", *what)

    def ready(self, *deployments: str, namespace: str = "default") -> None:
        """Wait until deployments are rolled out."""
        for name in deployments:
            self.kubectl("rollout", "status", f"deployment/{name}", "-n", namespace, "--timeout=60s")

    def curl(self, *args: str, source: str = "deploy/curl", namespace: str = "default") -> Curled:
        """Run curl in a pod: head and body are printed."""
        container = source.rpartition("/")[2].partition("-")[0]
        done = subprocess.run(
            [
                KUBECTL, "exec", "-n", namespace, source, "-c", container, "--",
                "curl", "-sSi", "--max-time", "20", *args,
            ],
            env=self.mesh.environment, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        return Curled(done.stdout, done.stderr, done.returncode)

    def run(self, source: str, *command: str, container: str = "") -> str:
        """Run a command in a pod's application and return what it printed, errors too."""
        name = container or source.rpartition("/")[2]
        return self.kubectl("exec", source, "-c", name, "--", *command, check=False)

    def fortio(self, *args: str) -> str:
        """Run the load client."""
        python = self.python
        return self.kubectl("exec", "deploy/fortio", "-c", "fortio", "--", python, "load.py", *args)

    @property
    def python(self) -> str:
        return sys.executable if self.runtime == "process" else "python3"

    def logs(self, deployment: str, container: str = "istio-proxy", tail: int = 20, **where: str) -> str:
        return self.kubectl(
            "logs", f"deploy/{deployment}", "-c", container, f"--tail={tail}",
            "-n", where.get("namespace", "default"),
        )  # fmt: skip

    def clean(self) -> None:
        """Take away every rule, and what a test added."""
        self.kubectl("delete", NETWORKING, "--all", "-A", "--ignore-not-found")
        self.kubectl("delete", "deployments,services,secrets,configmaps", "-l", "test=own", "-A")


def curl(*args: str) -> Curled:
    """Run the host's curl: head and body are printed."""
    done = subprocess.run(
        ["curl", "-sSi", "--max-time", "20", *args], capture_output=True, text=True, timeout=60, check=False
    )
    return Curled(done.stdout, done.stderr, done.returncode)


def certificate(folder: Path, name: str, *, issuer: tuple[str, str] | None = None) -> tuple[str, str]:
    """Make a key and a certificate for a host with openssl; without an `issuer` it is an authority.

    Returns:
        The paths of the certificate and the key.
    """
    slug = name.replace("*", "any").replace("/", "-")
    cert, key = str(folder / f"{slug}.crt"), str(folder / f"{slug}.key")
    base = ["openssl", "req", "-x509", "-nodes", "-newkey", "rsa:2048", "-days", "30", "-sha256"]
    if issuer is None:
        more = ["-subj", f"/O={name}/CN={name}", "-addext", "basicConstraints=critical,CA:TRUE"]
    else:
        more = [
            "-subj", f"/CN={name}/O=tasks", "-addext", f"subjectAltName=DNS:{name}",
            "-addext", "basicConstraints=CA:FALSE", "-CA", issuer[0], "-CAkey", issuer[1],
        ]  # fmt: skip
    subprocess.run([*base, *more, "-keyout", key, "-out", cert], check=True, capture_output=True)
    return cert, key


@contextmanager
def tasks(runtime: str, state: Path) -> Iterator[Tasks]:
    """Bring the mesh of `apps/` up."""
    source = state / "apps"
    shutil.copytree(APPS, source)
    file = source / "devmesh.yaml"
    file.write_text(file.read_text().replace("OUTSIDE", OUTSIDE))
    with running(f"tasks-{runtime}-{os.getpid()}", runtime, state, source=source) as mesh:
        yield Tasks(mesh, state)


__all__ = ["Curled", "Tasks", "certificate", "curl", "eventually", "tasks"]
