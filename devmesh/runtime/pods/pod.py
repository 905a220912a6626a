"""One pod, from its network to its end."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import trio

from devmesh.config.store import Raw, Stored
from devmesh.runtime.instances import describe
from devmesh.runtime.pods.admission import PROXY, app_containers, is_meshed
from devmesh.runtime.pods.backend import Sandbox, SandboxProblem
from devmesh.runtime.pods.backoff import Backoff
from devmesh.runtime.pods.container import ContainerRunner
from devmesh.runtime.pods.node import Node
from devmesh.runtime.pods.spec import sandbox_spec
from devmesh.runtime.pods.status import ContainerView, PodView, pod_status, qos_class
from devmesh.runtime.pods.volumes import VolumeProblem, Volumes

log = logging.getLogger(__name__)

_SANDBOX_BACKOFF, _LONGEST_SANDBOX_BACKOFF = 1.0, 60.0
_VOLUME_RETRY = 2.0
_DRAIN = 0.1
_WITHDRAWAL = 1.0  # seconds that the mesh has to take an ending pod out
_LAST_SECONDS = 10.0  # for closing a sandbox, whatever holds it up


class PodRunner:
    """Makes a stored Pod run, and writes its status. What a kubelet's worker for one pod does."""

    def __init__(self, node: Node, pod: Stored) -> None:
        self.node = node
        self.pod = pod
        self.folder = pod_folder(node.pods, pod)
        self.volumes = Volumes(node.store, self.folder / "volumes", node.claims)
        self.addresses: tuple[str, ...] = ()
        self.stopping = False
        self.proxy: ContainerView | None = None
        self.init, self.apps = self._runners()
        self._sandbox: Sandbox | None = None
        self._started = ""
        self._failed = ""
        self._complete = False
        self._said: set[str] = set()
        self._early = trio.CancelScope()
        self._finished = trio.Event()
        self._stop_asked = trio.Event()

    def runner(self, container: str) -> ContainerRunner | None:
        """Return the runner of a container by name; None for others, and for the proxy."""
        return next((r for r in (*self.init, *self.apps) if r.name == container), None)

    @property
    def sandbox(self) -> Sandbox | None:
        return self._sandbox

    async def run(self) -> None:
        """Live until the pod is complete or stopped; what then remains is its folder."""
        self._started = self._started or self.node.store.timestamp()
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self.pod.raw["spec"].get("hostNetwork"):
            self._tell("Warning", "NoEffect", "hostNetwork has no effect: the pod has a network of its own")
        self._tell("Normal", "Scheduled", f"Assigned {self.pod.namespace}/{self.pod.name} to this machine")
        self.changed()
        self._finished = trio.Event()
        try:
            while not self.is_over:
                await self._live()
        finally:
            self._finished.set()

    async def pause(self, seconds: float) -> None:
        """Wait, but not for longer than until it is stopped."""
        with trio.move_on_after(seconds):
            await self._stop_asked.wait()

    async def stop(self, grace: float, *, drain: bool = True) -> None:
        """End it: not ready from now on, then its containers in parallel, within `grace` seconds each.

        With `drain`, the signal comes a moment after the mesh has stopped to send new requests here, so that
        those under way have mostly been answered. On a cluster the two race; but there, too, a pod without
        grace lives on for a moment (kubelet: two seconds at least).

        One that is being stopped already goes on as it was told to, but without grace it is killed.
        """
        if self.stopping:
            for runner in (*self.apps, *self.init) if grace <= 0 else ():
                await runner.kill_now()
            await self._finished.wait()
            return
        instance = self.node.instances.get(self.pod.uid)
        self.stopping = True
        self._stop_asked.set()
        self.changed()
        self._report()  # without grace its object is gone already, and nothing changed
        self._early.cancel()
        if drain and instance is not None and instance.ready:
            with trio.move_on_after(min(_WITHDRAWAL, grace / 2 or _WITHDRAWAL)):
                await self.node.withdrawn(self.pod.uid)
                await trio.sleep(_DRAIN)
        async with trio.open_nursery() as nursery:
            for runner in self.apps:
                nursery.start_soon(runner.stop, grace)
        async with trio.open_nursery() as nursery:
            for runner in self.init:
                nursery.start_soon(runner.stop, min(grace, 2.0) if runner.view.kind == "sidecar" else grace)
        await self._finished.wait()

    def update(self, pod: Stored) -> None:
        """Take note of what has been written to the pod: labels, above all, and images."""
        before, self.pod = self.pod, pod
        if before.raw["spec"] != pod.raw["spec"]:
            for raw in (*pod.raw["spec"]["containers"], *(pod.raw["spec"].get("initContainers") or ())):
                if runner := self.runner(raw["name"]):
                    runner.redefine(raw)
        if self._gates() and _conditions(before) != _conditions(pod):
            self.changed()
        elif before.metadata != pod.metadata and self.addresses:
            self._report()

    def changed(self) -> None:
        """Write the status and report the instance; nothing is written where nothing is new."""
        stored = self.node.store.by_key(self.pod.key)
        if stored is None or stored.uid != self.pod.uid:
            return
        before = stored.raw.get("status") or {}
        status = pod_status(self._view(), before, self.node.store.timestamp())
        status["qosClass"] = qos_class(self.pod.raw["spec"])
        if status != before:
            self.pod = self.node.store.patch_status(self.pod.key, status) or self.pod
        self._report()

    def forget(self) -> None:
        """Remove the pod's folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    # One life: the time of one sandbox

    async def _live(self) -> None:
        try:
            with trio.CancelScope() as self._early:
                if self.stopping:
                    return
                await self._make_volumes()
                self._sandbox = await self._make_sandbox()
                self.addresses = self._sandbox.addresses
                self.changed()
                await self._have_proxy()
            if self._sandbox is not None and not self.stopping:
                await self._run_containers(self._sandbox)
        finally:
            await self._close_sandbox()
            self.changed()

    async def _make_volumes(self) -> None:
        while True:
            try:
                self.volumes.make(self.pod)
                return
            except VolumeProblem as problem:
                self._tell("Warning", "FailedMount", str(problem))
            with trio.move_on_after(_VOLUME_RETRY):
                await self.node.store.changed()

    async def _make_sandbox(self) -> Sandbox:
        backoff = Backoff(_SANDBOX_BACKOFF, _LONGEST_SANDBOX_BACKOFF, free=0)
        while True:
            try:
                return await self.node.backend.create_sandbox(sandbox_spec(self.node, self.pod, self.folder))
            except SandboxProblem as problem:
                self._tell("Warning", "FailedCreatePodSandBox", f"Failed to create pod sandbox: {problem}")
            await trio.sleep(backoff.after())

    async def _have_proxy(self) -> None:
        """Wait until the proxy is configured, so that the first connection is already routed by the mesh."""
        if self.proxy is None:
            return
        await self.node.configured(self.pod.uid)
        self.proxy.state = {"running": {"startedAt": self.node.store.timestamp()}}
        self.proxy.ready = self.proxy.started = True
        self.changed()

    async def _run_containers(self, sandbox: Sandbox) -> None:
        async with trio.open_nursery() as nursery:
            lost = trio.Event()
            nursery.start_soon(self._watch_sandbox, sandbox, nursery.cancel_scope, lost)
            if await self._run_init(sandbox, nursery):
                if self.proxy is not None and not self.apps:
                    await self._until_stopped()
                async with trio.open_nursery() as apps:
                    for runner in self.apps:
                        apps.start_soon(runner.run, sandbox)
            self._complete = True
            await self._stop_sidecars()
            nursery.cancel_scope.cancel()
        if lost.is_set():
            self._forget_runs()

    async def _watch_sandbox(self, sandbox: Sandbox, scope: trio.CancelScope, lost: trio.Event) -> None:
        why = await sandbox.wait_lost()
        self._tell(
            "Normal", "SandboxChanged", f"Pod sandbox changed, it will be killed and re-created: {why}"
        )
        lost.set()
        scope.cancel()

    async def _run_init(self, sandbox: Sandbox, nursery: trio.Nursery) -> bool:
        """Run the init containers in order; tell whether the others may start."""
        for runner in self.init:
            if runner.view.kind == "sidecar":
                nursery.start_soon(runner.run, sandbox)
                with trio.CancelScope() as self._early:
                    await runner.has_started.wait()
            elif not (runner.view.is_done and runner.view.ready):
                ended = await runner.run(sandbox)
                if ended is None or ended.code != 0:
                    return False
            if self.stopping:
                return False
        return True

    async def _until_stopped(self) -> None:
        with trio.CancelScope() as self._early:
            if not self.stopping:
                await trio.sleep_forever()

    async def _stop_sidecars(self) -> None:
        async with trio.open_nursery() as nursery:
            for runner in self.init:
                if runner.view.kind == "sidecar" and not runner.stopping:
                    nursery.start_soon(runner.stop, 2.0)

    def _forget_runs(self) -> None:
        """The sandbox is gone: everything starts anew, init containers too."""
        self._complete = False
        for runner in (*self.init, *self.apps):
            runner.lost()
        if self.proxy is not None:
            self.proxy.lose(self.node.store.timestamp())

    async def _close_sandbox(self) -> None:
        sandbox, self._sandbox = self._sandbox, None
        self.node.instances.remove(self.pod.uid)
        if self.proxy is not None and self.is_over and "running" in self.proxy.state:
            self.proxy.state = _ended(self.proxy.state["running"], self.node.store.timestamp())
            self.proxy.ready = self.proxy.started = False
        if sandbox is not None:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + _LAST_SECONDS):
                try:
                    await sandbox.aclose()
                except Exception:  # what is left of it must not end the pod's life
                    log.exception("the sandbox of %s was not closed", self.pod.key)

    @property
    def is_over(self) -> bool:
        """Whether nothing more will be started."""
        return self._complete or self.stopping or bool(self._failed)

    # Telling

    def _runners(self) -> tuple[list[ContainerRunner], list[ContainerRunner]]:
        spec = self.pod.raw["spec"]
        policy = spec.get("restartPolicy") or "Always"
        init = [
            ContainerRunner(self, raw, "sidecar" if raw.get("restartPolicy") == "Always" else "init", policy)
            for raw in spec.get("initContainers") or ()
        ]
        apps = [ContainerRunner(self, raw, "app", policy) for raw in app_containers(self.pod.raw)]
        if is_meshed(self.pod.raw):
            raw = next(c for c in spec["containers"] if c["name"] == PROXY)
            self.proxy = ContainerView(PROXY, raw["image"], "proxy")
            self.proxy.state = {"waiting": {"reason": "PodInitializing"}}
        return init, apps

    def _view(self) -> PodView:
        views = {runner.name: runner.view for runner in self.apps}
        if self.proxy is not None:
            views[PROXY] = self.proxy
        spec = self.pod.raw["spec"]
        return PodView(
            containers=[views[c["name"]] for c in spec["containers"] if c["name"] in views],
            init=[runner.view for runner in self.init],
            addresses=self.addresses,
            started=self._started,
            restart_policy=spec.get("restartPolicy") or "Always",
            has_sandbox=self._sandbox is not None,
            failed=self._failed,
            stopping=self.stopping,
            gates=self._gates(),
        )

    def _gates(self) -> tuple[str, ...]:
        return tuple(gate["conditionType"] for gate in self.pod.raw["spec"].get("readinessGates") or ())

    def _report(self) -> None:
        if not self.addresses or self._sandbox is None:
            return
        conditions = (self.pod.raw.get("status") or {}).get("conditions") or ()
        ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
        self.node.instances.put(
            describe(
                self.node.store,
                self.pod,
                self.addresses,
                ready=ready and not self.stopping,
                ending=self.stopping,
                trust_domain=self.node.trust_domain,
            )
        )

    def say_notes(self, sandbox: Sandbox) -> None:
        """Record what the sandbox says has no effect here, once."""
        for note in sandbox.notes:
            if note not in self._said:
                self._said.add(note)
                self._tell("Warning", "NoEffect", note)

    def _tell(self, level: str, reason: str, message: str) -> None:
        self.node.events.record(self.pod, "Warning" if level == "Warning" else "Normal", reason, message)


def _conditions(pod: Stored) -> object:
    return (pod.raw.get("status") or {}).get("conditions")


def _ended(running: Raw, now: str) -> Raw:
    return {"terminated": {"exitCode": 0, "reason": "Completed", "finishedAt": now, **running}}


def pod_folder(pods: Path, pod: Stored) -> Path:
    """Return where a pod's logs and volumes are, as kubelet names it."""
    return pods / f"{pod.namespace}_{pod.name}_{pod.uid}"
