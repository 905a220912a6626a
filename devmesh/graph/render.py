"""The graph for a terminal and for documents: text, DOT, Mermaid, JSON."""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from devmesh.graph.topology import Edge, Graph, Health, Node

_MARKS: dict[Health, str] = {"ok": " ", "idle": " ", "degraded": "!", "failing": "x"}
_COLOURS: dict[Health, str] = {
    "ok": "#2e9e6b",
    "idle": "#8a94a6",
    "degraded": "#c98a1b",
    "failing": "#d64545",
}


def text(graph: Graph) -> str:
    """Return a table of edges, then who is idle and what is wrong."""
    nodes = {node.id: node for node in graph.nodes}
    lines = [f"mesh {graph.mesh}, the last {graph.window} s, configuration {graph.version}", ""]
    if graph.edges:
        lines += _table([_HEAD, *(_row(nodes, edge) for edge in graph.edges)])
    else:
        lines.append("no traffic: send a request and look again")
    touched = {end for edge in graph.edges for end in (edge.source, edge.target)}
    if idle := [_name(node) for node in graph.nodes if node.id not in touched]:
        lines += ["", f"idle: {', '.join(idle)}"]
    if wrong := [n for n in graph.nodes if n.reason]:
        lines += ["", *(f"{node.health}: {_name(node)}: {node.reason}" for node in wrong)]
    return "\n".join(lines) + "\n"


def dot(graph: Graph) -> str:
    """Return the graph in Graphviz' language."""
    lines = ["digraph mesh {", "  rankdir=LR;", '  node [shape=box, style=rounded, fontname="sans-serif"];']
    lines += [
        f'  {_quoted(n.id)} [label={_quoted(_name(n))}, color="{_COLOURS[n.health]}"];' for n in graph.nodes
    ]
    lines += [
        f"  {_quoted(e.source)} -> {_quoted(e.target)} "
        f'[label={_quoted(_label(e))}, color="{_COLOURS[e.health]}"];'
        for e in graph.edges
    ]
    return "\n".join([*lines, "}"]) + "\n"


def mermaid(graph: Graph) -> str:
    """Return the graph as a Mermaid flowchart."""
    names = {node.id: f"n{number}" for number, node in enumerate(graph.nodes)}
    lines = ["flowchart LR"]
    lines += [f'  {names[n.id]}["{_plain(_name(n))}"]' for n in graph.nodes]
    lines += [f'  {names[e.source]} -->|"{_plain(_label(e))}"| {names[e.target]}' for e in graph.edges]
    lines += [
        f"  style {names[n.id]} stroke:{_COLOURS[n.health]}"
        for n in graph.nodes
        if n.health in ("degraded", "failing")
    ]
    return "\n".join(lines) + "\n"


def json(graph: Graph) -> str:
    """Return the graph as the console's API gives it."""
    return msgspec.json.encode(graph).decode() + "\n"


FORMATS: dict[str, tuple[Callable[[Graph], str], str]] = {
    "text": (text, "text/plain; charset=utf-8"),
    "json": (json, "application/json"),
    "dot": (dot, "text/vnd.graphviz; charset=utf-8"),
    "mermaid": (mermaid, "text/plain; charset=utf-8"),
}

_HEAD = ("", "SOURCE", "TARGET", "PROTOCOL", "RATE", "ERRORS", "P50", "P95", "P99", "MTLS", "CODES")


def _row(nodes: dict[str, Node], edge: Edge) -> tuple[str, ...]:
    answers = [*edge.codes, *edge.flags]
    return (
        _MARKS[edge.health],
        _name(nodes[edge.source]),
        _name(nodes[edge.target]),
        edge.protocol,
        _rate(edge),
        f"{edge.error_rate:.1%}",
        _milliseconds(edge.p50),
        _milliseconds(edge.p95),
        _milliseconds(edge.p99),
        f"{edge.mtls:.0%}",
        ",".join(answers) or "-",
    )


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    return [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _name(node: Node) -> str:
    return node.name if node.kind != "service" else f"{node.name} (service)"


def _rate(edge: Edge) -> str:
    return f"{edge.rate:.2f}/s"


def _milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g} ms" if value < 1000 else f"{value / 1000:.3g} s"


def _label(edge: Edge) -> str:
    parts = [_rate(edge)]
    if edge.error_rate:
        parts.append(f"{edge.error_rate:.1%} errors")
    if edge.p95 is not None:
        parts.append(f"p95 {_milliseconds(edge.p95)}")
    if edge.mtls == 1:
        parts.append("mTLS")
    return ", ".join(parts)


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _plain(value: str) -> str:
    return re.sub(r'["|\[\]<>]', " ", value)
