"""Rate limits on the way of a request: the proxy's own buckets, then a service for all proxies."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from devmesh.proxy.expansion import expander
from devmesh.proxy.http1 import Fields
from devmesh.proxy.rate_limit_service import Answer, ask
from devmesh.snapshot.rate_limits import Descriptor, GlobalLimit, Limiting, LocalLimit
from devmesh.snapshot.route import NO_OPS
from devmesh.traffic import headers
from devmesh.traffic.limiting import Facts, Left, descriptors, take

if TYPE_CHECKING:
    from devmesh.proxy.exchange import Exchange
    from devmesh.proxy.side import Side

LIMITED = b"local_rate_limited"  # Envoy's words
_LOCAL, _OK, _OVER, _ERROR = "http_local_rate_limit", "ok", "over_limit", "error"

_EXHAUSTED = "8"

Then = Callable[["Exchange"], None]


def check(side: Side, exchange: Exchange, limiting: Limiting, then: Then, *, first: bool | None) -> None:
    """Go on with `then` where an exchange is within its limits; otherwise it has been answered.

    Args:
        first: Ask the limits that come first, or those that don't; None: both.
    """
    added = limiting.of(exchange.route)
    facts = Facts(
        lambda name: _header(exchange, name), _remote(side, exchange), side.group, exchange.cluster.name
    )
    for limit in limiting.local:
        if first in (None, limit.first):
            config = added.local or limit
            found = descriptors(config.rules or added.rules, config.stage, facts) if config.buckets else []
            if not _is_within(side, exchange, config, found):
                return
    route = exchange.route
    if route is None or not (route.destinations or side.by_original):
        then(exchange)  # Envoy: what is answered by the route itself asks no service
        return
    shared = [limit for limit in limiting.shared if first in (None, limit.first)]
    asked = [(limit, descriptors(added.rules, limit.stage, facts)) for limit in shared]
    _ask(side, exchange, [each for each in asked if each[1]], then)


def _remote(side: Side, exchange: Exchange) -> str:
    """Return the client's address; to a workload the proxies before it tell that (Envoy: the last)."""
    forwarded = exchange.request.headers.get("x-forwarded-for") if side.by_original else None
    return forwarded.rpartition(",")[2].strip() if forwarded else side.client_of(exchange.request)[0]


def _header(exchange: Exchange, name: str) -> str | None:
    request = exchange.request
    match name:
        case ":path":
            return request.path
        case ":method":
            return request.method
        case ":authority" | "host":
            return request.authority
        case ":scheme":
            return request.scheme
    return request.headers.get(name)


# -- of the proxy itself --


def _is_within(side: Side, exchange: Exchange, limit: LocalLimit, found: list[Descriptor]) -> bool:
    """Tell whether a local limit lets a request through; otherwise it has been answered."""
    if limit.bucket is None or not _drawn(side, limit.enabled):
        return True
    counts = _counts(side, limit.stat_prefix)
    counts["enabled"] += 1
    buckets = side.buckets if limit.per_connection else side.state.buckets
    within, left = take(limit, side.limit_place, found, buckets, side.plane.reactor.now())
    if limit.tells and left is not None:
        exchange.response_fields = (*exchange.response_fields, *_told(left))
    if within:
        counts["ok"] += 1
        return True
    counts["rate_limited"] += 1
    if not _drawn(side, limit.enforced):
        if limit.request_headers is not NO_OPS:
            added: Fields = []
            headers.apply(limit.request_headers, added, expander(exchange, None))
            exchange.request_fields = (*exchange.request_fields, *added)
        return True
    counts["enforced"] += 1
    fields: Fields = _status(exchange, limit)
    headers.apply(limit.response_headers, fields, expander(exchange, None))
    exchange.reply(limit.status, LIMITED, "RL", LIMITED.decode(), fields)
    return False


def _status(exchange: Exchange, limit: LocalLimit | GlobalLimit) -> Fields:
    return [("grpc-status", _EXHAUSTED)] if limit.exhausted and exchange.request.is_grpc else []


def _drawn(side: Side, percent: float) -> bool:
    return percent >= 100 or (percent > 0 and side.plane.draw() * 100 < percent)


def _counts(side: Side, prefix: str) -> dict[str, int]:
    counts = side.state.limited.get(f"{prefix}.{_LOCAL}")
    if counts is None:
        names = ("enabled", "enforced", "ok", "rate_limited", "shadow_mode")
        counts = side.state.limited[f"{prefix}.{_LOCAL}"] = dict.fromkeys(names, 0)
    return counts


def _told(left: Left) -> Fields:
    return [
        ("x-ratelimit-limit", str(left.limit)),
        ("x-ratelimit-remaining", str(left.remaining)),
        ("x-ratelimit-reset", str(left.reset)),
    ]


# -- of a service --


def _ask(
    side: Side, exchange: Exchange, asked: list[tuple[GlobalLimit, list[Descriptor]]], then: Then
) -> None:
    if not asked:
        then(exchange)
        return
    (limit, found), *others = asked

    def answered(answer: Answer) -> None:
        if not exchange.is_over and _is_granted(side, exchange, limit, answer):
            _ask(side, exchange, others, then)

    if limit.quota is not None:
        granted, left = side.plane.quotas.take(limit.quota, found, side.plane.reactor.time())
        answered(Answer(limited=not granted, left=left))
    else:
        ask(side, limit, found, answered)


def _is_granted(side: Side, exchange: Exchange, limit: GlobalLimit, answer: Answer) -> bool:
    """Tell whether a service's answer lets a request through; otherwise it has been answered."""
    if limit.tells and answer.left is not None:
        exchange.response_fields = (*exchange.response_fields, *_told(answer.left))
    counts = _service_counts(side, exchange)
    if answer.failed:
        counts[_ERROR] += 1
        if limit.denies:
            exchange.reply(limit.error_status, b"", "RLSE", "rate_limiter_error")
            return False
        counts["failure_mode_allowed"] += 1
        return True
    if not answer.limited:
        counts[_OK] += 1
        exchange.response_fields = (*exchange.response_fields, *answer.response_fields)
        if answer.request_fields:
            exchange.request_fields = (*exchange.request_fields, *answer.request_fields)
        return True
    counts[_OVER] += 1
    fields: Fields = [*_status(exchange, limit), *answer.response_fields]
    headers.apply(limit.response_headers, fields, expander(exchange, None))
    if limit.says_limited:
        fields.append(("x-envoy-ratelimited", "true"))
    exchange.reply(limit.status, answer.body, "RL", "request_rate_limited", fields)
    return False


def _service_counts(side: Side, exchange: Exchange) -> dict[str, int]:
    """Envoy counts under the cluster that the request would go to."""
    prefix = f"cluster.{exchange.cluster.name}.ratelimit"
    counts = side.state.limited.get(prefix)
    if counts is None:
        names = (_OK, _ERROR, _OVER, "failure_mode_allowed")
        counts = side.state.limited[prefix] = dict.fromkeys(names, 0)
    return counts
