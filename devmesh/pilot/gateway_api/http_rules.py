"""Rules of HTTPRoutes and GRPCRoutes as HTTP routes of a VirtualService, one for each match."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from devmesh.config.documents.gateway_routes import (
    GRPCBackendRef,
    GRPCRouteFilter,
    GRPCRouteRule,
    HTTPBackendRef,
    HTTPRouteFilter,
    HTTPRouteRule,
    HTTPRouteTimeouts,
)
from devmesh.config.documents.selectors import Percent
from devmesh.config.documents.virtualservice import (
    Headers,
    HTTPDirectResponse,
    HTTPMatchRequest,
    HTTPMirrorPolicy,
    HTTPRetry,
    HTTPRoute,
    HTTPRouteDestination,
)
from devmesh.pilot.delegates import Written
from devmesh.pilot.gateway_api import filters
from devmesh.pilot.gateway_api.conditions import Problem
from devmesh.pilot.gateway_api.matches import grpc_match, http_match
from devmesh.pilot.gateway_api.references import References
from devmesh.pilot.gateway_api.resources import GRPC, HTTP

Filter = HTTPRouteFilter | GRPCRouteFilter
Ref = HTTPBackendRef | GRPCBackendRef
_RETRIED = ("connect-failure", "refused-stream", "unavailable", "cancelled")


class Broken(ValueError):
    """A rule that spoils its whole route (Istio: no rule of it is in force)."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class HttpRules:
    """Translates the rules of one route, for parents in the mesh or at gateways."""

    def __init__(self, route: HTTP | GRPC, references: References, *, in_mesh: bool) -> None:
        self._route, self._references, self._in_mesh = route, references, in_mesh
        self._kind = route.stored.key.kind.kind
        self.problem: Problem | None = None
        """The first reference that does not resolve."""

    def all(self) -> tuple[Written, ...]:
        """Return the routes in the order written; none where the route is broken."""
        found: list[Written] = []
        try:
            rules: tuple[HTTPRouteRule | GRPCRouteRule, ...] = self._route.spec.rules
            for index, rule in enumerate(rules):
                found.extend(self._rule(rule, index))
        except Broken as error:
            self.problem = error.problem
            return ()
        return tuple(found)

    def _rule(self, rule: HTTPRouteRule | GRPCRouteRule, index: int) -> Iterator[Written]:
        path = f"spec.rules[{index}]"
        made = self._without_match(rule, index)
        blocks = list(_blocks(rule))
        if not blocks:
            yield Written(made, self._route, index, path)
        for number, block in enumerate(blocks):
            yield Written(replace(made, match=(block,)), self._route, index, f"{path}.matches[{number}]")

    def _without_match(self, rule: HTTPRouteRule | GRPCRouteRule, index: int) -> HTTPRoute:
        route = self._route
        fields = self._filters(rule.filters)
        timeouts = rule.timeouts if isinstance(rule, HTTPRouteRule) else None
        retries = _retries(rule, timeouts) if isinstance(rule, HTTPRouteRule) else None
        timeout = timeouts.request if timeouts and timeouts.request else None
        if timeouts and timeouts.backend_request and retries is None:
            timeout = timeouts.backend_request
        made = HTTPRoute(
            name=rule.name or f"{route.namespace}.{route.name}.{index}",
            timeout=timeout,
            retries=retries,
            headers=fields.headers,
            redirect=fields.redirect,
            rewrite=fields.rewrite,
            cors_policy=fields.cors,
            mirrors=fields.mirrors,
            route=() if fields.redirect else tuple(self._destinations(rule.backend_refs)),
            direct_response=None,
        )
        if made.route or made.redirect:
            return made
        # Gateway API: where nothing has a weight, the answer is 500.
        return HTTPRoute(
            name=made.name,
            headers=made.headers,
            cors_policy=made.cors_policy,
            direct_response=HTTPDirectResponse(status=500),
        )

    def _filters(self, written: Sequence[Filter]) -> filters.Fields:
        mirrors: list[HTTPMirrorPolicy] = []
        for found in written:
            if found.request_mirror is not None:
                mirror = found.request_mirror
                target, problem = self._references.backend(
                    mirror.backend_ref, self._kind, self._route.namespace, in_mesh=self._in_mesh
                )
                self._note(problem)
                if problem is None:
                    share = filters.share(mirror)
                    percent = None if share is None else Percent(value=share)
                    mirrors.append(HTTPMirrorPolicy(destination=target, percentage=percent))
        fields = filters.fields(written, tuple(mirrors))
        if isinstance(fields, Problem):
            raise Broken(fields)
        return fields

    def _destinations(self, refs: Sequence[Ref]) -> Iterator[HTTPRouteDestination]:
        for ref in refs:
            weight = 1 if ref.weight is None else ref.weight
            if weight:
                target, problem = self._references.backend(
                    ref, self._kind, self._route.namespace, in_mesh=self._in_mesh
                )
                self._note(problem)
                headers = self._backend_headers(ref.filters)
                yield HTTPRouteDestination(destination=target, weight=weight, headers=headers)

    def _backend_headers(self, written: Sequence[Filter]) -> Headers | None:
        found = filters.headers_only(written)
        if isinstance(found, Problem):
            raise Broken(found)
        return found

    def _note(self, problem: Problem | None) -> None:
        if problem is not None and problem.hard:
            raise Broken(problem)
        self.problem = self.problem or problem


def _blocks(rule: HTTPRouteRule | GRPCRouteRule) -> Iterator[HTTPMatchRequest]:
    if isinstance(rule, HTTPRouteRule):
        yield from map(http_match, rule.matches)
    else:
        yield from map(grpc_match, rule.matches)


def _retries(rule: HTTPRouteRule, timeouts: HTTPRouteTimeouts | None) -> HTTPRetry | None:
    """Istio: codes come beside its own conditions for connections that fail; two attempts by default."""
    retry = rule.retry
    if retry is None:
        return None
    attempts = 2 if retry.attempts is None else retry.attempts
    return HTTPRetry(
        attempts=attempts,
        retry_on=",".join((*_RETRIED, *map(str, retry.codes))) if attempts else "",
        backoff=retry.backoff,
        per_try_timeout=(timeouts.backend_request or None) if timeouts else None,
    )
