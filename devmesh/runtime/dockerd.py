"""What a Docker engine says of itself, asked without loading a client (which takes 0.2 s and 20 MB)."""

from __future__ import annotations

import http.client
import json
import os
import socket
from collections import Counter
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

_TIMEOUT = 2.0  # seconds
_LABEL = "devmesh.mesh"


class NoDaemon(RuntimeError):
    """No engine answers; the message says where it was looked for."""


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("docker", timeout=_TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_TIMEOUT)
        self.sock.connect(self._path)


@dataclass(frozen=True, slots=True)
class Daemon:
    """A Docker engine (`GET /info` of its API)."""

    path: str
    version: str
    system: str
    is_rootless: bool

    @classmethod
    def ask(cls) -> Daemon:
        """Ask the engine that DOCKER_HOST names, else the default one.

        Raises:
            NoDaemon: None answers, or it isn't reached by a Unix socket.
        """
        host = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
        if not host.startswith("unix://"):
            raise NoDaemon(f"DOCKER_HOST is {host}: only an engine on this machine's Unix socket will do")
        path = host.removeprefix("unix://")
        info = _get(path, "/info")
        rootless = any("rootless" in str(option) for option in info.get("SecurityOptions") or ())
        version, system = str(info.get("ServerVersion", "?")), str(info.get("OperatingSystem", "?"))
        return cls(path, version, system, rootless)

    @property
    def obstacle(self) -> str:
        """Why the containers' namespaces can't be entered from here; empty where they can, by root."""
        if "Docker Desktop" in self.system:
            return "its containers run in a virtual machine, where devmesh can't enter them"
        return "it is rootless: its containers can't be entered from here" if self.is_rootless else ""

    def meshes(self) -> dict[str, int]:
        """Return how many containers each mesh has here, running or not."""
        filters = quote(json.dumps({"label": [_LABEL]}))
        containers = _get(self.path, f"/containers/json?all=1&filters={filters}")
        return dict(Counter(container["Labels"][_LABEL] for container in containers))

    def networks(self) -> set[str]:
        """Return the meshes that have a network here."""
        filters = quote(json.dumps({"label": [_LABEL]}))
        return {network["Labels"][_LABEL] for network in _get(self.path, f"/networks?filters={filters}")}


def _get(path: str, target: str) -> Any:
    connection = _Connection(path)
    try:
        connection.request("GET", target)
        response = connection.getresponse()
        body = response.read()
        if response.status != 200:
            raise NoDaemon(
                f"the Docker engine at {path} answered {target.partition('?')[0]} with {response.status}"
            )
        return json.loads(body)
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise NoDaemon(f"no Docker engine answers at {path}: {reason}") from error
    finally:
        connection.close()
