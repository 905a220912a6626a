"""DestinationRule (Istio: the validating webhook)."""

from __future__ import annotations

from collections.abc import Iterator
from math import isqrt

from devmesh.config.documents.destinationrule import (
    ClientTLSSettings,
    ConsistentHashLB,
    DestinationRule,
    LoadBalancerSettings,
    OutlierDetection,
    PortTrafficPolicy,
    TrafficPolicy,
)
from devmesh.config.documents.message import set_fields
from devmesh.config.problems import Cause, Path, duplicate, forbidden, invalid, required, unsupported, warning
from devmesh.config.validation import istio, names
from devmesh.config.validation.localities import locality_setting
from devmesh.config.validation.pools import connection_pool

_LARGEST_TABLE = 5_000_011


def destination_rule(resource: DestinationRule) -> Iterator[Cause]:
    spec = resource.spec
    if not spec.host:
        yield required(("spec", "host"))
    elif wrong := istio.wildcard_domain(spec.host):
        yield invalid(("spec", "host"), spec.host, wrong)
    yield from traffic_policy(spec.traffic_policy, ("spec", "trafficPolicy"))
    seen: set[str] = set()
    for n, subset in enumerate(spec.subsets):
        path: Path = ("spec", "subsets", n)
        if not subset.name:
            yield required((*path, "name"))
        elif not istio.is_label(subset.name):
            yield invalid(
                (*path, "name"), subset.name, "a subset's name is a DNS label (letters, digits, '-')"
            )
        elif subset.name in seen:
            yield duplicate((*path, "name"), subset.name)
        seen.add(subset.name)
        yield from istio.label_set(subset.labels, (*path, "labels"))
        yield from traffic_policy(subset.traffic_policy, (*path, "trafficPolicy"))
    selector = spec.workload_selector
    namespace = resource.metadata.namespace or ""
    yield from istio.export_to(spec.export_to, namespace, selected=selector is not None)
    if selector is not None:
        yield from istio.selector(selector.match_labels, ("spec", "workloadSelector"), given=True)


def traffic_policy(policy: TrafficPolicy | None, path: Path) -> Iterator[Cause]:
    if policy is None:
        return
    if not set_fields(policy):
        yield required(path, "a traffic policy needs at least one field")
    if policy.tunnel is not None and policy.proxy_protocol is not None:
        yield forbidden((*path, "proxyProtocol"), "not beside tunnel")
    yield from _blocks(policy, path)
    for n, settings in enumerate(policy.port_level_settings):
        at: Path = (*path, "portLevelSettings", n)
        if settings.port is None:
            yield required((*at, "port"))
        yield from istio.port_selector(settings.port, (*at, "port"))
        if set(set_fields(settings)) <= {"port"}:
            yield required(at, "the settings of a port need at least one field beside it")
        yield from _blocks(settings, at)
    tunnel = policy.tunnel
    if tunnel is not None:
        if tunnel.protocol not in ("", "CONNECT", "POST"):
            yield unsupported((*path, "tunnel", "protocol"), tunnel.protocol, ("CONNECT", "POST"))
        if not names.ip_address(tunnel.target_host) and (wrong := istio.fqdn(tunnel.target_host)):
            yield invalid((*path, "tunnel", "targetHost"), tunnel.target_host, wrong)
        yield from istio.port(tunnel.target_port, (*path, "tunnel", "targetPort"))


def _blocks(policy: TrafficPolicy | PortTrafficPolicy, path: Path) -> Iterator[Cause]:
    yield from _outlier_detection(policy.outlier_detection, (*path, "outlierDetection"))
    yield from connection_pool(policy.connection_pool, (*path, "connectionPool"))
    yield from _load_balancer(policy.load_balancer, policy.outlier_detection, (*path, "loadBalancer"))
    yield from client_tls(policy.tls, (*path, "tls"))


def _outlier_detection(outlier: OutlierDetection | None, path: Path) -> Iterator[Cause]:
    if outlier is None:
        return
    yield from istio.duration(outlier.base_ejection_time, (*path, "baseEjectionTime"))
    yield from istio.duration(outlier.interval, (*path, "interval"))
    yield from istio.percent(outlier.max_ejection_percent, (*path, "maxEjectionPercent"))
    yield from istio.percent(outlier.min_health_percent, (*path, "minHealthPercent"))
    if outlier.consecutive_errors:
        at: Path = (*path, "consecutiveErrors")
        yield warning(at, "is deprecated: use consecutive5xxErrors or consecutiveGatewayErrors")
    if outlier.consecutive_local_origin_failures and not outlier.split_external_local_origin_errors:
        detail = "needs splitExternalLocalOriginErrors: true"
        yield invalid(
            (*path, "consecutiveLocalOriginFailures"), outlier.consecutive_local_origin_failures, detail
        )


