"""The configuration of the reference rate-limit service, which devmesh keeps to where that isn't there.

Envoy's github.com/envoyproxy/ratelimit: a ConfigMap with ``domain`` and nested ``descriptors``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from devmesh.config.store import Stored
from devmesh.snapshot.origin import Origin
from devmesh.snapshot.rate_limits import Allowance, Quota, QuotaNode

_UNITS = {
    "second": 1,
    "minute": 60,
    "hour": 3600,
    "day": 86400,
    "week": 604800,
    "month": 2592000,
    "year": 31536000,
}


def quotas_in(stored: Stored) -> Iterator[Quota | str]:
    """Yield the quotas that a ConfigMap holds, or what is wrong with one that means to be one."""
    for key, text in (stored.raw.get("data") or {}).items():
        if not isinstance(text, str) or "domain" not in text or "descriptors" not in text:
            continue
        try:
            found = yaml.safe_load(text)
        except yaml.YAMLError:
            continue
        if isinstance(found, dict) and isinstance(found.get("domain"), str) and "descriptors" in found:
            origin = Origin("ConfigMap", stored.namespace, stored.name, f"data[{key}]")
            try:
                yield Quota(found["domain"], QuotaNode(None, _nodes(found["descriptors"])), origin)
            except (TypeError, ValueError) as error:
                yield f"data[{key}]: {error}"


def _nodes(written: object) -> Mapping[str, QuotaNode]:
    nodes = {}
    if not isinstance(written, list):
        raise TypeError(f"descriptors: expected a list, got {written!r}")
    for each in written:
        if not isinstance(each, dict) or not each.get("key"):
            raise TypeError(f"a descriptor needs a key: {each!r}")
        name = str(each["key"])
        if each.get("value") not in (None, ""):
            name += f"_{each['value']}"
        limit = each.get("rate_limit")
        allowance = _allowance(limit, name, shadow=bool(each.get("shadow_mode"))) if limit else None
        nodes[name] = QuotaNode(allowance, _nodes(each.get("descriptors") or []))
    return nodes


def _allowance(limit: Any, name: str, *, shadow: bool) -> Allowance:
    if not isinstance(limit, dict):
        raise TypeError(f"rate_limit of {name!r}: expected a mapping, got {limit!r}")
    if limit.get("unlimited"):
        return Allowance(None, 1, name)
    unit = str(limit.get("unit", "")).lower()
    if unit not in _UNITS:
        raise ValueError(f"rate_limit.unit of {name!r}: {unit!r} is none of: {', '.join(_UNITS)}")
    requests = limit.get("requests_per_unit", 0)
    if not isinstance(requests, int) or isinstance(requests, bool) or requests < 0:
        raise TypeError(f"rate_limit.requests_per_unit of {name!r}: {requests!r} is not a whole number")
    return Allowance(requests, _UNITS[unit], str(limit.get("name") or name), shadow)
