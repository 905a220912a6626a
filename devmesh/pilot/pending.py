"""Fields that are understood and do nothing yet: what is not done is said, not ignored.

Whoever gives a field its effect takes it out of the tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from devmesh.config.documents.virtualservice import VirtualServiceSpec
from devmesh.config.finding import Finding
from devmesh.config.store import Stored
from devmesh.pilot.memo import Memo
from devmesh.pilot.resources import Loaded, Resources

CODE = "DM0304"
_POLICY = (
    "loadBalancer.zoneAwareLbSetting",
    "outlierDetection.consecutiveErrors",
    "retryBudget.budgetInterval",
    "connectionPool.http.http2KeepAlive",
    "tunnel.protocol=POST",
)
# Paths are dotted; [] is every item of a list, = a value that alone is meant.
_FIELDS: Mapping[str, Sequence[str]] = {
    "DestinationRule": [
        f"spec.{prefix}trafficPolicy.{port}{field}"
        for prefix in ("", "subsets[].")
        for port in ("", "portLevelSettings[].")
        for field in _POLICY
    ],
}
_CLAIMS = "@request.auth.claims"


def findings(resources: Resources, memo: Memo) -> Iterator[Finding]:
    """Yield what is to be told of the fields that do nothing yet."""
    for loaded in resources.destination_rules:
        yield from memo.get(("pending", loaded.stored.key), (loaded,), _by_path, loaded.stored)
    for vs in resources.virtual_services:
        yield from memo.get(("pending", vs.stored.key), (vs,), _claims, vs)


def _by_path(stored: Stored) -> tuple[Finding, ...]:
    return tuple(
        _finding(stored, path)
        for pattern in _FIELDS[stored.key.kind.kind]
        for path in _find(stored.raw, pattern.replace("[]", ".[]").split("."), "")
    )


def _find(value: Any, steps: Sequence[str], path: str) -> Iterator[str]:
    if not steps:
        yield path
    elif steps[0] == "[]":
        for number, item in enumerate(value if isinstance(value, list) else ()):
            yield from _find(item, steps[1:], f"{path}[{number}]")
    elif "=" in steps[0]:
        name, _, meant = steps[0].partition("=")
        if isinstance(value, dict) and value.get(name) == meant:
            yield f"{path}.{name}"
    elif isinstance(value, dict) and value.get(steps[0]) not in (None, "", [], {}):
        yield from _find(value[steps[0]], steps[1:], f"{path}.{steps[0]}" if path else steps[0])


def _claims(vs: Loaded[VirtualServiceSpec]) -> tuple[Finding, ...]:
    return tuple(
        _finding(vs.stored, f"spec.http[{index}].match[{number}].headers.{name}")
        for index, rule in enumerate(vs.spec.http)
        for number, block in enumerate(rule.match)
        for name in block.headers
        if name.startswith(_CLAIMS)
    )


def _finding(stored: Stored, path: str) -> Finding:
    key = stored.key
    message = "has no effect in devmesh yet"
    return Finding(CODE, "warning", message, key.kind.kind, key.namespace, key.name, path)
