"""All pods: each stored Pod has its runner, from when it is written until it is gone."""

from __future__ import annotations

import logging
import shutil
from functools import partial
from pathlib import Path

import trio

from devmesh.config.kinds import CONFIG_MAP, POD, SECRET
from devmesh.config.store import Event, Key, Store, Stored
from devmesh.runtime.pods.admission import admit
from devmesh.runtime.pods.node import Node
from devmesh.runtime.pods.pod import PodRunner, pod_folder

log = logging.getLogger(__name__)

_AFTER_FAILURE = 5.0
_LAST_SECONDS = 5.0  # for what has been killed to be gone
_TERMINAL = ("Succeeded", "Failed")


class Kubelet:
    """Runs the pods of the store."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self._runners: dict[str, PodRunner] = {}
        self._nursery: trio.Nursery | None = None
        self._shutting_down = False

    def find(self, namespace: str, name: str) -> PodRunner | None:
        """Return the runner of a pod that is there."""
        pod = self.node.store.get(POD, namespace, name)
        return self._runners.get(pod.uid) if pod else None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run what is there and what comes, until cancelled."""
        kept = clear_last_run(self.node)
        await trio.to_thread.run_sync(_sweep, self.node, kept)
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self.node.store.subscribe(self._noticed)
            for pod in self.node.store.list(POD):
                nursery.start_soon(self._begin, pod.key)
            task_status.started()
            await trio.sleep_forever()

    async def stop(self, longest: float) -> None:
        """End all pods in parallel, each within its grace but `longest` seconds; the store keeps them."""
        self._shutting_down = True
        with trio.move_on_after(longest):
            async with trio.open_nursery() as nursery:
                for runner in tuple(self._runners.values()):
                    grace = min(longest, _grace(runner.pod))
                    nursery.start_soon(partial(runner.stop, grace, drain=False))
        with trio.move_on_after(_LAST_SECONDS):
            async with trio.open_nursery() as nursery:
                for runner in tuple(self._runners.values()):
                    nursery.start_soon(runner.stop, 0.0)

    def _noticed(self, event: Event) -> None:
        nursery, stored = self._nursery, event.object
        if nursery is None or self._shutting_down:
            return
        if stored.key.kind is POD:
            self._noticed_pod(event, nursery)
        elif stored.key.kind in (CONFIG_MAP, SECRET) and event.type != "DELETED":
            for runner in self._runners.values():
                if runner.pod.namespace == stored.namespace:
                    runner.volumes.refresh(runner.pod)

    def _noticed_pod(self, event: Event, nursery: trio.Nursery) -> None:
        pod = event.object
        runner = self._runners.get(pod.uid)
        if event.type == "ADDED":
            nursery.start_soon(self._begin, pod.key)
        elif event.type == "DELETED":
            if runner is not None:
                nursery.start_soon(self._end, runner, 0.0)
        elif runner is not None:
            runner.update(pod)
            if pod.deleting and (not runner.stopping or _grace(pod) <= 0):
                nursery.start_soon(self._end, runner, _grace(pod))
        elif pod.deleting:
            nursery.start_soon(self._remove, pod)

    async def _begin(self, key: Key) -> None:
        await trio.lowlevel.checkpoint()
        pod = self._admitted(key)
        if pod is None or pod.uid in self._runners:
            return
        if pod.deleting:
            await self._remove(pod)
            return
        if (pod.raw.get("status") or {}).get("phase") in _TERMINAL:
            return
        runner = PodRunner(self.node, pod)
        self._runners[pod.uid] = runner
        while not runner.is_over:
            try:
                await runner.run()
            except Exception as problem:  # a full disk, say: this pod's alone
                log.exception("the runner of pod %s/%s failed", pod.namespace, pod.name)
                self.node.events.record(pod, "Warning", "FailedSync", f"error syncing pod: {problem!r}")
                await runner.pause(_AFTER_FAILURE)

    def _admitted(self, key: Key) -> Stored | None:
        pod = self.node.store.by_key(key)
        if pod is None:
            return None
        raw = admit(self.node.store, pod.raw, inject_all=self.node.inject_all)
        return pod if raw is pod.raw else self.node.store.update(POD, raw)

    async def _end(self, runner: PodRunner, grace: float) -> None:
        await runner.stop(grace)
        self._runners.pop(runner.pod.uid, None)
        await self._remove(runner.pod)
        await trio.to_thread.run_sync(runner.forget)

    async def _remove(self, pod: Stored) -> None:
        await trio.lowlevel.checkpoint()
        _let_go(self.node.store, pod)


def clear_last_run(node: Node) -> set[Path]:
    """Forget what the last process has left, and return the folders to keep: no pod of it runs any more.

    Pods with a controller are removed, which makes new ones; bare pods begin anew; what had ended
    (Jobs' pods) stays as it is.
    """
    kept: set[Path] = set()
    for pod in node.store.list(POD):
        ended = (pod.raw.get("status") or {}).get("phase") in _TERMINAL
        if pod.deleting or (pod.controller is not None and not ended):
            _let_go(node.store, pod)
            continue
        if ended:
            kept.add(pod_folder(node.pods, pod))
        elif pod.raw.get("status"):
            node.store.update(POD, {**pod.raw, "status": {"phase": "Pending"}}, status=True)
    return kept


def _let_go(store: Store, pod: Stored) -> None:
    """Say that nothing of a pod runs any more: its object goes, or waits for its finalizers alone."""
    stored = store.by_key(pod.key)
    if stored is not None and stored.uid == pod.uid:
        store.delete(pod.key, grace=0)


def _sweep(node: Node, kept: set[Path]) -> None:
    if node.pods.is_dir():
        for folder in node.pods.iterdir():
            if folder not in kept:
                shutil.rmtree(folder, ignore_errors=True)


def _grace(pod: Stored) -> float:
    asked = pod.metadata.get("deletionGracePeriodSeconds")
    if asked is None:
        asked = pod.raw["spec"].get("terminationGracePeriodSeconds", 30)
    return float(asked)
