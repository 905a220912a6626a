"""Resources of the Gateway API for tests."""

from __future__ import annotations

from tests.pilot.meshes import Mesh, deployment, mesh, service

HTTP_LISTENER = "{name: http, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}"


def resource(kind: str, name: str, spec: str, namespace: str = "default", metadata: str = "") -> str:
    """Write a resource with the fields in `spec`; `metadata` are more of its metadata."""
    body = "\n".join(f"  {line}" for line in spec.strip("\n").splitlines())
    extra = f", {metadata}" if metadata else ""
    return f"""
---
apiVersion: gateway.networking.k8s.io/v1
kind: {kind}
metadata: {{name: {name}, namespace: {namespace}{extra}}}
spec:
{body}
"""


def gateway(
    *listeners: str, name: str = "gw", namespace: str = "default", spec: str = "", metadata: str = ""
) -> str:
    listed = "".join(f"\n- {listener}" for listener in listeners or (HTTP_LISTENER,))
    text = f"gatewayClassName: istio\n{spec}\nlisteners:{listed}"
    return resource("Gateway", name, text, namespace, metadata)


def http(
    name: str, rules: str, *, parents: str = "[{name: gw}]", hosts: str = "[]", namespace: str = "default"
) -> str:
    """Write an HTTPRoute; `rules` is a YAML list."""
    return resource(
        "HTTPRoute", name, f"parentRefs: {parents}\nhostnames: {hosts}\nrules: {rules}", namespace
    )


def to(name: str, port: int = 80, more: str = "") -> str:
    return f"{{name: {name}, port: {port}{', ' + more if more else ''}}}"


def rule(match: str = "", *backends: str, filters: str = "", more: str = "") -> str:
    parts = [f"matches: [{{{match}}}]" if match else "", f"filters: [{filters}]" if filters else "", more]
    if backends:
        parts.append(f"backendRefs: [{', '.join(backends)}]")
    return "{" + ", ".join(filter(None, parts)) + "}"


def at_gateway(*texts: str) -> Mesh:
    """Make a mesh with the services a and b, a Gateway gw with HTTP at 80 that runs, and `texts`."""
    return mesh(service("a"), service("b"), gateway(), *texts).deploy()


__all__ = ["at_gateway", "deployment", "gateway", "http", "resource", "rule", "service", "to"]
