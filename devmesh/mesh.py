"""Builds the parts of a mesh and runs them: the only module that knows them all.

store ── files, API            what is asked for
runtime, fabric, dns           what runs, and its network
pilot ─▶ feed                  what is in force
engine ─▶ recorder             what moves, and what is told of it
"""

from __future__ import annotations

import gc
import logging
import os
import shutil
import socket
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from typing import TYPE_CHECKING, Any, Literal

import trio

from devmesh.config.bootstrap import bootstrap, write_mesh_config
from devmesh.config.documents.scalars import Duration
from devmesh.config.files import FileSource
from devmesh.config.finding import Finding
from devmesh.config.kinds import (
    BUILT_IN,
    CONFIG_MAP,
    DAEMON_SET,
    DEPLOYMENT,
    ENDPOINT_SLICE,
    EVENT,
    JOB,
    NODE,
    POD,
    REPLICA_SET,
    SERVICE,
    STATEFUL_SET,
    WITHOUT_EFFECT,
    Kinds,
)
from devmesh.config.managed import give_address, keep
from devmesh.config.meshfile import MeshFile
from devmesh.config.meshfile_source import MeshFileSource
from devmesh.config.statedir import StateDir
from devmesh.config.store import Event, Store, Stored
from devmesh.model.outside import OutsideNames
from devmesh.pilot.mesh_config import of_mesh
from devmesh.pilot.pilot import Pilot
from devmesh.pilot.settings import LocalPorts
from devmesh.proxy.admin.application import Scrape
from devmesh.proxy.engine import Engine
from devmesh.runtime.access import LogOptions
from devmesh.runtime.dns.lookup import HostLookup
from devmesh.runtime.dns.server import DnsServer
from devmesh.runtime.dns.watching import WatchedNames
from devmesh.runtime.dockerd import Daemon, NoDaemon
from devmesh.runtime.network.fabric import Fabric
from devmesh.runtime.network.namespaces import Namespaces
from devmesh.runtime.network.pod_files import RunningPodFiles
from devmesh.runtime.network.privilege import missing_capabilities
from devmesh.runtime.pods.backend import Backend
from devmesh.runtime.process.backend import ProcessBackend
from devmesh.runtime.process.images import Programs
from devmesh.runtime.proxy_container import ProxyContainers
from devmesh.runtime.runtime import Runtime
from devmesh.runtime.workload_health import WorkloadHealth
from devmesh.runtime.workloads import workloads
from devmesh.security.ca import LIFETIME, CertificateAuthority
from devmesh.security.contexts import Certificates
from devmesh.snapshot.feed import SnapshotFeed
from devmesh.snapshot.network import MARK_PROXY
from devmesh.telemetry.recorder import Recorder

if TYPE_CHECKING:
    from devmesh.api.credentials import Credentials
    from devmesh.api.server import Bound
    from devmesh.runtime.docker.images import Build

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
_OTHER_PORTS = {"tcp": 31400, "tls": 15443}
RuntimeName = Literal["process", "docker"]
# What changes often and never what a proxy does: instances tell the pilot of the pods.
UNCOMPILED = frozenset(
    {EVENT, POD, NODE, REPLICA_SET, ENDPOINT_SLICE, DEPLOYMENT, STATEFUL_SET, DAEMON_SET, JOB}
)


class CannotStart(RuntimeError):
    """The mesh cannot run here as it was asked to; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What `devmesh up` was told. Ports of 0 are chosen."""

    state: StateDir
    file: MeshFile
    port: int = 20001
    tls_port: int = 20443
    http_port: int = 8080
    https_port: int = 8443


def choose_runtime(wanted: str) -> tuple[RuntimeName, str]:
    """Return the runtime, and why where nobody asked for it.

    Raises:
        CannotStart: ``docker`` was asked for and isn't possible.
    """
    if wanted == "process":
        return "process", ""
    missing = missing_capabilities()
    reason = f"containers' namespaces need {' and '.join(missing)}: run it with sudo" if missing else ""
    if not reason:
        reason = _docker_obstacle()
    if not reason:
        return "docker", "a Docker engine answers"
    if wanted == "docker":
        raise CannotStart(f"--runtime docker: {reason}; see `devmesh doctor`, or use --runtime process")
    return "process", reason


