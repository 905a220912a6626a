"""MeshConfig, from the ConfigMap ``istio`` of the root namespace."""

from __future__ import annotations

from typing import Any

import yaml

from devmesh.config import kinds
from devmesh.config.decode import check
from devmesh.config.meshconfig import ROOT_NAMESPACE, MeshConfig, ProxyPathNormalization
from devmesh.config.store import Store, Stored
from devmesh.config.typed import convert
from devmesh.pilot import actions
from devmesh.pilot.memo import Memo
from devmesh.pilot.problems import Problems
from devmesh.pilot.settings import Settings
from devmesh.pilot.topology import topology
from devmesh.pilot.traffic_policies import keepalive
from devmesh.snapshot.snapshot import MeshSettings, PathNormalization
from devmesh.traffic.retry import DEFAULT

_NAME, _KEY = "istio", "mesh"
DEFAULTS = Settings()


def settings(store: Store, memo: Memo, problems: Problems) -> Settings:
    """Return MeshConfig in force; Istio's defaults where there is none, or none that can be read."""
    stored = store.get(kinds.CONFIG_MAP, ROOT_NAMESPACE, _NAME)
    if stored is None:
        return DEFAULTS
    found, complaint = memo.get(("mesh config", stored.key), (stored,), _read, stored)
    if complaint:
        problems.add("DM0302", "error", stored, f"data.{_KEY}", f"{complaint}; Istio's defaults are in force")
    return found


def _read(stored: Stored) -> tuple[Settings, str]:
    try:
        values = yaml.safe_load((stored.raw.get("data") or {}).get(_KEY) or "") or {}
        clean, causes = check(values, MeshConfig, snake_case=True)
        if causes:
            return DEFAULTS, "; ".join(f"{cause.path}: {cause.message}" for cause in causes)
        return _translated(convert(clean, MeshConfig)), ""
    except (yaml.YAMLError, ValueError, TypeError) as error:
        return DEFAULTS, f"it cannot be read ({' '.join(str(error).split())})"


def of_mesh(values: dict[str, Any]) -> Settings:
    """Translate MeshConfig as YAML has it; unknown fields count for nothing.

    Raises:
        ValueError: A known field has a wrong type.
    """
    return _translated(convert(check(values, MeshConfig, snake_case=True)[0], MeshConfig))


def _translated(config: MeshConfig) -> Settings:
    policy = config.outbound_traffic_policy
    retry = config.default_http_retry_policy
    defaults = DEFAULTS
    timeout = config.connect_timeout
    return Settings(
        mesh=_mesh_settings(config),
        by_name=policy is not None and policy.mode == "ALLOW_ANY_DYNAMIC_DNS",
        allow_any=policy is None or policy.mode != "REGISTRY_ONLY",
        auto_mtls=config.enable_auto_mtls is not False,
        connect_timeout=defaults.connect_timeout if timeout is None else float(timeout),
        h2_upgrade=config.h2_upgrade_policy == "UPGRADE",
        retry=actions.retry(retry, DEFAULT) if retry else DEFAULT,
        locality=config.locality_lb_setting or defaults.locality,
        keepalive=keepalive(config.tcp_keepalive, None),
        pool=config.default_traffic_policy.connection_pool if config.default_traffic_policy else None,
        outlier=config.default_traffic_policy.outlier_detection if config.default_traffic_policy else None,
        topology=topology(config.default_config),
        ingress_class=config.ingress_class or defaults.ingress_class,
        ingress_selector=config.ingress_selector or defaults.ingress_selector,
        ingress_mode=_ingress_mode(config),
        service_export_to=config.default_service_export_to or defaults.service_export_to,
        virtual_service_export_to=config.default_virtual_service_export_to
        or defaults.virtual_service_export_to,
        destination_rule_export_to=config.default_destination_rule_export_to
        or defaults.destination_rule_export_to,
    )


def _ingress_mode(config: MeshConfig) -> str:
    mode = config.ingress_controller_mode
    return DEFAULTS.ingress_mode if mode in (None, "UNSPECIFIED") else mode


def _mesh_settings(config: MeshConfig) -> MeshSettings:
    tracing: Any = config.default_config.tracing if config.default_config else None
    sampling = 1.0 if tracing is None or tracing.sampling is None else tracing.sampling
    defaults = MeshSettings()
    refresh = config.dns_refresh_rate
    sniffing = config.protocol_detection_timeout
    draining = config.default_config.drain_duration if config.default_config else None
    return MeshSettings(
        trust_domain=config.trust_domain or defaults.trust_domain,
        root_namespace=config.root_namespace or defaults.root_namespace,
        access_log=config.access_log_file,
        access_log_json=config.access_log_encoding == "JSON",
        access_log_format=config.access_log_format,
        sampling_percent=sampling if config.enable_tracing is not False else 0.0,
        drain_duration=defaults.drain_duration if draining is None else float(draining),
        dns_refresh=defaults.dns_refresh if refresh is None else max(float(refresh), 1.0),
        path_normalization=_path_normalization(config.path_normalization),
        sniff_timeout=defaults.sniff_timeout if sniffing is None else float(sniffing),
    )


def _path_normalization(given: ProxyPathNormalization | None) -> PathNormalization:
    if given is None or given.normalization == "DEFAULT":
        return PathNormalization.BASE
    return PathNormalization(given.normalization)
