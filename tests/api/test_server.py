"""The server over real sockets: connections end, watches are prompt, and shutting down is quick."""

from __future__ import annotations

import json
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from devmesh.api.app import Deps, build_app
from devmesh.api.credentials import load_credentials
from devmesh.api.guard import Guard
from devmesh.api.kube.deps import KubeDeps
from devmesh.api.server import PortTaken, bind, serve
from devmesh.config.kinds import CONFIG_MAP
from devmesh.config.store import Store
from devmesh.testing.containers import FakeContainers
from tests.api.serving import new_store

pytestmark = pytest.mark.slow


@dataclass
class Running:
    store: Store
    token: str
    port: int
    stop: trio.Event
    ended: trio.Event

    async def connect(self) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", self.port)

    def head(self, path: str, *headers: str) -> bytes:
        lines = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {self.token}", *headers]
        return "\r\n".join([*lines, "", ""]).encode()


@asynccontextmanager
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    credentials, store = load_credentials(tmp_path), new_store()
    stop, ended = trio.Event(), trio.Event()
    async with trio.open_nursery() as nursery:
        deps = KubeDeps(store, FakeContainers(nursery))
        bound = bind("127.0.0.1", 0, None)
        app = Guard(build_app(Deps(deps)), credentials.token, {bound.port})

        async def run(task_status: trio.TaskStatus[tuple[int, int]]) -> None:
            await serve(app, bound, streams=deps.streams, shutdown=stop, task_status=task_status)
            ended.set()

        await nursery.start(run)
        with trio.fail_after(20):
            yield Running(store, credentials.token, bound.port, stop, ended)
            stop.set()
            await ended.wait()
        nursery.cancel_scope.cancel()


async def read_until(stream: trio.SocketStream, test: Callable[[bytes], bool]) -> bytes:
    found = b""
    with trio.fail_after(5):
        while not test(found):
            piece = await stream.receive_some()
            assert piece, found
            found += piece
    return found


async def read_all(stream: trio.SocketStream) -> bytes:
    found = b""
    with trio.fail_after(5):
        async for piece in stream:
            found += piece
    return found


async def test_connection_close_closes(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        for path in ("/healthz", "/api/v1/namespaces", "/api/v1/nothing"):
            async with await api.connect() as stream:
                await stream.send_all(api.head(path, "Connection: close"))
                assert (await read_all(stream)).startswith(b"HTTP/1.1 ")


async def test_clients_that_hang_up_at_once_leave_no_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """hypercorn begins to wait for the next request of a client that has gone."""
    monkeypatch.setattr("devmesh.api.server.LAST_WORDS", 0.5)
    async with running(tmp_path) as mesh:
        before = len(list(Path("/proc/self/fd").iterdir()))  # noqa: ASYNC240

        def hang_up() -> None:  # from another thread, as no client waits for the server's loop
            for _ in range(100):
                with socket.create_connection(("127.0.0.1", mesh.port)) as client:
                    client.sendall(mesh.head("/nothing"))
                    client.recv(65536)

        await trio.to_thread.run_sync(hang_up)
        with trio.fail_after(5):
            while len(list(Path("/proc/self/fd").iterdir())) > before:  # noqa: ASYNC110, ASYNC240
                await trio.sleep(0.05)


async def test_a_watch_begins_at_once_and_is_prompt(tmp_path: Path) -> None:
    async with running(tmp_path) as api, await api.connect() as stream:
        await stream.send_all(api.head(f"/api/v1/configmaps?watch=1&resourceVersion={api.store.version}"))
        await read_until(stream, lambda found: b"\r\n\r\n" in found)
        api.store.create(CONFIG_MAP, {"metadata": {"name": "one", "namespace": "default"}})
        with trio.fail_after(0.5):
            assert b'"ADDED"' in await read_until(stream, lambda found: b"\n" in found.strip())


async def test_shutting_down_ends_watches_whole(tmp_path: Path) -> None:
    async with running(tmp_path) as api, await api.connect() as stream:
        await stream.send_all(api.head("/api/v1/namespaces?watch=1"))
        await read_until(stream, lambda found: found.count(b"ADDED") == 3)
        api.stop.set()
        assert (await read_all(stream)).endswith(b"0\r\n\r\n")
        with trio.fail_after(3):
            await api.ended.wait()


async def test_a_reader_that_stands_still_holds_nobody_up(tmp_path: Path) -> None:
    async with running(tmp_path) as api, await api.connect() as stalled, await api.connect() as reader:
        big = {"metadata": {"name": "big", "namespace": "default"}, "data": {"a": "x" * 500_000}}
        for stream in (stalled, reader):
            await stream.send_all(api.head(f"/api/v1/configmaps?watch=1&resourceVersion={api.store.version}"))
        await read_until(reader, lambda found: b"\r\n\r\n" in found)
        stored = api.store.create(CONFIG_MAP, big)
        for n in range(20):  # ten megabytes: more than any socket's buffer
            raw = {**stored.raw, "data": {"a": f"{n}" + "x" * 500_000}}
            stored = api.store.update(CONFIG_MAP, raw)
        found = await read_until(reader, lambda found: found.count(b'"MODIFIED"') == 20)
        assert found
        api.stop.set()
        with trio.fail_after(5):
            await api.ended.wait()


async def test_one_bad_connection_leaves_the_others_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    async with running(tmp_path) as api:
        async with await api.connect() as bad:
            await bad.send_all(b"\x00\x01 garbage\r\n\r\n")
            await read_all(bad)
        async with await api.connect() as half:
            await half.send_all(api.head("/api/v1/configmaps?watch=1"))
        async with await api.connect() as good:
            await good.send_all(api.head("/healthz", "Connection: close"))
            assert (await read_all(good)).endswith(b"ok")


async def test_an_expired_version_is_told_within_the_watch(tmp_path: Path) -> None:
    async with running(tmp_path) as api, await api.connect() as stream:
        await stream.send_all(
            api.head("/api/v1/configmaps?watch=1&resourceVersion=99999", "Connection: close")
        )
        body = (await read_all(stream)).partition(b"\r\n\r\n")[2]
        event = json.loads(body.split(b"\r\n")[1])
        assert (event["type"], event["object"]["code"]) == ("ERROR", 410)


async def test_initial_events_end_with_a_bookmark(tmp_path: Path) -> None:
    async with running(tmp_path) as api, await api.connect() as stream:
        query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
        await stream.send_all(api.head(f"/api/v1/namespaces?{query}"))
        found = await read_until(stream, lambda found: b"BOOKMARK" in found)
        assert found.count(b'"ADDED"') == 3
        assert b'"k8s.io/initial-events-end":"true"' in found


async def test_timeout_seconds_ends_a_watch(tmp_path: Path) -> None:
    async with running(tmp_path) as api, await api.connect() as stream:
        await stream.send_all(api.head("/api/v1/configmaps?watch=1&timeoutSeconds=1", "Connection: close"))
        assert (await read_all(stream)).endswith(b"0\r\n\r\n")


async def test_a_port_that_is_taken_is_told_with_what_to_do() -> None:
    with bind("127.0.0.1", 0, None).plain as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=f"127.0.0.1:{port}.*--port"):
            bind("127.0.0.1", port, None)
        other = bind("127.0.0.1", port, None, fallback=True)
        assert other.port != port
        other.close()


