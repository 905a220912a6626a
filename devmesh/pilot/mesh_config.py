"""MeshConfig, from the ConfigMap ``istio`` of the root namespace."""

from __future__ import annotations

from typing import Any

import yaml

from devmesh.config import kinds
from devmesh.config.documents.scalars import Duration
from devmesh.config.documents.virtualservice import HTTPRetry
from devmesh.config.store import Store, Stored
from devmesh.config.typed import convert
from devmesh.pilot import actions
from devmesh.pilot.memo import Memo
from devmesh.pilot.problems import Problems
from devmesh.pilot.settings import Settings
from devmesh.snapshot.snapshot import MeshSettings
from devmesh.traffic.retry import DEFAULT

_ROOT, _NAME, _KEY = "istio-system", "istio", "mesh"
DEFAULTS = Settings()


def settings(store: Store, memo: Memo, problems: Problems) -> Settings:
    """Return MeshConfig in force; Istio's defaults for what isn't there or can't be read."""
    stored = store.get(kinds.CONFIG_MAP, _ROOT, _NAME)
    if stored is None:
        return DEFAULTS
    with problems.contained(stored):
        return memo.get(("mesh config", stored.key), (stored,), _read, stored, problems)
    return DEFAULTS


def _read(stored: Stored, problems: Problems) -> Settings:
    text = (stored.raw.get("data") or {}).get(_KEY) or ""
    try:
        mesh = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        problems.add(
            "DM0302",
            "error",
            stored,
            f"data.{_KEY}",
            f"not YAML, so that Istio's defaults are in force: {' '.join(str(error).split())}",
        )
        return DEFAULTS
    return of_mesh(mesh)


def of_mesh(mesh: dict[str, Any]) -> Settings:
    """Translate MeshConfig as JSON has it (``outboundTrafficPolicy: {mode: REGISTRY_ONLY}``)."""
    policy = (mesh.get("outboundTrafficPolicy") or {}).get("mode") or "ALLOW_ANY"
    retry = mesh.get("defaultHttpRetryPolicy")
    return Settings(
        mesh=_mesh_settings(mesh),
        allow_any=policy != "REGISTRY_ONLY",
        auto_mtls=mesh.get("enableAutoMtls", True) is not False,
        connect_timeout=_seconds(mesh.get("connectTimeout"), 10.0),
        h2_upgrade=mesh.get("h2UpgradePolicy") == "UPGRADE",
        retry=actions.retry(convert(retry, HTTPRetry), DEFAULT) if retry else DEFAULT,
        service_export_to=_names(mesh.get("defaultServiceExportTo")),
        virtual_service_export_to=_names(mesh.get("defaultVirtualServiceExportTo")),
        destination_rule_export_to=_names(mesh.get("defaultDestinationRuleExportTo")),
    )


def _mesh_settings(mesh: dict[str, Any]) -> MeshSettings:
    tracing = (mesh.get("defaultConfig") or {}).get("tracing") or {}
    enabled = mesh.get("enableTracing", True) is not False
    sampling = tracing.get("sampling")
    return MeshSettings(
        trust_domain=mesh.get("trustDomain") or "cluster.local",
        root_namespace=mesh.get("rootNamespace") or _ROOT,
        access_log=mesh.get("accessLogFile") or "",
        access_log_json=mesh.get("accessLogEncoding") == "JSON",
        access_log_format=mesh.get("accessLogFormat") or "",
        sampling_percent=(1.0 if sampling is None else float(sampling)) if enabled else 0.0,
        sniff_timeout=_seconds(mesh.get("protocolDetectionTimeout"), MeshSettings().sniff_timeout),
    )


def _seconds(text: Any, absent: float) -> float:
    return float(Duration.parse(text)) if text else absent


def _names(written: Any) -> tuple[str, ...]:
    return tuple(str(name) for name in written) if written else ("*",)
