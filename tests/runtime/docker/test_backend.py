"""Against a real Docker engine, with a network that only takes notes."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path

import pytest
import trio

from devmesh.runtime.docker.backend import DockerBackend, sweep
from devmesh.runtime.docker.engine import Engine
from devmesh.runtime.docker.images import Build
from devmesh.runtime.docker.sandbox import DockerSandbox
from devmesh.runtime.pods.backend import (
    ContainerSpec,
    Exit,
    Image,
    ImageProblem,
    Mount,
    SandboxSpec,
    StartProblem,
)

pytestmark = [pytest.mark.docker, pytest.mark.slow]
BASE = os.environ.get("DEVMESH_BASE_IMAGE", "devmesh-base:2")
MESH = f"dockertest-{os.getpid()}"


class Notes:
    """A network that remembers what it was told."""

    def __init__(self) -> None:
        self.adopted: dict[str, tuple[int, tuple[str, ...]]] = {}

    def adopt(self, instance: str, netns: str | int, *, addresses: Sequence[str], **_: object) -> None:
        self.adopted[instance] = int(netns), tuple(addresses)

    def release(self, instance: str) -> None:
        del self.adopted[instance]


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    made = Engine.connect()
    yield made
    made.close()


@pytest.fixture
async def backend(engine: Engine, nursery: trio.Nursery, tmp_path: Path) -> AsyncIterator[DockerBackend]:
    (tmp_path / "Dockerfile").write_text("ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nCMD echo built\n")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "Dockerfile").write_text(
        "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nRUN echo oops && false\n"
    )
    builds = {"shop/good:1": Build(tmp_path, args={"BASE_IMAGE": BASE})}
    (tmp_path / "nobody").mkdir()
    (tmp_path / "nobody" / "Dockerfile").write_text("ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nUSER 65534:65534\n")
    builds["shop/nobody:1"] = Build(tmp_path / "nobody", args={"BASE_IMAGE": BASE})
    builds["shop/broken:1"] = Build(tmp_path / "broken", args={"BASE_IMAGE": BASE})
    builds["shop/nowhere:1"] = Build(tmp_path / "nowhere")
    made = DockerBackend(engine, MESH, Notes(), builds.get, nursery)
    await made.open()
    yield made
    await made.aclose()
    nursery.cancel_scope.cancel()


@pytest.fixture
async def sandbox(backend: DockerBackend) -> AsyncIterator[DockerSandbox]:
    made = await backend.create_sandbox(SandboxSpec("uid-1", MESH, "default", "web-0", "web-0", True))
    yield made
    await made.aclose()


@pytest.fixture
async def image(backend: DockerBackend) -> Image:
    return await backend.ensure_image(BASE, None)


def shell(image: Image, script: str, **more: object) -> ContainerSpec:
    return ContainerSpec("app", image, command=("sh", "-c", script), **more)  # type: ignore[arg-type]


async def test_a_container_tells_its_output_and_its_end(sandbox: DockerSandbox, image: Image) -> None:
    container = await sandbox.start(shell(image, "echo out; echo err >&2; exit 3"))
    with trio.fail_after(20):
        pieces = [piece async for piece in container.output()]
        assert await container.wait() == Exit(3)
    assert sorted(pieces) == [("stderr", b"err\n"), ("stdout", b"out\n")]


async def test_containers_of_a_pod_share_its_network(sandbox: DockerSandbox, image: Image) -> None:
    serving = await sandbox.start(shell(image, "echo hello | nc -l 127.0.0.1 7000"))
    client = await sandbox.start(
        ContainerSpec(
            "client", image, command=("sh", "-c", "until nc -N 127.0.0.1 7000 </dev/null; do :; done")
        )
    )
    with trio.fail_after(20):
        assert b"".join([content async for _, content in client.output()]).strip() == b"hello"
        assert (await serving.wait()).code == 0


async def test_what_a_spec_says_is_so_inside(sandbox: DockerSandbox, image: Image, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mounted")
    tmp_path.chmod(0o755)  # noqa: ASYNC240
    spec = shell(
        image,
        'echo "$A $B $(pwd) $(id -u) $(cat /data/file) $(uname -n)"; touch /data/x || echo read-only',
        env=(("A", "1"), ("B", "two words")),
        workdir="/tmp",
        user=1000,
        group=1000,
        mounts=(Mount(tmp_path, "/data", read_only=True),),
        memory=64 << 20,
        cpu=0.5,
    )
    container = await sandbox.start(spec)
    with trio.fail_after(20):
        said = b"".join([c async for kind, c in container.output() if kind == "stdout"]).decode()
    assert said.split("\n")[:2] == ["1 two words /tmp 1000 mounted web-0", "read-only"]


async def test_a_container_may_be_kept_from_gaining_privileges(sandbox: DockerSandbox, image: Image) -> None:
    script = "grep NoNewPrivs /proc/self/status"
    for may, expected in ((True, b"0"), (False, b"1")):
        container = await sandbox.start(shell(image, script, may_gain_privileges=may, attempt=int(may)))
        with trio.fail_after(20):
            said = b"".join([content async for _, content in container.output()])
        # An engine under load may say what it has logged once more when one attaches.
        assert said.split()[-2:] == [b"NoNewPrivs:", expected]


async def test_an_image_tells_whom_it_runs_as(backend: DockerBackend, image: Image) -> None:
    assert image.user == ""
    assert (await backend.ensure_image("shop/nobody:1", None)).user == "65534:65534"


async def test_sigterm_ends_it(sandbox: DockerSandbox, image: Image) -> None:
    container = await sandbox.start(shell(image, "trap 'exit 7' TERM; echo up; while :; do sleep 0.05; done"))
    with trio.fail_after(20):
        async for _ in container.output():
            await container.signal(signal.SIGTERM)
        assert (await container.wait()).code == 7


async def test_a_command_runs_beside_it(sandbox: DockerSandbox, image: Image) -> None:
    container = await sandbox.start(shell(image, "sleep 60", env=(("WHO", "me"),)))
    session = await container.exec(
        ["sh", "-c", 'read line; echo "$WHO $line"; exit 4'], stdin=True, tty=False
    )
    assert session.stdin is not None
    await session.stdin.send_all(b"hello\n")
    await session.stdin.aclose()
    with trio.fail_after(20):
        said = b""
        while piece := await session.stdout.receive_some():
            said += piece
        assert said == b"me hello\n"
        assert await session.wait() == 4
    await session.aclose()


async def test_a_command_that_is_not_there_is_told_at_the_start(sandbox: DockerSandbox, image: Image) -> None:
    with pytest.raises(StartProblem, match="no-such-command"):
        await sandbox.start(ContainerSpec("app", image, command=("no-such-command",)))


async def test_a_container_removed_behind_our_back_has_ended(
    engine: Engine, sandbox: DockerSandbox, image: Image
) -> None:
    container = await sandbox.start(shell(image, "sleep 60"))
    await engine.call(engine.api.remove_container, container.id.removeprefix("docker://"), force=True)
    with trio.fail_after(20):
        assert (await container.wait()).code == 137


async def test_a_holder_removed_behind_our_back_loses_the_sandbox(
    engine: Engine, sandbox: DockerSandbox
) -> None:
    holders = await engine.call(engine.api.containers, filters={"label": "devmesh.role=sandbox"})
    await engine.call(engine.api.remove_container, holders[0]["Id"], force=True)
    with trio.fail_after(20):
        assert "removed" in await sandbox.wait_lost()


async def test_a_sandbox_is_made_anew_while_somebody_removes_the_last(
    engine: Engine, backend: DockerBackend
) -> None:
    """The engine takes a while for it, and keeps the name until then."""
    spec = SandboxSpec("uid-3", MESH, "default", "web-2", "web-2", True)
    with trio.fail_after(40):
        for _ in range(3):
            lost = await backend.create_sandbox(spec)
            (holder,) = await engine.call(
                engine.api.containers, filters={"label": ["devmesh.pod=web-2", f"devmesh.mesh={MESH}"]}
            )
            async with trio.open_nursery() as nursery:
                nursery.start_soon(
                    partial(engine.call, engine.api.remove_container, holder["Id"], force=True, v=True)
                )
                await lost.wait_lost()
                await lost.aclose()
                made = await backend.create_sandbox(spec)
            await made.aclose()


async def test_what_is_told_of_a_pull_names_the_image_once_and_says_what_to_do(
    backend: DockerBackend,
) -> None:
    with pytest.raises(ImageProblem, match="docker login") as problem:
        await backend.ensure_image("localhost:1/nothing:1", None)
    assert "Failed to pull" not in str(problem.value)  # who tells it says so


async def test_an_image_is_built_as_the_mesh_file_says(
    backend: DockerBackend, sandbox: DockerSandbox
) -> None:
    image = await backend.ensure_image("shop/good:1", None)
    container = await sandbox.start(ContainerSpec("app", image))
    with trio.fail_after(20):
        assert b"".join([content async for _, content in container.output()]) == b"built\n"


@pytest.mark.parametrize(
    ("name", "policy", "reason", "message"),
    [
        ("shop/broken:1", None, "ErrImagePull", "oops"),
        ("shop/nowhere:1", None, "ErrImagePull", "is not a folder"),
        ("localhost:1/nothing:1", None, "ErrImagePull", r"images\[\]"),
        ("shop/absent:1", "Never", "ErrImageNeverPull", "pull policy of Never"),
        ("Not An Image", None, "InvalidImageName", "Not An Image"),
    ],
)
async def test_an_image_that_cannot_be_had_says_why(
    backend: DockerBackend, name: str, policy: str | None, reason: str, message: str
) -> None:
    with pytest.raises(ImageProblem, match=message) as problem:
        await backend.ensure_image(name, policy)
    assert problem.value.reason == reason


async def test_nothing_is_left(engine: Engine, backend: DockerBackend, image: Image) -> None:
    sandbox = await backend.create_sandbox(SandboxSpec("uid-2", MESH, "default", "web-1", "web-1", True))
    await sandbox.start(shell(image, "sleep 60"))
    assert await sweep(engine, MESH) == 3
    assert await sweep(engine, MESH) == 0
    await sandbox.aclose()
