"""Names of hosts: short names, fully qualified ones, wildcards."""

from __future__ import annotations

DEFAULT_DOMAIN = "cluster.local"


def service_host(name: str, namespace: str, domain: str = DEFAULT_DOMAIN) -> str:
    """Return a Service's fully qualified name."""
    return f"{name}.{namespace}.svc.{domain}"


def qualify(host: str, namespace: str, domain: str = DEFAULT_DOMAIN) -> str:
    """Return `host` as a resource of `namespace` means it, in lower case.

    Istio: a name without a dot is a Service of the resource's own namespace; every other name
    (``reviews.prod`` too) is taken as it stands.
    """
    host = host.lower()
    if "." in host or host == "*":
        return host
    return service_host(host, namespace, domain)


def matches(pattern: str, host: str) -> bool:
    """Tell whether `pattern` (exact, ``*``, or ``*.suffix``) covers `host`; both in lower case."""
    if pattern == "*" or pattern == host:
        return True
    return pattern.startswith("*") and host.endswith(pattern[1:]) and len(host) > len(pattern) - 1


def specificity(pattern: str) -> tuple[int, int]:
    """Sort key, most specific first: exact names, then wildcards with the longer suffix first."""
    return (1 if pattern.startswith("*") else 0, -len(pattern))
