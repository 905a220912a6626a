"""A real mesh with `apps/` in it: servers that tell what reached them, clients inside the pods."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.bookinfo import Bookinfo, eventually, running

APPS = Path(__file__).with_name("apps")
OUTSIDE = f"198.51.100.{os.getpid() % 200 + 20}"  # TEST-NET-2; one for each run


class Agent:
    """Calls functions of apps/server.py inside a pod."""

    def __init__(self, path: Path) -> None:
        self.pod = path.name
        self._sock = socket.socket(socket.AF_UNIX)
        self._sock.settimeout(60)
        try:
            self._sock.connect(str(path))
        except OSError:
            self._sock.close()
            raise
        self._lines = self._sock.makefile("rwb")

    def __call__(self, function: str, **args: object) -> Any:
        """Call, wait, and return what it returned."""
        self.begin(function, **args)
        return self.end()

    def begin(self, function: str, **args: object) -> None:
        """Call; `end` waits for it."""
        self._lines.write(json.dumps({"call": function, "args": args}).encode() + b"\n")
        self._lines.flush()

    def end(self) -> Any:
        answer = json.loads(self._lines.readline())
        assert "returned" in answer, answer["raised"]
        return answer["returned"]

    def ready(self, seconds: float) -> bool:
        """Wait for at most `seconds`; tell whether `end` would not wait."""
        return bool(select.select([self._sock], [], [], seconds)[0])

    @property
    def ended(self) -> bool:
        """The pod is gone."""
        return self.ready(0)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._lines.close()
        self._sock.close()


@dataclass(frozen=True, slots=True, repr=False)
class Applications:
    """The mesh, and where the agents are."""

    mesh: Bookinfo
    agents: Path
    opened: dict[str, Agent]

    @property
    def runtime(self) -> str:
        return str(self.mesh.status["runtime"])

    def agent(self, name: str, index: int = 0) -> Agent:
        """Return the agent of a pod: of those whose name begins with `name`, in order."""
        return self._open(name)[index]

    def _open(self, name: str) -> list[Agent]:
        for path in self.agents.glob(f"{name}-*"):
            if path.name not in self.opened:
                try:
                    self.opened[path.name] = Agent(path)
                except OSError:  # of a pod that is gone
                    path.unlink()
        found = [agent for pod, agent in sorted(self.opened.items()) if pod.startswith(f"{name}-")]
        for agent in [agent for agent in found if agent.ended]:
            found.remove(agent)
            self.opened.pop(agent.pod).close()
        return found

    def get(self, url: str, source: str = "client", **args: object) -> dict[str, Any]:
        """Ask from inside a pod; with `seen`: what the server saw, where it told that."""
        answer: dict[str, Any] = self.agent(source)("http", url=url, **args)
        if answer["status"] and answer["body"][:1] == "{":
            answer["seen"] = json.loads(answer["body"])
            answer["got"] = dict(answer["seen"]["headers"])
        return answer

    def seen(self, name: str = "echo") -> list[dict[str, Any]]:
        """What reached the pods of a name since the last time, in order."""
        found = [seen for agent in self._open(name) for seen in agent("seen")]
        return sorted(found, key=lambda s: float(s.get("at", 0)))

    def apply(self, text: str) -> None:
        self.mesh.kubectl("apply", "-f", "-", stdin=text)

    def access_log(self, deployment: str = "client", namespace: str = "default", tail: int = 10) -> str:
        return self.mesh.kubectl(
            "logs", f"deploy/{deployment}", "-n", namespace, "-c", "istio-proxy", f"--tail={tail}"
        )

    def logged(self, *words: str, deployment: str = "client", namespace: str = "default") -> str:
        """Wait for a line of the access log that has all `words`; return it."""

        def look() -> str:
            lines = self.access_log(deployment, namespace, 20).splitlines()
            return next((line for line in reversed(lines) if all(word in line for word in words)), "")

        return str(eventually(look, 5))

    def addresses(self, selector: str, namespace: str = "default", index: int = 0) -> list[str]:
        """Return the addresses of a pod, the IPv4 one first."""
        path = f"jsonpath={{.items[{index}].status.podIPs[*].ip}}"
        return self.mesh.kubectl("get", "pod", "-n", namespace, "-l", selector, "-o", path).split()

    def address(self, selector: str, namespace: str = "default", index: int = 0) -> str:
        return self.addresses(selector, namespace, index)[0]

    def has_ipv6(self, source: str) -> bool:
        return bool(self.agent(source)("has_ipv6"))

    def clean(self) -> None:
        kinds = (
            "virtualservices,destinationrules,peerauthentications,serviceentries,sidecars,workloadentries,"
            "gateways.networking.istio.io,gateways.gateway.networking.k8s.io,httproutes,tcproutes,tlsroutes"
        )
        self.mesh.kubectl("delete", kinds, "--all", "-A", "--ignore-not-found")


@contextmanager
def applications(
    runtime: str, state: Path, files: Path = APPS, manifest_name: str = "apps.yaml"
) -> Iterator[Applications]:
    """Bring the mesh of `apps/`, or of another folder, up."""
    source = state / "apps"
    agents = Path(tempfile.mkdtemp(prefix="dm-agents-"))  # short: names of sockets may have 107 characters
    agents.chmod(0o777)
    shutil.copytree(files, source)
    manifest = source / manifest_name
    manifest.write_text(manifest.read_text().replace("AGENTS", str(agents)))
    opened: dict[str, Agent] = {}
    try:
        with running(f"{files.name}-{runtime}-{os.getpid()}", runtime, state, source=source) as mesh:
            yield Applications(mesh, agents, opened)
    finally:
        for agent in opened.values():
            agent.close()
        shutil.rmtree(agents)


@contextmanager
def outside(address: str, *servers: str, **variables: str) -> Iterator[None]:
    """Run apps/server.py outside the mesh, on an address that this machine has meanwhile.

    Args:
        variables: Of its environment: TLS (a certificate with its key), TLS_CLIENTS (who may sign clients').
    """
    prefix = "128" if ":" in address else "32"
    subprocess.run(["ip", "address", "replace", f"{address}/{prefix}", "dev", "lo", "nodad"]
                   if ":" in address else ["ip", "address", "replace", f"{address}/{prefix}", "dev", "lo"],
                   check=True)  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, str(APPS / "server.py"), *servers],
        env={"HOST": address, "POD": "outside", **variables},
    )
    try:
        ports = [int(server.partition("=")[2]) for server in servers]
        eventually(lambda: all(_listens(address, port) for port in ports), 5, 0.02)
        yield
    finally:
        process.kill()
        process.wait()
        subprocess.run(["ip", "address", "del", f"{address}/{prefix}", "dev", "lo"], check=True)


def _listens(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=1).close()
    except OSError:
        return False
    return True
