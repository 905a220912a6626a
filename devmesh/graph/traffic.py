"""Builds the graph: tallies of traffic and the snapshot's inventory become nodes and edges."""

from __future__ import annotations

from typing import cast

from msgspec import structs

from devmesh.graph.health import IDLE, Verdict, judge, judge_replicas, worst
from devmesh.graph.inventory import Inventory, known
from devmesh.graph.tally import Answers, Fold, SparkScale, Tallied, Tally
from devmesh.graph.topology import SPARKS, Edge, EdgeProtocol, Graph, Node, NodeKind
from devmesh.model.workload import Workload
from devmesh.telemetry.edges import Flow, Window
from devmesh.telemetry.histogram import quantiles

UNKNOWN_ID = "unknown"
_OUTSIDE = ("PassthroughCluster", "BlackHoleCluster", "InboundPassthroughCluster")


class _Draft:
    """A node while its edges are being added."""

    __slots__ = (
        "count",
        "errors",
        "inbound",
        "node",
        "out_count",
        "out_errors",
        "out_sparks",
        "outbound",
        "sparks",
    )

    def __init__(self, node: Node) -> None:
        self.node = node
        self.count = self.errors = self.out_count = self.out_errors = 0
        self.sparks = [0] * SPARKS
        self.out_sparks = [0] * SPARKS
        self.inbound: Answers = {}
        self.outbound: Answers = {}


def build_graph(fold: Fold, inventory: Inventory, *, seconds: int, mesh: str) -> Graph:
    """Draw a fold over `inventory`: workloads without traffic are nodes too, edges only those with some.

    Both sides of a hop report; an edge is told by its source's proxy, who sees every failure, and by
    the destination's alone where the source has none.
    """
    drafts: dict[str, _Draft] = {}
    for (namespace, name), kept in inventory.workloads.items():
        _draft(drafts, _workload_node(inventory, kept.workload, namespace, name))
    edges: list[Edge] = []
    for tallied in fold.edges():
        flow = tallied.flow
        source = _draft(drafts, _source_node(inventory, flow))
        target = _draft(drafts, _target_node(inventory, flow))
        told = tallied.by_source if tallied.by_source.latest else tallied.by_destination
        edges.append(_edge(source.node.id, target.node.id, told, tallied, fold.window))
        _count(source, target, told)
    nodes = [_finish(draft, fold) for draft in drafts.values()]
    return Graph(
        time=round(fold.now, 3),
        window=seconds,
        version=inventory.version,
        mesh=mesh,
        nodes=tuple(sorted(nodes, key=lambda node: node.id)),
        edges=tuple(sorted(edges, key=lambda edge: edge.id)),
    )


def _draft(drafts: dict[str, _Draft], node: Node) -> _Draft:
    return drafts.get(node.id) or drafts.setdefault(node.id, _Draft(node))


def _source_node(inventory: Inventory, flow: Flow) -> Node:
    if flow.key.source is None:
        return Node(id=UNKNOWN_ID, kind="unknown", name="unknown")
    return _workload_node(inventory, flow.source, *flow.key.source)


def _target_node(inventory: Inventory, flow: Flow) -> Node:
    if flow.key.destination is not None:
        return _workload_node(inventory, flow.destination, *flow.key.destination)
    service = flow.key.service
    if service is None or not (service.host or service.name):
        return Node(id=UNKNOWN_ID, kind="unknown", name="unknown")
    if service.host in inventory.hosts:
        return Node(
            id=f"service:{service.namespace}/{service.name}",
            kind="service",
            name=service.name,
            namespace=service.namespace,
            service=service.name,
        )
    name = service.name if service.name in _OUTSIDE else service.host or service.name
    return Node(id=f"external:{name}", kind="external", name=name, service=name)


def _workload_node(inventory: Inventory, workload: Workload | None, namespace: str, name: str) -> Node:
    kept = inventory.workloads.get((namespace, name))
    if kept is not None:
        workload = kept.workload
    kind: NodeKind = kept.kind if kept else "workload"
    return Node(
        id=f"workload:{namespace}/{name}",
        kind=kind,
        name=name,
        namespace=namespace,
        app=known(workload.app) if workload else "",
        version=known(workload.version) if workload else "",
        workload=name,
        service=kept.service if kept else None,
        ready=kept.ready if kept else 0,
        replicas=kept.replicas if kept else 0,
        meshed=kept.meshed if kept else False,
    )


