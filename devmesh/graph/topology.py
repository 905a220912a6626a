"""The graph's words: nodes, edges, health. These are also what the console's API answers with."""

from __future__ import annotations

from typing import Literal

import msgspec

Health = Literal["ok", "degraded", "failing", "idle"]
NodeKind = Literal["workload", "service", "gateway", "external", "unknown"]
EdgeProtocol = Literal["http", "grpc", "tcp"]

SPARKS = 30  # slots of a sparkline


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """A workload, or what stands for a destination that no workload answered for.

    Attributes:
        service: The Service in front of it, where there is one.
        reason: Why the health is what it is, in words; "" where it is fine.
        rate: Requests a second that come in (of a gateway: that it sends on).
        error_rate: The share of those that failed, 0 to 1 (HTTP 4xx, 5xx, no answer; gRPC not 0).
        sparkline: Requests a second over the window, oldest first.
        ready, replicas: Instances there are now.
        meshed: Whether its traffic passes a proxy of its own.
    """

    id: str
    kind: NodeKind
    name: str
    namespace: str = ""
    app: str = ""
    version: str = ""
    workload: str = ""
    service: str | None = None
    health: Health = "idle"
    reason: str = ""
    rate: float = 0.0
    error_rate: float = 0.0
    sparkline: tuple[float, ...] = ()
    ready: int = 0
    replicas: int = 0
    meshed: bool = False


class Edge(msgspec.Struct, frozen=True, kw_only=True):
    """The traffic of one protocol from one node to another.

    Attributes:
        rate: Requests a second; for TCP connections a second.
        p50, p95, p99: Durations in milliseconds; null for TCP.
        codes: Requests a second by HTTP status (or gRPC's).
        flags: Requests a second by response flags; those without any are not listed.
        mtls: The share that came by mutual TLS, 0 to 1.
        received, sent: Bytes a second towards the target, and back.
        route: The route that the latest request took.
    """

    id: str
    source: str
    target: str
    protocol: EdgeProtocol
    rate: float
    error_rate: float
    p50: float | None
    p95: float | None
    p99: float | None
    codes: dict[str, float]
    flags: dict[str, float]
    mtls: float
    received: float
    sent: float
    health: Health
    reason: str
    source_principal: str
    destination_principal: str
    route: str


class Graph(msgspec.Struct, frozen=True, kw_only=True):
    """The mesh over the last `window` seconds; `version` is the snapshot's, `time` the epoch's seconds."""

    time: float
    window: int
    version: int
    mesh: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
