"""Defaults of the Gateway API's kinds (those of its CustomResourceDefinitions)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Raw = dict[str, Any]

_GROUP = "gateway.networking.k8s.io"


def gateway(raw: Raw) -> None:
    for listener in raw["spec"].get("listeners") or ():
        _listener(listener)
    for address in raw["spec"].get("addresses") or ():
        address.setdefault("type", "IPAddress")


def listener_set(raw: Raw) -> None:
    parent = raw["spec"]["parentRef"]
    parent.setdefault("group", _GROUP)
    parent.setdefault("kind", "Gateway")
    for listener in raw["spec"].get("listeners") or ():
        _listener(listener)


def _listener(listener: Raw) -> None:
    listener.setdefault("allowedRoutes", {}).setdefault("namespaces", {}).setdefault("from", "Same")
    tls = listener.get("tls")
    if tls is not None:
        tls.setdefault("mode", "Terminate")
        for ref in tls.get("certificateRefs") or ():
            ref.setdefault("group", "")
            ref.setdefault("kind", "Secret")


def http_route(raw: Raw) -> None:
    spec = raw.setdefault("spec", {})
    _parents(spec)
    rules = spec.setdefault("rules", [{}])
    for rule in rules:
        for match in rule.setdefault("matches", [{}]):
            path = match.setdefault("path", {})
            path.setdefault("type", "PathPrefix")
            path.setdefault("value", "/")
            _exact(match.get("headers") or ())
            _exact(match.get("queryParams") or ())
        _filters(rule)
        _backends(rule)


def grpc_route(raw: Raw) -> None:
    spec = raw.setdefault("spec", {})
    _parents(spec)
    for rule in spec.get("rules") or ():
        for match in rule.get("matches") or ():
            if match.get("method") is not None:
                match["method"].setdefault("type", "Exact")
            _exact(match.get("headers") or ())
        _filters(rule)
        _backends(rule)


def connection_route(raw: Raw) -> None:
    """Complete a TLSRoute or a TCPRoute."""
    spec = raw.setdefault("spec", {})
    _parents(spec)
    for rule in spec.get("rules") or ():
        _backends(rule)


def _parents(spec: Raw) -> None:
    for parent in spec.get("parentRefs") or ():
        parent.setdefault("group", _GROUP)
        parent.setdefault("kind", "Gateway")


def _exact(matches: Iterable[Raw]) -> None:
    for match in matches:
        match.setdefault("type", "Exact")


def _backends(rule: Raw) -> None:
    for backend in rule.get("backendRefs") or ():
        _backend(backend)
        backend.setdefault("weight", 1)
        _filters(backend)


def _backend(backend: Raw) -> None:
    backend.setdefault("group", "")
    backend.setdefault("kind", "Service")


def _filters(owner: Raw) -> None:
    for written in owner.get("filters") or ():
        if redirect := written.get("requestRedirect"):
            redirect.setdefault("statusCode", 302)
        elif "requestRedirect" in written:
            written["requestRedirect"] = {"statusCode": 302}
        if mirror := written.get("requestMirror"):
            _backend(mirror["backendRef"])
            if mirror.get("fraction"):
                mirror["fraction"].setdefault("denominator", 100)
        if cors := written.get("cors"):
            cors.setdefault("maxAge", 5)
