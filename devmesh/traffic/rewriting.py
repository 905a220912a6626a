"""Changes to a request's path and authority, and where a redirect points (Envoy's rules)."""

from __future__ import annotations

from devmesh.snapshot.route import Redirect, Rewrite
from devmesh.traffic.routing import RequestHead, path_alone, without_port

_DEFAULT_PORTS = {"http": "80", "https": "443"}


def path(rewrite: Rewrite, target: str) -> str:
    """Return the request target to send on; the query stays.

    Envoy: prefix_rewrite replaces the prefix that was matched, or the whole path where the match was
    exact or a regular expression; regex_rewrite replaces every place where its pattern is found.
    """
    before = path_alone(target)
    rest = target[len(before) :]
    if rewrite.regex is not None:
        return str(rewrite.regex.sub(rewrite.substitution, before)) + rest
    if rewrite.path is None:
        return target
    return _replaced(before, rewrite.matched, rewrite.path) + rest


def _replaced(before: str, matched: str | None, after: str) -> str:
    return after if matched is None else after + before[len(matched) :]


def location(redirect: Redirect, head: RequestHead) -> str:
    """Return the ``location`` of a redirect (Envoy: newUri).

    The query is kept, unless the new path has one of its own. The request's own port is dropped where
    another is given, or where it is the default of a scheme that changes.
    """
    scheme = redirect.scheme or head.scheme
    port = f":{redirect.port}" if redirect.port else ""
    authority = redirect.authority or _authority(head, scheme, port)
    return f"{scheme}://{authority}{port}{_redirected_path(redirect, head.path)}"


def _authority(head: RequestHead, scheme: str, port: str) -> str:
    bare = without_port(head.authority)
    if bare is head.authority:
        return bare
    own = head.authority[len(bare) + 1 :]
    changes = scheme != head.scheme and own == _DEFAULT_PORTS.get(head.scheme)
    return bare if port or changes else head.authority


def _redirected_path(redirect: Redirect, target: str) -> str:
    before = path_alone(target)
    if redirect.path is not None:
        after = redirect.path
    elif redirect.prefix is not None:
        after = _replaced(before, redirect.matched, redirect.prefix)
    else:
        return target
    return after if "?" in after else after + target[len(before) :]
