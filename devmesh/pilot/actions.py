"""The parts of a VirtualService's HTTP route that do not depend on where it is used."""

from __future__ import annotations

import re

from devmesh.config.documents.selectors import Percent
from devmesh.config.documents.virtualservice import (
    CorsPolicy,
    HeaderOperations,
    HTTPDirectResponse,
    HTTPFaultInjection,
    HTTPMatchRequest,
    HTTPRedirect,
    HTTPRetry,
    HTTPRewrite,
)
from devmesh.pilot.string_matches import pattern, string_match
from devmesh.snapshot.match import Exact, Present, StringMatch
from devmesh.snapshot.route import (
    NO_OPS,
    Cors,
    DirectResponse,
    Fault,
    HeaderOps,
    Redirect,
    Retry,
    Rewrite,
)
from devmesh.traffic.retry import DEFAULT

_GRPC_CODES = (
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


def header_ops(written: HeaderOperations | None) -> HeaderOps:
    """Return the operations on true headers. Istio leaves pseudo headers and ``host`` out; what is set
    or added there is the authority (see `authority`)."""
    if written is None:
        return NO_OPS
    made = HeaderOps(
        tuple(name for name in written.remove if not _is_internal(name)),
        tuple((name, value) for name, value in written.set.items() if not _is_internal(name)),
        tuple((name, value) for name, value in written.add.items() if not _is_internal(name)),
    )
    return NO_OPS if made == NO_OPS else made


def authority(written: HeaderOperations | None) -> str | None:
    """Return the authority that header operations ask for; `set` comes before `add`."""
    for values in (written.set, written.add) if written else ():
        for name, value in values.items():
            if name.lower() in ("host", ":authority") and value:
                return value
    return None


def _is_internal(name: str) -> bool:
    return name.startswith(":") or name.lower() == "host"


def both(first: HeaderOps, second: HeaderOps) -> HeaderOps:
    """Put two together so that `second` is applied after `first`.

    Envoy removes what either removes, then goes on in order: what the second sets is neither set nor added
    by the first.
    """
    if first is NO_OPS or second is NO_OPS:
        return second if first is NO_OPS else first
    last = {name.lower() for name, _ in second.set}
    return HeaderOps(
        (*first.remove, *second.remove),
        (*(pair for pair in first.set if pair[0].lower() not in last), *second.set),
        (*(pair for pair in first.add if pair[0].lower() not in last), *second.add),
    )


def retry(written: HTTPRetry | None, default: Retry | None) -> Retry | None:
    """Return the policy; None is no retries.

    Istio: without a block the mesh's default; ``attempts: 0`` is none; a block that does not say when
    has Istio's own conditions, not the mesh's; numbers among the conditions are status codes.
    """
    if written is None:
        return default
    if written.attempts <= 0:
        return None
    base = DEFAULT
    on, codes = (_conditions(written.retry_on)) if written.retry_on else (base.on, base.codes)
    interval = float(written.backoff) if written.backoff else base.base_interval
    ignore_previous = written.retry_ignore_previous_hosts
    return Retry(
        attempts=written.attempts,
        on=on,
        codes=codes,
        per_try_timeout=float(written.per_try_timeout) if written.per_try_timeout else None,
        base_interval=interval,
        max_interval=10 * interval,
        other_hosts=ignore_previous is not False,
        ignore_previous=ignore_previous is not False,
    )


def _conditions(text: str) -> tuple[frozenset[str], frozenset[int]]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    codes = frozenset(int(word) for word in words if word.isdigit())
    on = frozenset(word for word in words if not word.isdigit())
    return (on | {"retriable-status-codes"} if codes else on), codes


def fault(written: HTTPFaultInjection | None) -> Fault | None:
    """Return the fault, where any of it can happen: a share that is not given is 0 (Istio)."""
    if written is None:
        return None
    delay, abort = written.delay, written.abort
    delay_percent = abort_percent = 0.0
    if delay and delay.fixed_delay:
        delay_percent = _percent(delay.percentage, float(delay.percent))
    if abort:
        abort_percent = _percent(abort.percentage, 0.0)
    if not delay_percent and not abort_percent:
        return None
    grpc = abort.grpc_status if abort and abort_percent else None
    return Fault(
        delay=float(delay.fixed_delay) if delay and delay.fixed_delay and delay_percent else 0.0,
        delay_percent=delay_percent,
        abort_status=(abort.http_status or 0) if abort and abort_percent else 0,
        abort_grpc_status=_GRPC_CODES.index(grpc.upper()) if grpc else None,
        abort_percent=abort_percent,
    )


def _percent(written: Percent | None, absent: float) -> float:
    return absent if written is None else written.value or 0.0


def percent(written: Percent | None, historical: int | None) -> float:
    """Return a mirror's share: 100 where none is given."""
    return _percent(written, 100.0 if historical is None else float(historical))


def cors(written: CorsPolicy | None) -> Cors | None:
    if written is None:
        return None
    origins: list[StringMatch] = [
        string_match(origin) for origin in written.allow_origins if origin.exact != "*"
    ]
    wildcard = any(origin.exact == "*" for origin in written.allow_origins)
    if not written.allow_origins:  # the historical list is read only where the other is empty
        origins = [Exact(origin) for origin in written.allow_origin if origin != "*"]
        wildcard = "*" in written.allow_origin
    return Cors(
        origins=(*origins, *([Present()] if wildcard else [])),
        methods=",".join(written.allow_methods),
        headers=",".join(written.allow_headers),
        expose=",".join(written.expose_headers),
        max_age=str(int(written.max_age)) if written.max_age is not None else "",
        credentials=written.allow_credentials,
        forward_unmatched=written.unmatched_preflights != "IGNORE",
    )


def redirect(
    written: HTTPRedirect, match: HTTPMatchRequest | None, port: int, *, tls: bool = False
) -> Redirect:
    """Return a redirect as a listener on `port`, one that terminates TLS or not, gives it.

    Istio: a scheme's default port is not written.
    """
    target = port if written.derive_port == "FROM_REQUEST_PORT" else written.port
    scheme = written.scheme or ("https" if tls else "http")
    if target == {"http": 80, "https": 443}.get(scheme):
        target = None
    return Redirect(
        status=written.redirect_code or 301,
        path=written.uri or None,
        prefix=written.prefix_rewrite or None,
        matched=_prefix(match) if written.prefix_rewrite else None,
        authority=written.authority or None,
        scheme=written.scheme or None,
        port=target or None,
    )


def _prefix(match: HTTPMatchRequest | None) -> str | None:
    """Return what a path match consumed; None for one of the whole path. No match at all is ``/``."""
    uri = match.uri if match else None
    return "/" if uri is None else uri.prefix


def direct_response(written: HTTPDirectResponse) -> DirectResponse:
    body = written.body
    if body is None:
        return DirectResponse(written.status)
    content = body.string.encode() if body.string is not None else bytes(body.bytes or b"")
    return DirectResponse(written.status, content)


def template(text: str) -> str:
    """Return RE2's rewrite string as Python's template: ``\\0`` to ``\\9`` are groups, ``\\\\`` is itself."""
    return re.sub(r"\\(.)", lambda found: rf"\g<{found[1]}>" if found[1].isdigit() else r"\\", text)


def rewrite(
    written: HTTPRewrite | None,
    match: HTTPMatchRequest | None,
    by_headers: str | None,
    *,
    by_segment: bool = False,
) -> Rewrite | None:
    """Return the rewrite. `by_headers` is the authority that header operations ask for: the one of the
    rewrite comes before it (Istio). `by_segment`: the prefix that was matched ends with a segment, so that
    ``/`` in its place takes the slash behind it, too (Gateway API)."""
    host = (written.authority if written else "") or by_headers
    if written and (regex := written.uri_regex_rewrite):
        return Rewrite(regex=pattern(regex.match), substitution=template(regex.rewrite), authority=host)
    if written and written.uri == "/" and by_segment and (prefix := _prefix(match)):
        found = pattern(f"^{re.escape(prefix.rstrip('/'))}(/?)(.*)")
        return Rewrite(regex=found, substitution=r"/\2", authority=host)
    if written and written.uri:
        return Rewrite(path=written.uri, matched=_prefix(match), authority=host)
    return Rewrite(authority=host) if host else None
