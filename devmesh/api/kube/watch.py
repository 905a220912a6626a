"""Watches: changes as lines of JSON, from a version on."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import msgspec
import trio

from devmesh.api.kube.deps import KubeDeps
from devmesh.api.kube.errors import ApiError, bad_request, invalid_option
from devmesh.api.kube.reads import shaped
from devmesh.api.kube.request import JSON, Answer, Form, Request, wanted
from devmesh.api.kube.selectors import Test, select
from devmesh.api.kube.target import Target
from devmesh.config.problems import forbidden, required
from devmesh.config.store import Event, Expired, Stored, Watch

INITIAL_EVENTS_END = "k8s.io/initial-events-end"
BOOKMARK_SECONDS = 60.0
LONGEST = 3600.0
"""A watch ends after half to all of this many seconds, as in Kubernetes; clients begin again."""

BATCH = 64
"""How many events go out in one piece."""


def watch(deps: KubeDeps, target: Target, request: Request) -> Answer:
    """Return a stream of events.

    Raises:
        ApiError: The parameters make no sense.
    """
    form = wanted(request.headers.get("accept", ""))
    if form.media != JSON:
        raise ApiError(406, "a watch is told as application/json")
    fields = request.get("fieldSelector")
    if target.name:
        fields = ",".join(filter(None, (fields, f"metadata.name={target.name}")))
    chosen = select(target.kind, request.get("labelSelector"), fields)
    return Answer(200, _Stream(deps, _Wanted(target, form, request, chosen)))


@dataclass(frozen=True, slots=True)
class _Wanted:
    target: Target
    form: Form
    request: Request
    chosen: Test

    def change(self, event: Event) -> tuple[str, Stored] | None:
        """Return what the change is to this watch: an object that no longer fits is DELETED."""
        stored = event.object
        if self.target.namespace and stored.namespace != self.target.namespace:
            return None
        fits = self.chosen(stored) and event.type != "DELETED"
        fitted = event.before is not None and self.chosen(event.before)
        if fits:
            return ("MODIFIED" if fitted else "ADDED"), stored
        return ("DELETED", stored) if fitted else None


class _Stream:
    """The body. An iterator rather than a generator: no cancel scope may stay open between pieces."""

    def __init__(self, deps: KubeDeps, wanted: _Wanted) -> None:
        request, store = wanted.request, deps.store
        version, initial, marked = _beginning(request)
        self._deps, self._wanted = deps, wanted
        timeout = request.number("timeoutSeconds")
        seconds = float(timeout) if timeout else random.uniform(LONGEST / 2, LONGEST)
        self._deadline = trio.current_time() + seconds
        self._bookmarks = request.flag("allowWatchBookmarks")
        self._lines: deque[bytes | tuple[str, Stored]] = deque()
        self._watch: Watch = store.watch(None if initial else version, wanted.target.kind)
        self._version = store.version if initial else version
        self._over = False
        self._begun = False
        if version > store.version:  # from before the store was forgotten: the client has to list again
            gone = Expired(f"too large resource version: {version}, current: {store.version}")
            self._lines.append(_encode({"type": "ERROR", "object": _gone(gone)}))
            self._over = True
            return
        if initial:
            found = store.list(wanted.target.kind, wanted.target.namespace)
            # Encoded when they are taken: a long list must not hold the loop up.
            self._lines.extend(("ADDED", stored) for stored in found if wanted.chosen(stored))
        if marked and self._bookmarks:
            self._lines.append(self._bookmark({INITIAL_EVENTS_END: "true"}))

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        await trio.lowlevel.checkpoint()
        if not self._begun:  # the head goes out at once, whatever there is to tell
            self._begun = True
            return self._take()
        while not self._lines:
            if self._over:
                raise StopAsyncIteration
            await self._fill()
        return self._take()

    def _take(self) -> bytes:
        taken = (self._lines.popleft() for _ in range(min(BATCH, len(self._lines))))
        return b"".join(one if isinstance(one, bytes) else self._line(*one) for one in taken)

    async def _fill(self) -> None:
        bookmark_at = trio.current_time() + BOOKMARK_SECONDS if self._bookmarks else self._deadline
        with self._deps.streams.waiting(min(self._deadline, bookmark_at)) as wait:
            try:
                event = await anext(self._watch)
            except Expired as error:
                self._lines.append(_encode({"type": "ERROR", "object": _gone(error)}))
                self._over = True
                return
            self._add(event)
            for one in self._watch.ready():
                self._add(one)
                if len(self._lines) >= BATCH:
                    return
            return
        if wait.cancelled_caught:
            if self._deps.streams.ended or trio.current_time() >= self._deadline:
                self._over = True
            else:
                for one in self._watch.ready():
                    self._add(one)
                self._version = max(self._version, self._deps.store.version)
                self._lines.append(self._bookmark({}))

    def _add(self, event: Event) -> None:
        self._version = event.object.version
        if change := self._wanted.change(event):
            self._lines.append(change)

    def _line(self, type_: str, stored: Stored) -> bytes:
        wanted = self._wanted
        return _encode({"type": type_, "object": shaped(wanted.target, stored, wanted.form, wanted.request)})

    def _bookmark(self, annotations: dict[str, str]) -> bytes:
        target, form = self._wanted.target, self._wanted.form
        metadata: dict[str, Any] = {"resourceVersion": str(self._version), "creationTimestamp": None}
        if annotations:
            metadata["annotations"] = annotations
        if form.as_ == "Table":
            row = {"cells": [], "object": _partial(metadata)}
            found: dict[str, Any] = {
                "kind": "Table",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": {"resourceVersion": str(self._version)},
                "columnDefinitions": [],
                "rows": [row],
            }
        elif form.as_:
            found = _partial(metadata)
        else:
            found = {"kind": target.kind.kind, "apiVersion": target.api_version, "metadata": metadata}
        return _encode({"type": "BOOKMARK", "object": found})


def _partial(metadata: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}


def _beginning(request: Request) -> tuple[int, bool, bool]:
    """Return from which version, whether with what is there, and whether its end is to be marked."""
    given, match = request.get("resourceVersion"), request.get("resourceVersionMatch")
    if given and not given.isdecimal():
        raise bad_request(f'resourceVersion: Invalid value: "{given}": must be an unsigned integer')
    version = int(given or 0)
    if "sendInitialEvents" in request.query:
        if match != "NotOlderThan":
            cause = required(
                ("resourceVersionMatch",),
                "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            )
            raise invalid_option("ListOptions", cause)
        initial = request.flag("sendInitialEvents")
        return version, initial or not version, initial
    if match:
        text = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
        raise invalid_option("ListOptions", forbidden(("resourceVersionMatch",), text))
    return version, not version, False


def _gone(error: Expired) -> dict[str, Any]:
    return ApiError(410, str(error)).status()


def _encode(event: dict[str, Any]) -> bytes:
    return msgspec.json.encode(event) + b"\n"
