"""A small client of the mesh's API, from the standard library alone: it starts in no time."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from devmesh.cli.failure import CliFailure


class ApiError(CliFailure):
    """The API refused; the message is its own. `code` is the HTTP status."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class Api:
    """Calls to one mesh.

    Args:
        url: ``http://127.0.0.1:20001``.
        token: The bearer token.
    """

    def __init__(self, url: str, token: str) -> None:
        self.url, self.token = url, token

    def get(self, path: str, **headers: str) -> Any:
        """Return the JSON of a GET."""
        return json.loads(self.request("GET", path, headers=headers))

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        content_type: str = "application/json",
        headers: dict[str, str] | None = None,
        timeout: float = 30.0,
    ) -> bytes:
        """Return the body of an answer below 400.

        Raises:
            ApiError: The API answered with an error.
            CliFailure: It did not answer.
        """
        connection, response = self._send(method, path, body, content_type, headers or {}, timeout)
        try:
            content = response.read()
        finally:
            connection.close()
        if response.status >= 400:
            raise ApiError(_message(content, response.status), response.status)
        return content

    def stream(self, path: str, *, headers: dict[str, str] | None = None) -> Iterator[bytes]:
        """Yield the pieces of an answer as they come, for as long as it lasts."""
        connection, response = self._send("GET", path, None, "", headers or {}, None)
        try:
            if response.status >= 400:
                raise ApiError(_message(response.read(), response.status), response.status)
            while piece := response.read1(65536):
                yield piece
        finally:
            connection.close()

    def _send(
        self,
        method: str,
        path: str,
        body: object,
        content_type: str,
        headers: dict[str, str],
        timeout: float | None,
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        parts = urlsplit(self.url)
        assert parts.hostname
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)
        payload = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        sent = {"Authorization": f"Bearer {self.token}", **headers}
        if payload is not None:
            sent["Content-Type"] = content_type
        try:
            connection.request(method, path, payload, sent)
            return connection, connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise CliFailure(
                f"the mesh does not answer at {self.url}: {error}; see `devmesh status`"
            ) from error


def _message(content: bytes, status: int) -> str:
    try:
        found = json.loads(content)
        return str(found["message"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {status}: {content[:200].decode(errors='replace')}"
