"""One container of a pod, from its image to its last restart."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol, TypeVar

import trio

from devmesh.config.store import Raw, Stored
from devmesh.runtime.events import Level
from devmesh.runtime.pods.backend import Container, Exit, Image, Sandbox, StartProblem
from devmesh.runtime.pods.backoff import Backoff
from devmesh.runtime.pods.environment import ConfigProblem
from devmesh.runtime.pods.health import grace_of, run_hook, takes_time, watch_health
from devmesh.runtime.pods.lastwords import last_words, message_file
from devmesh.runtime.pods.logs import ContainerLog
from devmesh.runtime.pods.node import Node
from devmesh.runtime.pods.pulling import ImagePull
from devmesh.runtime.pods.spec import container_spec
from devmesh.runtime.pods.status import ContainerView
from devmesh.runtime.pods.volumes import Volumes

T = TypeVar("T")
_CONFIG_RETRY = 2.0
_DRAIN = 1.0  # seconds for the last of the output, once the container has ended
_FULL_PIECE = 1 << 16
_BREATH = 0.002  # after a full piece of output: a container that floods its log must not hold up the rest


class Stopped(Exception):
    """The pod is being stopped: no (further) start."""


class Home(Protocol):
    """The pod, as its containers see it."""

    node: Node
    volumes: Volumes
    addresses: tuple[str, ...]
    folder: Path

    @property
    def pod(self) -> Stored:
        """The pod as it is stored now, or was last."""

    def changed(self) -> None:
        """Write the pod's status: a container has something new to say."""

    def say_notes(self, sandbox: Sandbox) -> None:
        """Record what the sandbox says has no effect here, once."""


