"""What an HTTP route does: rewrite, redirect, fault, retries, mirrors, CORS (Istio: its webhook)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from http import HTTPStatus

from devmesh.config.documents.scalars import Base64
from devmesh.config.documents.virtualservice import (
    CorsPolicy,
    Destination,
    HeaderOperations,
    Headers,
    HTTPDirectResponse,
    HTTPFaultInjection,
    HTTPMatchRequest,
    HTTPRedirect,
    HTTPRetry,
    HTTPRewrite,
    HTTPRoute,
)
from devmesh.config.problems import Cause, MapKey, Path, forbidden, invalid, required, unsupported, warning
from devmesh.config.validation import istio, names

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE", "*")
_RETRY_ON = (
    "5xx",
    "gateway-error",
    "reset",
    "reset-before-request",
    "connect-failure",
    "retriable-4xx",
    "refused-stream",
    "retriable-status-codes",
    "retriable-headers",
    "envoy-ratelimited",
    "http3-post-connect-failure",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
)
GRPC_CODES = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
_STATUS_CODES = {str(int(status)) for status in HTTPStatus}
_CORS_HEADER = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_LARGE_BODY, _LARGEST_BODY = 100 * 1024, 1024 * 1024


def destination(target: Destination | None, path: Path) -> Iterator[Cause]:
    if target is None:
        return
    if target.host == "*":
        yield invalid((*path, "host"), "*", "a destination is one host")
    elif not target.host:
        yield required((*path, "host"))
    elif wrong := istio.wildcard_domain(target.host):
        yield invalid((*path, "host"), target.host, wrong)
    if target.subset and not istio.is_label(target.subset):
        yield invalid((*path, "subset"), target.subset, "a subset's name is a DNS label")
    yield from istio.port_selector(target.port, (*path, "port"))


def cors(policy: CorsPolicy | None, path: Path) -> Iterator[Cause]:
    if policy is None:
        return
    for n, origin in enumerate(policy.allow_origins):
        if not (origin.exact or origin.prefix or origin.regex):
            yield invalid((*path, "allowOrigins", n), {}, "give one of exact, prefix, regex")
        elif origin.regex is not None:
            yield from istio.regex(origin.regex, (*path, "allowOrigins", n, "regex"))
    for n, method in enumerate(policy.allow_methods):
        if method not in _METHODS:
            yield unsupported((*path, "allowMethods", n), method, _METHODS)
    for field, headers in (("allowHeaders", policy.allow_headers), ("exposeHeaders", policy.expose_headers)):
        for n, name in enumerate(headers):
            if not _CORS_HEADER.fullmatch(name):
                yield invalid((*path, field, n), name, "no header's name")
    yield from istio.duration(policy.max_age, (*path, "maxAge"))
    if policy.max_age is not None and policy.max_age % 1:
        yield invalid((*path, "maxAge"), str(policy.max_age), "must be whole seconds")


def fault(fault: HTTPFaultInjection | None, path: Path) -> Iterator[Cause]:
    if fault is None:
        return
    abort, delay = fault.abort, fault.delay
    if abort is None and delay is None:
        yield required(path, "a fault is an abort, a delay, or both")
    if abort is not None:
        yield from istio.percentage(abort.percentage, (*path, "abort", "percentage"))
        if abort.http_status is not None:
            yield from _status(abort.http_status, (*path, "abort", "httpStatus"))
        elif abort.grpc_status is not None:
            if abort.grpc_status not in GRPC_CODES:
                yield unsupported((*path, "abort", "grpcStatus"), abort.grpc_status, GRPC_CODES)
        elif abort.http2_error is not None:
            yield forbidden((*path, "abort", "http2Error"), "not supported, as in Istio: use httpStatus")
        else:
            yield warning((*path, "abort"), "aborts nothing: it has neither httpStatus nor grpcStatus")
        if abort.percentage is None:
            yield warning((*path, "abort"), "aborts nothing: it has no percentage")
    if delay is not None:
        yield from istio.percentage(delay.percentage, (*path, "delay", "percentage"))
        yield from istio.percent(delay.percent, (*path, "delay", "percent"))
        yield from istio.duration(delay.fixed_delay, (*path, "delay", "fixedDelay"))
        if delay.exponential_delay is not None:
            yield forbidden(
                (*path, "delay", "exponentialDelay"), "not supported, as in Istio: use fixedDelay"
            )
        elif delay.fixed_delay is None:
            yield required((*path, "delay", "fixedDelay"))
        if delay.percent:
            yield warning((*path, "delay", "percent"), "is deprecated: use percentage")
        elif delay.percentage is None:
            yield warning((*path, "delay"), "delays nothing: it has no percentage")


def _status(status: int, path: Path) -> Iterator[Cause]:
    if not 200 <= status <= 599:
        yield invalid(path, status, "an HTTP status is between 200 and 599")


def mirrors(route: HTTPRoute, path: Path) -> Iterator[Cause]:
    yield from destination(route.mirror, (*path, "mirror"))
    yield from istio.percentage(route.mirror_percentage, (*path, "mirrorPercentage"))
    if route.mirror_percent is not None:
        yield from istio.percent(route.mirror_percent, (*path, "mirrorPercent"))
        yield warning((*path, "mirrorPercent"), "is deprecated: use mirrorPercentage")
    for n, mirror in enumerate(route.mirrors):
        if mirror.destination is None:
            yield required((*path, "mirrors", n, "destination"))
        yield from destination(mirror.destination, (*path, "mirrors", n, "destination"))
        yield from istio.percentage(mirror.percentage, (*path, "mirrors", n, "percentage"))


def redirect(
    redirect: HTTPRedirect | None, matches: Sequence[HTTPMatchRequest], path: Path
) -> Iterator[Cause]:
    if redirect is None:
        return
    if redirect.uri and redirect.prefix_rewrite:
        yield forbidden((*path, "prefixRewrite"), "not beside uri")
    if redirect.prefix_rewrite and any(m.uri is not None and m.uri.prefix is None for m in matches):
        yield invalid((*path, "prefixRewrite"), redirect.prefix_rewrite, "all uri matches must be prefixes")
    port = redirect.port is not None or redirect.derive_port is not None
    if not (redirect.uri or redirect.prefix_rewrite or redirect.authority or redirect.scheme or port):
        yield required(path, "give uri, authority, scheme or port")
    if redirect.redirect_code and not 300 <= redirect.redirect_code <= 399:
        yield invalid((*path, "redirectCode"), redirect.redirect_code, "must be 3xx")
    if redirect.scheme not in ("", "http", "https"):
        yield unsupported((*path, "scheme"), redirect.scheme, ("http", "https"))
    if redirect.port:
        yield from names.port_number(redirect.port, (*path, "port"))


def direct_response(response: HTTPDirectResponse | None, path: Path) -> Iterator[Cause]:
    if response is None:
        return
    yield from _status(response.status, (*path, "status"))
    body = response.body
    if body is not None:
        size = len(body.bytes if isinstance(body.bytes, Base64) else (body.string or "").encode())
        if size > _LARGEST_BODY:
            yield invalid((*path, "body"), f"{size} bytes", "may not be larger than 1 MiB")
        elif size > _LARGE_BODY:
            yield warning((*path, "body"), "is large: every snapshot holds it")


def retries(policy: HTTPRetry | None, path: Path) -> Iterator[Cause]:
    """Check a retry policy (MeshConfig has one too)."""
    if policy is None:
        return
    if policy.attempts < 0:
        yield invalid((*path, "attempts"), policy.attempts, "must be 0 or more")
    more = policy.per_try_timeout is not None or policy.retry_on or policy.retry_remote_localities is not None
    if policy.attempts == 0 and more:
        yield invalid(
            (*path, "attempts"), 0, "0 switches retries off: the other fields need attempts above 0"
        )
    yield from istio.duration(policy.per_try_timeout, (*path, "perTryTimeout"))
    yield from istio.duration(policy.backoff, (*path, "backoff"))
    for word in policy.retry_on.split(",") if policy.retry_on else ():
        if word not in _RETRY_ON and word not in _STATUS_CODES:
            yield unsupported((*path, "retryOn"), word, (*_RETRY_ON, "an HTTP status"))


def rewrite(rewrite: HTTPRewrite | None, path: Path) -> Iterator[Cause]:
    if rewrite is None:
        return
    regex = rewrite.uri_regex_rewrite
    if rewrite.uri and regex is not None:
        yield forbidden((*path, "uriRegexRewrite"), "not beside uri")
    if not (rewrite.uri or rewrite.authority or regex is not None):
        yield required(path, "give uri, uriRegexRewrite or authority")
    if regex is not None:
        yield from istio.needs(regex.match, (*path, "uriRegexRewrite", "match"))
        yield from istio.needs(regex.rewrite, (*path, "uriRegexRewrite", "rewrite"))
        if regex.match:
            wrong = list(istio.regex(regex.match, (*path, "uriRegexRewrite", "match")))
            yield from wrong
            if not wrong and (detail := _unusable(regex.match, regex.rewrite)):
                yield invalid((*path, "uriRegexRewrite", "rewrite"), regex.rewrite, detail)


def _unusable(pattern: str, text: str) -> str:
    """Tell what is wrong with the text that is put in a pattern's place; Envoy refuses it, too."""
    import re2

    groups = re2.compile(pattern).groups
    for escaped in re.findall(r"\\(.?)", text, re.DOTALL):
        if escaped.isdigit() and int(escaped) > groups:
            return f"\\{escaped} is none of the {groups} groups of match"
        if not escaped.isdigit() and escaped != "\\":
            return (
                f"after a backslash comes the number of a group, or a backslash, not {escaped or 'nothing'}"
            )
    return ""


def authority_once(rewrite: HTTPRewrite | None, headers: Headers | None, path: Path) -> Iterator[Cause]:
    request = headers.request if headers and headers.request else HeaderOperations()
    places = [
        (*path, "headers", "request", field, MapKey(name))
        for field, values in (("set", request.set), ("add", request.add))
        for name in values
        if name.lower() in ("host", ":authority")
    ]
    allowed = 0 if rewrite is not None and rewrite.authority else 1
    for place in places[allowed:]:
        yield forbidden(place, "the authority is set already")
