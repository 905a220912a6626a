"""HTTPRoute (the rules of its CustomResourceDefinition)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from devmesh.config.documents.gateway_routes import (
    HTTPPathMatch,
    HTTPPathModifier,
    HTTPRouteFilter,
    HTTPRouteMatch,
    HTTPRouteResource,
    HTTPRouteRule,
)
from devmesh.config.problems import Cause, Path, forbidden, invalid, required, unsupported
from devmesh.config.validation import istio
from devmesh.config.validation.gateway_api import backends, hostnames, parents

_GIVEN = {
    "RequestHeaderModifier": "request_header_modifier",
    "ResponseHeaderModifier": "response_header_modifier",
    "RequestMirror": "request_mirror",
    "RequestRedirect": "request_redirect",
    "URLRewrite": "url_rewrite",
    "CORS": "cors",
    "ExtensionRef": "extension_ref",
}
_NAMES = {
    "request_header_modifier": "requestHeaderModifier",
    "response_header_modifier": "responseHeaderModifier",
    "request_mirror": "requestMirror",
    "request_redirect": "requestRedirect",
    "url_rewrite": "urlRewrite",
    "cors": "cors",
    "extension_ref": "extensionRef",
}
_REDIRECTS = (301, 302, 303, 307, 308)


def http_route(resource: HTTPRouteResource) -> Iterator[Cause]:
    spec = resource.spec
    yield from parents(spec.parent_refs)
    yield from hostnames(spec.hostnames)
    for n, rule in enumerate(spec.rules):
        yield from _rule(rule, ("spec", "rules", n))


def _rule(rule: HTTPRouteRule, path: Path) -> Iterator[Cause]:
    for n, match in enumerate(rule.matches):
        yield from _match(match, (*path, "matches", n))
    yield from _filters(rule.filters, (*path, "filters"))
    for n, backend in enumerate(rule.backend_refs):
        yield from _filters(backend.filters, (*path, "backendRefs", n, "filters"))
    yield from backends(rule.backend_refs, path)
    kinds = {found.type for found in rule.filters}
    if "RequestRedirect" in kinds and rule.backend_refs:
        yield forbidden((*path, "backendRefs"), "not beside the filter RequestRedirect, which answers itself")
    if {"RequestRedirect", "URLRewrite"} <= kinds:
        yield forbidden((*path, "filters"), "RequestRedirect and URLRewrite exclude each other")
    yield from _modifiers(rule, path)
    for n, code in enumerate(rule.retry.codes if rule.retry else ()):
        if not 400 <= code <= 599:
            yield invalid((*path, "retry", "codes", n), code, "must be between 400 and 599, inclusive")
    times = rule.timeouts
    if times and times.request and times.backend_request and times.backend_request > times.request:
        at = (*path, "timeouts", "backendRequest")
        yield invalid(at, str(times.backend_request), "cannot be longer than the timeout of the request")


def _match(match: HTTPRouteMatch, path: Path) -> Iterator[Cause]:
    if match.path is not None:
        yield from _path(match.path, (*path, "path"))
    for n, header in enumerate(match.headers):
        if header.type == "RegularExpression":
            yield from istio.regex(header.value, (*path, "headers", n, "value"))
    for n, query in enumerate(match.query_params):
        if query.type == "RegularExpression":
            yield from istio.regex(query.value, (*path, "queryParams", n, "value"))


def _path(match: HTTPPathMatch, path: Path) -> Iterator[Cause]:
    value = match.value or "/"
    if match.type == "RegularExpression":
        yield from istio.regex(value, (*path, "value"))
        return
    if not value.startswith("/"):
        yield invalid((*path, "value"), value, "must be an absolute path and start with '/'")
    for wrong in ("//", "/./", "/../", "%2f", "%2F", "#"):
        if wrong in value:
            yield invalid((*path, "value"), value, f"must not contain {wrong!r}")
    if value.endswith(("/..", "/.")):
        yield invalid((*path, "value"), value, "must not end with '/..' or '/.'")


def _filters(filters: Sequence[HTTPRouteFilter], path: Path) -> Iterator[Cause]:
    seen: set[str] = set()
    for n, found in enumerate(filters):
        at = (*path, n)
        wanted = _GIVEN.get(found.type)
        for attribute, name in _NAMES.items():
            given = getattr(found, attribute) is not None
            if attribute == wanted and not given:
                yield required((*at, name), f"must be given for filter type {found.type}")
            elif given and attribute != wanted:
                yield forbidden((*at, name), f"must not be given for filter type {found.type}")
        if found.type in seen and found.type not in ("RequestMirror", "ExtensionRef"):
            yield invalid((*at, "type"), found.type, f"{found.type} cannot be repeated")
        seen.add(found.type)
        redirect = found.request_redirect
        if redirect is not None and redirect.status_code not in (None, *_REDIRECTS):
            at = (*at, "requestRedirect", "statusCode")
            yield unsupported(at, redirect.status_code, map(str, _REDIRECTS))
        if (mirror := found.request_mirror) is not None and None not in (mirror.percent, mirror.fraction):
            yield forbidden((*at, "requestMirror", "fraction"), "only one of percent and fraction")


def _modifiers(rule: HTTPRouteRule, path: Path) -> Iterator[Cause]:
    """Check what becomes of paths: a prefix can be replaced only where one was matched."""
    for n, found in enumerate(rule.filters):
        for name, modifier in (
            ("requestRedirect", found.request_redirect and found.request_redirect.path),
            ("urlRewrite", found.url_rewrite and found.url_rewrite.path),
        ):
            if not isinstance(modifier, HTTPPathModifier):
                continue
            at = (*path, "filters", n, name, "path")
            full = modifier.type == "ReplaceFullPath"
            field, value = (
                ("replaceFullPath", modifier.replace_full_path)
                if full
                else ("replacePrefixMatch", modifier.replace_prefix_match)
            )
            if value is None:
                yield required((*at, field), f"must be given for type {modifier.type}")
            if not full and any(m.path is None or m.path.type != "PathPrefix" for m in rule.matches):
                yield invalid(
                    (*at, "type"), modifier.type, "every match of the rule needs a path of type PathPrefix"
                )
