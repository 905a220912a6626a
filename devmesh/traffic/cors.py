"""Cross-origin requests (Envoy's CORS filter)."""

from __future__ import annotations

from devmesh.snapshot.route import Cors
from devmesh.traffic.headers import Headers
from devmesh.traffic.routing import RequestHead

DETAILS = "cors_response"
"""What the access log says of an answer to a preflight."""


def allows(cors: Cors, origin: str) -> bool:
    """Tell whether pages of `origin` may call."""
    return any(test(origin) for test in cors.origins)


def is_preflight(head: RequestHead) -> bool:
    """Tell whether a request asks before the real one."""
    return (
        head.method == "OPTIONS"
        and bool(head.headers.get("origin"))
        and bool(head.headers.get("access-control-request-method"))
    )


def preflight(cors: Cors, head: RequestHead) -> Headers | None:
    """Return the headers of the proxy's own 200 to a preflight; None: it goes on like any request.

    That is where it is no preflight, or one of another origin and `Cors.forward_unmatched` says so;
    otherwise such a one gets an answer that allows no origin.
    """
    if not is_preflight(head):
        return None
    origin = head.headers["origin"]
    answer: Headers = []
    if allows(cors, origin):
        answer.append(("access-control-allow-origin", origin))
        if cors.credentials:
            answer.append(("access-control-allow-credentials", "true"))
    elif cors.forward_unmatched:
        return None
    for name, value in (
        ("access-control-allow-methods", cors.methods),
        ("access-control-allow-headers", cors.headers),
        ("access-control-max-age", cors.max_age),
        ("access-control-expose-headers", cors.expose),
    ):
        if value:
            answer.append((name, value))
    return answer


def response(cors: Cors, origin: str | None) -> Headers:
    """Return the headers to add to the response of a real request from `origin` (None: it has none)."""
    if not origin or not allows(cors, origin):
        return []
    answer = [("access-control-allow-origin", origin)]
    if cors.credentials:
        answer.append(("access-control-allow-credentials", "true"))
    if cors.expose:
        answer.append(("access-control-expose-headers", cors.expose))
    return answer
