"""VirtualServices that leave a route to another one (Istio's delegate)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from devmesh.config.documents.selectors import StringMatch
from devmesh.config.documents.virtualservice import HTTPMatchRequest, HTTPRoute, VirtualServiceSpec
from devmesh.pilot.resources import Loaded
from devmesh.pilot.visibility import is_exported

Loading = Loaded[VirtualServiceSpec]
Delegates = Mapping[tuple[str, str], Loading]
"""The VirtualServices without hosts, by namespace and name."""


@dataclass(frozen=True, slots=True)
class Written:
    """One HTTP route and where it was written (`source` is the delegate, where it came from one).

    `path` is where it was written, where that is no VirtualService. Prefixes are of whole segments where
    `by_segment` says so; 500 is the answer for a backend that isn't there where `strict` does: both are so
    for a route of the Gateway API.
    """

    route: HTTPRoute
    source: Loaded[object]
    index: int
    path: str = ""
    by_segment: bool = True  # as long as there is a path
    strict: bool = True  # likewise


def delegates_of(loaded: Loading, delegates: Delegates) -> list[Loading]:
    """Return those that `loaded` names, where they are there."""
    found = []
    for route in loaded.spec.http:
        if route.delegate:
            key = (route.delegate.namespace or loaded.namespace, route.delegate.name)
            if key in delegates:
                found.append(delegates[key])
    return found


def with_delegates(loaded: Loading, delegates: Delegates) -> Iterator[Written]:
    """Yield the HTTP routes of `loaded`, those of its delegates in their places."""
    for index, route in enumerate(loaded.spec.http):
        if route.delegate is None:
            yield Written(route, loaded, index)
            continue
        key = (route.delegate.namespace or loaded.namespace, route.delegate.name)
        delegate = delegates.get(key)
        if delegate is None or not is_exported(
            delegate.spec.export_to or ("*",), delegate.namespace, loaded.namespace
        ):
            continue  # Istio: a delegate that isn't there gives no routes
        for position, inner in enumerate(delegate.spec.http):
            merged = _merge(route, inner)
            if merged is not None:
                yield Written(merged, delegate, position)


_INHERITED = (
    "rewrite",
    "timeout",
    "retries",
    "fault",
    "mirror",
    "mirror_percent",
    "mirror_percentage",
    "mirrors",
    "cors_policy",
    "headers",
    "direct_response",
)


def _merge(root: HTTPRoute, inner: HTTPRoute) -> HTTPRoute | None:
    """Put a delegate's route in place of the one that names it.

    Istio: its matches must be within the root's, or the route is dropped; what it leaves out it
    has from the root.
    """
    match = _merge_matches(root.match, inner.match)
    if match is None:
        return None
    changes = {
        name: getattr(root, name) for name in _INHERITED if not getattr(inner, name) and getattr(root, name)
    }
    name = f"{root.name}-{inner.name}" if root.name and inner.name else root.name or inner.name
    return msgspec.structs.replace(inner, match=match, name=name, delegate=None, **changes)


def _merge_matches(
    root: Sequence[HTTPMatchRequest], inner: Sequence[HTTPMatchRequest]
) -> tuple[HTTPMatchRequest, ...] | None:
    if not root or not inner:
        return tuple(root or inner)
    merged = [both for one in inner for other in root if (both := _merge_match(other, one)) is not None]
    return tuple(merged) or None


def _merge_match(root: HTTPMatchRequest, inner: HTTPMatchRequest) -> HTTPMatchRequest | None:
    """Join two blocks; None where they contradict each other."""
    for name in ("uri", "scheme", "method", "authority"):
        if not _within(getattr(root, name), getattr(inner, name)):
            return None
    if root.port and inner.port and root.port != inner.port:
        return None
    for name in ("headers", "query_params", "source_labels", "without_headers"):
        mine, other = getattr(root, name), getattr(inner, name)
        if any(key in mine and mine[key] != value for key, value in other.items()):
            return None
    return msgspec.structs.replace(
        inner,
        name="-".join(filter(None, (root.name, inner.name))),
        uri=inner.uri or root.uri,
        scheme=inner.scheme or root.scheme,
        method=inner.method or root.method,
        authority=inner.authority or root.authority,
        headers={**root.headers, **inner.headers},
        query_params={**root.query_params, **inner.query_params},
        source_labels={**root.source_labels, **inner.source_labels},
        without_headers={**root.without_headers, **inner.without_headers},
        port=inner.port or root.port,
        gateways=inner.gateways or root.gateways,
        source_namespace=inner.source_namespace or root.source_namespace,
        ignore_uri_case=inner.ignore_uri_case or root.ignore_uri_case,
    )


def _within(root: StringMatch | None, inner: StringMatch | None) -> bool:
    if root is None or inner is None or root == inner:
        return True
    text = inner.exact if inner.exact is not None else inner.prefix
    return root.prefix is not None and text is not None and text.startswith(root.prefix)