def _docker_obstacle() -> str:
    """Return why this machine's Docker engine cannot be used; "" where it can."""
    try:
        daemon = Daemon.ask()
    except NoDaemon as error:
        return str(error)
    return f"{daemon.system}, the Docker engine, will not do: {daemon.obstacle}" if daemon.obstacle else ""


@dataclass(frozen=True, slots=True)
class Gateways:
    """The ingress gateway's ports on 127.0.0.1, chosen before anything is compiled."""

    http: int
    https: int
    other: Mapping[str, tuple[int, int]]
    """By name, as in Istio's demo profile: the port on 127.0.0.1, and that inside the gateway's namespace."""


class Mesh:
    """One mesh, for the life of one process.

    Args:
        namespaces: The way into network namespaces, opened before the event loop runs; `run` closes it.
    """

    def __init__(self, settings: Settings, runtime: RuntimeName, namespaces: Namespaces) -> None:
        self.settings, self.runtime_name = settings, runtime
        self.dashboard = ""
        self.api: dict[str, str] = {}
        self._shutdown, self._dirty = trio.Event(), trio.Event()
        self.ended = trio.Event()
        self._file = MeshFileSource(settings.file)
        self.gateways = Gateways(
            _free(settings.http_port, "--http-port"),
            _free(settings.https_port, "--https-port"),
            {name: (_free_if_possible(port), port) for name, port in _OTHER_PORTS.items()},
        )
        settings.state.create()
        self.store = Store(Kinds((*BUILT_IN, *WITHOUT_EFFECT)), settings.state.database)
        bootstrap(
            self.store,
            http_port=self.gateways.http,
            https_port=self.gateways.https,
            more_ports=self.gateways.other,
            mesh_config=settings.file.spec.mesh_config,
        )
        self.files = FileSource(self.store, settings.file.resources, base=settings.file.base)
        self.feed = SnapshotFeed()
        self.recorder = Recorder(self.feed)
        mesh_config = self._mesh_config()
        trust_domain = _trust_domain(mesh_config)
        self._ca = CertificateAuthority(trust_domain, time.time())
        self.certificates = Certificates(self._ca, lifetime=_certificate_lifetime(mesh_config))
        self._outside = outside = OutsideNames(settings.file.spec.dns.hosts)
        self._programs = Programs.of(settings.file.images, settings.file.base)
        self.dns = DnsServer(self.feed, outside=outside)
        self.fabric = Fabric(namespaces, names=self.dns)
        self.engine = Engine(
            self.feed,
            self.fabric,
            self.fabric,
            self.certificates,
            self.recorder,
            outside=outside,
            files=RunningPodFiles(self.fabric.netns),
            secret=lambda proxy: self.certificates.describe(proxy.instance.identity),
            metrics=lambda proxy: self.recorder.expose_of(
                proxy.instance.namespace, proxy.instance.workload.name
            ),
            scrape=self._scrape,
        )
        self.names = WatchedNames(
            HostLookup(outside), self._dirty_now, lambda: self.feed.current.mesh.dns_refresh
        )
        self.pilot = Pilot(self.store, self.feed, ports=self._ports, resolved=lambda: self.names.current)
        self.runtime: Runtime | None = None
        self._trust = trust_domain

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until `shutdown`; started when the API answers and the workloads are being made.

        Raises:
            OSError: A port is taken, or the runtime cannot be opened.
        """
        from devmesh.api.credentials import load_credentials
        from devmesh.api.server import bind

        state = self.settings.state
        credentials = load_credentials(state.path)
        bound = bind(HOST, self.settings.port, self.settings.tls_port)
        try:
            async with trio.open_nursery() as nursery:
                await self._start(nursery, bound, credentials)
                task_status.started()
                await self._shutdown.wait()
                if self.runtime is not None:
                    await self.runtime.stop()
                nursery.cancel_scope.cancel()
        finally:
            self.ended.set()
            bound.close()
            self.store.close()
            with suppress(FileNotFoundError):
                state.run_file.unlink()

    def shutdown(self) -> None:
        """Ask `run` to end: the workloads first, then everything else."""
        self._shutdown.set()

    @property
    def is_stopping(self) -> bool:
        return self._shutdown.is_set()

    def findings(self) -> list[Finding]:
        """Return what there is to say of the mesh file, the files and the resources, now."""
        return [*self._file.findings, *self.files.findings, *self.pilot.last.findings]

    def status(self) -> dict[str, Any]:
        """Return what `/devmesh/v1/status` answers."""
        return {
            "mesh": self.settings.state.name,
            "pid": os.getpid(),
            "runtime": self.runtime_name,
            "version": metadata.version("devmesh"),
            "api": self.api,
            "gateways": self._addresses(),
            "workloads": workloads(self.store),
        }

    # Starting

    async def _start(self, nursery: trio.Nursery, bound: Bound, credentials: Credentials) -> None:
        self.files.load()
        self.runtime = self._make_runtime(nursery)
        self.store.subscribe(self._on_event)
        self.runtime.instances.subscribe(self._dirty_now)
        self.feed.subscribe(
            lambda snapshot: self.fabric.update_backends(snapshot.backends, snapshot.datagrams)
        )
        await nursery.start(self.dns.run)
        await nursery.start(self.fabric.run)
        await nursery.start(self.engine.run)
        await nursery.start(self.names.run)
        nursery.start_soon(WorkloadHealth(self.store, partial(self.fabric.dial, None, mark=MARK_PROXY)).run)
        nursery.start_soon(self._compile)
        nursery.start_soon(self.certificates.run)
        if self.runtime_name == "process":
            nursery.start_soon(_sweep_containers, self.settings.state.name)
        await nursery.start(self.runtime.run)
        nursery.start_soon(self.files.run, self._report)
        nursery.start_soon(self._file.run, self._take_file, self._report)
        await nursery.start(self._serve, bound, credentials)

    def _make_runtime(self, nursery: trio.Nursery) -> Runtime:
        spec = self.settings.file.spec
        return Runtime(
            self.store,
            self.fabric,
            self._backend(nursery),
            configured=self._configured,
            withdrawn=self._withdrawn,
            access_log=self._access_log,
            state_dir=self.settings.state.path,
            mesh=self.settings.state.name,
            trust_domain=self._trust,
            config_maps=self._certificates_for_all(),
            inject_all=spec.injection == "all",
            proxies=ProxyContainers(self.fabric, self._ca.roots_pem),
        )

    def _certificates_for_all(self) -> dict[str, dict[str, str]]:
        """Return the ConfigMaps that every namespace has, as on a cluster with Istio."""
        from devmesh.api.credentials import load_credentials

        api = load_credentials(self.settings.state.path).ca_file.read_text()
        return {
            "kube-root-ca.crt": {"ca.crt": api},
            "istio-ca-root-cert": {"root-cert.pem": self._ca.roots_pem},
        }

    def _backend(self, nursery: trio.Nursery) -> Backend:
        if self.runtime_name == "process":
            return ProcessBackend(self.fabric, self._programs)
        from devmesh.runtime.docker.backend import DockerBackend
        from devmesh.runtime.docker.engine import Engine as DockerEngine

        return DockerBackend(
            DockerEngine.connect(), self.settings.state.name, self.fabric, self._build_of, nursery
        )

    def _build_of(self, image: str) -> Build | None:
        from devmesh.runtime.docker.images import Build

        file = self._file.current
        rule = file.image(image)
        if rule is None or rule.build is None:
            return None
        build = rule.build
        context = (file.base / build.context).resolve()
        return Build(context, build.dockerfile, build.args, build.target)

    async def _serve(
        self,
        bound: Bound,
        credentials: Credentials,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        # Imported while the workloads start: these take some 0.5 s.
        from devmesh.api.app import Deps, build_app
        from devmesh.api.console.blueprint import build_console
        from devmesh.api.console.deps import ConsoleDeps
        from devmesh.api.credentials import kubeconfig, sign_token
        from devmesh.api.guard import Guard
        from devmesh.api.kube.deps import KubeDeps
        from devmesh.api.server import serve
        from devmesh.api.streams import Streams

        assert self.runtime is not None
        state = self.settings.state
        streams = Streams()
        console = build_console(
            ConsoleDeps(
                state.name,
                self.feed,
                self.recorder,
                self.certificates,
                self.status,
                self.findings,
                streams,
                self.engine.admin,
            )
        )
        kube = KubeDeps(
            self.store,
            self.runtime,
            streams,
            sign=partial(sign_token, credentials),
            warn=self._warnings,
            version=metadata.version("devmesh"),
        )
        app = build_app(Deps(kube, (console,)))
        guarded = Guard(app, credentials.token, (bound.port, bound.tls_port))
        credentials = credentials.with_ports(bound.port, bound.tls_port)
        url = f"http://{HOST}:{bound.port}"
        self.api = {
            "url": url,
            "tls_url": f"https://{HOST}:{bound.tls_port}",
            "token_file": str(credentials.token_file),
        }
        self.dashboard = f"{url}/#token={credentials.token}"
        path = state.path / "kubeconfig"
        state.write_private(path, kubeconfig(state.name, credentials, bound.tls_port).encode())

        async with trio.open_nursery() as nursery:
            await nursery.start(
                partial(
                    serve,
                    guarded,
                    bound,
                    streams=streams,
                    shutdown=self._shutdown,
                    tls=credentials.server_context(),
                )
            )
            state.write_run(
                {
                    "mesh": state.name,
                    "pid": os.getpid(),
                    "runtime": self.runtime_name,
                    "api": self.api,
                    "gateways": self._addresses(),
                    "dashboard": self.dashboard,
                    "kubeconfig": str(path),
                }
            )
            # What is there now stays: a full collection over it would take 20 ms, which requests would feel.
            gc.collect()
            gc.freeze()
            gc.set_threshold(50_000, 20, 50)
            task_status.started()

    # Running

    def _on_event(self, event: Event) -> None:
        if event.object.key.kind not in UNCOMPILED:
            self._dirty.set()

    def _dirty_now(self) -> None:
        self._dirty.set()

    async def _compile(self) -> None:
        """Compile at once whenever something changed; what changes meanwhile is taken together."""
        assert self.runtime is not None
        while True:
            self._dirty = trio.Event()
            compiled = self.pilot.update(tuple(self.runtime.instances.current.values()))
            self.names.want(compiled.names)
            for key, status in compiled.statuses.items():
                self.store.patch_status(key, status)
            for wanted in compiled.wanted:
                made = keep(self.store, wanted.kind, wanted.raw)
                if made is not None and wanted.kind is SERVICE:
                    give_address(self.store, made)
            await self._dirty.wait()

    async def _configured(self, instance: str) -> None:
        while instance not in self.feed.current.instances:
            await self.feed.newer_than(self.feed.current.version)

    async def _withdrawn(self, instance: str) -> None:
        while (known := self.feed.current.instances.get(instance)) is not None and known.ready:
            await self.feed.newer_than(self.feed.current.version)

    def _access_log(self, instance: str, options: LogOptions) -> AsyncIterator[bytes]:
        since = 0.0 if options.since is None else self.recorder.clock() - options.since
        return self.recorder.logs.text(
            instance,
            follow=options.follow,
            tail=options.tail,
            since=since,
            timestamps=options.timestamps,
            limit=options.limit_bytes,
        )

    def _warnings(self, stored: Stored) -> tuple[str, ...]:
        """Return what the compile says of a resource that was just written; it is compiled for that."""
        if stored.key.kind in UNCOMPILED or self.runtime is None:
            return ()
        compiled = self.pilot.update(tuple(self.runtime.instances.current.values()))
        return tuple(
            f"{finding.path}: {finding.message} [{finding.code}]" if finding.path else finding.message
            for finding in compiled.findings
            if (finding.kind, finding.namespace, finding.name)
            == (stored.key.kind.kind, stored.namespace, stored.name)
        )

    def _take_file(self, before: MeshFile) -> None:
        """Put in force what of a changed mesh file can change while the mesh runs."""
        file = self._file.current
        self._outside.replace(file.spec.dns.hosts)
        self._programs.replace(Programs.of(file.images, file.base))
        if file.spec.mesh_config != before.spec.mesh_config:
            write_mesh_config(self.store, file.spec.mesh_config)
        self.files.give(file.resources)

    def _scrape(self, instance: str) -> Scrape | None:
        """Return where a pod's annotations say that its application tells metrics (``prometheus.io/``)."""
        found = self.feed.current.instances.get(instance)
        pod = self.store.get(POD, found.namespace, found.pod) if found is not None else None
        if pod is None:
            return None
        said = pod.raw["metadata"].get("annotations") or {}
        port = str(said.get("prometheus.io/port", ""))
        if said.get("prometheus.io/scrape") != "true" or not port.isdigit():
            return None
        return Scrape(int(port), str(said.get("prometheus.io/path", "/metrics")))

    def _report(self, findings: list[Finding]) -> None:
        for finding in findings:
            log.warning("%s", finding)

    def _ports(self) -> LocalPorts:
        other = tuple((target, port) for port, target in self.gateways.other.values())
        return LocalPorts(self.gateways.http, self.gateways.https, other)

    def _addresses(self) -> dict[str, str]:
        return {"http": f"{HOST}:{self.gateways.http}", "https": f"{HOST}:{self.gateways.https}"}

    def _mesh_config(self) -> dict[str, Any]:
        """Return MeshConfig as the ConfigMap ``istio`` has it; empty where it is no YAML."""
        import yaml

        stored = self.store.get(CONFIG_MAP, "istio-system", "istio")
        try:
            found = yaml.safe_load((stored.raw.get("data") or {}).get("mesh", "")) if stored else {}
        except yaml.YAMLError:
            return {}
        return found if isinstance(found, dict) else {}


