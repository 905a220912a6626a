"""``/openapi/v3``: a document per group and version, from the structs that decode the resources.

kubectl reads them before it writes (an operation with the parameter ``fieldValidation`` tells it
that the server validates) and for ``kubectl explain``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import trio

from devmesh.api.kube.discovery import group_versions
from devmesh.api.kube.errors import no_such_path
from devmesh.api.kube.request import JSON, Answer, Request, as_json
from devmesh.config.kinds import Kind, Kinds
from devmesh.config.schema import schema_name, schemas


class OpenApi:
    """Makes the documents when they are asked for, in a thread, and keeps them until the kinds change."""

    def __init__(self, kinds: Kinds) -> None:
        self._kinds = kinds
        self._documents: dict[tuple[str, str, tuple[Kind, ...]], bytes] = {}

    async def answer(self, parts: list[str], request: Request) -> Answer:
        """Answer what lies under ``/openapi``.

        Raises:
            ApiError: 404.
        """
        match parts:
            case ["v3"]:
                return as_json({"paths": {path: {"serverRelativeURL": url} for path, url in self._index()}})
            case ["v3", "api", version]:
                return await self._document("", version)
            case ["v3", "apis", group, version]:
                return await self._document(group, version)
            case ["v2"]:
                if "proto-openapi.spec.v2" in request.headers.get("accept", ""):
                    return Answer(200, _EMPTY_V2, _PROTOBUF_V2)
                return as_json({"swagger": "2.0", "info": _INFO, "paths": {}, "definitions": {}})
        raise no_such_path()

    def _index(self) -> Iterable[tuple[str, str]]:
        for group, versions in group_versions(self._kinds).items():
            for version in versions:
                path = f"apis/{group}/{version}" if group else f"api/{version}"
                # The hash is of the kinds' names: their fields change with devmesh's version alone.
                names = ",".join(sorted(kind.kind for kind in self._of(group, version)))
                digest = hashlib.sha256(names.encode()).hexdigest()[:16]
                yield path, f"/openapi/v3/{path}?hash={digest}"

    def _of(self, group: str, version: str) -> tuple[Kind, ...]:
        return tuple(kind for kind in self._kinds if kind.group == group and version in kind.versions)

    async def _document(self, group: str, version: str) -> Answer:
        if version not in group_versions(self._kinds).get(group, ()):
            raise no_such_path()
        key = (group, version, self._of(group, version))
        if key not in self._documents:
            self._documents[key] = await trio.to_thread.run_sync(self._make, *key)
        return Answer(200, self._documents[key], JSON)

    def _make(self, group: str, version: str, kinds: tuple[Kind, ...]) -> bytes:
        paths: dict[str, Any] = {}
        for kind in kinds:
            gvk = {"group": group, "version": version, "kind": kind.kind}
            paths |= _paths(kind, version, gvk, schema_name(kind, version))
        document = {
            "openapi": "3.0.0",
            "info": _INFO,
            "paths": paths,
            "components": {"schemas": schemas(kinds, group, version)},
        }
        return msgspec.json.encode(document)


_INFO = {"title": "devmesh", "version": "v1"}
_PROTOBUF_V2 = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
# It is asked for with an "@" before its version; kubectl refuses to parse that as the type of an answer.
# kubectl before 1.27 validates by this document, and a newer one where it knows no such kind: swagger, info
# and paths, and no definition, so that validation is left to the server.
_EMPTY_V2 = b"\x0a\x032.0\x12\x0d\x0a\x07devmesh\x12\x02v1\x42\x00"


def _paths(kind: Kind, version: str, gvk: Mapping[str, str], name: str) -> dict[str, Any]:
    root = f"/apis/{kind.group}/{version}" if kind.group else f"/api/{version}"
    inside = "/namespaces/{namespace}" if kind.namespaced else ""
    whole = f"{root}{inside}/{kind.plural}"

    def operation(action: str, *parameters: str) -> dict[str, Any]:
        content = {JSON: {"schema": {"$ref": f"#/components/schemas/{name}"}}}
        return {
            "responses": {"200": {"description": "OK", "content": content}},
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": gvk,
            "parameters": [{"name": p, "in": "query", "schema": {"type": "string"}} for p in parameters],
        }

    writing = ("dryRun", "fieldManager", "fieldValidation")
    found = {
        whole: {"get": operation("list"), "post": operation("post", *writing)},
        f"{whole}/{{name}}": {
            "get": operation("get"),
            "put": operation("put", *writing),
            "patch": operation("patch", *writing, "force"),
            "delete": operation("delete", "dryRun"),
        },
    }
    if kind.namespaced:
        found[f"{root}/{kind.plural}"] = {"get": operation("list")}
    return found
