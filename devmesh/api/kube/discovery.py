"""What the API serves: groups, versions, resources, plain and aggregated."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from devmesh.config.kinds import Kind, Kinds

VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


@dataclass(frozen=True, slots=True)
class Subresource:
    """A part or view of a resource; `kind` is (group, version, kind) where it isn't the resource's own."""

    name: str
    verbs: tuple[str, ...]
    kind: tuple[str, str, str] | None = None


_SUBRESOURCES: Mapping[str, Subresource] = {
    s.name: s
    for s in (
        Subresource("status", ("get", "patch", "update")),
        Subresource("scale", ("get", "patch", "update"), ("autoscaling", "v1", "Scale")),
        Subresource("log", ("get",)),
        Subresource("exec", ("create", "get"), ("", "v1", "PodExecOptions")),
        Subresource("attach", ("create", "get"), ("", "v1", "PodAttachOptions")),
        Subresource("portforward", ("create", "get"), ("", "v1", "PodPortForwardOptions")),
        Subresource("eviction", ("create",), ("policy", "v1", "Eviction")),
        Subresource("token", ("create",), ("authentication.k8s.io", "v1", "TokenRequest")),
        Subresource("finalize", ("update",)),
    )
}
_EXTRA = {("", "Pod"): ("eviction",), ("", "Namespace"): ("finalize",)}


@dataclass(frozen=True, slots=True)
class Review:
    """A resource that is only asked, and not kept."""

    group: str
    kind: str
    plural: str
    namespaced: bool = False


REVIEWS = (
    Review("authentication.k8s.io", "TokenReview", "tokenreviews"),
    Review("authentication.k8s.io", "SelfSubjectReview", "selfsubjectreviews"),
    Review("authorization.k8s.io", "SelfSubjectAccessReview", "selfsubjectaccessreviews"),
    Review("authorization.k8s.io", "SelfSubjectRulesReview", "selfsubjectrulesreviews"),
    Review("authorization.k8s.io", "SubjectAccessReview", "subjectaccessreviews"),
    Review("authorization.k8s.io", "LocalSubjectAccessReview", "localsubjectaccessreviews", True),
)


def subresources_of(kind: Kind) -> Iterator[Subresource]:
    for name in (*kind.subresources, *_EXTRA.get((kind.group, kind.kind), ())):
        if name in _SUBRESOURCES:
            yield _SUBRESOURCES[name]


def group_versions(kinds: Kinds) -> dict[str, list[str]]:
    """Return the versions of each group, the preferred first.

    Groups come in the order of the registry, because kubectl takes the first that has a name:
    Istio's ``gateways`` come before those of the Gateway API.
    """
    found: dict[str, set[str]] = {}
    for kind in kinds:
        found.setdefault(kind.group, set()).update(kind.versions)
    for review in REVIEWS:
        found.setdefault(review.group, set()).add("v1")
    return {group: sorted(versions, key=_priority) for group, versions in found.items()}


def _priority(version: str) -> tuple[int, int, int]:
    """Sort v2, v1, v1beta1, v1alpha3 (Kubernetes: version priority)."""
    found = re.fullmatch(r"v(\d+)(?:(alpha|beta)(\d+))?", version)
    if not found:
        return 3, 0, 0
    stage = {None: 0, "beta": 1, "alpha": 2}[found[2]]
    return stage, -int(found[1]), -int(found[3] or 0)


def api_versions(address: str) -> dict[str, Any]:
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    }


def group_list(kinds: Kinds) -> dict[str, Any]:
    groups = [group(kinds, name) for name in group_versions(kinds) if name]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def group(kinds: Kinds, name: str) -> dict[str, Any] | None:
    """Return one APIGroup; None where there is none of that name."""
    versions = group_versions(kinds).get(name)
    if not name or versions is None:
        return None
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {
        "kind": "APIGroup",
        "apiVersion": "v1",
        "name": name,
        "versions": listed,
        "preferredVersion": listed[0],
    }


def resource_list(kinds: Kinds, group: str, version: str) -> dict[str, Any] | None:
    """Return the resources of a group and version; None where there is no such version."""
    if version not in group_versions(kinds).get(group, ()):
        return None
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{group}/{version}" if group else version,
        "resources": [r for kind in _kinds(kinds, group, version) for r in _resources(kind)]
        + [_review(review) for review in REVIEWS if review.group == group],
    }


def _kinds(kinds: Kinds, group: str, version: str) -> list[Kind]:
    return [kind for kind in kinds if kind.group == group and version in kind.versions]


def _resources(kind: Kind) -> Iterator[dict[str, Any]]:
    entry: dict[str, Any] = {
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": list(VERBS),
    }
    if kind.short_names:
        entry["shortNames"] = list(kind.short_names)
    if kind.categories:
        entry["categories"] = list(kind.categories)
    yield entry
    for sub in subresources_of(kind):
        found = {
            "name": f"{kind.plural}/{sub.name}",
            "singularName": "",
            "namespaced": kind.namespaced,
            "kind": sub.kind[2] if sub.kind else kind.kind,
            "verbs": list(sub.verbs),
        }
        yield {**found, "group": sub.kind[0], "version": sub.kind[1]} if sub.kind and sub.kind[0] else found


def _review(review: Review) -> dict[str, Any]:
    return {
        "name": review.plural,
        "singularName": review.kind.lower(),
        "namespaced": review.namespaced,
        "kind": review.kind,
        "verbs": ["create"],
    }


def aggregated(kinds: Kinds, *, core: bool) -> dict[str, Any]:
    """Return everything at once: the core group's, or all others'."""
    items = [
        {
            "metadata": {"name": name, "creationTimestamp": None} if name else {"creationTimestamp": None},
            "versions": [_version(kinds, name, version) for version in versions],
        }
        for name, versions in group_versions(kinds).items()
        if core == (not name)
    ]
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    }


def _version(kinds: Kinds, group: str, version: str) -> dict[str, Any]:
    resources = [_aggregated(kind, version) for kind in _kinds(kinds, group, version)]
    resources += [
        {
            "resource": review.plural,
            "responseKind": {"group": group, "version": version, "kind": review.kind},
            "scope": "Namespaced" if review.namespaced else "Cluster",
            "singularResource": review.kind.lower(),
            "verbs": ["create"],
        }
        for review in REVIEWS
        if review.group == group
    ]
    return {"version": version, "resources": resources, "freshness": "Current"}


def _aggregated(kind: Kind, version: str) -> dict[str, Any]:
    own = {"group": kind.group, "version": version, "kind": kind.kind}
    entry: dict[str, Any] = {
        "resource": kind.plural,
        "responseKind": own,
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": list(VERBS),
    }
    if kind.short_names:
        entry["shortNames"] = list(kind.short_names)
    if kind.categories:
        entry["categories"] = list(kind.categories)
    subs = [
        {
            "subresource": sub.name,
            "responseKind": dict(zip(("group", "version", "kind"), sub.kind, strict=True))
            if sub.kind
            else own,
            "verbs": list(sub.verbs),
        }
        for sub in subresources_of(kind)
    ]
    return {**entry, "subresources": subs} if subs else entry


KUBERNETES = ("1", "37")


def version(devmesh: str) -> dict[str, Any]:
    """Return what ``kubectl version`` shows of the server; it compares major and minor with its own."""
    import platform

    major, minor = KUBERNETES
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    return {
        "major": major,
        "minor": minor,
        "gitVersion": f"v{major}.{minor}.0+devmesh-{devmesh}",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "cpython",
        "platform": f"linux/{machine}",
    }
