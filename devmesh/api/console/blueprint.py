"""The routes of the console's API; who may call was decided before."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from devmesh.api.console import openapi, proxies, proxy_config, streams
from devmesh.api.console.answers import Failure, FindingView, Refused, RequestView, Status
from devmesh.api.console.deps import ConsoleDeps
from devmesh.api.console.instances import instances_of, is_meant, proxy_of
from devmesh.api.console.proxy_routes import routes
from devmesh.api.console.requests import compile_filter
from devmesh.graph.live import LiveGraph
from devmesh.graph.render import FORMATS
from devmesh.snapshot.proxy import Proxy
from devmesh.telemetry.exposition import CONTENT_TYPE

if TYPE_CHECKING:
    from quart import Blueprint, Response

_MAX_REQUESTS = 1000
_STREAM_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_PARTS: dict[str, Callable[[Proxy], Any]] = {
    "clusters": proxy_config.clusters,
    "listeners": proxy_config.listeners,
    "routes": routes,
    "endpoints": proxy_config.endpoints,
}


def build_console(deps: ConsoleDeps) -> Blueprint:
    """Return the blueprint with everything under ``/devmesh/v1/``, and ``/metrics``.

    Quart is imported here, not before: the data plane starts first.
    """
    from quart import Blueprint, Response, request

    console = Blueprint("console", __name__)
    live = LiveGraph(deps.feed, deps.recorder, deps.mesh)

    def stream(body: AsyncIterator[bytes], content_type: str) -> Response:
        response = Response(body, content_type=content_type, headers=_STREAM_HEADERS)
        response.timeout = None  # it lasts as long as its reader
        return response

    def answer(value: Any) -> Response:
        return Response(msgspec.json.encode(value), content_type="application/json")

    @console.errorhandler(Refused)
    async def refused(error: Refused) -> Response:
        body = msgspec.json.encode(Failure(error.status, str(error)))
        return Response(body, status=error.status, content_type="application/json")

    @console.get("/metrics")
    async def metrics() -> Response:
        return stream(streams.metrics_text(deps.recorder), CONTENT_TYPE)

    @console.get(f"{openapi.PREFIX}/graph")
    async def graph() -> Response:
        wanted = request.args.get("format", "json")
        if wanted not in FORMATS:
            raise Refused(400, f"format {wanted!r} is none of: {', '.join(FORMATS)}")
        render, content_type = FORMATS[wanted]
        return Response(render(await live.graph(_window(request.args))), content_type=content_type)

    @console.get(f"{openapi.PREFIX}/events")
    async def events() -> Response:
        topics = request.args.get("topics", "graph").split(",")
        if topics != ["graph"]:
            raise Refused(400, f"topics {','.join(topics)!r}: there is only graph")
        changes = live.changes(_window(request.args))
        return stream(streams.graph_events(changes, deps.streams), "text/event-stream")

    @console.get(f"{openapi.PREFIX}/status")
    async def status() -> Response:
        return answer(msgspec.convert(deps.status(), Status))

    @console.get(f"{openapi.PREFIX}/requests")
    async def requests() -> Response:
        proxies = deps.feed.current.proxies.values()
        meshed = {(p.instance.namespace, p.instance.workload.name) for p in proxies}
        wanted = compile_filter(request.args.to_dict(), meshed)
        limit = _number(request.args, "limit", 100, 1, _MAX_REQUESTS)
        return answer([RequestView.of(r) for r in deps.recorder.requests.latest(limit, wanted)])

    @console.get(f"{openapi.PREFIX}/access-log")
    async def access_log() -> Response:
        args = request.args
        namespace, name = args.get("namespace") or None, args.get("workload") or None
        instances_of(deps.feed.current, namespace, name)  # refuses a name that nothing has

        def select(instance: str) -> bool:
            found = deps.feed.current.instances.get(instance)
            if found is None:  # gone since
                return namespace is None and name is None
            return is_meant(found, namespace, name)

        since = _number(args, "since", 0, 0, 10**9)
        return stream(
            streams.access_log(
                deps.recorder.logs,
                select,
                tail=_number(args, "tail", 0, 0, 10**6) if args.get("tail") else None,
                since=deps.recorder.clock() - since if since else 0.0,
                follow=args.get("follow") == "true",
                prefix=streams.pod_prefix(lambda: deps.feed.current)
                if args.get("prefix", "false" if name else "true") == "true"
                else None,
                streams=deps.streams,
            ),
            "text/plain; charset=utf-8",
        )

    @console.get(f"{openapi.PREFIX}/findings")
    async def findings() -> Response:
        return answer([msgspec.convert(f, FindingView, from_attributes=True) for f in deps.findings()])

    @console.get(f"{openapi.PREFIX}/proxy-config/<what>/<namespace>/<path:name>")
    async def config(what: str, namespace: str, name: str) -> Response:
        if what == "secret":
            proxy, now = proxy_of(deps.feed.current, namespace, name), deps.recorder.clock()
            info = deps.certificates.describe(proxy.instance.identity)
            return answer(proxy_config.secrets(info, now) + proxy_config.credentials(proxy, now))
        if what not in _PARTS:
            raise Refused(404, f"proxy-config {what!r} is none of: {', '.join([*_PARTS, 'secret'])}")
        proxy = proxy_of(deps.feed.current, namespace, name)
        if what == "endpoints":
            is_ejected = proxies.ejected_by(deps.admin, proxy.instance.id)
            return answer(proxy_config.endpoints(proxy, is_ejected))
        return answer(_PARTS[what](proxy))

    @console.get(f"{openapi.PREFIX}/proxies")
    async def all_proxies() -> Response:
        return answer(proxies.proxies(deps.feed.current))

    @console.route(
        f"{openapi.PREFIX}/proxies/<namespace>/<name>/admin/<path:command>", methods=["GET", "POST"]
    )
    async def admin(namespace: str, name: str, command: str) -> Response:
        query = request.query_string.decode("latin-1")
        target = f"/{command}?{query}" if query else f"/{command}"
        found = await proxies.ask(deps.admin, deps.feed.current, namespace, name, request.method, target)
        return Response(found.body, status=found.status, content_type=found.content_type)

    @console.get(f"{openapi.PREFIX}/openapi.json")
    async def document() -> Response:
        return answer(openapi.document())

    return console


def _window(args: Mapping[str, str]) -> int:
    return _number(args, "window", 60, 1, 3600)


def _number(args: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = args.get(name) or str(default)
    try:
        value = int(text)
    except ValueError:
        raise Refused(400, f"{name} {text!r} is not a whole number") from None
    if not least <= value <= most:
        raise Refused(400, f"{name} {value} is not between {least} and {most}")
    return value