class ContainerRunner:
    """Starts a container, watches it, and starts it again as its pod's restart policy wants.

    Args:
        kind: ``app``; ``init``, which has to end well; ``sidecar``, an init container with
            restartPolicy Always, which keeps running.
        policy: Always, OnFailure, Never.
    """

    def __init__(self, home: Home, raw: Raw, kind: str, policy: str) -> None:
        self.raw = raw
        self.view = ContainerView(raw["name"], raw.get("image", ""), kind)
        self.log: ContainerLog | None = None
        self.container: Container | None = None
        self.has_started = trio.Event()
        self._home = home
        self._policy = "Always" if kind == "sidecar" else policy
        self._backoff = Backoff()
        self._pull = ImagePull()
        self._early = trio.CancelScope()
        self._ended = trio.Event()
        self._attempt = 0
        self.redefined = trio.Event()
        self.stopping = False
        if kind == "app" and home.pod.raw["spec"].get("initContainers"):
            self.view.state = {"waiting": {"reason": "PodInitializing"}}

    @property
    def name(self) -> str:
        return self.view.name

    def log_path(self, *, previous: bool = False) -> Path:
        """Return where the log of the current run is, or of the one before."""
        return self._log_path(self._attempt - previous)

    async def run(self, sandbox: Sandbox) -> Exit | None:
        """Run until it is over for good, and return how it ended; None where it was stopped before it ran."""
        ended: Exit | None = None
        while True:
            try:
                image = await self._until_stopped(self._have_image)
                container = await self._until_stopped(self._start, sandbox, image)
            except Stopped:
                return ended
            except StartProblem as problem:
                self._attempt += 1
                ended, ran = self._start_failed(problem), 0.0
            else:
                self._attempt += 1
                if self.stopping:  # asked to while it was being started
                    await container.aclose()
                    return ended
                began = trio.current_time()
                ended = await self._supervise(container)
                ran = trio.current_time() - began
            if self.stopping or not self._restarts(ended):
                return ended
            try:
                await self._until_stopped(self._back_off, ran)
            except Stopped:
                return ended
            self.view.restarts += 1

    async def stop(self, grace: float) -> None:
        """End it for good: its preStop hook, SIGTERM, and SIGKILL once `grace` seconds are over."""
        self.stopping = True
        self._early.cancel()
        if self.container is not None:
            self.event("Normal", "Killing", f"Stopping container {self.name}")
            await self._end(self.container, grace)

    def lost(self) -> None:
        """Its sandbox is gone, and it with it: it begins anew, as a restart."""
        self.view.lose(self._home.node.store.timestamp())
        self.has_started = trio.Event()

    def redefine(self, raw: Raw) -> None:
        """Take a changed manifest; of a pod that is there only images can change: a new one starts anew."""
        self.raw, changed = raw, raw.get("image", "") != self.view.image
        if changed:
            self.view.image = raw.get("image", "")
            self.redefined.set()
            self.redefined = trio.Event()

    def set_ready(self, ready: bool) -> None:
        if self.view.ready != ready:
            self.view.ready = ready
            self._home.changed()

    def set_started(self, ready: bool) -> None:
        """Note that its startup probe has succeeded: what waits for it may go on."""
        self.view.started = True
        self.view.ready = ready
        self.has_started.set()
        self._home.changed()

    async def kill(self, why: str, grace: float) -> None:
        """End it so that the restart policy takes over: a probe has failed for good."""
        if self.container is not None and not self.stopping:
            self.event("Normal", "Killing", f"Container {self.name} {why}")
            await self._end(self.container, grace)

    async def kill_now(self) -> None:
        """Kill it, whatever it was told before."""
        if self.container is not None:
            await self.container.signal(signal.SIGKILL)

    # Starting

    async def _until_stopped(self, action: Callable[..., Awaitable[T]], *args: object) -> T:
        self._early = trio.CancelScope()
        if self.stopping:
            raise Stopped
        with self._early:
            return await action(*args)
        raise Stopped

    async def _have_image(self) -> Image:
        return await self._pull.have(self, self._home.node.backend)

    async def _start(self, sandbox: Sandbox, image: Image) -> Container:
        while True:
            try:
                spec = container_spec(
                    self._home.node.store,
                    self._home.pod,
                    self.raw,
                    image,
                    self._home.volumes,
                    self._home.addresses,
                    self._attempt,
                    message_file(self._home.folder, self.name, self._attempt),
                )
                break
            except ConfigProblem as problem:
                self.event("Warning", "Failed", f"Error: {problem}")
                self.wait_for("CreateContainerConfigError", str(problem))
            with trio.move_on_after(_CONFIG_RETRY):
                await self._home.node.store.changed()
        container = await sandbox.start(spec)
        self._home.say_notes(sandbox)
        self.event("Normal", "Created", f"Created container: {self.name}")
        return container

    def _start_failed(self, problem: StartProblem) -> Exit:
        self.event("Warning", "Failed", f"Error: {problem}")
        now = self._home.node.store.timestamp()
        self._terminated(Exit(problem.exit_code, problem.reason, str(problem)), now)
        return Exit(problem.exit_code, problem.reason, str(problem))

    def _restarts(self, ended: Exit) -> bool:
        if self.view.kind == "init":
            return ended.code != 0 and self._policy != "Never"
        return self._policy == "Always" or (self._policy == "OnFailure" and ended.code != 0)

    async def _back_off(self, ran: float) -> None:
        delay = self._backoff.after(ran)
        if delay > 0:
            pod = self._home.pod
            told = f"restarting failed container={self.name} pod={pod.name}_{pod.namespace}({pod.uid})"
            self.event("Warning", "BackOff", f"Back-off {told}")
            self.view.last = self.view.state
            self.wait_for("CrashLoopBackOff", f"back-off {delay:g}s {told}")
            await trio.sleep(delay)
        else:
            await trio.lowlevel.checkpoint()
            self.view.last = self.view.state

    # Running

    async def _supervise(self, container: Container) -> Exit:
        started = self._home.node.store.timestamp()
        self._open_log()
        self.container, self._ended = container, trio.Event()
        self.view.container_id = container.id
        self.view.state = {"running": {"startedAt": started}}
        self.event("Normal", "Started", f"Started container {self.name}")
        if takes_time(self.raw):
            self._home.changed()
        try:
            async with trio.open_nursery() as around:
                around.start_soon(self._keep_log, container)
                async with trio.open_nursery() as beside:
                    beside.start_soon(watch_health, self, self._home, container)
                    beside.start_soon(self._watch_definition)
                    ended = await container.wait()
                    beside.cancel_scope.cancel()
                around.cancel_scope.deadline = trio.current_time() + _DRAIN
        finally:
            self.container = None
            self._ended.set()
            if self.log is not None:
                self.log.close()
            with trio.CancelScope(shield=True):
                await container.aclose()
        self._terminated(ended, started)
        return ended

    async def _watch_definition(self) -> None:
        await self.redefined.wait()
        await self.kill("definition changed, will be restarted", grace_of(self._home, {}))

    async def _keep_log(self, container: Container) -> None:
        assert self.log is not None
        async for stream, data in container.output():
            self.log.write(stream, data)
            if len(data) >= _FULL_PIECE:
                await trio.sleep(_BREATH)

    def _open_log(self) -> None:
        self.log = ContainerLog(self.log_path(), self._home.node.clock)
        oldest = self._log_path(self._attempt - 2)
        for path in (oldest, oldest.with_suffix(".log.1")):
            path.unlink(missing_ok=True)

    def _log_path(self, attempt: int) -> Path:
        return self._home.folder / "logs" / self.name / f"{attempt}.log"

    async def _end(self, container: Container, grace: float) -> None:
        deadline = trio.current_time() + grace
        hook = (self.raw.get("lifecycle") or {}).get("preStop")
        if hook and grace > 0:
            with trio.move_on_at(deadline):
                await run_hook(hook, self, self._home, container, "PreStop")
        if grace > 0:
            await container.signal(signal.SIGTERM)
        # Kubernetes gives two more seconds where the hook has used up all of the grace.
        with trio.move_on_at(max(deadline, trio.current_time() + min(grace, 2.0))):
            await self._ended.wait()
        if not self._ended.is_set():
            await container.signal(signal.SIGKILL)
            await self._ended.wait()

    # Telling

    def _terminated(self, ended: Exit, started: str) -> None:
        terminated: Raw = {
            "exitCode": ended.code,
            "reason": ended.reason or ("Completed" if ended.code == 0 else "Error"),
            "startedAt": started,
            "finishedAt": self._home.node.store.timestamp(),
        }
        if message := ended.message or self._last_words(ended):
            terminated["message"] = message
        if self.view.container_id:
            terminated["containerID"] = self.view.container_id
        self.view.state = {"terminated": terminated}
        self.view.ready = self.view.started = False
        if self.view.kind == "init" and ended.code == 0:
            self.view.ready = True
        self._home.changed()

    def _last_words(self, ended: Exit) -> str:
        falls_back = self.raw.get("terminationMessagePolicy") == "FallbackToLogsOnError"
        log = self.log_path() if ended.code and falls_back else None
        return last_words(self._home.folder, self.name, self._attempt - 1, log)

    def wait_for(self, reason: str, message: str) -> None:
        """Show that it waits, and for what."""
        self.view.state = {"waiting": {"reason": reason, "message": message}}
        self._home.changed()

    def event(self, level: Level, reason: str, message: str) -> None:
        """Record an event about this container."""
        self._home.node.events.record(
            self._home.pod,
            level,
            reason,
            message,
            container=self.name,
            init=self.view.kind != "app",
        )