async def test_tls_serves_what_the_kubeconfigs_ca_signs(tmp_path: Path) -> None:
    credentials, store, stop = load_credentials(tmp_path), new_store(), trio.Event()
    async with trio.open_nursery() as nursery:
        deps = KubeDeps(store, FakeContainers(nursery))
        bound = bind("127.0.0.1", 0, 0)
        app = Guard(build_app(Deps(deps)), credentials.token, {bound.tls_port})
        context = credentials.server_context()
        await nursery.start(partial(serve, app, bound, streams=deps.streams, shutdown=stop, tls=context))
        trusting = ssl.create_default_context(cafile=str(credentials.ca_file))
        for name in ("127.0.0.1", "localhost"):
            plain = await trio.open_tcp_stream("127.0.0.1", bound.tls_port)
            stream = trio.SSLStream(plain, trusting, server_hostname=name, https_compatible=True)
            await stream.send_all(
                f"GET /healthz HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode()
            )
            with trio.fail_after(5):
                assert (await stream.receive_some()).startswith(b"HTTP/1.1 200")
            await trio.aclose_forcefully(stream)
        stop.set()


async def test_watchers_that_go_leave_nothing_behind(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        await trio.testing.wait_all_tasks_blocked(0.05)
        before = trio.lowlevel.current_statistics().tasks_living
        for _ in range(20):
            stream = await api.connect()
            await stream.send_all(api.head("/api/v1/namespaces?watch=1"))
            await read_until(stream, lambda found: found.count(b"ADDED") == 3)
            await trio.aclose_forcefully(stream)
        await trio.testing.wait_all_tasks_blocked(0.2)
        assert trio.lowlevel.current_statistics().tasks_living <= before


async def test_requests_on_one_connection_follow_each_other(tmp_path: Path) -> None:
    async with running(tmp_path) as api, await api.connect() as stream:
        for _ in range(3):
            await stream.send_all(api.head("/api/v1/namespaces/default"))
            found = await read_until(stream, lambda found: b"\r\n\r\n" in found and found.endswith(b"}"))
            assert found.startswith(b"HTTP/1.1 200")


async def test_a_body_that_is_too_large_is_refused_as_kubernetes_does(tmp_path: Path) -> None:
    async with running(tmp_path) as api, await api.connect() as stream:
        size = 4 * 1024 * 1024
        head = api.head("/api/v1/namespaces", "Content-Type: application/json", f"Content-Length: {size}")
        await stream.send_all(head.replace(b"GET", b"POST", 1))
        found = await read_until(stream, lambda found: found.endswith(b"}"))
        assert found.startswith(b"HTTP/1.1 413")
        assert b'"kind":"Status"' in found


@pytest.mark.parametrize(
    "target",
    [
        "/api/v1/namespaces",
        "http://127.0.0.1/api/v1/namespaces",
        "//api/v1/namespaces",
        "/%61pi/v1/namespaces",
        "/api//v1/namespaces",
        "/./api/v1/namespaces",
        "/x/../api/v1/namespaces",
        "/API/v1/namespaces",
        "/api/v1/namespaces/",
        "/api;x/v1/namespaces",
    ],
)
async def test_no_spelling_of_a_path_gets_around_the_token(tmp_path: Path, target: str) -> None:
    async with running(tmp_path) as api, await api.connect() as stream:
        head = f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
        await stream.send_all(head.encode())
        assert b"NamespaceList" not in await read_all(stream)


async def test_a_part_that_is_added_asks_for_the_token(tmp_path: Path) -> None:
    from quart import Blueprint

    part = Blueprint("part", __name__)

    @part.get("/elsewhere")
    async def elsewhere() -> str:
        return "secret"

    app = build_app(Deps(KubeDeps(new_store(), None), (part,)))  # type: ignore[arg-type]
    client = app.test_client()
    assert (await client.get("/elsewhere", scope_base={"devmesh.has_token": False})).status_code == 401
    assert (await client.get("/elsewhere", scope_base={"devmesh.has_token": True})).status_code == 200
    assert (await client.get("/graph", scope_base={"devmesh.has_token": False})).status_code == 200