def _edge(source: str, target: str, told: Tally, tallied: Tallied, window: Window) -> Edge:
    length, protocol, by_destination = window.length, tallied.flow.key.protocol, tallied.by_destination
    total = sum(told.answers.values()) if protocol != "tcp" else max(told.count, told.errors)
    # who received knows best whether it came by mutual TLS (Istio: the source doesn't report it)
    secured = by_destination if by_destination.answers and by_destination.count else told
    points = quantiles(told.durations, 0.5, 0.95, 0.99)
    p50, p95, p99 = (round(p * 1000, 2) for p in points) if points else (None, None, None)
    codes: dict[str, float] = {}
    flags: dict[str, float] = {}
    for (_, code, flag), count in told.answers.items():
        if code:
            codes[code] = round(codes.get(code, 0.0) + count / length, 4)
        if flag:
            flags[flag] = round(flags.get(flag, 0.0) + count / length, 4)
    health, reason = judge(told.answers)
    if health == "idle":
        health = "ok"  # an open TCP connection that moves bytes
    return Edge(
        id=f"{source}>{target}>{protocol}",
        source=source,
        target=target,
        protocol=cast("EdgeProtocol", protocol),
        rate=round(told.count / length, 4),
        error_rate=round(min(told.errors / total, 1.0), 4) if total else 0.0,
        p50=p50,
        p95=p95,
        p99=p99,
        codes=codes,
        flags=flags,
        mtls=round(min(secured.mtls / secured.count, 1.0), 4) if secured.count else 0.0,
        received=round(told.received / length, 1),
        sent=round(told.sent / length, 1),
        health=health,
        reason=reason,
        source_principal=told.source_principal or by_destination.source_principal,
        destination_principal=told.destination_principal or by_destination.destination_principal,
        route=told.route,
    )


def _count(source: _Draft, target: _Draft, told: Tally) -> None:
    target.count += told.count
    target.errors += told.errors
    source.out_count += told.count
    source.out_errors += told.errors
    for n, count in enumerate(told.sparks):
        target.sparks[n] += count
        source.out_sparks[n] += count
    for into in (target.inbound, source.outbound):
        for answer, times in told.answers.items():
            into[answer] = into.get(answer, 0.0) + times


def _finish(draft: _Draft, fold: Fold) -> Node:
    node = draft.node
    begins = node.kind == "gateway" or not draft.count  # where traffic begins, what it sends is its rate
    count, errors, sparks = (
        (draft.out_count, draft.out_errors, draft.out_sparks)
        if begins
        else (draft.count, draft.errors, draft.sparks)
    )
    health, reason = _judge_node(draft)
    return structs.replace(
        node,
        health=health,
        reason=reason,
        rate=round(count / fold.window.length, 4),
        error_rate=round(min(errors / max(count, errors), 1.0), 4) if errors else 0.0,
        sparkline=_sparkline(sparks, fold.scale, fold.now),
    )


def _judge_node(draft: _Draft) -> Verdict:
    if draft.node.kind == "unknown":
        return IDLE if not (draft.inbound or draft.outbound) else ("ok", "")
    return worst(
        judge_replicas(draft.node.ready, draft.node.replicas),
        judge(draft.inbound, "of requests in"),
        judge(draft.outbound, "of requests out"),
    )


def _sparkline(sparks: list[int], scale: SparkScale, now: float) -> tuple[float, ...]:
    """Return the rates of each piece.

    The one still running is filled up by the rate before it, or the line's end would drop to nothing
    each time a piece begins.
    """
    if not any(sparks):
        return (0.0,) * SPARKS
    width, rates, before = scale.width, [], 0.0
    for n, counted in enumerate(sparks):
        count = float(counted)
        missing = scale.start + (n + 1) * width - now
        if missing > 0:
            count += before * min(missing, width)
        before = round(count / width, 3)
        rates.append(before)
    return tuple(rates)
