"""What the console's API reads from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from devmesh.api.streams import Streams
from devmesh.config.finding import Finding
from devmesh.proxy.admin.ports import Admin
from devmesh.security.contexts import Certificates
from devmesh.snapshot.feed import SnapshotFeed
from devmesh.telemetry.recorder import Recorder


@dataclass(frozen=True, slots=True)
class ConsoleDeps:
    """The parts, handed over once.

    Attributes:
        mesh: Its name.
        status: Returns the fields of `answers.Status`, now.
        findings: Returns what there is to say of the resources, now.
        streams: Ends the long answers when the server ends.
        admin: Answers for the proxies.
    """

    mesh: str
    feed: SnapshotFeed
    recorder: Recorder
    certificates: Certificates
    status: Callable[[], Mapping[str, Any]]
    findings: Callable[[], Sequence[Finding]]
    streams: Streams = field(default_factory=Streams)
    admin: Admin | None = None
