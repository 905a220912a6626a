"""The two rate-limit filters, out of their ``typed_config``."""

from __future__ import annotations

from devmesh.pilot.envoy_filters.fields import Fields, Misread
from devmesh.pilot.envoy_filters.rules import rules
from devmesh.snapshot.origin import Origin
from devmesh.snapshot.rate_limits import Bucket, Descriptor, GlobalLimit, LocalLimit
from devmesh.snapshot.route import HeaderOps

LOCAL = "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit"
GLOBAL = "envoy.extensions.filters.http.ratelimit.v3.RateLimit"
_PARTS = {"HUNDRED": 100, "TEN_THOUSAND": 10_000, "MILLION": 1_000_000}


def local_limit(fields: Fields, origin: Origin, *, first: bool) -> LocalLimit:
    """Read a LocalRateLimit.

    Raises:
        Misread: A value is not what Envoy takes there.
    """
    bucket = _bucket(fields.message("token_bucket"))
    limit = LocalLimit(
        stat_prefix=fields.text("stat_prefix", "http_local_rate_limiter"),
        bucket=bucket,
        buckets=tuple(_descriptor(each) for each in fields.messages("descriptors")),
        rules=rules(fields),
        stage=fields.number("stage"),
        enabled=_percent(fields.message("filter_enabled")),
        enforced=_percent(fields.message("filter_enforced")),
        status=_status(fields, 429),
        response_headers=_headers(fields, "response_headers_to_add"),
        request_headers=_headers(fields, "request_headers_to_add_when_not_enforced"),
        takes_default=fields.flag("always_consume_default_token_bucket", True),
        per_connection=fields.flag("local_rate_limit_per_downstream_connection"),
        tells=fields.text("enable_x_ratelimit_headers", "OFF") != "OFF",
        exhausted=fields.flag("rate_limited_as_resource_exhausted"),
        first=first,
        origin=origin,
    )
    fields.end()
    return limit


def _bucket(fields: Fields | None) -> Bucket | None:
    if fields is None:
        return None
    path = fields.path("fill_interval")
    bucket = Bucket(
        fields.number("max_tokens"), fields.number("tokens_per_fill", 1), fields.seconds("fill_interval")
    )
    fields.end()
    if bucket.interval < 0.05:
        raise Misread(path, "it has to be at least 50ms, as in Envoy")
    if not bucket.size:
        raise Misread(path.replace("fill_interval", "max_tokens"), "it has to be at least 1")
    return bucket


def _descriptor(fields: Fields) -> tuple[Descriptor, Bucket]:
    entries = []
    for each in fields.messages("entries"):
        entries.append((each.text("key"), each.text("value")))
        each.end()
    path = fields.path("token_bucket")
    bucket = _bucket(fields.message("token_bucket"))
    if bucket is None:
        raise Misread(path, "a descriptor needs its token bucket")
    fields.end()
    return tuple(entries), bucket


def _percent(fields: Fields | None) -> float:
    """Read a RuntimeFractionalPercent. Envoy: without one nothing is counted, or refused; there is no
    runtime here, so that its key says nothing."""
    if fields is None:
        return 0.0
    fields.any("runtime_key")
    value = fields.message("default_value")
    fields.end()
    if value is None:
        return 0.0
    numerator = value.number("numerator")
    path = value.path("denominator")
    denominator = value.text("denominator", "HUNDRED")
    value.end()
    if denominator not in _PARTS:
        raise Misread(path, f"{denominator!r} is none of: {', '.join(_PARTS)}")
    return min(100.0, numerator * 100 / _PARTS[denominator])


def _status(fields: Fields, default: int, name: str = "status") -> int:
    """Envoy: a status below 400 is the default's."""
    found = fields.message(name)
    if found is None:
        return default
    path = found.path("code")
    code = found.any("code")
    found.end()
    if isinstance(code, str):  # an enumeration's name: it is not spelled out here
        raise Misread(path, f"write the status as a number, not as {code!r}")
    return code if isinstance(code, int) and 400 <= code < 600 else default


def _headers(fields: Fields, name: str) -> HeaderOps:
    """Read HeaderValueOptions. Envoy: without more said a header is added beside others of its name."""
    added: list[tuple[str, str]] = []
    put: list[tuple[str, str]] = []
    for each in fields.messages(name):
        header = each.message("header")
        if header is None:
            each.end()
            continue
        pair = (header.text("key").lower(), header.text("value"))
        header.end()
        action = each.text("append_action", "APPEND_IF_EXISTS_OR_ADD")
        if not each.flag("append", True) or action.startswith("OVERWRITE"):
            put.append(pair)
        else:
            added.append(pair)
        each.any("keep_empty_value")
        each.end()
    return HeaderOps(set=tuple(put), add=tuple(added))


def global_limit(fields: Fields, origin: Origin, *, first: bool) -> GlobalLimit:
    """Read a RateLimit.

    Raises:
        Misread: A value is not what Envoy takes there.
    """
    path = fields.path("domain")
    domain = fields.text("domain")
    if not domain:
        raise Misread(path, "it is missing")
    cluster, authority, timeout = _service(fields)
    limit = GlobalLimit(
        domain=domain,
        cluster=cluster,
        authority=authority,
        timeout=fields.seconds("timeout", timeout),
        denies=fields.flag("failure_mode_deny"),
        stage=fields.number("stage"),
        status=_status(fields, 429, "rate_limited_status"),
        error_status=_status(fields, 500, "status_on_error"),
        response_headers=_headers(fields, "response_headers_to_add"),
        says_limited=not fields.flag("disable_x_envoy_ratelimited_header"),
        tells=fields.text("enable_x_ratelimit_headers", "OFF") != "OFF",
        exhausted=fields.flag("rate_limited_as_resource_exhausted"),
        first=first,
        origin=origin,
    )
    if fields.text("request_type", "both") == "both":
        fields.any("stat_prefix")
    fields.end()
    return limit


def _service(fields: Fields) -> tuple[str, str, float]:
    """Return the cluster that is asked, the authority, and the time-out."""
    path = fields.path("rate_limit_service")
    service = fields.message("rate_limit_service")
    grpc = service.message("grpc_service") if service is not None else None
    envoy = grpc.message("envoy_grpc") if grpc is not None else None
    if service is None or grpc is None or envoy is None:
        raise Misread(path, "it needs grpc_service.envoy_grpc.cluster_name")
    cluster, authority = envoy.text("cluster_name"), envoy.text("authority")
    envoy.end()
    timeout = grpc.seconds("timeout", 0.02)
    grpc.end()
    service.any("transport_api_version")
    service.end()
    return cluster, authority, timeout
