"""What a write goes through first: it fits the URL, the server keeps what is its own; and dry runs."""

from __future__ import annotations

import uuid
from typing import Any

from devmesh.api.kube.deps import KubeDeps
from devmesh.api.kube.errors import ApiError, bad_request
from devmesh.api.kube.target import Target
from devmesh.config.kinds import NAMESPACE, Kind
from devmesh.config.objects import random_suffix
from devmesh.config.store import AlreadyExists, Conflict, NotFound, Raw, Stored

SERVERS = (
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "generation",
    "selfLink",
    "managedFields",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
)
"""What clients cannot set in ``metadata``."""


def fitting(raw: Raw, target: Target) -> Raw:
    """Hold an object against the URL, and complete it from there."""
    kind, metadata = target.kind, raw.get("metadata")
    if metadata is None:
        metadata = {}
    if not isinstance(metadata, dict):
        raise bad_request("metadata has to be an object")
    given_kind, given_version = raw.get("kind") or kind.kind, raw.get("apiVersion") or target.api_version
    if given_kind != kind.kind:
        version = given_version.rpartition("/")[2]
        raise bad_request(
            f'{given_kind} in version "{version}" cannot be handled as a {kind.kind}: '
            f"the kind in the data does not match the URL"
        )
    if given_version != target.api_version:
        raise bad_request(
            f"the API version in the data ({given_version}) does not match the expected API version "
            f"({target.api_version})"
        )
    name, namespace = metadata.get("name"), metadata.get("namespace")
    if target.name and name and name != target.name:
        raise bad_request(
            f"the name of the object ({name}) does not match the name on the URL ({target.name})"
        )
    if namespace and kind.namespaced and namespace != target.namespace:
        raise bad_request(
            f"the namespace of the provided object does not match the namespace sent on the request "
            f"({namespace} and {target.namespace})"
        )
    metadata = {key: value for key, value in metadata.items() if value is not None}
    if target.name:
        metadata["name"] = target.name
    if kind.namespaced:
        metadata["namespace"] = target.namespace
    else:
        metadata.pop("namespace", None)
    return {**raw, "kind": kind.kind, "apiVersion": target.api_version, "metadata": metadata}


def check_preconditions(before: Stored, uid: Any, version: Any) -> None:
    """Refuse what was meant for another version, or for another object of that name.

    Raises:
        Conflict: It was.
        ApiError: 422: the version is no number.
    """
    kind, name = before.key.kind, before.name
    if uid and uid != before.uid:
        raise Conflict(
            f'Operation cannot be fulfilled on {kind.resource} "{name}": Precondition failed: UID in '
            f"precondition: {uid}, UID in object meta: {before.uid}"
        )
    if not version:
        return
    if not str(version).isdecimal():
        raise ApiError(
            422,
            f'{kind.kind} "{name}" is invalid: metadata.resourceVersion: Invalid value: "{version}": '
            "must be an unsigned integer",
        )
    if int(version) != before.version:
        raise Conflict(
            f'Operation cannot be fulfilled on {kind.resource} "{name}": the object has been modified; '
            "please apply your changes to the latest version and try again"
        )


def settled(raw: Raw, before: Stored) -> Raw:
    """Return `raw` with what the server keeps: status and the metadata that clients can't set."""
    metadata = {k: v for k, v in raw["metadata"].items() if k not in SERVERS}
    metadata |= {k: before.metadata[k] for k in SERVERS if k in before.metadata}
    if "managedFields" in raw["metadata"]:
        metadata["managedFields"] = raw["metadata"]["managedFields"]
    settled = {**raw, "metadata": metadata}
    if "status" in before.key.kind.subresources:
        settled.pop("status", None)
        if "status" in before.raw:
            settled["status"] = before.raw["status"]
    return settled


def with_entries(raw: Raw, entries: list[Raw]) -> Raw:
    """Return `raw` with ``managedFields``."""
    metadata = {k: v for k, v in raw["metadata"].items() if k != "managedFields"}
    return {**raw, "metadata": {**metadata, "managedFields": entries} if entries else metadata}


def would_create(deps: KubeDeps, target: Target, raw: Raw) -> Raw:
    """Return what creating `raw` would give; raises what it would."""
    metadata = dict(raw["metadata"])
    if not metadata.get("name"):
        metadata["name"] = metadata["generateName"] + random_suffix()
    kind, store = target.kind, deps.store
    if store.get(kind, target.namespace, metadata["name"]):
        raise AlreadyExists(f'{kind.resource} "{metadata["name"]}" already exists')
    if kind.namespaced and store.get(NAMESPACE, "", target.namespace) is None:
        raise NotFound(f'namespaces "{target.namespace}" not found')
    metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": store.timestamp()}
    if "spec" in raw:
        metadata["generation"] = 1
    return {**raw, "metadata": metadata}


def would_update(before: Stored, raw: Raw, kind: Kind) -> Raw:
    """Return what updating `before` to `raw` would give."""
    apart = ("metadata", "status")
    body = {k: v for k, v in raw.items() if k not in apart}
    changed = body != {k: v for k, v in before.raw.items() if k not in apart}
    metadata = {**raw["metadata"], **{k: before.metadata[k] for k in SERVERS[:4] if k in before.metadata}}
    if changed and "generation" in metadata:
        metadata["generation"] += 1
    status = before.raw.get("status") if "status" in kind.subresources else raw.get("status")
    return {**body, "metadata": metadata, **({"status": status} if status is not None else {})}
