"""The subresource ``scale``: replicas, seen and set alone."""

from __future__ import annotations

from typing import Any

from devmesh.api.kube import writes
from devmesh.api.kube.body import read_object
from devmesh.api.kube.columns import at, selector
from devmesh.api.kube.deps import KubeDeps
from devmesh.api.kube.errors import ApiError, bad_request, method_not_allowed
from devmesh.api.kube.request import Answer, Request, as_json
from devmesh.api.kube.target import Target
from devmesh.config.problems import wrong_type
from devmesh.config.store import NotFound, Raw


def scale(deps: KubeDeps, target: Target, request: Request) -> Answer:
    """Get, replace or patch a Scale; a change goes to ``spec.replicas``."""
    found = deps.store.by_key(target.key)
    if found is None:
        raise NotFound(f'{target.kind.resource} "{target.name}" not found')
    live = _scale(found.raw)
    if request.method == "GET":
        return as_json(live)
    if request.method == "PUT":
        wanted = read_object(request)
    elif request.method == "PATCH":
        media = request.content_type
        if media not in (writes.JSON_PATCH, writes.MERGE_PATCH, writes.STRATEGIC_PATCH):
            raise bad_request("a Scale is patched by JSON patch or merge patch")
        # Strategic merge is plain merge here: a Scale has no lists.
        plain = writes.JSON_PATCH if media == writes.JSON_PATCH else writes.MERGE_PATCH
        wanted = writes.patched_by(plain, live, request.body, target.kind)
    else:
        raise method_not_allowed()
    replicas = at(wanted, "spec.replicas", 0)
    if not isinstance(replicas, int) or isinstance(replicas, bool):
        raise bad_request(str(wrong_type(("spec", "replicas"), replicas, "expected a number")))
    if replicas < 0:
        raise _negative(target, replicas)
    version = at(wanted, "metadata.resourceVersion", "")

    def change(raw: Raw) -> Raw:
        metadata = {**raw["metadata"], "resourceVersion": version or raw["metadata"]["resourceVersion"]}
        return {**raw, "metadata": metadata, "spec": {**raw["spec"], "replicas": replicas}}

    whole = Target(target.kind, target.version, target.namespace, target.name)
    written = writes.write_spec(deps, whole, request, change)
    return as_json(_scale(written.raw), warnings=written.warnings)


def _scale(raw: Raw) -> dict[str, Any]:
    metadata = {
        key: raw["metadata"][key]
        for key in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
        if key in raw["metadata"]
    }
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": {"replicas": at(raw, "spec.replicas", 1)},
        "status": {"replicas": at(raw, "status.replicas", 0), "selector": selector(at(raw, "spec.selector"))},
    }


def _negative(target: Target, replicas: int) -> ApiError:
    text = f"Invalid value: {replicas}: must be greater than or equal to 0"
    return ApiError(
        422,
        f'Scale.autoscaling "{target.name}" is invalid: spec.replicas: {text}',
        details={
            "name": target.name,
            "group": "autoscaling",
            "kind": "Scale",
            "causes": [{"reason": "FieldValueInvalid", "message": text, "field": "spec.replicas"}],
        },
    )
