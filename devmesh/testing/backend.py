"""A runtime without containers: pods are what a test says they are."""

from __future__ import annotations

import signal
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

import trio

from devmesh.runtime.access import ExecSession, NotRunning
from devmesh.runtime.pods.backend import (
    ContainerSpec,
    Exit,
    Image,
    ImageProblem,
    SandboxSpec,
    StartProblem,
    Stream,
)

Answer = Callable[[Sequence[str]], tuple[int, bytes]]


class FakeContainer:
    """A container that runs until the test, or a signal, ends it.

    Attributes:
        signals: Those that it was sent, in order.
        obeys: Whether SIGTERM ends it.
        answers: Gives exit status and output of each `exec`.
    """

    def __init__(self, sandbox: FakeSandbox, spec: ContainerSpec) -> None:
        self.spec = spec
        self.sandbox = sandbox
        self.id = f"fake://{spec.name}-{spec.attempt}"
        self.signals: list[int] = []
        self.commands: list[tuple[str, ...]] = []
        self.obeys = True
        self.answers: Answer = sandbox.backend.answers
        self.is_closed = False
        self._ended = trio.Event()
        self._exit = Exit(0)
        self._writing, self._reading = trio.open_memory_channel[tuple[Stream, bytes]](1000)

    @property
    def is_running(self) -> bool:
        return not self._ended.is_set()

    def write(self, data: bytes, stream: Stream = "stdout") -> None:
        """Write to the log."""
        self._writing.send_nowait((stream, data))

    def exit(self, code: int, reason: str = "") -> None:
        """End."""
        if self.is_running:
            self._exit = Exit(code, reason)
            self._ended.set()
            self._writing.close()

    async def output(self) -> AsyncIterator[tuple[Stream, bytes]]:
        async for item in self._reading:
            yield item

    async def wait(self) -> Exit:
        await self._ended.wait()
        return self._exit

    async def signal(self, number: int) -> None:
        await trio.lowlevel.checkpoint()
        self.signals.append(number)
        if number == signal.SIGKILL or (number == signal.SIGTERM and self.obeys):
            self.exit(128 + number)

    async def exec(
        self, command: Sequence[str], env: Sequence[tuple[str, str]] = (), *, stdin: bool, tty: bool
    ) -> ExecSession:
        await trio.lowlevel.checkpoint()
        if not self.is_running:
            raise NotRunning(f"container {self.spec.name!r} is not running")
        self.commands.append(tuple(command))
        return FakeSession(*self.answers(command))

    async def aclose(self) -> None:
        self.exit(137)
        self.is_closed = True
        self._reading.close()
        await trio.lowlevel.checkpoint()


class FakeSession:
    """A command that is over at once."""

    stdin: trio.abc.SendStream | None = None
    stderr: trio.abc.ReceiveStream | None = None

    def __init__(self, status: int, output: bytes) -> None:
        self.stdout: trio.abc.ReceiveStream = _Output(output)
        self._status = status

    async def resize(self, width: int, height: int) -> None:
        await trio.lowlevel.checkpoint()

    async def wait(self) -> int:
        await trio.lowlevel.checkpoint()
        return self._status

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


class _Output(trio.abc.ReceiveStream):
    def __init__(self, data: bytes) -> None:
        self._data = data

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        data, self._data = self._data, b""
        return data

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


class FakeSandbox:
    """A pod's namespace that isn't."""

    notes: tuple[str, ...] = ()

    def __init__(self, backend: FakeBackend, spec: SandboxSpec, address: str) -> None:
        self.backend = backend
        self.spec = spec
        self.addresses = (address,)
        self.containers: list[FakeContainer] = []
        self.is_closed = False
        self._lost = trio.Event()

    def lose(self) -> None:
        """Go away, as if somebody had removed it."""
        self._lost.set()

    async def start(self, spec: ContainerSpec) -> FakeContainer:
        await trio.lowlevel.checkpoint()
        if problem := self.backend.broken.get(spec.image.name):
            raise problem
        container = FakeContainer(self, spec)
        self.containers.append(container)
        if (code := self.backend.exits.get(spec.image.name)) is not None:
            container.exit(code)
        return container

    async def wait_lost(self) -> str:
        await self._lost.wait()
        return "it was removed"

    async def aclose(self) -> None:
        self.is_closed = True
        for container in self.containers:
            if not container.is_closed:
                await container.aclose()


class FakeBackend:
    """See `devmesh.runtime.pods.backend.Backend`.

    Attributes:
        sandboxes: All that were made, in order, by pod name.
        missing: Images that cannot be had, with the reason.
        broken: What starting a container of an image raises.
        exits: Images whose containers end at once, with their exit status.
        answers: What commands answer in new containers.
        refuses: What making a sandbox raises.
        image_user: Whom all images run as; None: nobody knows.
    """

    name = "fake"
    version = "fake://1"

    def __init__(self) -> None:
        self.sandboxes: dict[str, list[FakeSandbox]] = {}
        self.missing: dict[str, str] = {}
        self.broken: dict[str, StartProblem] = {}
        self.exits: dict[str, int] = {}
        self.answers: Answer = lambda command: (0, b"")
        self.refuses: Exception | None = None
        self.image_user: str | None = None
        self.is_closed = False
        self._count = 0

    def sandbox(self, pod: str) -> FakeSandbox:
        """Return a pod's newest sandbox."""
        return self.sandboxes[pod][-1]

    def container(self, pod: str, name: str | None = None) -> FakeContainer:
        """Return the newest container of a pod, of that name where one is given."""
        return [c for c in self.sandbox(pod).containers if name in (None, c.spec.name)][-1]

    async def open(self) -> None:
        await trio.lowlevel.checkpoint()

    async def ensure_image(self, image: str, policy: str | None) -> Image:
        await trio.lowlevel.checkpoint()
        if image in self.missing:
            raise ImageProblem(self.missing[image])
        return Image(image, f"sha256:{image}", user=self.image_user)

    async def create_sandbox(self, spec: SandboxSpec) -> FakeSandbox:
        await trio.lowlevel.checkpoint()
        if self.refuses:
            raise self.refuses
        self._count += 1
        made = FakeSandbox(self, spec, f"10.244.{self._count // 250}.{self._count % 250 + 1}")
        self.sandboxes.setdefault(spec.pod, []).append(made)
        return made

    async def aclose(self) -> None:
        self.is_closed = True
        await trio.lowlevel.checkpoint()


class FakeDialer:
    """Connects to addresses that a test has given answers for: (address, port) to a listening socket."""

    def __init__(self, places: Mapping[tuple[str, int], tuple[str, int]] | None = None) -> None:
        self.places = dict(places or {})

    def dial(
        self,
        destination: str | None,
        address: str,
        port: int,
        *,
        mark: int,
        origin: str | None = None,
        bind: str | None = None,
    ) -> socket.socket:
        if (address, port) not in self.places:
            raise ConnectionRefusedError(111, "Connection refused")
        return socket.create_connection(self.places[address, port])
