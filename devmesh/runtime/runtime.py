"""The runtime: controllers and pods over a store; what the API asks of running containers."""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path

import trio

from devmesh.config.kinds import PERSISTENT_VOLUME_CLAIM, POD
from devmesh.config.store import Event, Store, Stored
from devmesh.runtime.access import ExecSession, LogOptions, NotRunning
from devmesh.runtime.controllers.daemonset import DaemonSets
from devmesh.runtime.controllers.defaults import Claims, NamespaceDefaults, node, put_node
from devmesh.runtime.controllers.deployment import Deployments
from devmesh.runtime.controllers.endpoints import ServiceEndpoints
from devmesh.runtime.controllers.job import Jobs
from devmesh.runtime.controllers.loop import Controllers
from devmesh.runtime.controllers.replicaset import ReplicaSets
from devmesh.runtime.controllers.statefulset import StatefulSets
from devmesh.runtime.events import KEPT_SECONDS, Events
from devmesh.runtime.instances import Instances
from devmesh.runtime.pods.admission import PROXY, is_meshed
from devmesh.runtime.pods.backend import Backend
from devmesh.runtime.pods.container import ContainerRunner
from devmesh.runtime.pods.kubelet import Kubelet
from devmesh.runtime.pods.logs import ContainerLog, read_log
from devmesh.runtime.pods.node import AccessLog, Configured, Node, Withdrawn
from devmesh.runtime.pods.pod import PodRunner, pod_folder
from devmesh.runtime.proxy_container import ProxyContainers
from devmesh.snapshot.network import MARK_PROXY, Dialer

KUBERNETES_VERSION = "v1.37.0"  # as the API says of itself
LONGEST_STOP = 5.0
"""Seconds that pods have at most to end by themselves when devmesh ends."""
_EXPIRY_PERIOD = 60.0


async def _at_once(instance: str) -> None:
    await trio.lowlevel.checkpoint()


