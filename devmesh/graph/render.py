"""The graph for a terminal and for documents: text, DOT, Mermaid, JSON."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

import msgspec

from devmesh.graph.topology import Edge, Graph, Health

_MARKS: dict[Health, str] = {"ok": " ", "idle": " ", "degraded": "!", "failing": "x"}
_COLOURS: dict[Health, str] = {
    "ok": "#2e9e6b",
    "idle": "#8a94a6",
    "degraded": "#c98a1b",
    "failing": "#d64545",
}


def text(graph: Graph) -> str:
    """Return a table of edges, then who is idle and what is wrong."""
    names = _names(graph)
    lines = [f"mesh {graph.mesh}, the last {graph.window} s, configuration {graph.version}", ""]
    if graph.edges:
        lines += _table([_HEAD, *(_row(names, edge) for edge in _from_the_start(graph.edges))])
    else:
        lines.append("no traffic: send a request and look again")
    touched = {end for edge in graph.edges for end in (edge.source, edge.target)}
    if idle := [names[node.id] for node in graph.nodes if node.id not in touched]:
        lines += ["", f"idle: {', '.join(idle)}"]
    if wrong := [n for n in graph.nodes if n.reason]:
        lines += ["", *(f"{node.health}: {names[node.id]}: {node.reason}" for node in wrong)]
    return "\n".join(lines) + "\n"


def dot(graph: Graph) -> str:
    """Return the graph in Graphviz' language."""
    names = _names(graph)
    lines = ["digraph mesh {", "  rankdir=LR;", '  node [shape=box, style=rounded, fontname="sans-serif"];']
    lines += [
        f'  {_quoted(n.id)} [label={_quoted(names[n.id])}, color="{_COLOURS[n.health]}"];'
        for n in graph.nodes
    ]
    lines += [
        f"  {_quoted(e.source)} -> {_quoted(e.target)} "
        f'[label={_quoted(_label(e))}, color="{_COLOURS[e.health]}"];'
        for e in graph.edges
    ]
    return "\n".join([*lines, "}"]) + "\n"


def mermaid(graph: Graph) -> str:
    """Return the graph as a Mermaid flowchart."""
    names, ids = _names(graph), {node.id: f"n{number}" for number, node in enumerate(graph.nodes)}
    lines = ["flowchart LR"]
    lines += [f'  {ids[n.id]}["{_plain(names[n.id])}"]' for n in graph.nodes]
    lines += [f'  {ids[e.source]} -->|"{_plain(_label(e))}"| {ids[e.target]}' for e in graph.edges]
    lines += [
        f"  style {ids[n.id]} stroke:{_COLOURS[n.health]}"
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


def _row(names: dict[str, str], edge: Edge) -> tuple[str, ...]:
    return (
        _MARKS[edge.health],
        names[edge.source],
        names[edge.target],
        edge.protocol,
        _rate(edge),
        f"{edge.error_rate:.1%}",
        _milliseconds(edge.p50),
        _milliseconds(edge.p95),
        _milliseconds(edge.p99),
        f"{edge.mtls:.0%}",
        _answers(edge),
    )


def _answers(edge: Edge) -> str:
    """Return the codes with their shares, the most frequent first, then the flags."""
    total = sum(edge.codes.values())
    codes = sorted(edge.codes.items(), key=lambda item: -item[1])
    shares = [code if len(codes) == 1 else f"{code} {rate / total:.0%}" for code, rate in codes]
    return " ".join([", ".join(shares), *edge.flags]).strip() or "-"


def _from_the_start(edges: tuple[Edge, ...]) -> list[Edge]:
    """Return the edges as a request meets them: from the nodes that nobody calls onwards."""
    targets = {edge.target for edge in edges}
    ahead = sorted({edge.source for edge in edges}, key=lambda node: (node in targets, node))
    ordered: list[Edge] = []
    seen: set[str] = set()
    while ahead:
        node = ahead.pop(0)
        if node in seen:
            continue
        seen.add(node)
        onwards = [edge for edge in edges if edge.source == node]
        ordered += onwards
        ahead = [edge.target for edge in onwards] + ahead
    return ordered


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    return [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _names(graph: Graph) -> dict[str, str]:
    """Return what each node is called: by its name, with its namespace where that tells nodes apart."""
    times = Counter((node.kind, node.name) for node in graph.nodes)
    return {
        node.id: (f"{node.namespace}/" if times[node.kind, node.name] > 1 else "")
        + node.name
        + (" (service)" if node.kind == "service" else "")
        for node in graph.nodes
    }


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
