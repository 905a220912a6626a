"""A small client of the mesh's API, from the standard library alone: it starts in no time."""

from __future__ import annotations

import http.client
import json
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from devmesh.cli.failure import CliFailure

_WARNING = re.compile(r'299 \S+ "((?:[^"\\]|\\.)*)"')


class ApiError(CliFailure):
    """The API refused; the message is its own. `code` is the HTTP status.

    `causes` are the fields that are wrong, each with what is said of it.
    """

    def __init__(self, message: str, code: int, causes: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message)
        self.code, self.causes = code, tuple(causes)


class Api:
    """Calls to one mesh. What the API warns of is printed on stderr, as kubectl does.

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
            raise _refusal(content, response.status)
        return content

    def stream(self, path: str, *, headers: dict[str, str] | None = None) -> Iterator[bytes]:
        """Yield the pieces of an answer as they come, for as long as it lasts."""
        connection, response = self._send("GET", path, None, "", headers or {}, None)
        try:
            if response.status >= 400:
                raise _refusal(response.read(), response.status)
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
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise CliFailure(
                f"the mesh does not answer at {self.url}: {error}; see `devmesh status`"
            ) from error
        _warn(response.headers.get_all("Warning") or ())
        return connection, response


def _warn(headers: Sequence[str]) -> None:
    for header in headers:
        for text in _WARNING.findall(header):
            print("Warning:", re.sub(r"\\(.)", r"\1", text), file=sys.stderr)


def _refusal(content: bytes, status: int) -> ApiError:
    try:
        found = json.loads(content)
        details = found.get("details") or {}
        causes = [(cause["field"], cause["message"]) for cause in details.get("causes") or ()]
        return ApiError(str(found["message"]), status, causes)
    except (ValueError, KeyError, TypeError, AttributeError):
        return ApiError(f"HTTP {status}: {content[:200].decode(errors='replace')}", status)