def _trust_domain(mesh_config: dict[str, Any]) -> str:
    try:
        return of_mesh(mesh_config).mesh.trust_domain
    except ValueError:
        return of_mesh({}).mesh.trust_domain


def _certificate_lifetime(mesh_config: Mapping[str, Any]) -> float:
    """Return SECRET_TTL of the proxies' metadata in seconds (Istio's own knob), else 24 hours."""
    metadata = (mesh_config.get("defaultConfig") or {}).get("proxyMetadata") or {}
    try:
        return max(1.0, Duration.parse(metadata["SECRET_TTL"])) if "SECRET_TTL" in metadata else LIFETIME
    except ValueError as error:
        log.warning("defaultConfig.proxyMetadata.SECRET_TTL has no effect: %s", error)
        return LIFETIME


def sweep_leftovers(state: StateDir) -> int:
    """Remove what a mesh that was killed has left; return how many things.

    Processes and their namespaces end with devmesh; containers do not.
    """
    shutil.rmtree(state.pods, ignore_errors=True)
    with suppress(FileNotFoundError, NotADirectoryError):
        state.run_file.unlink()
    return trio.run(_sweep_containers, state.name)


async def _sweep_containers(mesh: str) -> int:
    """Remove the containers and the network of a mesh, where a Docker engine has any."""
    if not await trio.to_thread.run_sync(_has_containers, mesh):
        return 0
    from devmesh.runtime.docker.backend import sweep
    from devmesh.runtime.docker.engine import Engine as DockerEngine

    engine = DockerEngine.connect()
    try:
        return await sweep(engine, mesh)
    except Exception as error:  # of the engine; nothing here depends on it
        log.warning("the containers of an earlier run were not removed: %s", error)
        return 0
    finally:
        engine.close()


def _has_containers(mesh: str) -> bool:
    try:
        daemon = Daemon.ask()
        return mesh in daemon.meshes() or mesh in daemon.networks()
    except NoDaemon:
        return False


def _free(port: int, flag: str) -> int:
    """Return `port`, or a free one in place of 0, as the kernel would choose it.

    Raises:
        OSError: Somebody else listens there.
    """
    with socket.socket() as probe:
        if port:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            why = error.strerror
            raise OSError(f"cannot listen on {HOST}:{port}: {why}; choose another with {flag}") from error
        return int(probe.getsockname()[1])


def _free_if_possible(port: int) -> int:
    """Return `port`, or a free one where somebody else listens there."""
    try:
        return _free(port, "")
    except OSError:
        return _free(0, "")