class Runtime:
    """Makes run what the store asks for. Implements `devmesh.runtime.access.Containers`.

    Args:
        dialer: Connects inside pods' namespaces (`devmesh.runtime.network.Fabric`).
        configured: Returns once an instance's proxy has its configuration; its pod's containers wait.
        withdrawn: Returns once an instance that is not ready gets no new requests; what ends waits for it.
        access_log: The log of a pod's istio-proxy container.
        state_dir: The mesh's folder; ``pods/`` and ``volumes/`` in it are the runtime's.
        config_maps: Kept in every namespace: ``kube-root-ca.crt``, ``istio-ca-root-cert``.
        inject_all: The mesh file's ``injection: all``.
        proxies: Runs commands in ``istio-proxy``; None: there they are refused.
        clock: Seconds since the epoch.
    """

    def __init__(
        self,
        store: Store,
        dialer: Dialer,
        backend: Backend,
        *,
        configured: Configured,
        access_log: AccessLog,
        state_dir: Path,
        mesh: str = "default",
        trust_domain: str = "cluster.local",
        domain: str = "cluster.local",
        config_maps: Mapping[str, Mapping[str, str]] | None = None,
        inject_all: bool = False,
        proxies: ProxyContainers | None = None,
        withdrawn: Withdrawn | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._proxies = proxies
        self.instances = Instances()
        self.events = Events(store)
        self._store = store
        self._backend = backend
        self._clock = clock
        self._node = Node(
            store=store,
            backend=backend,
            instances=self.instances,
            events=self.events,
            dialer=dialer,
            configured=configured,
            withdrawn=withdrawn or _at_once,
            access_log=access_log,
            mesh=mesh,
            trust_domain=trust_domain,
            domain=domain,
            pods=state_dir / "pods",
            claims=state_dir / "volumes",
            clock=clock,
            inject_all=inject_all,
        )
        self._kubelet = Kubelet(self._node)
        self._controllers = Controllers(
            store,
            (
                NamespaceDefaults(config_maps or {}),
                # Before Deployments, so that a size is acted on before the next one is decided.
                ReplicaSets(self.events, inject_all=inject_all),
                Deployments(self.events),
                StatefulSets(self.events, inject_all=inject_all),
                DaemonSets(self.events, inject_all=inject_all),
                Jobs(self.events, inject_all=inject_all),
                ServiceEndpoints(),
                Claims(),
            ),
        )

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run pods until `stop`; started when the backend is open and the controllers look after the store.

        Cancelled, it kills what runs, without grace. The backend is closed in either case.

        Raises:
            OSError: The backend cannot be opened.
        """
        try:
            await self._backend.open()
            async with trio.open_nursery() as nursery:
                self._scope = nursery.cancel_scope
                # First the pods of the last run are cleared away; then the controllers make new ones.
                await nursery.start(self._kubelet.run)
                put_node(self._store, node(self._backend.version, KUBERNETES_VERSION))
                await nursery.start(self._controllers.run)
                nursery.start_soon(self._expire_events)
                nursery.start_soon(self._forget_claims)
                task_status.started()
        finally:
            with trio.CancelScope(shield=True):
                await self._kubelet.stop(0.0)
                await self._backend.aclose()

    async def stop(self, longest: float = LONGEST_STOP) -> None:
        """End all pods in parallel, each within its own grace and `longest` seconds, then `run` returns.

        The store keeps what it holds: the next run makes the pods anew.
        """
        await self._kubelet.stop(longest)
        self._scope.cancel()

    # Containers

    async def logs(
        self, namespace: str, pod: str, container: str, options: LogOptions
    ) -> AsyncIterator[bytes]:
        stored = self._store.get(POD, namespace, pod)
        if stored is None:
            raise NotRunning(f'pods "{pod}" not found')
        if container == PROXY and is_meshed(stored.raw):
            async for piece in self._node.access_log(stored.uid, options):
                yield piece
            return
        path, log = self._log_of(stored, container, previous=options.previous)
        async with aclosing(read_log(path, log, options, self._clock())) as pieces:
            async for piece in pieces:
                yield piece

    async def exec(
        self, namespace: str, pod: str, container: str, command: Sequence[str], *, stdin: bool, tty: bool
    ) -> ExecSession:
        if container == PROXY and self._proxies is not None and (found := self._meshed(namespace, pod)):
            folder = pod_folder(self._node.pods, found) / "istio-proxy"
            return await self._proxies.exec(found.uid, pod, folder, command, stdin=stdin, tty=tty)
        runner = self._container(namespace, pod, container)
        if runner.container is None:
            raise NotRunning(f"container {container!r} in pod {pod!r} is not running")
        return await runner.container.exec(command, stdin=stdin, tty=tty)

    async def connect(self, namespace: str, pod: str, port: int) -> trio.SocketStream:
        runner = self._kubelet.find(namespace, pod)
        if runner is None or runner.sandbox is None:
            raise NotRunning(f'pod "{pod}" is not running')
        dialled = self._node.dialer.dial(runner.pod.uid, "127.0.0.1", port, mark=MARK_PROXY)
        sock = trio.socket.from_stdlib_socket(dialled)
        try:
            await trio.lowlevel.wait_writable(sock)
            if code := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise OSError(code, f"nobody answers on port {port} of pod {pod}")
        except BaseException:
            sock.close()
            raise
        return trio.SocketStream(sock)

    def _meshed(self, namespace: str, pod: str) -> Stored | None:
        """Return a pod that has a proxy."""
        stored = self._store.get(POD, namespace, pod)
        return stored if stored is not None and is_meshed(stored.raw) else None

    def _pod(self, namespace: str, pod: str) -> PodRunner:
        runner = self._kubelet.find(namespace, pod)
        if runner is None:
            there = self._store.get(POD, namespace, pod) is not None
            raise NotRunning(f'pod "{pod}" has not started' if there else f'pods "{pod}" not found')
        return runner

    def _container(self, namespace: str, pod: str, container: str) -> ContainerRunner:
        found = self._pod(namespace, pod).runner(container)
        if found is None:
            why = "runs no process: devmesh itself is the proxy" if container == PROXY else "is not there"
            raise NotRunning(f"container {container} in pod {pod} {why}")
        return found

    def _log_of(self, pod: Stored, container: str, *, previous: bool) -> tuple[Path, ContainerLog | None]:
        if self._kubelet.find(pod.namespace, pod.name) is None and (left := self._kept_log(pod, container)):
            return left, None
        runner = self._container(pod.namespace, pod.name, container)
        path = runner.log_path(previous=previous)
        if previous and not path.exists():
            raise NotRunning(f'previous terminated container "{container}" in pod "{pod.name}" not found')
        if runner.log is None:
            waiting = runner.view.state.get("waiting") or {}
            why = waiting.get("reason") or "ContainerCreating"
            raise NotRunning(f'container "{container}" in pod "{pod.name}" is waiting to start: {why}')
        return path, None if previous else runner.log

    def _kept_log(self, pod: Stored, container: str) -> Path | None:
        """Return the last log of a pod that ended before this process began (a Job's)."""
        folder = pod_folder(self._node.pods, pod) / "logs" / container
        return max(folder.glob("*.log"), key=lambda path: int(path.stem), default=None)

    # Keeping house

    async def _expire_events(self) -> None:
        while True:
            await trio.sleep(_EXPIRY_PERIOD)
            oldest = datetime.fromtimestamp(self._clock() - KEPT_SECONDS, UTC)
            self.events.expire(oldest.strftime("%Y-%m-%dT%H:%M:%SZ"))

    async def _forget_claims(self) -> None:
        """Remove the folder of each PersistentVolumeClaim that is deleted (reclaim policy Delete)."""
        gone: list[Path] = []
        noticed = trio.Event()

        def listen(event: Event) -> None:
            if event.type == "DELETED" and event.object.key.kind is PERSISTENT_VOLUME_CLAIM:
                gone.append(self._node.claims / event.object.namespace / event.object.name)
                noticed.set()

        self._store.subscribe(listen)
        while True:
            await noticed.wait()
            noticed = trio.Event()
            while gone:
                await trio.to_thread.run_sync(shutil.rmtree, gone.pop(), True)
