"""What differs between the runtimes (processes, Docker): images, sandboxes, containers.

`devmesh.runtime.pods` decides *when* a container starts, is probed, restarted and stopped, and writes the
pod's status, events and logs; a backend carries it out. All methods are called on the trio thread; the
asynchronous ones may take as long as they need, and are cancelled when the pod goes away meanwhile.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from devmesh.runtime.access import ExecSession

Stream = Literal["stdout", "stderr"]


class ImageProblem(Exception):
    """An image cannot be had. Shown as the container's waiting state and in an Event.

    `reason` is kubelet's word: ErrImagePull (tried again with back-off, ImagePullBackOff meanwhile),
    ErrImageNeverPull, InvalidImageName. The message says why, and what to change (devmesh.yaml).
    """

    def __init__(self, message: str, reason: str = "ErrImagePull") -> None:
        super().__init__(message)
        self.reason = reason


class StartProblem(Exception):
    """A container could not be started: no such command, a mount that fails, a limit that is refused.

    `reason` is kubelet's word: StartError (the command is the cause; the container counts as
    terminated with `exit_code`, as with runc) or CreateContainerError (the container could not be made).
    """

    def __init__(self, message: str, reason: str = "StartError", exit_code: int = 128) -> None:
        super().__init__(message)
        self.reason = reason
        self.exit_code = exit_code


class SandboxProblem(Exception):
    """A pod's network or holder could not be made; tried again with back-off (FailedCreatePodSandBox)."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image that is there.

    Attributes:
        name: As the manifest has it.
        id: What names its content (``sha256:...``); for a process, what is run instead.
        handle: The backend's own description, passed back to it in `ContainerSpec.image`.
        how: What was done to have it, for the event Pulled ("built from src/reviews in 4.1s").
        user: Whom it runs as where nobody says otherwise, by name or number; "" is root, None not known.
    """

    name: str
    id: str
    handle: object = None
    how: str = "already present on this machine"
    user: str | None = None


@dataclass(frozen=True, slots=True)
class SandboxSpec:
    """What the containers of one pod share: a network namespace, a name.

    Attributes:
        id: The pod's uid, which is the instance's id in `devmesh.snapshot.network`.
        mesh: The mesh's name, for labels that find what a crash left behind.
        meshed: Whether traffic is taken over; otherwise it goes as kube-proxy would send it.
        gateway: A proxy alone: no interception, and often no container.
        hosts: ``hostAliases``: address to names, for /etc/hosts.
        search: The search list of its resolv.conf.
        sysctls: ``securityContext.sysctls`` that are the pod's own (``net.``).
        annotations: The pod's; Istio's choice of ports and addresses to take over is among them
            (``traffic.sidecar.istio.io/...``).
    """

    id: str
    mesh: str
    namespace: str
    pod: str
    hostname: str
    meshed: bool
    gateway: bool = False
    service_account: str = "default"
    hosts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    search: tuple[str, ...] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    directory: Path = Path()
    """The pod's folder in the state folder (0700); exists; removed by the caller after `Sandbox.aclose`."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A file or folder of this machine that a container sees at `target` (absolute)."""

    source: Path
    target: str
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """A container, with everything resolved: variables expanded, volumes made, the image there.

    Attributes:
        name: The container's name in its pod.
        attempt: 0 for the first start; grows by one with each restart. With the pod's id it is unique.
        command: Kubernetes' ``command`` (an image's entrypoint); None: the image's own.
        args: Kubernetes' ``args`` (an image's command); None: the image's own, unless `command` is given.
        env: Set on top of the image's own; in order, and later ones win.
        user, group: Numbers; None: the image's, which is the invoking user for a process.
        cpu, memory: Limits, in cores and in bytes. None: no limit.
        capabilities_add, capabilities_drop: Names as in the manifest (NET_BIND_SERVICE, ALL).
        stop_signal: ``lifecycle.stopSignal`` (SIGUSR1); None: the image's, else SIGTERM.
    """

    name: str
    image: Image
    attempt: int = 0
    command: tuple[str, ...] | None = None
    args: tuple[str, ...] | None = None
    env: tuple[tuple[str, str], ...] = ()
    workdir: str | None = None
    mounts: tuple[Mount, ...] = ()
    user: int | None = None
    group: int | None = None
    groups: tuple[int, ...] = ()
    cpu: float | None = None
    memory: int | None = None
    read_only_root: bool = False
    privileged: bool = False
    capabilities_add: tuple[str, ...] = ()
    capabilities_drop: tuple[str, ...] = ()
    stop_signal: str | None = None
    may_gain_privileges: bool = True  # securityContext.allowPrivilegeEscalation


