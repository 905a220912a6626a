"""VirtualServices that leave a route to another one (Istio's delegate)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from devmesh.config.documents.selectors import StringMatch
from devmesh.config.documents.virtualservice import (
    Destination,
    HTTPMatchRequest,
    HTTPRoute,
    VirtualServiceSpec,
)
from devmesh.model.host import qualify
from devmesh.pilot.gateway_names import gateway_name
from devmesh.pilot.resources import Loaded
from devmesh.pilot.settings import Settings
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


def with_delegates(loaded: Loading, delegates: Delegates, settings: Settings) -> Iterator[Written]:
    """Yield the HTTP routes of `loaded`, those of its delegates in their places."""
    for index, route in enumerate(loaded.spec.http):
        if route.delegate is None:
            yield Written(route, loaded, index)
            continue
        key = (route.delegate.namespace or loaded.namespace, route.delegate.name)
        delegate = delegates.get(key)
        if delegate is None or not is_exported(
            delegate.spec.export_to or settings.virtual_service_export_to,
            delegate.namespace,
            loaded.namespace,
        ):
            continue  # Istio: a delegate that isn't there gives no routes
        mine = _resolved(route, loaded.namespace, settings.domain)
        for position, inner in enumerate(delegate.spec.http):
            merged = _merge(mine, _resolved(inner, delegate.namespace, settings.domain))
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

    Istio: each of its matches must be within one of the root's, or the route is dropped; what it leaves
    out it has from the root.
    """
    match = _merge_matches(root.match, inner.match)
    if match is None:
        return None
    changes = {name: getattr(root, name) for name in _INHERITED if getattr(inner, name) in (None, ())}
    name = f"{root.name}-{inner.name}" if root.name and inner.name else root.name or inner.name
    return msgspec.structs.replace(inner, match=match, name=name, delegate=None, **changes)


def _merge_matches(
    root: Sequence[HTTPMatchRequest], inner: Sequence[HTTPMatchRequest]
) -> tuple[HTTPMatchRequest, ...] | None:
    if not root or not inner:
        return tuple(root or inner)
    merged = []
    for one in inner:
        found = [_merge_match(other, one) for other in root if _is_within(other, one)]
        if not found:
            return None
        merged += found
    return tuple(merged)


def _merge_match(root: HTTPMatchRequest, inner: HTTPMatchRequest) -> HTTPMatchRequest:
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
    )


def _is_within(root: HTTPMatchRequest, inner: HTTPMatchRequest) -> bool:
    """Tell whether a block does not contradict one of the root's."""
    names = ("uri", "scheme", "method", "authority")
    pairs = [(getattr(root, name), getattr(inner, name)) for name in names]
    for name in ("headers", "without_headers", "query_params"):
        mine = getattr(root, name)
        pairs += [(mine.get(key), value) for key, value in getattr(inner, name).items()]
    if not all(_accepts_no_more(other, one) for other, one in pairs):
        return False
    if root.port and inner.port and root.port != inner.port:
        return False
    if root.source_namespace and inner.source_namespace != root.source_namespace:
        return False
    if any(root.source_labels.get(key, value) != value for key, value in inner.source_labels.items()):
        return False
    if root.gateways and not set(inner.gateways) <= set(root.gateways):
        return False
    return root.ignore_uri_case == inner.ignore_uri_case


def _accepts_no_more(root: StringMatch | None, inner: StringMatch | None) -> bool:
    """Istio: a regular expression stands alone; a prefix holds longer ones, and whole texts."""
    if root is None or inner is None:
        return True
    if root.regex or inner.regex:
        return not (_is_given(root) and _is_given(inner))
    if root.exact:
        return inner.exact == root.exact
    text = inner.prefix or inner.exact
    return not (root.prefix and text) or text.startswith(root.prefix)


def _is_given(match: StringMatch) -> bool:
    return bool(match.exact or match.prefix or match.regex)


def _resolved(route: HTTPRoute, namespace: str, domain: str) -> HTTPRoute:
    """Return a route whose gateways and mirrors mean the same in another namespace."""
    return msgspec.structs.replace(
        route,
        match=tuple(
            msgspec.structs.replace(
                block, gateways=tuple(gateway_name(name, namespace) for name in block.gateways)
            )
            for block in route.match
        ),
        mirror=_full(route.mirror, namespace, domain),
        mirrors=tuple(
            msgspec.structs.replace(mirror, destination=_full(mirror.destination, namespace, domain))
            for mirror in route.mirrors
        ),
    )


def _full(destination: Destination | None, namespace: str, domain: str) -> Destination | None:
    if destination is None:
        return None
    return msgspec.structs.replace(destination, host=qualify(destination.host, namespace, domain))
