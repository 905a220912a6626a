"""What becomes of a request's head under a route table, as far as the two alone decide it."""

from __future__ import annotations

from devmesh.proxy import tracing
from devmesh.proxy.heads import IDS
from devmesh.proxy.http1 import Request
from devmesh.proxy.side import HOP_BY_HOP
from devmesh.snapshot.route import NO_OPS, Route, RouteTable, VirtualHost

# What a client's proxy does not send on: it says these itself, or they were meant for it alone.
DROPPED = (
    HOP_BY_HOP
    | tracing.NAMES
    | {
        "host",
        "x-request-id",
        "x-forwarded-proto",
        "x-forwarded-client-cert",
        "x-envoy-internal",
        "x-envoy-attempt-count",
        "x-envoy-decorator-operation",
        "x-envoy-expected-rq-timeout-ms",
        "x-envoy-peer-metadata",
        "x-envoy-peer-metadata-id",
        "x-envoy-upstream-rq-timeout-ms",
        "x-envoy-upstream-rq-per-try-timeout-ms",
        "x-envoy-max-retries",
        "x-envoy-retry-on",
    }
)
MAX_DERIVED = 16  # what is kept with one head
REWRITTEN = DROPPED | {"x-envoy-original-path", "x-envoy-original-host"}  # of which new ones are said
AT_GATEWAY = REWRITTEN | {"x-forwarded-for", "x-envoy-external-address", "x-envoy-internal"}


class Plan:
    """What becomes of a head under one route table; a function of both, so it is worked out once.

    Attributes:
        is_simple: The request is only sent on: the head is `before`, what is new each time, `after`.
        asks_ids: It may be another for a request that brings other ids along.
    """

    __slots__ = ("after", "asks_ids", "before", "is_simple", "route", "table")

    def __init__(self, table: RouteTable | None, route: Route | None) -> None:
        self.table = table  # kept alive: plans are found by its id
        self.route = route
        self.asks_ids = False
        self.is_simple = False
        self.before = self.after = ""


def is_simple(route: Route, request: Request) -> bool:
    """Tell whether a request is only sent on, with nothing done to it that differs from time to time."""
    special = (route.fault, route.redirect, route.direct, route.rewrite, route.cors)
    return (
        bool(request.minor)
        and not request.upgrade
        and not route.mirrors
        and all(each is None for each in special)
        and route.request_headers is NO_OPS
        and all(each.request_headers is NO_OPS and each.authority is None for each in route.destinations)
        and "x-envoy-upstream-rq-timeout-ms" not in request.headers
        and not (request.is_grpc and (route.timeout or "grpc-timeout" in request.headers))
    )


def asks_ids(host: VirtualHost) -> bool:
    """Tell whether a route of `host` matches by what differs in each request of a trace."""
    return any(
        name in IDS
        for route in host.routes
        for match in route.matches
        for name, _ in (*match.headers, *match.without)
    )


def said_by(route: Route, timeout: float | None) -> str:
    """Return the lines that tell the next proxy about the route; `timeout` in seconds."""
    lines = f"x-envoy-expected-rq-timeout-ms: {int(timeout * 1000)}\r\n" if timeout else ""
    return lines + (f"x-envoy-decorator-operation: {route.operation}\r\n" if route.operation else "")
