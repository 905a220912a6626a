"""The Docker engine: calls in threads, its events as they come."""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import trio

log = logging.getLogger(__name__)
T = TypeVar("T")

CALLS_AT_A_TIME = 8
MESH_LABEL = "devmesh.mesh"
ROLE_LABEL = "devmesh.role"


class NoEngine(RuntimeError):
    """No Docker engine answers, or not one whose namespaces can be entered; the message says why."""


class Engine:
    """One engine, reached by its Unix socket."""

    def __init__(self, client: Any, socket_path: str) -> None:
        self.api = client
        self.socket_path = socket_path
        self._limiter = trio.CapacityLimiter(CALLS_AT_A_TIME)
        self._watchers: defaultdict[str, list[Callable[[str, dict[str, str]], None]]] = defaultdict(list)

    @classmethod
    def connect(cls) -> Engine:
        """Connect to the engine that DOCKER_HOST names, else the default one. Takes some 0.2 s: it imports.

        Raises:
            NoEngine: None answers there.
        """
        host = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
        if not host.startswith("unix://"):
            raise NoEngine(
                f"DOCKER_HOST is {host}: devmesh has to enter the containers' namespaces, so the engine must "
                "run on this machine and be reached by its Unix socket"
            )
        path = host.removeprefix("unix://")
        import docker
        import requests

        try:
            client = docker.APIClient(base_url=host, timeout=120, num_pools=CALLS_AT_A_TIME + 4)
            client.ping()
        except (docker.errors.DockerException, requests.RequestException, OSError) as error:
            raise NoEngine(f"no Docker engine answers at {path}: {_short(error)}") from error
        return cls(client, path)

    @property
    def version(self) -> str:
        return str(self.api.version()["Version"])

    def close(self) -> None:
        """Close the connections to the engine."""
        self.api.close()

    async def call(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Run a method of `api` in a thread. A cancelled caller leaves; the call itself goes on."""
        return await trio.to_thread.run_sync(
            partial(function, *args, **kwargs), limiter=self._limiter, abandon_on_cancel=True
        )

    def watch(self, container: str, watcher: Callable[[str, dict[str, str]], None]) -> Callable[[], None]:
        """Call `watcher` with each event of a container (``die``, ``oom``, ``destroy``) and its attributes.

        Returns:
            What ends it.
        """
        self._watchers[container].append(watcher)

        def end() -> None:
            watchers = self._watchers.get(container, [])
            if watcher in watchers:
                watchers.remove(watcher)
            if not watchers:
                self._watchers.pop(container, None)

        return end

    async def follow_events(
        self, mesh: str, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Tell the watchers what happens to the containers of `mesh`, until cancelled."""
        token = trio.lowlevel.current_trio_token()
        since: float | None = None
        while True:
            stream = await self.call(
                self.api.events,
                decode=True,
                since=since,
                filters={"type": "container", "label": f"{MESH_LABEL}={mesh}"},
            )
            task_status.started()
            task_status = trio.TASK_STATUS_IGNORED
            try:
                since = await trio.to_thread.run_sync(self._read, stream, token, abandon_on_cancel=True)
            finally:
                stream.close()
            log.warning("the Docker engine ended its event stream; connecting again")
            await trio.sleep(1)

    def _read(self, stream: Any, token: trio.lowlevel.TrioToken) -> float:
        """Hand events over to the trio thread until the stream ends; return the last one's time."""
        last = 0.0
        try:
            for event in stream:
                last = float(event.get("time", last))
                token.run_sync_soon(self._tell, event)
        except Exception as error:  # the stream breaks in as many ways as there are layers below it
            log.debug("event stream ended: %r", error)
        return last

    def _tell(self, event: dict[str, Any]) -> None:
        actor = event.get("Actor") or {}
        for watcher in tuple(self._watchers.get(actor.get("ID", ""), ())):
            watcher(event.get("Action", ""), actor.get("Attributes") or {})


def explanation(error: BaseException) -> str:
    """Return an engine's error in its own words."""
    return str(getattr(error, "explanation", None) or error).strip()


def _short(error: BaseException) -> str:
    text = str(error)
    for known in ("No such file or directory", "Permission denied", "Connection refused"):
        if known in text:
            return known
    return text[:300]
