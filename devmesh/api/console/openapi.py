"""The OpenAPI document of the console's API, generated from the types of its answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from devmesh.api.console.answers import Failure, FindingView, RequestView, Status
from devmesh.api.console.requests import FILTERS
from devmesh.api.console.rows import ClusterRow, EndpointRow, ListenerRow, ProxyRow, RouteRow, SecretRow
from devmesh.graph.topology import Graph

PREFIX = "/devmesh/v1"


@dataclass(frozen=True, slots=True)
class Operation:
    """One GET: `answer` is a type, or a content type for what isn't JSON."""

    path: str
    summary: str
    answer: Any
    query: tuple[tuple[str, str], ...] = ()


_WINDOW = ("window", "seconds of traffic to fold, 1 to 3600; default 60")
_NAME = ("namespace", "of the workload"), ("workload", "a workload or pod; default all")

OPERATIONS = (
    Operation(
        "/graph",
        "Who calls whom, how often, how fast and how well.",
        Graph,
        (_WINDOW, ("format", "json (default), text, dot or mermaid")),
    ),
    Operation(
        "/events",
        "The event stream: graph when it changed, at most four a second, and ping each five seconds.",
        "text/event-stream",
        (("topics", "graph"), _WINDOW),
    ),
    Operation("/status", "What runs, and where it listens.", Status),
    Operation(
        "/requests",
        "The latest requests, newest first.",
        list[RequestView],
        (
            ("limit", "at most this many; default 100"),
            ("reporter", "one (default), all, source, destination"),
            *((name, "only those of which this holds") for name in FILTERS),
        ),
    ),
    Operation(
        "/access-log",
        "Lines of the proxies' access logs.",
        "text/plain",
        (
            *_NAME,
            ("follow", "true: go on as lines come"),
            ("tail", "only the last lines"),
            ("since", "seconds"),
            ("prefix", "true: each line with its pod"),
        ),
    ),
    Operation("/findings", "What there is to say of the resources.", list[FindingView]),
    *(
        Operation(f"/proxy-config/{what}/{{namespace}}/{{name}}", f"A proxy's {what}.", row)
        for what, row in (
            ("clusters", list[ClusterRow]),
            ("listeners", list[ListenerRow]),
            ("routes", list[RouteRow]),
            ("endpoints", list[EndpointRow]),
            ("secret", list[SecretRow]),
        )
    ),
    Operation("/proxies", "The proxies, each with the version that it has.", list[ProxyRow]),
    Operation(
        "/proxies/{namespace}/{name}/admin/{command}",
        "What a proxy answers on its admin interface (Envoy's); what changes something has to be posted.",
        "text/plain",
    ),
)


def document() -> dict[str, Any]:
    """Return the document (OpenAPI 3.1)."""
    types = [o.answer for o in OPERATIONS if not isinstance(o.answer, str)]
    _, components = msgspec.json.schema_components(
        [*types, Failure], ref_template="#/components/schemas/{name}"
    )
    return {
        "openapi": "3.1.0",
        "info": {"title": "devmesh console", "version": "v1"},
        "paths": {PREFIX + o.path: {"get": _operation(o)} for o in OPERATIONS},
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


def _operation(operation: Operation) -> dict[str, Any]:
    return {
        "operationId": operation.path.strip("/")
        .replace("/{namespace}/{name}", "")
        .replace("/{command}", "")
        .replace("/", "-"),
        "summary": operation.summary,
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in ("namespace", "name", "command")
            if f"{{{name}}}" in operation.path
        ]
        + [
            {"name": name, "in": "query", "description": text, "schema": {"type": "string"}}
            for name, text in operation.query
        ],
        "responses": {
            "200": {"description": "OK", "content": _content(operation.answer)},
            "default": {"description": "Refused", "content": _content(Failure)},
        },
    }


def _content(answer: Any) -> dict[str, Any]:
    if isinstance(answer, str):
        return {answer: {"schema": {"type": "string"}}}
    (schema,), _ = msgspec.json.schema_components([answer], ref_template="#/components/schemas/{name}")
    return {"application/json": {"schema": schema}}
