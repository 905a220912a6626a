"""The mesh that a storm goes over, from outside: its API, its pods, their processes."""

from __future__ import annotations

import http.client
import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.storm.documents import Document

PLURALS = {
    "VirtualService": "virtualservices", "DestinationRule": "destinationrules", "Gateway": "gateways",
    "Sidecar": "sidecars", "ServiceEntry": "serviceentries", "HTTPRoute": "httproutes",
    "PeerAuthentication": "peerauthentications",
}  # fmt: skip


class Refused(Exception):
    """The API did not take it: a fault of the storm's, whose documents are to be valid, or of the API's."""


@dataclass(frozen=True, slots=True)
class Pod:
    """One that is there."""

    name: str
    deployment: str
    addresses: tuple[str, ...]
    ready: bool
    ending: bool
    restarts: int


class Cluster:
    """Speaks to the API as kubectl does, on one connection.

    Args:
        status: What ``devmesh status -o json`` printed.
    """

    def __init__(self, status: dict[str, Any]) -> None:
        self.status = status
        self._token = Path(status["api"]["token_file"]).read_text().strip()
        self._connection = http.client.HTTPConnection(urlsplit(status["api"]["url"]).netloc, timeout=30)

    def apply(self, document: Document) -> None:
        """Server-side apply."""
        group, meta = document["apiVersion"], document["metadata"]
        path = f"/apis/{group}/namespaces/{meta['namespace']}/{PLURALS[document['kind']]}/{meta['name']}"
        self._ask("PATCH", f"{path}?fieldManager=storm&force=true", document, "application/apply-patch+yaml")

    def scale(self, deployment: str, replicas: int) -> None:
        path = f"/apis/apps/v1/namespaces/default/deployments/{deployment}/scale"
        self._ask("PATCH", path, {"spec": {"replicas": replicas}}, "application/merge-patch+json")

    def delete_pod(self, name: str, grace: int) -> None:
        path = f"/api/v1/namespaces/default/pods/{name}"
        self._ask("DELETE", path, {"gracePeriodSeconds": grace}, "application/json")

    def pods(self) -> list[Pod]:
        found = self._ask("GET", "/api/v1/namespaces/default/pods")
        return [_pod(item) for item in found["items"]]

    def kill(self, pod: str) -> bool:
        """Kill the application's process in a pod; tell whether it was found."""
        marks = (f"POD={pod}".encode(), b"app.py")
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and _is_of(entry, *marks):
                    os.kill(int(entry.name), signal.SIGKILL)
                    return True
            except OSError:
                continue
        return False

    def _ask(self, method: str, path: str, body: object = None, kind: str = "") -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self._token}"} | ({"Content-Type": kind} if kind else {})
        self._connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status >= 300 and not (method == "DELETE" and answer.status == 404):
            raise Refused(f"{method} {path}: {answer.status} {text.decode()} for {json.dumps(body)}")
        found: dict[str, Any] = json.loads(text)
        return found

    def close(self) -> None:
        self._connection.close()


def _is_of(entry: Path, variable: bytes, program: bytes) -> bool:
    command = (entry / "cmdline").read_bytes().split(b"\0")
    if len(command) < 3 or not any(word.endswith(program) for word in command[:5]):
        return False
    return variable in (entry / "environ").read_bytes().split(b"\0")


def _pod(item: dict[str, Any]) -> Pod:
    meta, status = item["metadata"], item.get("status", {})
    conditions = {c["type"]: c["status"] for c in status.get("conditions", ())}
    states = status.get("containerStatuses") or [{}]
    labels = meta.get("labels", {})
    return Pod(
        meta["name"],
        f"{labels.get('app')}-{labels.get('version')}",
        tuple(entry["ip"] for entry in status.get("podIPs", ())),
        conditions.get("Ready") == "True",
        "deletionTimestamp" in meta,
        sum(state.get("restartCount", 0) for state in states),
    )
