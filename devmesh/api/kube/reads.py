"""Get, list and watch, in the form that the client asked for."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from typing import Any

from devmesh.api.kube.deps import KubeDeps
from devmesh.api.kube.errors import ApiError, bad_request
from devmesh.api.kube.request import Answer, Form, Request, encoded, wanted
from devmesh.api.kube.selectors import select
from devmesh.api.kube.table import metadata_only, table
from devmesh.api.kube.target import Target
from devmesh.config.admission import served
from devmesh.config.store import NotFound, Stored


def get(deps: KubeDeps, target: Target, request: Request) -> Answer:
    """Return one object."""
    form = wanted(request.headers.get("accept", ""))
    found = deps.store.by_key(target.key)
    if found is None:
        raise NotFound(f'{target.kind.resource} "{target.name}" not found')
    return encoded(shaped(target, found, form, request), form)


def shaped(target: Target, stored: Stored, form: Form, request: Request) -> Any:
    """Return one object whole, as its metadata, or as a Table of one row."""
    raw = served(target.kind, stored.raw, target.version)
    if form.as_ == "Table":
        return table(
            target.kind, [raw], version=stored.metadata["resourceVersion"], include=_include(request)
        )
    return metadata_only(raw) if form.as_ else raw


def list_(deps: KubeDeps, target: Target, request: Request) -> Answer:
    """Return the objects that the selectors choose, in pages of ``limit``.

    The pages of one list carry the version of the first: a watch from there tells what changed since.
    """
    form = wanted(request.headers.get("accept", ""))
    _check_version(request)
    chosen = select(target.kind, request.get("labelSelector"), request.get("fieldSelector"))
    version, start = _continued(request, deps.store.version)
    found = [s for s in deps.store.list(target.kind, target.namespace) if chosen(s)]
    rest = [s for s in found if (s.namespace, s.name) > start] if start != ("", "") else found
    limit = request.number("limit") or 0
    page = rest[:limit] if limit > 0 else rest
    metadata: dict[str, Any] = {"resourceVersion": str(version)}
    if len(page) < len(rest):
        last = page[-1]
        metadata["continue"] = _token(version, last.namespace, last.name)
        if not (request.get("labelSelector") or request.get("fieldSelector")):
            metadata["remainingItemCount"] = len(rest) - len(page)
    return encoded(_list(target, page, form, request, metadata), form)


def _list(
    target: Target, page: list[Stored], form: Form, request: Request, metadata: dict[str, Any]
) -> dict[str, Any]:
    raws = [served(target.kind, stored.raw, target.version) for stored in page]
    if form.as_ == "Table":
        found = table(target.kind, raws, version=metadata["resourceVersion"], include=_include(request))
        return {**found, "metadata": metadata}
    if form.as_:
        kind, version = "PartialObjectMetadataList", "meta.k8s.io/v1"
        return {
            "kind": kind,
            "apiVersion": version,
            "metadata": metadata,
            "items": [*map(metadata_only, raws)],
        }
    return {
        "kind": f"{target.kind.kind}List",
        "apiVersion": target.api_version,
        "metadata": metadata,
        "items": raws,
    }


def shapes(target: Target, form: Form, request: Request, objects: Iterable[Stored]) -> Iterator[Any]:
    """Shape each object, for a watch."""
    return (shaped(target, stored, form, request) for stored in objects)


def _include(request: Request) -> str:
    given = request.get("includeObject") or "Metadata"
    if given not in ("None", "Metadata", "Object"):
        raise bad_request(f'includeObject: "{given}" is none of None, Metadata, Object')
    return given


def _check_version(request: Request) -> None:
    given, match = request.get("resourceVersion"), request.get("resourceVersionMatch")
    if given and not given.isdecimal():
        raise bad_request(f'resourceVersion: Invalid value: "{given}": must be an unsigned integer')
    if match and match not in ("Exact", "NotOlderThan"):
        raise bad_request(f'resourceVersionMatch: "{match}" is none of Exact, NotOlderThan')


def _token(version: int, namespace: str, name: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([version, namespace, name]).encode()).decode().rstrip("=")


def _continued(request: Request, version: int) -> tuple[int, tuple[str, str]]:
    """Return the version of the list, and after which object this page begins."""
    token = request.get("continue")
    if not token:
        return version, ("", "")
    try:
        first, namespace, name = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        return int(first), (str(namespace), str(name))
    except (ValueError, TypeError) as error:
        raise ApiError(400, f"continue key is not valid: {error}") from error
