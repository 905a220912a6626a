"""Filters of the Gateway API as the actions of a VirtualService's route."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from devmesh.config.documents.gateway_routes import (
    GRPCRouteFilter,
    HTTPCORSFilter,
    HTTPHeader,
    HTTPHeaderFilter,
    HTTPRequestMirrorFilter,
    HTTPRequestRedirectFilter,
    HTTPRouteFilter,
    HTTPURLRewriteFilter,
)
from devmesh.config.documents.scalars import Duration
from devmesh.config.documents.selectors import StringMatch
from devmesh.config.documents.virtualservice import (
    CorsPolicy,
    HeaderOperations,
    Headers,
    HTTPMirrorPolicy,
    HTTPRedirect,
    HTTPRewrite,
    RegexRewrite,
)
from devmesh.pilot.gateway_api.conditions import Problem

Filter = HTTPRouteFilter | GRPCRouteFilter
_ANY_ORIGIN = r"[a-zA-Z][a-zA-Z0-9+.-]*://[^/\s?#]+"


@dataclass(frozen=True, slots=True)
class Fields:
    """What the filters of a rule make of its route."""

    headers: Headers | None = None
    redirect: HTTPRedirect | None = None
    rewrite: HTTPRewrite | None = None
    cors: CorsPolicy | None = None
    mirrors: tuple[HTTPMirrorPolicy, ...] = ()


def fields(written: Sequence[Filter], mirrors: tuple[HTTPMirrorPolicy, ...]) -> Fields | Problem:
    """Translate a rule's filters; `mirrors` are those of them that mirror."""
    for found in written:
        if found.type in ("ExtensionRef", "ExternalAuth"):
            return Problem("InvalidFilter", f"unsupported filter type {found.type!r}", hard=True)
    if problem := _invalid_value(written):
        return problem
    http = [found for found in written if isinstance(found, HTTPRouteFilter)]
    redirect = next((f.request_redirect for f in http if f.request_redirect), None)
    rewrite = next((f.url_rewrite for f in http if f.url_rewrite), None)
    cors = next((f.cors for f in http if f.cors), None)
    return Fields(
        headers=_headers(written),
        redirect=_redirect(redirect) if redirect else None,
        rewrite=_rewrite(rewrite) if rewrite else None,
        cors=_cors(cors) if cors else None,
        mirrors=mirrors,
    )


def headers_only(written: Sequence[Filter]) -> Headers | Problem | None:
    """Translate the filters of a backendRef. Istio: they change headers, and do nothing else."""
    for found in written:
        if found.type not in ("RequestHeaderModifier", "ResponseHeaderModifier"):
            return Problem("InvalidFilter", f"unsupported filter type {found.type!r}", hard=True)
    return _invalid_value(written) or _headers(written)


def share(mirror: HTTPRequestMirrorFilter) -> float | None:
    """Return the share of requests that is mirrored, 0 to 100; None: all of them."""
    if mirror.fraction is not None:
        return 100.0 * mirror.fraction.numerator / (mirror.fraction.denominator or 100)
    return None if mirror.percent is None else float(mirror.percent)


def _headers(written: Sequence[Filter]) -> Headers | None:
    request = next((f.request_header_modifier for f in written if f.request_header_modifier), None)
    response = next((f.response_header_modifier for f in written if f.response_header_modifier), None)
    if request is None and response is None:
        return None
    return Headers(request=_operations(request), response=_operations(response))


def _operations(written: HTTPHeaderFilter | None) -> HeaderOperations | None:
    if written is None:
        return None
    return HeaderOperations(set=_firsts(written.set), add=_firsts(written.add), remove=written.remove)


def _firsts(written: Sequence[HTTPHeader]) -> dict[str, str]:
    found: dict[str, str] = {}
    for header in written:
        found.setdefault(header.name.lower(), header.value)
    return found


def _invalid_value(written: Sequence[Filter]) -> Problem | None:
    for header in _values(written):
        if any(c != "\t" and (ord(c) < 0x20 or ord(c) == 0x7F) for c in header.value):
            said = f"header {header.name!r} value contains invalid characters"
            return Problem("InvalidFilter", said, hard=True)
    return None


def _values(written: Sequence[Filter]) -> Iterator[HTTPHeader]:
    for found in written:
        for modifier in (found.request_header_modifier, found.response_header_modifier):
            if modifier is not None:
                yield from (*modifier.set, *modifier.add)


def _redirect(written: HTTPRequestRedirectFilter) -> HTTPRedirect:
    """Gateway API: 302; without a port that of the scheme where one is given, else the listener's."""
    derive = "FROM_PROTOCOL_DEFAULT" if written.scheme else "FROM_REQUEST_PORT"
    path = written.path
    full = path is not None and path.type == "ReplaceFullPath"
    return HTTPRedirect(
        redirect_code=written.status_code or 302,
        authority=written.hostname or "",
        scheme=written.scheme or "",
        port=written.port,
        derive_port=None if written.port else derive,  # type: ignore[arg-type]
        uri=(path.replace_full_path or "") if path and full else "",
        prefix_rewrite=(path.replace_prefix_match or "") if path and not full else "",
    )


def _rewrite(written: HTTPURLRewriteFilter) -> HTTPRewrite | None:
    path, authority = written.path, written.hostname or ""
    if path is None:
        return HTTPRewrite(authority=authority) if authority else None
    if path.type == "ReplaceFullPath":
        regex = RegexRewrite(match="/.*", rewrite=path.replace_full_path or "")
        return HTTPRewrite(uri_regex_rewrite=regex, authority=authority)
    prefix = (path.replace_prefix_match or "").removesuffix("/")
    return HTTPRewrite(uri=prefix or "/", authority=authority)


def _cors(written: HTTPCORSFilter) -> CorsPolicy:
    return CorsPolicy(
        allow_origins=tuple(map(_origin, filter(None, written.allow_origins))),
        allow_methods=written.allow_methods,
        allow_headers=written.allow_headers,
        expose_headers=written.expose_headers,
        max_age=Duration(written.max_age or 5),
        allow_credentials=True if written.allow_credentials else None,
        unmatched_preflights="IGNORE",
    )


def _origin(written: str) -> StringMatch:
    """Istio: ``*`` alone is any origin; elsewhere it stands for any text."""
    if written == "*":
        return StringMatch(regex=_ANY_ORIGIN)
    if "*" not in written:
        return StringMatch(exact=written)
    if written.count("*") == 1 and written.endswith("*"):
        return StringMatch(prefix=written[:-1])
    return StringMatch(regex=re.escape(written).replace(r"\*", ".*"))
