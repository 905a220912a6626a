from __future__ import annotations

from typing import Any

import pytest

from devmesh.api.guard import Guard

TOKEN = "t" * 40


async def status(
    path: str,
    host: str = "127.0.0.1:20001",
    token: str = TOKEN,
    origin: str = "",
    type_: str = "http",
    subprotocols: str = "",
) -> int:
    """Return the HTTP status of a guarded application that always answers 200."""
    sent: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive() -> dict[str, str]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    headers = [(b"host", host.encode())]
    headers += [(b"authorization", f"Bearer {token}".encode())] if token else []
    headers += [(b"origin", origin.encode())] if origin else []
    headers += [(b"sec-websocket-protocol", subprotocols.encode())] if subprotocols else []
    extensions = {"websocket.http.response": {}}
    scope = {"type": type_, "path": path, "headers": headers, "extensions": extensions}
    await Guard(app, TOKEN, {20001, 20443}, hosts=("mesh.local",))(scope, receive, send)
    if sent[0]["status"] == 200:
        assert (b"x-content-type-options", b"nosniff") in sent[0]["headers"]
    return int(sent[0]["status"])


@pytest.mark.parametrize(
    "path", ["/api", "/api/v1/pods", "/apis", "/version", "/openapi/v3", "/devmesh/v1/graph"]
)
async def test_the_api_needs_the_token(path: str) -> None:
    assert await status(path) == 200
    for wrong in ("", TOKEN[:-1], TOKEN + "t", "Bearer"):
        assert await status(path, token=wrong) == 401


@pytest.mark.parametrize("path", ["/", "/graph", "/assets/index.js", "/healthz", "/readyz", "/apiary"])
async def test_the_dashboard_and_health_do_not(path: str) -> None:
    assert await status(path, token="") == 200


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("127.0.0.1:20001", 200),
        ("localhost:20443", 200),
        ("LOCALHOST", 200),
        ("[::1]:20001", 200),
        ("[::1]", 200),
        ("mesh.local", 200),
        ("evil.example", 403),
        ("127.0.0.1:8080", 403),
        ("127.0.0.1:", 403),
        ("127.0.0.1.evil.example:20001", 403),
        ("", 403),
    ],
)
async def test_the_host_has_to_be_ours(host: str, code: int) -> None:
    assert await status("/api", host) == code
    assert await status("/healthz", host) == code


@pytest.mark.parametrize(
    ("origin", "code"),
    [
        ("http://127.0.0.1:20001", 200),
        ("https://localhost:20443", 200),
        ("http://127.0.0.1:8080", 403),
        ("http://127.0.0.1", 403),
        ("file://127.0.0.1:20001", 403),
        ("https://evil.example", 403),
        ("null", 403),
    ],
)
async def test_pages_of_others_are_refused(origin: str, code: int) -> None:
    assert await status("/api", origin=origin) == code


async def test_websockets_are_guarded_too() -> None:
    path = "/api/v1/namespaces/default/pods/a/exec"
    for spelled in (path, f"/{path}", "/graph"):
        assert await status(spelled, token="", type_="websocket") == 401
    assert await status(path, origin="https://evil.example", type_="websocket") == 403
    assert await status(path, type_="websocket") == 200


async def test_a_page_can_send_the_token_of_a_websocket_as_a_subprotocol() -> None:
    encoded = (
        "base64url.bearer.authorization.k8s.io." + "dHR0dHR0dHR0dHR0dHR0dHR0dHR0dHR0dHR0dHR0dHR0dHR0dHR0dA"
    )
    path = "/api/v1/namespaces/default/pods/a/exec"
    protocols = f"v5.channel.k8s.io, {encoded}"
    assert await status(path, token="", type_="websocket", subprotocols=protocols) == 200
    assert await status(path, token="", type_="websocket", subprotocols=protocols[:-4]) == 401
