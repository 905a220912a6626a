"""Istio's MeshConfig: what is read of it, its defaults here, and what has no effect."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import yaml
from msgspec import field

from devmesh.config.decode import check
from devmesh.config.documents.destinationrule import (
    ConnectionPoolSettings,
    LocalityLoadBalancerSetting,
    OutlierDetection,
    TcpKeepalive,
)
from devmesh.config.documents.message import Message, set_fields
from devmesh.config.documents.scalars import Duration, UInt32
from devmesh.config.documents.virtualservice import HTTPRetry
from devmesh.config.problems import NO_EFFECT, Cause, Path, invalid
from devmesh.config.typed import convert
from devmesh.config.validation.actions import retries
from devmesh.config.yaml_values import NotYAML, read_values

ROOT_NAMESPACE = "istio-system"


class OutboundPolicy(Message, frozen=True, kw_only=True):
    """What becomes of calls to unknown hosts."""

    mode: Literal["REGISTRY_ONLY", "ALLOW_ANY", "ALLOW_ANY_DYNAMIC_DNS"] | None = None


class InboundPolicy(Message, frozen=True, kw_only=True):
    """What becomes of calls to ports that no Service names."""

    mode: Literal["PASSTHROUGH", "LOCALHOST"] | None = None


class Tracing(Message, frozen=True, kw_only=True):
    """How many requests are traced, in per cent."""

    sampling: float | None = None
    zipkin: dict[str, Any] = field(default_factory=dict)
    custom_tags: dict[str, Any] = field(default_factory=dict)
    max_path_tag_length: int | None = None
    tls_settings: Any = None
    lightstep: Any = None
    datadog: Any = None
    stackdriver: Any = None
    opencensus_agent: Any = None


class GatewayTopology(Message, frozen=True, kw_only=True):
    """What stands before the gateways."""

    num_trusted_proxies: UInt32 = 0
    forward_client_cert_details: (
        Literal[
            "UNDEFINED", "SANITIZE", "FORWARD_ONLY", "APPEND_FORWARD", "SANITIZE_SET", "ALWAYS_FORWARD_ONLY"
        ]
        | None
    ) = None
    proxy_protocol: dict[str, Any] | None = None


class ProxyConfig(Message, frozen=True, kw_only=True):
    """Defaults of the proxies."""

    tracing: Tracing | None = None
    proxy_metadata: dict[str, str] = field(default_factory=dict)
    gateway_topology: GatewayTopology | None = None
    hold_application_until_proxy_starts: bool | None = None
    termination_drain_duration: Duration | None = None
    drain_duration: Duration | None = None
    discovery_address: str = ""
    service_cluster: str = ""
    proxy_admin_port: int | None = None
    status_port: int | None = None
    concurrency: int | None = None
    config_path: str = ""
    binary_path: str = ""
    tracing_service_name: str = ""
    extra_stat_tags: tuple[str, ...] = ()
    proxy_stats_matcher: Any = None
    proxy_headers: Any = None
    readiness_probe: Any = None
    image: Any = None
    private_key_provider: Any = None
    env_overrides: Any = None
    stats_udp_address: str = ""
    envoy_access_log_service: Any = None
    envoy_metrics_service: Any = None
    control_plane_auth_policy: str = ""
    interception_mode: str = ""
    ca_certificates_pem: tuple[str, ...] = ()
    runtime_values: dict[str, str] = field(default_factory=dict)
    zipkin_address: str = ""
    file_flush_interval: Duration | None = None
    file_flush_min_size_kb: int | None = None


class DefaultTrafficPolicy(Message, frozen=True, kw_only=True):
    """What is in force where no DestinationRule has such a block."""

    connection_pool: ConnectionPoolSettings | None = None
    outlier_detection: OutlierDetection | None = None


class ProxyPathNormalization(Message, frozen=True, kw_only=True):
    """How far paths are made canonical; ``DEFAULT`` is ``BASE``."""

    normalization: Literal["DEFAULT", "NONE", "BASE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"] = "DEFAULT"


class MeshConfig(Message, frozen=True, kw_only=True):
    """What applies to the whole mesh (``meshConfig``; the ConfigMap ``istio``)."""

    access_log_file: str = ""
    access_log_format: str = ""
    access_log_encoding: Literal["TEXT", "JSON"] | None = None
    enable_tracing: bool | None = None
    default_config: ProxyConfig | None = None
    outbound_traffic_policy: OutboundPolicy | None = None
    inbound_traffic_policy: InboundPolicy | None = None
    enable_auto_mtls: bool | None = None
    trust_domain: str = ""
    trust_domain_aliases: tuple[str, ...] = ()
    root_namespace: str = ""
    connect_timeout: Duration | None = None
    protocol_detection_timeout: Duration | None = None
    default_http_retry_policy: HTTPRetry | None = None
    default_service_export_to: tuple[str, ...] = ()
    default_virtual_service_export_to: tuple[str, ...] = ()
    default_destination_rule_export_to: tuple[str, ...] = ()
    h2_upgrade_policy: Literal["DO_NOT_UPGRADE", "UPGRADE"] | None = None
    locality_lb_setting: LocalityLoadBalancerSetting | None = None
    dns_refresh_rate: Duration | None = None
    path_normalization: ProxyPathNormalization | None = None
    extension_providers: tuple[dict[str, Any], ...] = ()
    default_providers: Any = None
    discovery_selectors: tuple[dict[str, Any], ...] = ()
    mesh_mtls: Any = field(default=None, name="meshMTLS")
    tls_defaults: Any = None
    ca_certificates: tuple[dict[str, Any], ...] = ()
    enable_prometheus_merge: bool | None = None
    ingress_class: str = ""
    ingress_service: str = ""
    ingress_controller_mode: Literal["UNSPECIFIED", "OFF", "DEFAULT", "STRICT"] | None = None
    ingress_selector: str = ""
    tcp_keepalive: TcpKeepalive | None = None
    default_traffic_policy: DefaultTrafficPolicy | None = None
    proxy_listen_port: int | None = None
    proxy_inbound_listen_port: int | None = None
    proxy_http_port: int | None = None
    disable_envoy_listener_log: bool | None = None
    enable_envoy_access_log_service: bool | None = None
    verify_certificate_at_client: bool | None = None
    config_sources: tuple[dict[str, Any], ...] = ()
    service_settings: tuple[dict[str, Any], ...] = ()
    certificates: tuple[dict[str, Any], ...] = ()
    ca: Any = None
    service_scope_configs: tuple[dict[str, Any], ...] = ()
    default_inbound_http_retry_policy: Any = field(default=None, name="defaultInboundHttpRetryPolicy")


# Everything else that is given is reported as without effect.
_READ = {
    "accessLogFile",
    "accessLogFormat",
    "accessLogEncoding",
    "enableTracing",
    "defaultConfig",
    "outboundTrafficPolicy",
    "enableAutoMtls",
    "trustDomain",
    "rootNamespace",
    "connectTimeout",
    "protocolDetectionTimeout",
    "defaultHttpRetryPolicy",
    "defaultServiceExportTo",
    "defaultVirtualServiceExportTo",
    "defaultDestinationRuleExportTo",
    "h2UpgradePolicy",
    "ingressClass",
    "ingressControllerMode",
    "ingressSelector",
    "localityLbSetting",
    "tcpKeepalive",
    "defaultTrafficPolicy",
    "pathNormalization",
}
# What every installation carries, and nobody expects something of.
_QUIET = {"defaultProviders", "enablePrometheusMerge", "extensionProviders"}

DEMO: Mapping[str, Any] = {
    "accessLogFile": "/dev/stdout",
    "defaultConfig": {"tracing": {"sampling": 100}},
    "defaultProviders": {"metrics": ["prometheus"]},
    "enablePrometheusMerge": True,
    "enableTracing": True,
    "rootNamespace": ROOT_NAMESPACE,
    "trustDomain": "cluster.local",
}
"""Istio's demo profile: access log to stdout, all requests traced."""


