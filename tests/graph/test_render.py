"""The graph in words, DOT and Mermaid."""

from __future__ import annotations

import msgspec

from devmesh.graph import render
from devmesh.graph.topology import Edge, Graph, Node


def edge(**changed: object) -> Edge:
    given: dict[str, object] = {
        "id": "e",
        "source": "workload:default/productpage-v1",
        "target": "workload:default/reviews-v1",
        "protocol": "http",
        "rate": 2.5,
        "error_rate": 0.25,
        "p50": 12.0,
        "p95": 48.3,
        "p99": 1234.0,
        "codes": {"200": 1.875, "503": 0.625},
        "flags": {"UH": 0.625},
        "mtls": 1.0,
        "received": 0.0,
        "sent": 0.0,
        "health": "failing",
        "reason": "25 % of requests answered 5xx (503 UH): failing from 10 %",
        "source_principal": "",
        "destination_principal": "",
        "route": "default",
    }
    return Edge(**given | changed)  # type: ignore[arg-type]


GRAPH = Graph(
    time=1.0,
    window=60,
    version=7,
    mesh="bookinfo",
    nodes=(
        Node(id="workload:default/productpage-v1", kind="workload", name="productpage-v1", health="ok"),
        Node(
            id="workload:default/reviews-v1",
            kind="workload",
            name="reviews-v1",
            health="failing",
            reason="25 % of requests in answered 5xx (503 UH): failing from 10 %",
        ),
        Node(id="workload:default/ratings-v1", kind="workload", name="ratings-v1"),
    ),
    edges=(edge(),),
)


def test_text_is_a_table_of_edges_with_what_is_idle_and_wrong() -> None:
    assert render.text(GRAPH) == (
        "mesh bookinfo, the last 60 s, configuration 7\n"
        "\n"
        "   SOURCE          TARGET      PROTOCOL  RATE    ERRORS  P50    P95      P99     MTLS  CODES\n"
        "x  productpage-v1  reviews-v1  http      2.50/s  25.0%   12 ms  48.3 ms  1.23 s  100%  "
        "200 75%, 503 25% UH\n"
        "\n"
        "idle: ratings-v1\n"
        "\n"
        "failing: reviews-v1: 25 % of requests in answered 5xx (503 UH): failing from 10 %\n"
    )


def test_text_of_a_quiet_mesh_says_what_to_do() -> None:
    assert "no traffic: send a request" in render.text(msgspec.structs.replace(GRAPH, edges=()))


def test_dot_quotes_names() -> None:
    odd = Node(id='a"b', kind="external", name='back\\slash "quoted"')
    text = render.dot(msgspec.structs.replace(GRAPH, nodes=(*GRAPH.nodes, odd)))
    assert text.startswith("digraph mesh {\n")
    assert '"a\\"b" [label="back\\\\slash \\"quoted\\""' in text
    assert '-> "workload:default/reviews-v1" [label="2.50/s, 25.0% errors, p95 48.3 ms, mTLS"' in text


def test_mermaid_has_no_character_that_ends_a_label() -> None:
    odd = Node(id="x", kind="external", name='a["b|c"]<d>')
    text = render.mermaid(msgspec.structs.replace(GRAPH, nodes=(*GRAPH.nodes, odd)))
    assert '  n3["a  b c   d "]' in text
    assert '  n0 -->|"2.50/s, 25.0% errors, p95 48.3 ms, mTLS"| n1' in text
    assert "  style n1 stroke:#d64545" in text


def test_json_is_the_apis() -> None:
    assert msgspec.json.decode(render.json(GRAPH), type=Graph) == GRAPH


def test_rows_come_as_a_request_meets_them() -> None:
    order = (("b", "c"), ("c", "d"), ("gw", "b"), ("b", "e"))
    edges = tuple(sorted((edge(id=a + b, source=a, target=b) for a, b in order), key=lambda e: e.id))
    nodes = tuple(Node(id=n, kind="workload", name=n) for n in ("b", "c", "d", "e", "gw"))
    text = render.text(msgspec.structs.replace(GRAPH, nodes=nodes, edges=edges))
    rows = [tuple(line.split()[1:3]) for line in text.splitlines() if line.startswith("x ")]
    assert rows == [("gw", "b"), ("b", "c"), ("b", "e"), ("c", "d")]


def test_a_circle_of_calls_is_drawn_once() -> None:
    edges = (edge(id="1", source="a", target="b"), edge(id="2", source="b", target="a"))
    nodes = tuple(Node(id=n, kind="workload", name=n) for n in ("a", "b"))
    text = render.text(msgspec.structs.replace(GRAPH, nodes=nodes, edges=edges))
    assert text.count("\nx ") == 2


def test_the_same_name_in_two_namespaces_is_told_apart() -> None:
    nodes = tuple(Node(id=n, kind="workload", name="web", namespace=n) for n in ("dev", "prod"))
    text = render.text(msgspec.structs.replace(GRAPH, nodes=nodes, edges=()))
    assert "idle: dev/web, prod/web" in text
