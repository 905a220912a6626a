"""Builds the application: the Kubernetes API, the console's API, the dashboard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from devmesh.api.guard import HAS_TOKEN
from devmesh.api.kube.deps import KubeDeps

if TYPE_CHECKING:
    from quart import Blueprint, Response
    from quart_trio import QuartTrio

HEALTH = ("healthz", "readyz", "livez")
OPEN_ENDPOINTS = (*HEALTH, "ui", "ui:path")
"""What is served without the token; all else asks for it, whatever paths may come to be."""

MAX_BODY = 3 * 1024 * 1024
"""Bytes of a request (Kubernetes: 3 MiB)."""


@dataclass(frozen=True, slots=True)
class Deps:
    """What the API is made of.

    Attributes:
        blueprints: Further parts, such as the console's API; they go under the same guard.
    """

    kube: KubeDeps
    blueprints: Sequence[Blueprint] = ()


def build_app(deps: Deps) -> QuartTrio:
    """Return the application, without a guard: `guard.Guard` goes around it.

    Takes a few hundred milliseconds: Quart is imported here, and not before.
    """
    from quart import request
    from quart_trio import QuartTrio
    from werkzeug.exceptions import HTTPException

    from devmesh.api.kube.api import KubeApi
    from devmesh.api.kube.errors import ApiError
    from devmesh.api.kube.request import refused
    from devmesh.api.kube.routes import add_routes, respond
    from devmesh.api.ui import add_ui

    app = QuartTrio("devmesh.api", static_folder=None, template_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.config["BODY_TIMEOUT"] = 30

    async def health() -> tuple[str, int, dict[str, str]]:
        return "ok", 200, {"Content-Type": "text/plain; charset=utf-8"}

    for path in HEALTH:
        app.add_url_rule(f"/{path}", path, health)

    async def failed(error: HTTPException) -> Response:
        return respond(refused(ApiError(error.code or 500, str(error.description))))

    async def ask_for_token() -> Response | None:
        # Where there is no guard around (in tests), there is no flag.
        if request.endpoint in OPEN_ENDPOINTS or request.scope.get(HAS_TOKEN, True):
            return None
        return respond(refused(ApiError(401, "Unauthorized")))

    app.register_error_handler(HTTPException, failed)
    app.before_request(ask_for_token)
    add_routes(app, KubeApi(deps.kube))
    for blueprint in deps.blueprints:
        app.register_blueprint(blueprint)
    add_ui(app)
    return app
