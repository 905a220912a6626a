"""Matches of the Gateway API as match blocks, and which of several comes first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from devmesh.config.documents.gateway_routes import (
    GRPCMethodMatch,
    GRPCRouteMatch,
    HTTPHeaderMatch,
    HTTPPathMatch,
    HTTPQueryParamMatch,
    HTTPRouteMatch,
)
from devmesh.config.documents.selectors import StringMatch
from devmesh.config.documents.virtualservice import HTTPMatchRequest
from devmesh.pilot.delegates import Written


def http_match(match: HTTPRouteMatch) -> HTTPMatchRequest:
    return HTTPMatchRequest(
        uri=_uri(match.path or HTTPPathMatch()),
        method=StringMatch(exact=match.method) if match.method else None,
        headers=_tests(match.headers, lower=True),
        query_params=_tests(match.query_params),
    )


def _uri(path: HTTPPathMatch) -> StringMatch:
    """Gateway API: a slash at the end of a prefix has no meaning."""
    value = path.value or "/"
    match path.type:
        case "Exact":
            return StringMatch(exact=value)
        case "RegularExpression":
            return StringMatch(regex=value)
    return StringMatch(prefix=value if value == "/" else value.removesuffix("/"))


def grpc_match(match: GRPCRouteMatch) -> HTTPMatchRequest:
    uri = _method(match.method) if match.method is not None else None
    return HTTPMatchRequest(uri=uri, headers=_tests(match.headers, lower=True))


def _method(method: GRPCMethodMatch) -> StringMatch:
    """gRPC: the path of a call is ``/service/method``."""
    service, name = method.service, method.method
    if method.type == "RegularExpression":
        return StringMatch(regex=f"/{service or '[^/]+'}/{name or '.+'}")
    if not name:
        return StringMatch(prefix=f"/{service}/")
    if not service:
        return StringMatch(regex=f"/[^/]+/{name}")
    return StringMatch(exact=f"/{service}/{name}")


def _tests(
    written: Iterable[HTTPHeaderMatch | HTTPQueryParamMatch], *, lower: bool = False
) -> dict[str, StringMatch]:
    """Gateway API: of several with one name the first counts."""
    found: dict[str, StringMatch] = {}
    for test in written:
        regex = test.type == "RegularExpression"
        name = test.name.lower() if lower else test.name
        found.setdefault(name, StringMatch(regex=test.value) if regex else StringMatch(exact=test.value))
    return found


def by_precedence(routes: Sequence[Written]) -> tuple[Written, ...]:
    """Sort routes, those of older resources first already.

    Gateway API: an exact path comes before a prefix, and that (Istio) before a regular expression; then
    the longer path, one with a method, the more headers, the more query parameters; then the order given.
    """
    return tuple(sorted(routes, key=_rank))


def _rank(written: Written) -> tuple[int, ...]:
    if not written.route.match:
        return (1,)
    match = written.route.match[0]
    kind, length = 3, 0
    if (uri := match.uri) is not None:
        found = ((0, uri.exact), (1, uri.prefix), (2, uri.regex))
        kind, length = next((rank, len(text)) for rank, text in found if text is not None)
    return (0, kind, -length, match.method is None, -len(match.headers), -len(match.query_params))
