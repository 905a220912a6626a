"""Who may speak to the API: the bearer of the token, from this machine, from our own pages."""

from __future__ import annotations

import hmac
import json
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Asgi = Callable[[Any, Receive, Send], Awaitable[None]]

HAS_TOKEN = "devmesh.has_token"
"""In the ASGI scope: whether the request carried the token."""

HOSTS = ("127.0.0.1", "localhost", "[::1]")
GUARDED = (
    "/api/",
    "/api",
    "/apis",
    "/openapi",
    "/version",
    "/devmesh/",
    "/metrics",
    "/debug/",
    "/kiali/",
    "/jaeger/",
)
"""What needs the token; all else is the built dashboard, the same for everybody, and health."""

CONTENT_SECURITY_POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; object-src 'none'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
)


class Guard:
    """Wraps an ASGI application; what it refuses never reaches it.

    A page of another site may make a browser send requests here, under any name that its DNS
    points to 127.0.0.1; so Host has to be one of ours, and Origin, where there is one, too.
    There are no cookies: a browser would send those to every port of 127.0.0.1.

    Args:
        token: What ``Authorization: Bearer`` has to carry.
        ports: The ports served; may be filled in later, once they are known.
        hosts: Further names under which the API is asked for (``--host``).
    """

    def __init__(self, app: Asgi, token: str, ports: Collection[int], hosts: Iterable[str] = ()) -> None:
        self._app = app
        self._token = token.encode()
        self._ports = ports
        self._hosts = {*HOSTS, *hosts}

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = {name.lower(): value for name, value in scope["headers"]}
        has_token = hmac.compare_digest(_bearer(headers).strip(), self._token)
        refusal = self._refusal(scope, headers, has_token)
        if refusal is None:
            # The application asks for it again, by what the path leads to rather than how it is written.
            await self._app({**scope, HAS_TOKEN: has_token}, receive, _with_headers(send))
        elif scope["type"] == "http":
            await _refuse(send, *refusal)
        else:
            await receive()
            await _refuse_websocket(scope, send, *refusal)

    def _refusal(
        self, scope: Scope, headers: Mapping[bytes, bytes], has_token: bool
    ) -> tuple[int, str, str] | None:
        if not scope["path"].startswith("/"):
            return 400, "BadRequest", "the request's target has to be a path, not a whole URL"
        host = headers.get(b"host", b"").decode("latin-1")
        if not self._is_ours(host):
            return (
                403,
                "Forbidden",
                f"the API is not served under the name {host!r}: use 127.0.0.1 or localhost",
            )
        origin = headers.get(b"origin")
        if origin is not None and not self._is_our_origin(origin.decode("latin-1")):
            return 403, "Forbidden", f"pages of {origin.decode('latin-1')} may not use this API"
        if has_token or not (scope["type"] == "websocket" or _is_guarded(scope["path"])):
            return None
        return 401, "Unauthorized", "Unauthorized"

    def _is_ours(self, host: str) -> bool:
        name, port = _split(host)
        return name in self._hosts and (port is None or port in self._ports)

    def _is_our_origin(self, origin: str) -> bool:
        parts = urlsplit(origin)
        port = {"http": ":80", "https": ":443"}.get(parts.scheme)
        if port is None:
            return False
        # A page without a port in its origin comes from another server than this one.
        return self._is_ours(parts.netloc if _split(parts.netloc)[1] is not None else parts.netloc + port)


def _is_guarded(path: str) -> bool:
    return any(path == p or path.startswith(p.rstrip("/") + "/") for p in GUARDED)


def _bearer(headers: Mapping[bytes, bytes]) -> bytes:
    scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() == b"bearer":
        return token
    # Browsers can't set headers of a WebSocket; Kubernetes' convention is a subprotocol.
    prefix = b"base64url.bearer.authorization.k8s.io."
    for protocol in headers.get(b"sec-websocket-protocol", b"").split(b","):
        if protocol.strip().startswith(prefix):
            return _unbase64(protocol.strip()[len(prefix) :])
    return b""


def _unbase64(text: bytes) -> bytes:
    import base64

    try:
        return base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    except ValueError:
        return b""


def _split(host: str) -> tuple[str, int | None]:
    name, colon, port = host.rpartition(":")
    if not colon or host.endswith("]"):
        return host.lower(), None
    return name.lower(), int(port) if port.isdecimal() and len(port) <= 5 else -1


def _with_headers(send: Send) -> Send:
    async def sending(message: Any) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            message = {**message, "headers": [*message.get("headers", ()), *SECURITY_HEADERS]}
        await send(message)

    return sending


def _body(code: int, reason: str, message: str) -> bytes:
    status = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }
    return json.dumps(status).encode()


async def _refuse(send: Send, code: int, reason: str, message: str) -> None:
    body = _body(code, reason, message)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if code == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    start = {"type": "http.response.start", "status": code, "headers": [*headers, *SECURITY_HEADERS]}
    await send(start)
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def _refuse_websocket(scope: Scope, send: Send, code: int, reason: str, message: str) -> None:
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008})
        return
    body = _body(code, reason, message)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "websocket.http.response.start", "status": code, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body, "more_body": False})
