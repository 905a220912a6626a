"""Which virtual host, which route, which destination: the path of a request through a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from devmesh.snapshot.match import Present
from devmesh.snapshot.route import Match, Route, RouteTable, VirtualHost, Weighted

NONE_REPEATED: Mapping[str, Sequence[str]] = {}


class RequestHead:
    """What a route can ask of a request.

    `path` is the request target with its query. `headers` has lower-case names; several values of one
    name are joined by a comma. `repeated` has the values of the names that come more than once: each is
    matched by itself (Envoy: match_headers_individually). Not frozen: one is made per request.
    """

    __slots__ = ("authority", "headers", "method", "path", "repeated", "scheme")

    def __init__(
        self, method: str, path: str, authority: str, scheme: str, headers: Mapping[str, str]
    ) -> None:
        self.method = method
        self.path = path
        self.authority = authority
        self.scheme = scheme
        self.headers = headers
        self.repeated = NONE_REPEATED


def find_virtual_host(table: RouteTable, authority: str) -> VirtualHost | None:
    """Return the virtual host that owns `authority`; None is the proxy's 404.

    Envoy: exact domains, then the longest suffix wildcard, then ``*``, whatever the case. Istio has
    the port ignored, so a domain without one accepts every port.
    """
    exact = table.exact
    found = exact.get(authority)
    if found is not None:
        return found
    name = authority.lower()
    found = exact.get(name)
    if found is not None:
        return found
    bare = without_port(name)
    if bare is not name:
        found = exact.get(bare)
        if found is not None:
            return found
    for suffix, host in table.suffixes:
        if (name.endswith(suffix) and len(name) > len(suffix)) or (
            bare.endswith(suffix) and len(bare) > len(suffix)
        ):
            return host
    return table.default


def without_port(authority: str) -> str:
    """Return `authority` without its ``:port``; the very same object where it has none."""
    colon = authority.rfind(":")
    if colon < 0 or (authority.startswith("[") and authority.endswith("]")):
        return authority
    return authority[:colon] if authority[colon + 1 :].isdigit() else authority


def find_route(host: VirtualHost, head: RequestHead) -> Route | None:
    """Return the first route of `host` that accepts `head`; None is the proxy's 404.

    Istio: routes are tried in the order written and the first match wins. The blocks of one
    route are alternatives, and every condition of a block has to hold.
    """
    path: str | None = None
    routes: Sequence[Route] = host.routes
    if host.index is not None:
        path = path_alone(head.path)
        routes = [routes[number] for number in host.index.candidates(path)]
    for route in routes:
        if not route.matches:
            return route
        if path is None:
            path = path_alone(head.path)
        for match in route.matches:
            if accepts(match, head, path):
                return route
    return None


def path_alone(target: str) -> str:
    """Return a request target without query and fragment (Envoy: removeQueryAndFragment)."""
    end = target.find("?")
    if end >= 0:
        target = target[:end]
    end = target.find("#")
    return target if end < 0 else target[:end]


def accepts(match: Match, head: RequestHead, path: str) -> bool:
    """Tell whether all conditions of `match` hold; `path` is that of `head` without its query."""
    if match.path is not None and not match.path(path):
        return False
    if match.method is not None and not match.method(head.method):
        return False
    if match.authority is not None and not match.authority(head.authority):
        return False
    if match.scheme is not None and not match.scheme(head.scheme):
        return False
    for name, test in match.headers:
        value = header(head, name)
        if value is None or not (
            any(map(test, head.repeated[name])) if name in head.repeated else test(value)
        ):
            return False
    for name, test in match.without:
        value = header(head, name)
        # Envoy, treat_missing_header_as_empty: a missing header is an empty one, save for presence.
        if value is None and isinstance(test, Present):
            continue
        if any(map(test, head.repeated[name])) if name in head.repeated else test(value or ""):
            return False
    return not match.query or _accepts_query(match, head.path)


def header(head: RequestHead, name: str) -> str | None:
    """Return a header's value, or that of a pseudo header such as ``:path``; None where absent."""
    if not name.startswith(":") and name != "host":
        return head.headers.get(name)
    match name:
        case ":method":
            return head.method
        case ":path":
            return head.path
        case ":authority" | "host":
            return head.authority
        case ":scheme":
            return head.scheme
    return None


def query_parameter(target: str, name: str) -> str | None:
    """Return the first value of a query parameter as it stands in the URL (Envoy doesn't decode it)."""
    _, _, query = target.partition("?")
    for pair in query.partition("#")[0].split("&"):
        key, _, value = pair.partition("=")
        if key == name:
            return value
    return None


def _accepts_query(match: Match, target: str) -> bool:
    for name, test in match.query:
        value = query_parameter(target, name)
        if value is None or not test(value):
            return False
    return True


def pick_destination(destinations: Sequence[Weighted], draw: float) -> Weighted:
    """Choose by weight.

    Args:
        destinations: At least one of a weight above 0. The weights need not add up to 100. A single
            one is taken whatever its weight.
        draw: Uniform in [0, 1). The caller owns the randomness, so a test owns the outcome.
    """
    if len(destinations) == 1:
        return destinations[0]
    total = 0
    for destination in destinations:
        total += destination.weight
    mark = int(draw * total)
    for destination in destinations:
        mark -= destination.weight
        if mark < 0:
            return destination
    raise AssertionError(f"no weight in {destinations}")
