"""The Kubernetes API: from a request to an answer, whatever carries them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from devmesh.api.kube import deletes, discovery, execs, reads, reviews, scale, writes
from devmesh.api.kube.deps import KubeDeps
from devmesh.api.kube.errors import (
    ApiError,
    bad_request,
    details_of,
    method_not_allowed,
    no_such_path,
    translated,
)
from devmesh.api.kube.logs import logs
from devmesh.api.kube.openapi import OpenApi
from devmesh.api.kube.reads import shaped
from devmesh.api.kube.request import Answer, Request, as_json, encoded, refused, wanted
from devmesh.api.kube.target import Target, parse
from devmesh.api.kube.watch import watch
from devmesh.config.database import StoreUnwritable
from devmesh.config.kinds import POD
from devmesh.config.problems import Refused
from devmesh.config.store import AlreadyExists, Conflict, Expired, NotFound, Stored

log = logging.getLogger(__name__)

KNOWN = (ApiError, Refused, NotFound, AlreadyExists, Conflict, Expired, StoreUnwritable)
STREAMS = ("exec", "attach", "portforward")


class KubeApi:
    """Answers everything but the WebSockets (`execs`, `forwarding`)."""

    def __init__(self, deps: KubeDeps) -> None:
        self.deps = deps
        self.openapi = OpenApi(deps.store.kinds)

    async def answer(self, request: Request) -> Answer:
        """Return the answer; never raises for what a client sends."""
        target: Target | None = None
        try:
            parts = [part for part in request.path.split("/") if part]
            if parts[0] == "openapi":
                return await self.openapi.answer(parts[1:], request)
            if found := self._about(parts, request):
                return found
            if review := reviews.find(parts):
                if request.method != "POST":
                    raise method_not_allowed()
                return reviews.review(review, request)
            target = parse(request.path, self.deps.store.kinds)
            return await self._resource(target, request)
        except KNOWN as error:
            if isinstance(error, ApiError):
                return refused(_named(error, target))
            assert target
            return refused(translated(error, target.kind, target.name))
        except Exception as error:
            log.exception("cannot answer %s %s", request.method, request.path)
            return refused(ApiError(500, f"Internal error occurred: {type(error).__name__}: {error}"))

    def _about(self, parts: list[str], request: Request) -> Answer | None:
        """Answer what is about the API itself."""
        kinds = self.deps.store.kinds
        accept = request.headers.get("accept", "")
        match parts:
            case ["version"]:
                return as_json(discovery.version(self.deps.version))
            case ["api" | "apis"] if _wants_aggregated(accept):
                found = as_json(discovery.aggregated(kinds, core=parts == ["api"]))
                return Answer(200, found.body, discovery.AGGREGATED)
            case ["api"]:
                return as_json(discovery.api_versions(request.headers.get("host", "")))
            case ["apis"]:
                return as_json(discovery.group_list(kinds))
            case ["apis", name]:
                return _found(discovery.group(kinds, name))
            case ["api", version]:
                return _found(discovery.resource_list(kinds, "", version))
            case ["apis", group, version]:
                return _found(discovery.resource_list(kinds, group, version))
        return None

    async def _resource(self, target: Target, request: Request) -> Answer:
        if target.subresource:
            return await self._subresource(target, request)
        collection = not target.name
        match request.method:
            case "GET" | "HEAD" if request.flag("watch"):
                return watch(self.deps, target, request)
            case "GET" | "HEAD" if collection:
                return reads.list_(self.deps, target, request)
            case "GET" | "HEAD":
                return reads.get(self.deps, target, request)
            case "POST" if collection and bool(target.namespace) == target.kind.namespaced:
                return self._write(writes.create, target, request)
            case "PUT" if not collection:
                return self._write(writes.replace, target, request)
            case "PATCH" if not collection:
                return self._write(writes.patch, target, request)
            case "DELETE" if collection:
                return self._delete_all(target, request)
            case "DELETE":
                return self._delete(target, request)
        raise method_not_allowed()

    async def _subresource(self, target: Target, request: Request) -> Answer:
        known = {sub.name for sub in discovery.subresources_of(target.kind)}
        if target.subresource not in known:
            if target.kind is POD and target.subresource == "ephemeralcontainers":
                raise ApiError(501, "devmesh runs no ephemeral containers: use kubectl exec")
            raise no_such_path()
        whole = Target(target.kind, target.version, target.namespace, target.name)
        match target.subresource, request.method:
            case "status", "GET":
                return reads.get(self.deps, whole, request)
            case "status", "PUT":
                return self._write(writes.replace, target, request)
            case "status", "PATCH":
                return self._write(writes.patch, target, request)
            case "finalize", "PUT":
                return self._write(writes.replace, whole, request)
            case "scale", _:
                return scale.scale(self.deps, target, request)
            case "log", "GET":
                return await logs(self.deps, target, request)
            case "token", "POST":
                return reviews.token(self.deps, target, request)
            case "eviction", "POST":
                return self._evict(whole, request)
            case (("exec" | "attach" | "portforward"), _):
                if target.subresource != "portforward":
                    execs.prepare(self.deps, target, request)
                raise bad_request(
                    f"{target.subresource} is served over WebSockets: use kubectl 1.30 or later "
                    "(or KUBECTL_REMOTE_COMMAND_WEBSOCKETS=true, KUBECTL_PORT_FORWARD_WEBSOCKETS=true)"
                )
        raise method_not_allowed()

    def _write(
        self, write: Callable[[KubeDeps, Target, Request], writes.Written], target: Target, request: Request
    ) -> Answer:
        form = wanted(request.headers.get("accept", ""))
        done = write(self.deps, target, request)
        whole = Stored(target.key, done.raw, 0)
        status = 201 if done.created else 200
        body = (
            shaped(target, whole, form, request) if done.raw["metadata"].get("resourceVersion") else done.raw
        )
        return encoded(body, form, status, warnings=done.warnings)

    def _delete(self, target: Target, request: Request) -> Answer:
        options = deletes.read_options(request)
        stored, is_there = deletes.delete(self.deps, target, options, request.manager)
        if is_there:
            return as_json(stored.raw)
        details = {**details_of(target.kind, target.name), "uid": stored.uid}
        status = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "details": details,
        }
        return as_json(status)

    def _delete_all(self, target: Target, request: Request) -> Answer:
        items = deletes.delete_all(self.deps, target, request, deletes.read_options(request))
        metadata = {"resourceVersion": str(self.deps.store.version)}
        kind = f"{target.kind.kind}List"
        return as_json({"kind": kind, "apiVersion": target.api_version, "metadata": metadata, "items": items})

    def _evict(self, target: Target, request: Request) -> Answer:
        from devmesh.api.kube.body import read_object

        given = read_object(request).get("deleteOptions") or {}
        grace = given.get("gracePeriodSeconds")
        options = deletes.Options(grace, "Background", "", "", request.dry_run)
        deletes.delete(self.deps, target, options, request.manager)
        return as_json(
            {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}, 201
        )


def _found(value: Mapping[str, object] | None) -> Answer:
    if value is None:
        raise no_such_path()
    return as_json(value)


def _wants_aggregated(accept: str) -> bool:
    first = accept.partition(",")[0].replace(" ", "")
    return "as=APIGroupDiscoveryList" in first and "v=v2;" in f"{first};"


def _named(error: ApiError, target: Target | None) -> ApiError:
    """Complete the details of a conflict, which is found where only fields are known."""
    if error.code == 409 and target is not None and error.details and "name" not in error.details:
        error.details = {**details_of(target.kind, target.name), **error.details}
    return error
