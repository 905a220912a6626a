"""Quart's side of the Kubernetes API."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, cast

from devmesh.api.kube import channels, execs, forwarding
from devmesh.api.kube.api import KNOWN, STREAMS, KubeApi
from devmesh.api.kube.errors import ApiError, no_such_path, translated
from devmesh.api.kube.request import Answer, Request, refused
from devmesh.api.kube.target import Target, parse
from devmesh.config.kinds import POD

if TYPE_CHECKING:
    from quart import Response
    from quart_trio import QuartTrio

log = logging.getLogger(__name__)

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
ROOTS = ("api", "apis", "openapi", "version")


def add_routes(app: QuartTrio, api: KubeApi) -> None:
    """Serve `api` under ``/api``, ``/apis``, ``/openapi`` and ``/version``."""

    async def http(rest: str = "") -> Response:
        return respond(await api.answer(await _request()))

    async def streams(rest: str = "") -> Response | None:
        request = _websocket_request()
        try:
            target = parse(request.path, api.deps.store.kinds)
            if target.subresource not in STREAMS or target.kind is not POD:
                raise no_such_path()
        except ApiError as error:
            return respond(refused(error))
        return await _session(api, target, request)

    for root in ROOTS:
        for rule in (f"/{root}", f"/{root}/", f"/{root}/<path:rest>"):
            app.add_url_rule(rule, f"kube:{rule}", http, methods=METHODS, strict_slashes=False)
    app.add_websocket("/api/<path:rest>", "kube:streams", streams)


async def _session(api: KubeApi, target: Target, request: Request) -> Response | None:
    from quart import websocket

    forwards = target.subresource == "portforward"
    choose = forwarding.choose if forwards else channels.choose
    protocol = choose(websocket.requested_subprotocols)
    run: Callable[[channels.Socket], Awaitable[None]]
    try:
        if protocol is None:
            known = ", ".join((forwarding.TUNNEL, *forwarding.CHANNELS) if forwards else channels.PROTOCOLS)
            raise ApiError(400, f"unable to upgrade: none of the subprotocols is known here: {known}")
        if forwards:
            run = partial(forwarding.run, api.deps, target, forwarding.prepare(api.deps, target, request))
        else:
            session = execs.run if target.subresource == "exec" else execs.attach
            run = partial(session, api.deps, target, execs.prepare(api.deps, target, request))
    except KNOWN as error:
        return respond(refused(translated(error, target.kind, target.name)))
    await websocket.accept(subprotocol=protocol)
    await run(channels.Socket(websocket.receive, websocket.send, partial(websocket.close, 1000), protocol))
    await websocket.close(1000)
    return None


async def _request() -> Request:
    from quart import request

    return Request(
        request.method,
        request.path,
        {name: request.args.getlist(name) for name in request.args},
        {name.lower(): value for name, value in request.headers.items()},
        cast("bytes", await request.get_data(cache=False, as_text=False)),
    )


def _websocket_request() -> Request:
    from quart import websocket

    return Request(
        "GET",
        websocket.path,
        {name: websocket.args.getlist(name) for name in websocket.args},
        {name.lower(): value for name, value in websocket.headers.items()},
    )


def respond(answer: Answer) -> Response:
    """Return the answer as Quart has it."""
    from quart import Response

    response = Response(answer.body, status=answer.status, content_type=answer.content_type)
    for name, value in answer.headers:
        response.headers.add(name, value)
    response.headers["Cache-Control"] = "no-cache, private"
    if not isinstance(answer.body, bytes):
        response.timeout = None  # a watch lasts
    return response
