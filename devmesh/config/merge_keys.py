"""How strategic merge patch merges lists: by the key of their items, or as a whole."""

from __future__ import annotations

from collections.abc import Mapping

_POD_SPEC: Mapping[str, str] = {
    "containers": "name",
    "initContainers": "name",
    "ephemeralContainers": "name",
    "volumes": "name",
    "imagePullSecrets": "name",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
    "schedulingGates": "name",
    "resourceClaims": "name",
    "containers.ports": "containerPort",
    "containers.env": "name",
    "containers.volumeMounts": "mountPath",
    "containers.volumeDevices": "devicePath",
    "initContainers.ports": "containerPort",
    "initContainers.env": "name",
    "initContainers.volumeMounts": "mountPath",
    "initContainers.volumeDevices": "devicePath",
    "ephemeralContainers.ports": "containerPort",
    "ephemeralContainers.env": "name",
    "ephemeralContainers.volumeMounts": "mountPath",
    "ephemeralContainers.volumeDevices": "devicePath",
}
_METADATA: Mapping[str, str] = {"ownerReferences": "uid", "finalizers": ""}


def _under(prefix: str, keys: Mapping[str, str]) -> dict[str, str]:
    return {f"{prefix}.{path}": key for path, key in keys.items()}


def _template(prefix: str) -> dict[str, str]:
    return _under(f"{prefix}.metadata", _METADATA) | _under(f"{prefix}.spec", _POD_SPEC)


_CONDITIONS = {"status.conditions": "type"}
_KEYS: Mapping[tuple[str, str], Mapping[str, str]] = {
    ("", "Pod"): _under("spec", _POD_SPEC) | _CONDITIONS | {"status.podIPs": "ip", "status.hostIPs": "ip"},
    ("", "Service"): {"spec.ports": "port", "status.conditions": "type"},
    ("", "ServiceAccount"): {"secrets": "name", "imagePullSecrets": "name"},
    ("", "Namespace"): _CONDITIONS,
    ("", "Node"): {**_CONDITIONS, "status.addresses": "type", "spec.podCIDRs": ""},
    ("", "PersistentVolumeClaim"): _CONDITIONS,
    ("apps", "Deployment"): _template("spec.template") | _CONDITIONS,
    ("apps", "ReplicaSet"): _template("spec.template") | _CONDITIONS,
    ("apps", "StatefulSet"): _template("spec.template") | _CONDITIONS,
    ("apps", "DaemonSet"): _template("spec.template") | _CONDITIONS,
    ("batch", "Job"): _template("spec.template") | _CONDITIONS,
    ("batch", "CronJob"): _template("spec.jobTemplate.spec.template"),
}


def patch_merge_key(group: str, kind: str, path: str) -> str | None:
    """Return the key by which the items of the list at `path` are merged.

    Kubernetes: ``patchMergeKey`` in its API types. `path` is dotted, without indexes
    (``spec.template.spec.containers.ports``).

    Returns:
        The key; "" where the items are plain values that are merged as a set; None where a
        patch replaces the whole list.
    """
    if path == "metadata.ownerReferences":
        return "uid"
    if path == "metadata.finalizers":
        return ""
    return _KEYS.get((group, kind), {}).get(path)


def merge_keys(group: str, kind: str) -> Mapping[str, str]:
    """Return all lists of a kind that are merged, by path, with their keys."""
    return {**_under("metadata", _METADATA), **_KEYS.get((group, kind), {})}


def list_map_keys(group: str, kind: str, path: str) -> tuple[str, ...] | None:
    """Return what identifies the items of the list at `path` for server-side apply.

    Kubernetes: ``x-kubernetes-list-map-keys``; ports need the protocol too.

    Returns:
        The keys; () for a set of plain values; None for an atomic list.
    """
    key = patch_merge_key(group, kind, path)
    if key is None:
        return None
    if key == "topologyKey":
        return ("topologyKey", "whenUnsatisfiable")
    if key in ("containerPort", "port"):
        return (key, "protocol")
    return (key,) if key else ()
