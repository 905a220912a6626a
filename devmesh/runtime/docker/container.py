"""A container of a pod."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Sequence

import trio

from devmesh.runtime.access import NotRunning
from devmesh.runtime.docker.engine import Engine
from devmesh.runtime.docker.session import DockerExec
from devmesh.runtime.docker.stream import HijackFailed, RawStream, demultiplex, hijack
from devmesh.runtime.pods.backend import Exit, Stream


class DockerContainer:
    """One start of a container; a restart is another one."""

    def __init__(self, engine: Engine, id_: str, attached: RawStream, stop_signal: str | None) -> None:
        self._engine, self._id, self._attached = engine, id_, attached
        self._stop_signal = stop_signal
        self._ended = trio.Event()
        self._exit = Exit(137, message="the container was removed")
        self._killed_for_memory = False
        self._unwatch = engine.watch(id_, self._on_event)

    @property
    def id(self) -> str:
        return f"docker://{self._id}"

    async def output(self) -> AsyncIterator[tuple[Stream, bytes]]:
        async for piece in demultiplex(self._attached):
            yield piece

    async def wait(self) -> Exit:
        await self._ended.wait()
        return self._exit

    async def signal(self, number: int) -> None:
        import docker

        name = signal.Signals(number).name
        if number == signal.SIGTERM and self._stop_signal:
            name = self._stop_signal
        try:
            await self._engine.call(self._engine.api.kill, self._id, name)
        except docker.errors.APIError as error:
            if error.status_code not in (404, 409):  # gone, or not running
                raise

    async def exec(
        self, command: Sequence[str], env: Sequence[tuple[str, str]] = (), *, stdin: bool, tty: bool
    ) -> DockerExec:
        import docker

        api = self._engine.api
        try:
            made = await self._engine.call(
                api.exec_create, self._id, list(command), stdin=stdin, tty=tty,
                environment=[f"{name}={value}" for name, value in env],
            )  # fmt: skip
            stream = await hijack(
                self._engine.socket_path, f"/exec/{made['Id']}/start", {}, {"Detach": False, "Tty": tty}
            )
        except docker.errors.APIError as error:
            raise NotRunning(f"the container is not running: {error.explanation}") from error
        except HijackFailed as error:
            if "executable file not found" in str(error) or "no such file or directory" in str(error):
                raise FileNotFoundError(str(error)) from error
            raise NotRunning(str(error)) from error
        return DockerExec(self._engine, str(made["Id"]), stream, stdin=stdin, tty=tty)

    async def aclose(self) -> None:
        import docker

        with trio.CancelScope(shield=True), trio.move_on_after(30):
            try:
                await self._engine.call(self._engine.api.remove_container, self._id, v=True, force=True)
            except docker.errors.APIError as error:
                if error.status_code not in (404, 409):  # gone, or going
                    raise
            self._unwatch()
            self._ended.set()
            await self._attached.aclose()

    def _on_event(self, action: str, attributes: dict[str, str]) -> None:
        if action == "oom":
            self._killed_for_memory = True
        elif action == "die":
            self._end(int(attributes.get("exitCode", 137)))
        elif action == "destroy":
            self._end(137)

    def _end(self, code: int) -> None:
        if not self._ended.is_set():
            self._exit = Exit(code, "OOMKilled" if self._killed_for_memory and code else "")
            self._ended.set()