@dataclass(frozen=True, slots=True)
class Exit:
    """How a container ended. A signal is 128 + its number; `reason` says more where known (OOMKilled)."""

    code: int
    reason: str = ""
    message: str = ""


class Container(Protocol):
    """A container that has been started."""

    @property
    def id(self) -> str:
        """What ``containerID`` shows: ``docker://<id>``, ``process://<pid>``."""

    def output(self) -> AsyncIterator[tuple[Stream, bytes]]:
        """Yield what it writes, from its first byte, as it comes; ends when the container has ended.

        Called once. Not reading holds the container up once its pipes are full.
        """
        ...

    async def wait(self) -> Exit:
        """Return when it has ended, also where somebody else ended or removed it (137)."""

    async def signal(self, number: int) -> None:
        """Send a signal to its first process; nothing where it has ended.

        SIGTERM means the image's STOPSIGNAL where it has one.
        """

    async def exec(
        self, command: Sequence[str], env: Sequence[tuple[str, str]] = (), *, stdin: bool, tty: bool
    ) -> ExecSession:
        """Start `command` beside it, with its environment and folder.

        Raises:
            NotRunning: It has ended.
            FileNotFoundError: There is no such command in it.
        """

    async def aclose(self) -> None:
        """Kill it where it still runs, and remove what is left of it."""


class Sandbox(Protocol):
    """The network namespace of a pod, held open; its containers come and go."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """The pod's own addresses, the IPv4 one first."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What has no effect here and should be said once, in a Warning event of the pod."""

    async def start(self, spec: ContainerSpec) -> Container:
        """Make a container and start it.

        Raises:
            StartProblem: It could not be made or started; nothing is left of it.
        """

    async def wait_lost(self) -> str:
        """Return, saying why, when the sandbox is gone without `aclose` (somebody removed the holder).

        The pod's containers are then ended, and the sandbox is made anew.
        """

    async def aclose(self) -> None:
        """End what still runs in it, release the network, and leave nothing behind. May be called twice."""


class Backend(Protocol):
    """A runtime: ``process`` or ``docker``."""

    @property
    def name(self) -> str:
        """``process`` or ``docker``."""

    @property
    def version(self) -> str:
        """What the Node shows as its container runtime: ``docker://27.1``, ``process://<version>``."""

    async def open(self) -> None:
        """Connect to the engine, clean up what a crashed run has left. Called once, before all else."""

    async def ensure_image(self, image: str, policy: str | None) -> Image:
        """Have the image here: find it, build it as `images[].build` says, or pull it.

        Calls for one image share one build or pull.

        Args:
            policy: ``imagePullPolicy`` (Always, IfNotPresent, Never); None: Kubernetes' default for the tag.

        Raises:
            ImageProblem: It cannot be had.
        """

    async def create_sandbox(self, spec: SandboxSpec) -> Sandbox:
        """Make the pod's network namespace, with interception in place before anything runs in it.

        Raises:
            SandboxProblem: It could not be made; nothing is left of it.
        """

    async def aclose(self) -> None:
        """End what is left. Called once, after all sandboxes are closed."""
