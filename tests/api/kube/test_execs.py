"""Sessions over channels, on the fake runtime."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from devmesh.api.kube import execs, forwarding
from devmesh.api.kube.channels import Socket
from devmesh.api.kube.deps import KubeDeps
from devmesh.api.kube.errors import ApiError
from devmesh.api.kube.execs import Wanted
from devmesh.api.kube.request import Request
from devmesh.api.kube.target import Target
from devmesh.config.kinds import POD
from devmesh.config.store import Key
from devmesh.testing.containers import FakeContainers, FakeSession
from tests.api.serving import copy_input, new_store, upper

TARGET = Target(POD, "v1", "default", "web", "exec")
CLOSE_STDIN = b"\xff\x00"


@dataclass
class Client:
    """The other end of a WebSocket."""

    deps: KubeDeps
    containers: FakeContainers
    got: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.say, self._heard = trio.open_memory_channel[bytes](100)
        self._came = trio.Event()

    def socket(self, protocol: str = "v5.channel.k8s.io") -> Socket:
        return Socket(self._heard.receive, self._send, self._close, protocol)

    async def _send(self, content: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self.got.append(content)
        self._came.set()
        self._came = trio.Event()

    async def until(self, test: Callable[[], bool]) -> None:
        with trio.fail_after(5):
            while not test():
                await self._came.wait()

    async def _close(self) -> None:
        self.say.close()

    def of(self, channel: int) -> bytes:
        return b"".join(message[1:] for message in self.got if message[0] == channel)

    @property
    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.of(3))
        return found


@asynccontextmanager
async def client(**commands: Any) -> AsyncIterator[Client]:
    async with trio.open_nursery() as nursery:
        containers = FakeContainers(nursery, commands)
        containers.write("default", "web", "app", "begun")
        with trio.fail_after(30):
            yield Client(KubeDeps(new_store(), containers), containers)
        nursery.cancel_scope.cancel()


def command(*words: str, stdin: bool = False, tty: bool = False) -> Wanted:
    return Wanted("app", words, stdin, tty)


async def test_input_ends_when_its_channel_is_closed(autojump_clock: MockClock) -> None:
    async with client(cat=copy_input) as one:
        for message in (b"\x00hello ", b"\x00world", CLOSE_STDIN):
            one.say.send_nowait(message)
        await execs.run(one.deps, TARGET, command("cat", stdin=True), one.socket())
        assert one.of(1) == b"hello world"
        assert one.status["status"] == "Success"


async def test_the_exit_status_is_told(autojump_clock: MockClock) -> None:
    async def fail(session: FakeSession, words: Sequence[str]) -> int:
        await session.err.send_all(b"no")
        return 7

    async with client(fail=fail) as one:
        await execs.run(one.deps, TARGET, command("fail"), one.socket())
        assert one.of(2) == b"no"
        assert one.status["details"]["causes"] == [{"reason": "ExitCode", "message": "7"}]


async def test_a_terminal_is_resized(autojump_clock: MockClock) -> None:
    async def wait(session: FakeSession, words: Sequence[str]) -> int:
        await trio.sleep(1)
        return 0

    async with client(wait=wait) as one:
        for size in (b'{"Width": 80, "Height": 24}', b"nonsense", b'{"Width": -1, "Height": 5}'):
            one.say.send_nowait(b"\x04" + size)
        await execs.run(one.deps, TARGET, command("wait", tty=True), one.socket())
        assert one.containers.sessions[0].sizes == [(80, 24)]


async def test_a_child_that_holds_the_output_open_holds_nobody_up(autojump_clock: MockClock) -> None:
    async with client() as one:

        async def leave(session: FakeSession, words: Sequence[str]) -> int:
            await session.out.send_all(b"done")
            session._status = 0
            session._ended.set()  # the command has exited, its output is still open
            await trio.sleep_forever()
            return 0

        one.containers.commands["leave"] = leave
        began = trio.current_time()
        await execs.run(one.deps, TARGET, command("leave"), one.socket())
        assert (one.of(1), one.status["status"]) == (b"done", "Success")
        assert trio.current_time() - began == pytest.approx(execs.DRAIN)


async def test_a_client_that_goes_ends_the_command(autojump_clock: MockClock) -> None:
    async def forever(session: FakeSession, words: Sequence[str]) -> int:
        await trio.sleep_forever()
        return 0

    async with client(forever=forever) as one:
        with trio.move_on_after(1):
            await execs.run(one.deps, TARGET, command("forever"), one.socket())
        assert one.containers.sessions[0].closed


async def test_the_end_of_the_server_ends_sessions(autojump_clock: MockClock) -> None:
    async with client(cat=copy_input) as one, trio.open_nursery() as nursery:
        nursery.start_soon(execs.run, one.deps, TARGET, command("cat", stdin=True), one.socket())
        await trio.testing.wait_all_tasks_blocked()
        one.deps.streams.end()


async def test_a_command_that_is_not_there(autojump_clock: MockClock) -> None:
    async with client() as one:
        await execs.run(one.deps, TARGET, command("nothing"), one.socket())
        assert '"nothing": executable file not found' in one.status["message"]


async def test_the_pod_is_looked_at_first() -> None:
    async with client() as one:
        store = one.deps.store
        containers = [{"name": name, "image": "i"} for name in ("app", "side")]
        store.create(POD, {"metadata": {"name": "web"}, "spec": {"containers": containers}})
        with pytest.raises(ApiError, match=r"a container name must be specified .* \[app side\]"):
            execs.prepare(one.deps, TARGET, Request("GET", "", {"command": ["ls"]}))
        with pytest.raises(ApiError, match="at least one command"):
            execs.prepare(one.deps, TARGET, Request("GET", "", {"container": ["app"]}))
        waiting = {"name": "app", "state": {"waiting": {"reason": "ContainerCreating"}}}
        store.patch_status(Key(POD, "default", "web"), {"containerStatuses": [waiting]})
        query = {"command": ["ls"], "container": ["app"]}
        with pytest.raises(ApiError, match="is not running: ContainerCreating"):
            execs.prepare(one.deps, TARGET, Request("GET", "", query))


async def test_attach_follows_from_now_on(autojump_clock: MockClock) -> None:
    async with client() as one, trio.open_nursery() as nursery:
        nursery.start_soon(execs.attach, one.deps, TARGET, command(), one.socket())
        await trio.testing.wait_all_tasks_blocked()
        one.containers.write("default", "web", "app", "more")
        await trio.testing.wait_all_tasks_blocked()
        assert one.of(1) == b"more\n"
        nursery.cancel_scope.cancel()


async def test_ports_by_channels() -> None:
    async with client() as one, trio.open_nursery() as nursery:
        one.containers.ports["default", "web", 80] = upper
        socket = one.socket("v4.channel.k8s.io")
        nursery.start_soon(forwarding.run, one.deps, TARGET, (80, 81), socket)
        one.say.send_nowait(b"\x00hello")
        await one.until(lambda: one.of(0).endswith(b"HELLO") and b"Connection refused" in one.of(3))
        assert one.of(0) == (80).to_bytes(2, "little") + b"HELLO"
        nursery.cancel_scope.cancel()
