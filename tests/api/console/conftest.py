"""The console's API with its parts at hand."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from quart_trio import QuartTrio

from devmesh.api.console.blueprint import build_console
from devmesh.api.console.deps import ConsoleDeps
from devmesh.api.streams import Streams
from devmesh.config.finding import Finding
from devmesh.security.ca import CertificateAuthority
from devmesh.security.contexts import Certificates
from devmesh.snapshot.feed import SnapshotFeed
from devmesh.telemetry.recorder import Recorder
from tests.telemetry.bookinfo import NOON, snapshot

STATUS = {
    "mesh": "bookinfo",
    "pid": 4711,
    "runtime": "process",
    "version": "0.1.0",
    "api": {"url": "http://127.0.0.1:20001"},
    "gateways": {"http": "127.0.0.1:8080"},
    "workloads": [
        {
            "name": "details-v1",
            "namespace": "default",
            "kind": "Deployment",
            "ready": 1,
            "replicas": 1,
            "meshed": True,
            "problem": "",
        }
    ],
}
FINDING = Finding(
    "IST0101", "error", "host not found", "VirtualService", "default", "reviews", "spec.hosts[0]"
)


class Console:
    """Its clock stands at noon until moved."""

    def __init__(self) -> None:
        self.now = NOON
        self.feed = SnapshotFeed(snapshot())
        self.recorder = Recorder(self.feed, lambda: self.now)
        self.streams = Streams()
        authority = CertificateAuthority("cluster.local", NOON)
        self.app = QuartTrio(__name__)
        self.app.register_blueprint(
            build_console(
                ConsoleDeps(
                    "bookinfo",
                    self.feed,
                    self.recorder,
                    Certificates(authority, lambda: self.now),
                    lambda: STATUS,
                    lambda: [FINDING],
                    self.streams,
                )
            )
        )
        self.client = self.app.test_client()

    def record(self, *records: Any) -> None:
        for record in records:
            self.recorder.request(record)

    async def text(self, path: str, status: int = 200) -> str:
        response = await self.client.get(path)
        body = await response.get_data(as_text=True)
        assert response.status_code == status, body
        return body

    async def json(self, path: str, status: int = 200) -> Any:
        return msgspec.json.decode(await self.text(path, status))


@pytest.fixture
def console() -> Console:
    return Console()
