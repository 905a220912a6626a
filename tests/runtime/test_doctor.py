"""What the doctor says of this machine, and of worse ones."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from devmesh.config.statedir import StateDir
from devmesh.runtime import doctor
from devmesh.runtime.dockerd import Daemon, NoDaemon
from devmesh.runtime.doctor import Check
from devmesh.runtime.network.namespaces import InlineNamespaces
from devmesh.runtime.network.netlink import NetlinkError


class Engine:
    """A Docker engine that answers two questions, on a Unix socket."""

    def __init__(self, path: Path, info: dict[str, object]) -> None:
        self.answers = {"/info": json.dumps(info), "/containers/json": "[]"}
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client:
                target = client.recv(4096).split(b" ")[1].split(b"?")[0].decode()
                body = self.answers[target].encode()
                head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n"
                client.sendall(head.encode() + body)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(2)


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    path = tmp_path / "docker.sock"
    monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
    made = Engine(path, {"ServerVersion": "27.1", "OperatingSystem": "Debian", "SecurityOptions": None})
    yield made
    made.close()


@pytest.fixture
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "missing_capabilities", list)


@pytest.mark.netns
def test_this_machine_will_do() -> None:
    checks = doctor.examine()
    assert [check for check in checks if check.status == "fail"] == []
    assert {"kernel", "namespaces", "outbound", "hop", "DNS", "pod to pod"} <= {
        check.name for check in checks
    }


@pytest.mark.netns
def test_a_kernel_without_the_modules_is_told_which() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("devmesh.runtime.network.netlink.Netlink.request", unsupported)
        checks = list(doctor.check_interception(InlineNamespaces()))
    assert [(check.status, "nft_redir" in check.fix) for check in checks] == [("fail", True)]


def unsupported(*_: object) -> list[bytes]:
    raise NetlinkError(95, "add link eth0: Operation not supported")


@pytest.mark.netns
def test_traffic_that_does_not_arrive_fails_its_check_alone() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("devmesh.runtime.network.selftest._TIMEOUT", 0.05)
        patch.setattr("devmesh.runtime.network.rules._dns", lambda *_: [])
        checks = {check.name: check for check in doctor.check_interception(InlineNamespaces())}
    assert checks["DNS"].status == "fail"
    assert checks["outbound"].status == "ok"


@pytest.mark.parametrize(
    ("release", "status"), [("4.19.0", "fail"), ("5.2.1-generic", "ok"), ("6.18.44-x", "ok")]
)
def test_kernels(release: str, status: str) -> None:
    assert doctor.check_kernel(release).status == status


def test_a_user_who_is_not_root_is_told_what_that_means(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "missing_capabilities", lambda: ["CAP_SYS_ADMIN"])
    check = doctor.check_privileges()
    assert (check.status, "sudo" in check.fix) == ("warn", True)


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize(
    ("info", "status", "word"),
    [
        ({}, "ok", ""),
        ({"OperatingSystem": "Docker Desktop"}, "warn", "virtual machine"),
        ({"SecurityOptions": ["name=seccomp", "name=rootless"]}, "warn", "rootless"),
    ],
)
def test_engines(engine: Engine, info: dict[str, object], status: str, word: str) -> None:
    engine.answers["/info"] = json.dumps(json.loads(engine.answers["/info"]) | info)
    check = doctor.check_docker()
    assert (check.status, word in check.detail) == (status, True)


@pytest.mark.parametrize(
    ("host", "word"),
    [("unix:///nowhere/docker.sock", "/nowhere/docker.sock"), ("tcp://10.0.0.1:2375", "tcp://")],
)
def test_no_engine(monkeypatch: pytest.MonkeyPatch, host: str, word: str) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    check = doctor.check_docker()
    assert (check.status, word in check.detail) == ("warn", True)
    with pytest.raises(NoDaemon):
        Daemon.ask()
    assert list(doctor.check_leftovers()) == []


def test_an_engine_that_talks_nonsense_is_no_engine(engine: Engine) -> None:
    engine.answers["/info"] = "{"
    assert doctor.check_docker().status == "warn"


def test_containers_of_a_mesh_that_is_gone(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    labels = [{"Labels": {"devmesh.mesh": name}} for name in ("crashed", "crashed", "running")]
    engine.answers["/containers/json"] = json.dumps(labels)
    with StateDir.of("running").lock():
        found = list(doctor.check_leftovers())
    assert [(check.detail, check.fix) for check in found] == [
        ("2 containers of mesh 'crashed', which isn't running", "devmesh --mesh crashed down")
    ]


def test_a_busy_port_is_named_with_its_option() -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(doctor.PORTS, port, "--http-port")
            (check,) = doctor.check_ports([port])
    assert (check.status, "--http-port 0" in check.fix, str(port) in check.detail) == ("warn", True, True)
    (check,) = doctor.check_ports([])
    assert check.status == "ok"


def test_the_ports_of_a_running_mesh_are_as_they_should_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    state = StateDir.of("shop")
    with socket.socket() as api, socket.socket() as gateway, state.lock():
        ports = []
        for held in (api, gateway):
            held.bind(("127.0.0.1", 0))
            held.listen()
            ports.append(held.getsockname()[1])
        state.write_run({
            "api": {"url": f"http://127.0.0.1:{ports[0]}", "token_file": "/x/token"},
            "gateways": {"http": f"127.0.0.1:{ports[1]}"},
        })  # fmt: skip
        checks = list(doctor.check_ports(ports))
    assert [check.status for check in checks] == ["ok", "ok"]
    assert all("mesh 'shop'" in check.detail for check in checks)


def test_resolver_and_clock() -> None:
    assert doctor.check_resolver(lambda: ("10.0.0.1",)).status == "ok"
    assert doctor.check_resolver(tuple).status == "warn"
    assert doctor.check_clock(0.0) == Check(
        "clock", "fail", "it says 1970-01-01: certificates would not be valid", "set the clock"
    )


@pytest.mark.parametrize(("name", "value"), [("kernel/unprivileged_userns_clone", "0")])
def test_why_there_is_no_user_namespace(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str
) -> None:
    file = tmp_path / name
    file.parent.mkdir(parents=True)
    file.write_text(value + "\n")
    monkeypatch.setattr(doctor, "_SYSCTLS", tmp_path)
    monkeypatch.setattr(doctor, "missing_capabilities", lambda: ["CAP_SYS_ADMIN"])
    monkeypatch.setattr(doctor.UserNamespaces, "start", refuse)
    namespaces, check = doctor.open_way_in()
    assert namespaces is None
    assert (check.status, "sysctl -w kernel.unprivileged_userns_clone=1" in check.fix) == ("fail", True)


def refuse() -> None:
    raise PermissionError(1, "Operation not permitted")