def effective(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return `given` over the defaults of the demo profile; objects merge, lists replace."""
    return _over(DEMO, given)


def written(config: Mapping[str, Any]) -> str:
    """Return MeshConfig as the ConfigMap holds it."""
    return str(yaml.safe_dump(dict(config), sort_keys=True, default_flow_style=False))


def check_config(raw: dict[str, Any], path: Path = ()) -> Iterator[Cause]:
    """Find what is wrong with a MeshConfig, or has no effect; paths begin with `path`."""
    clean, causes = check(raw, MeshConfig, snake_case=True)
    found = list(causes)
    if not causes:
        config = convert(clean, MeshConfig)
        found += retries(config.default_http_retry_policy, ("defaultHttpRetryPolicy",))
        sampling = config.default_config.tracing if config.default_config else None
        if sampling and sampling.sampling is not None and not 0 <= sampling.sampling <= 100:
            at: Path = ("defaultConfig", "tracing", "sampling")
            found.append(invalid(at, sampling.sampling, "must be between 0 and 100, inclusive"))
        for name in set_fields(config):
            if name not in _READ | _QUIET:
                found.append(Cause((name,), NO_EFFECT, "has no effect in devmesh"))
    for cause in found:
        yield Cause((*path, *cause.path), cause.reason, cause.message)


def check_text(text: str, path: Path) -> Iterator[Cause]:
    """Find what is wrong with the text of the ConfigMap ``istio``."""
    try:
        values = [value.value for value in read_values(text)]
    except NotYAML as error:
        yield invalid(path, text[:40], f"not YAML (line {error.place[0]}): {error}")
        return
    if len(values) > 1 or not isinstance(values[0] if values else {}, dict):
        yield invalid(path, text[:40], "must be one object")
    elif values:
        yield from check_config(values[0], path)


def _over(base: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in given.items():
        was = merged.get(name)
        merged[name] = _over(was, value) if isinstance(was, dict) and isinstance(value, dict) else value
    return merged
