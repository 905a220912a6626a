"""Create, replace, patch, apply, delete: every write is admitted, then stored before the answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from devmesh.api.kube import managed
from devmesh.api.kube.body import read_json, read_object, read_yaml
from devmesh.api.kube.deps import KubeDeps
from devmesh.api.kube.errors import bad_request, invalid_option, unsupported_media_type
from devmesh.api.kube.patch import json_patch, merge_patch
from devmesh.api.kube.preparation import (
    SERVERS,
    check_preconditions,
    fitting,
    settled,
    with_entries,
    would_create,
    would_update,
)
from devmesh.api.kube.request import Request
from devmesh.api.kube.strategic import strategic_patch
from devmesh.api.kube.target import Target
from devmesh.config.admission import FieldValidation, served
from devmesh.config.kinds import CUSTOM_RESOURCE_DEFINITION, Kind
from devmesh.config.merge_keys import list_map_keys, merge_keys, patch_merge_key
from devmesh.config.problems import required, unsupported
from devmesh.config.store import Conflict, NotFound, Raw, Stored

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
PATCHES = (JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, APPLY_PATCH)

_VALIDATIONS = ("Strict", "Warn", "Ignore")


@dataclass(frozen=True, slots=True)
class Written:
    """The object as it is now (or would be), whether it is new, and what to warn of."""

    raw: Raw
    created: bool = False
    warnings: tuple[str, ...] = ()


def create(deps: KubeDeps, target: Target, request: Request) -> Written:
    """Add the object of the body."""
    raw = fitting(read_object(request), target)
    if raw["metadata"].get("resourceVersion"):
        raise bad_request("resourceVersion should not be set on objects to be created")
    return _create(deps, target, request, raw)


def replace(deps: KubeDeps, target: Target, request: Request) -> Written:
    """Put the object of the body in the place of what is there; as update of a status, that alone."""
    raw = fitting(read_object(request), target)
    return _update(deps, target, request, _present(deps, target), raw)


def patch(deps: KubeDeps, target: Target, request: Request) -> Written:
    """Change what is there by the patch in the body; only an apply patch may create it."""
    media = request.content_type
    if media not in PATCHES:
        raise unsupported_media_type(media, PATCHES)
    if media == APPLY_PATCH:
        return _apply(deps, target, request)
    before = _present(deps, target)
    live = served(target.kind, before.raw, target.version)
    patched = patched_by(media, live, request.body, target.kind)
    return _update(deps, target, request, before, fitting(patched, target))


def patched_by(media: str, live: Raw, body: bytes, kind: Kind) -> Raw:
    """Return `live` as a patch of a given type leaves it.

    Raises:
        ApiError: The patch makes no sense, or does not fit.
    """
    given = read_json(body)
    if media == JSON_PATCH:
        found = json_patch(live, given)
    elif not isinstance(given, dict):
        raise bad_request("the patch has to be an object")
    elif media == MERGE_PATCH:
        found = merge_patch(live, given)
    elif _merges_by_key(kind):
        found = strategic_patch(live, given, lambda path: patch_merge_key(kind.group, kind.kind, path))
    else:  # as for custom resources in Kubernetes
        raise unsupported_media_type(media, (JSON_PATCH, MERGE_PATCH, APPLY_PATCH))
    if not isinstance(found, dict) or not isinstance(found.get("metadata"), dict):
        raise bad_request("the patch leaves no object behind")
    return found


def _merges_by_key(kind: Kind) -> bool:
    return not kind.custom and (not kind.group or "." not in kind.group or kind.group.endswith(".k8s.io"))


def field_validation(request: Request) -> FieldValidation:
    """Read the parameter; Warn where it isn't given, as in Kubernetes."""
    given = request.get("fieldValidation") or "Warn"
    if given not in _VALIDATIONS:
        raise invalid_option("PatchOptions", unsupported(("fieldValidation",), given, _VALIDATIONS))
    return cast("FieldValidation", given)


def write_spec(deps: KubeDeps, target: Target, request: Request, change: Callable[[Raw], Raw]) -> Written:
    """Update an object by a function, for subresources that are views of it."""
    before = _present(deps, target)
    return _update(deps, target, request, before, change(served(target.kind, before.raw, target.version)))


# Inside


def _present(deps: KubeDeps, target: Target) -> Stored:
    found = deps.store.by_key(target.key)
    if found is None:
        raise NotFound(f'{target.kind.resource} "{target.name}" not found')
    return found