def _load_balancer(
    settings: LoadBalancerSettings | None, outlier: OutlierDetection | None, path: Path
) -> Iterator[Cause]:
    if settings is None:
        return
    if settings.simple is not None and settings.consistent_hash is not None:
        yield forbidden((*path, "consistentHash"), "not beside simple")
    if settings.consistent_hash is not None:
        yield from _consistent_hash(settings.consistent_hash, (*path, "consistentHash"))
    if settings.locality_lb_setting is not None:
        if settings.zone_aware_lb_setting is not None:
            yield forbidden((*path, "zoneAwareLbSetting"), "not beside localityLbSetting")
        at: Path = (*path, "localityLbSetting")
        yield from locality_setting(settings.locality_lb_setting, at, ejects=outlier is not None)
    warmup = settings.warmup
    if settings.warmup_duration_secs is not None:
        yield warning((*path, "warmupDurationSecs"), "is deprecated: use warmup.duration")
        yield from istio.duration(settings.warmup_duration_secs, (*path, "warmupDurationSecs"))
    if warmup is not None:
        if warmup.duration is None:
            yield required((*path, "warmup", "duration"))
        yield from istio.duration(warmup.duration, (*path, "warmup", "duration"))
        if warmup.minimum_percent is not None and warmup.minimum_percent > 100:
            yield invalid((*path, "warmup", "minimumPercent"), warmup.minimum_percent, "must be 100 or less")
        if warmup.aggression is not None and warmup.aggression <= 0:
            yield invalid((*path, "warmup", "aggression"), warmup.aggression, "must be above 0")


def _consistent_hash(hashing: ConsistentHashLB, path: Path) -> Iterator[Cause]:
    keys = {"httpHeaderName", "httpCookie", "useSourceIp", "httpQueryParameterName"} & set(
        set_fields(hashing)
    )
    if len(keys) != 1:
        detail = "give one of httpHeaderName, httpCookie, useSourceIp, httpQueryParameterName"
        yield forbidden(path, detail) if keys else warning(path, f"hashes nothing: {detail}")
    cookie = hashing.http_cookie
    if cookie is not None:
        yield from istio.needs(cookie.name, (*path, "httpCookie", "name"))
        seen: set[str] = set()
        for n, attribute in enumerate(cookie.attributes):
            at: Path = (*path, "httpCookie", "attributes", n, "name")
            yield from istio.needs(attribute.name, at)
            if attribute.name in seen:
                yield duplicate(at, attribute.name)
            seen.add(attribute.name)
    if hashing.minimum_ring_size:
        yield warning((*path, "minimumRingSize"), "is deprecated: use ringHash.minimumRingSize")
        if hashing.ring_hash is not None or hashing.maglev is not None:
            yield forbidden((*path, "minimumRingSize"), "not beside ringHash or maglev")
    if hashing.maglev is not None:
        size = hashing.maglev.table_size
        if not 0 < size < _LARGEST_TABLE or not _is_prime(size):
            detail = f"must be a prime number below {_LARGEST_TABLE}"
            yield invalid((*path, "maglev", "tableSize"), size, detail)


def _is_prime(number: int) -> bool:
    return number > 1 and all(number % factor for factor in range(2, isqrt(number) + 1))


def client_tls(tls: ClientTLSSettings | None, path: Path) -> Iterator[Cause]:
    """Check TLS towards a destination."""
    if tls is None:
        return
    if tls.insecure_skip_verify and tls.mode in ("SIMPLE", "MUTUAL"):
        for field, value in (
            ("caCertificates", tls.ca_certificates),
            ("subjectAltNames", tls.subject_alt_names),
        ):
            if value:
                yield forbidden((*path, field), "not beside insecureSkipVerify")
        if tls.credential_name and tls.mode == "SIMPLE":
            yield forbidden((*path, "credentialName"), "not beside insecureSkipVerify")
    if tls.credential_name and tls.mode in ("SIMPLE", "MUTUAL"):
        for field, value in (
            ("clientCertificate", tls.client_certificate),
            ("caCertificates", tls.ca_certificates),
            ("privateKey", tls.private_key),
            ("caCrl", tls.ca_crl),
        ):
            if value:
                yield forbidden((*path, field), "not beside credentialName")
    elif tls.mode == "MUTUAL":
        yield from istio.needs(tls.client_certificate, (*path, "clientCertificate"))
        yield from istio.needs(tls.private_key, (*path, "privateKey"))
