"""``pods/NAME/log``: plain text, as it comes."""

from __future__ import annotations

from collections.abc import AsyncIterator

from devmesh.api.kube.columns import at
from devmesh.api.kube.deps import KubeDeps
from devmesh.api.kube.duration import parse_time
from devmesh.api.kube.errors import bad_request
from devmesh.api.kube.pods import container_of, find_pod, state_of, waiting_reason
from devmesh.api.kube.request import Answer, Request
from devmesh.api.kube.target import Target
from devmesh.runtime.access import LogOptions, NotRunning


async def logs(deps: KubeDeps, target: Target, request: Request) -> Answer:
    """Stream a container's log.

    Raises:
        ApiError: There is no such container, or it has written none yet.
    """
    pod = find_pod(deps, target)
    container = container_of(pod, request.get("container"))
    options = _options(deps, request)
    status = state_of(pod, container)
    if options.previous and at(status, "lastState.terminated") is None:
        raise bad_request(f'previous terminated container "{container}" in pod "{target.name}" not found')
    began = at(status, "state.running") or at(status, "state.terminated") or status.get("restartCount")
    if (reason := waiting_reason(status)) and not began:
        raise bad_request(
            f'container "{container}" in pod "{target.name}" is waiting to start: {_words(reason)}'
        )
    pieces = deps.containers.logs(target.namespace, target.name, container, options)
    # What does not follow ends by itself, so that its first piece can be waited for.
    first = b"" if options.follow else await _first(pieces)
    return Answer(200, _Pieces(deps, first, pieces, options.limit_bytes), "text/plain; charset=utf-8")


async def _first(pieces: AsyncIterator[bytes]) -> bytes:
    try:
        return await anext(pieces, b"")
    except NotRunning as error:
        raise bad_request(str(error)) from error


def _words(reason: str) -> str:
    return {
        "ImagePullBackOff": "trying and failing to pull image",
        "ErrImagePull": "image can't be pulled",
    }.get(reason, reason)


def _options(deps: KubeDeps, request: Request) -> LogOptions:
    tail, seconds, limit = (request.number(n) for n in ("tailLines", "sinceSeconds", "limitBytes"))
    for name, value, least in (
        ("tailLines", tail, 0),
        ("sinceSeconds", seconds, 1),
        ("limitBytes", limit, 1),
    ):
        if value is not None and value < least:
            raise bad_request(f"{name}: Invalid value: {value}: must be greater than or equal to {least}")
    since = float(seconds) if seconds is not None else None
    if text := request.get("sinceTime"):
        if seconds is not None:
            raise bad_request("at most one of `sinceTime` or `sinceSeconds` may be specified")
        then, now = parse_time(text), parse_time(deps.store.timestamp())
        if then is None or now is None:
            raise bad_request(
                f'sinceTime: Invalid value: "{text}": expected a time like 2026-01-31T12:00:00Z'
            )
        since = max(0.0, now - then)
    return LogOptions(
        follow=request.flag("follow"),
        tail=tail,
        since=since,
        timestamps=request.flag("timestamps"),
        previous=request.flag("previous"),
        limit_bytes=limit,
    )


class _Pieces:
    """The body; ends with the log, or with the server."""

    def __init__(self, deps: KubeDeps, first: bytes, pieces: AsyncIterator[bytes], limit: int | None) -> None:
        self._deps, self._first, self._pieces, self._left = deps, first, pieces, limit
        self._begun = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self._begun:  # the head goes out at once
            self._begun = True
            return self._limited(self._first)
        if self._left == 0:
            await self._close()
            raise StopAsyncIteration
        piece: bytes | None = None
        with self._deps.streams.waiting():
            try:
                piece = await anext(self._pieces, None)
            except NotRunning as error:
                piece = f"{error}\n".encode()
        if piece is None:
            await self._close()
            raise StopAsyncIteration
        return self._limited(piece)

    def _limited(self, piece: bytes) -> bytes:
        if self._left is not None:
            piece = piece[: self._left]
            self._left -= len(piece)
        return piece

    async def aclose(self) -> None:
        await self._close()

    async def _close(self) -> None:
        close = getattr(self._pieces, "aclose", None)
        if close is not None:
            await close()