def _create(
    deps: KubeDeps, target: Target, request: Request, raw: Raw, entries: list[Raw] | None = None
) -> Written:
    kind, store = target.kind, deps.store
    metadata = {k: v for k, v in raw["metadata"].items() if k not in SERVERS}
    # Admission refuses what has no name; it sees the one that the store would make.
    raw = {key: value for key, value in raw.items() if key != "status" or "status" not in kind.subresources}
    admitted = deps.admit(
        kind,
        {**raw, "metadata": metadata},
        store=store,
        field_validation=field_validation(request),
        before=None,
    )
    if entries is None:
        entries = managed.updated(
            {},
            admitted.raw,
            manager=request.manager,
            api_version=target.api_version,
            now=store.timestamp(),
            list_keys=_list_keys(kind),
            base=[],
        )
    complete = with_entries(admitted.raw, entries)
    if request.dry_run:
        return Written(would_create(deps, target, complete), created=True, warnings=admitted.said)
    stored = store.create(kind, complete, manager=request.manager)
    if kind is CUSTOM_RESOURCE_DEFINITION:  # its kind is served from this moment: kubectl wait asks for that
        conditions = [_condition(type_, store.timestamp()) for type_ in ("NamesAccepted", "Established")]
        stored = store.patch_status(stored.key, {"conditions": conditions}) or stored
    return Written(stored.raw, created=True, warnings=(*admitted.said, *deps.warn(stored)))


def _condition(type_: str, now: str) -> Raw:
    return {"type": type_, "status": "True", "reason": type_, "message": "", "lastTransitionTime": now}


def _update(
    deps: KubeDeps,
    target: Target,
    request: Request,
    before: Stored,
    raw: Raw,
    *,
    applied: bool = False,
) -> Written:
    store, kind = deps.store, target.kind
    check_preconditions(before, raw["metadata"].get("uid"), raw["metadata"].get("resourceVersion"))
    if target.subresource == "status":
        return _update_status(deps, request, before, raw)
    admitted = deps.admit(
        kind, settled(raw, before), store=store, field_validation=field_validation(request), before=before
    )
    complete = admitted.raw
    if not applied:
        base = raw["metadata"].get("managedFields")
        if base is None:
            base = before.metadata.get("managedFields")
        entries = managed.updated(
            before.raw,
            complete,
            manager=request.manager,
            api_version=target.api_version,
            now=store.timestamp(),
            list_keys=_list_keys(kind),
            base=base,
        )
        complete = with_entries(complete, entries)
    if request.dry_run:
        return Written(would_update(before, complete, kind), warnings=admitted.said)
    stored = store.update(kind, complete, manager=request.manager)
    return Written(stored.raw, warnings=(*admitted.said, *deps.warn(stored)))


def _update_status(deps: KubeDeps, request: Request, before: Stored, raw: Raw) -> Written:
    if request.dry_run:
        return Written({**before.raw, "status": raw.get("status")})
    whole = {**before.raw, "status": raw.get("status")}
    stored = deps.store.update(before.key.kind, whole, manager=request.manager, status=True)
    return Written(stored.raw)


def _apply(deps: KubeDeps, target: Target, request: Request) -> Written:
    """Server-side apply (Kubernetes: "Server-Side Apply")."""
    if not request.get("fieldManager"):
        cause = required(("fieldManager",), "is required for apply patch")
        raise invalid_option("PatchOptions", cause)
    config = (
        read_yaml(request.body) if not request.body.lstrip().startswith(b"{") else read_json(request.body)
    )
    if not isinstance(config, dict):
        raise bad_request("the body has to be an object")
    if isinstance(config.get("metadata"), dict) and config["metadata"].get("managedFields"):
        raise bad_request("metadata.managedFields must be nil")
    config = fitting(config, target)
    before = deps.store.by_key(target.key)
    if target.subresource == "status":
        live = _present(deps, target)
        return _update_status(deps, request, live, merge_patch(live.raw, {"status": config.get("status")}))
    config = {key: value for key, value in config.items() if key != "status"}
    has: Raw = dict(before.raw) if before else {"metadata": {}}
    given = {k: v for k, v in config["metadata"].items() if k not in ("resourceVersion", "uid")}
    merged = managed.applied(
        served(target.kind, has, target.version),
        {**config, "metadata": given},
        manager=request.get("fieldManager"),
        api_version=target.api_version,
        now=deps.store.timestamp(),
        force=request.flag("force"),
        list_keys=_list_keys(target.kind),
    )
    if before is None:
        if config["metadata"].get("uid"):
            raise Conflict(
                f"uid mismatch: the provided object specified uid {config['metadata']['uid']}, "
                "and no existing object was found"
            )
        return _create(deps, target, request, merged, merged["metadata"]["managedFields"])
    check_preconditions(before, config["metadata"].get("uid"), config["metadata"].get("resourceVersion"))
    merged["metadata"] = {**merged["metadata"], "resourceVersion": before.metadata["resourceVersion"]}
    return _update(deps, target, request, before, merged, applied=True)


def _list_keys(kind: Kind) -> Callable[[str], tuple[str, ...] | None]:
    if not merge_keys(kind.group, kind.kind):
        return lambda path: None
    return lambda path: list_map_keys(kind.group, kind.kind, path)
