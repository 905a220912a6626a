"""Pods of real processes: what a container sees, how it ends, that nothing is left."""

from __future__ import annotations

import base64
import os
import resource
import signal
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import trio

from devmesh.config.kinds import CONFIG_MAP, DEPLOYMENT, EVENT, PERSISTENT_VOLUME_CLAIM, POD, SECRET
from devmesh.config.store import Key
from devmesh.runtime import descriptors

pytestmark = [pytest.mark.netns, pytest.mark.slow]


def server(text: str, port: int = 9080) -> list[str]:
    """Return the command of an HTTP server that answers `text` to everything."""
    code = f"""
        import http.server
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200); self.end_headers(); self.wfile.write({text!r}.encode())
            def log_message(self, *a): pass
        http.server.HTTPServer(("", {port}), Handler).serve_forever()
    """
    return [sys.executable, "-S", "-c", textwrap.dedent(code)]


async def get(place: Any, pod: str, port: int = 9080) -> str:
    stream = await place.runtime.connect("default", pod, port)
    async with stream:
        await stream.send_all(b"GET / HTTP/1.0\r\n\r\n")
        data = b"".join([bytes(piece) async for piece in stream])
    return data.partition(b"\r\n\r\n")[2].decode()


def pid_of(place: Any, pod: str) -> int:
    return int(place.status(pod)["containerStatuses"][0]["containerID"].removeprefix("process://"))


def warnings(place: Any, pod: str) -> list[str]:
    events = [e.raw for e in place.store.list(EVENT)]
    return [e["message"] for e in events if e["type"] == "Warning" and e["involvedObject"]["name"] == pod]


async def test_two_pods_listen_on_the_same_port(place: Any) -> None:
    probe = {"readinessProbe": {"httpGet": {"path": "/", "port": 9080}}}
    for name in ("a", "b"):
        await place.run(name, {"command": server(name), **probe}, wait=False)
    await place.until(lambda: place.is_ready("a") and place.is_ready("b"))
    assert [await get(place, "a"), await get(place, "b")] == ["a", "b"]
    assert warnings(place, "a") == []


async def test_programs_have_the_descriptors_that_devmesh_was_given(place: Any) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (300, before[1]))
        descriptors.raise_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (before[1], before[1])
        await place.run("a", {"command": ["sleep", "60"]})
        limits = Path(f"/proc/{pid_of(place, 'a')}/limits").read_text()  # noqa: ASYNC240
    finally:
        descriptors._given = None
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    [line] = [line for line in limits.splitlines() if line.startswith("Max open files")]
    assert line.split()[3:5] == ["300", str(before[1])]


async def test_a_container_finds_its_variables_and_volumes(place: Any, tmp_path: Path) -> None:
    place.store.create(CONFIG_MAP, {"metadata": {"name": "conf"}, "data": {"a.txt": "one", "LEVEL": "info"}})
    secret = base64.b64encode(b"hush").decode()
    place.store.create(SECRET, {"metadata": {"name": "keys"}, "data": {"key": secret}})
    (tmp_path / "host").mkdir()
    (tmp_path / "host" / "f").write_text("from the host")
    container = {
        "env": [
            {"name": "WHO", "value": "me"},
            {"name": "GREETING", "value": "hello $(WHO) $$(WHO) $(NOBODY)"},
            {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "key"}}},
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}},
        ],
        "envFrom": [{"prefix": "C_", "configMapRef": {"name": "conf"}}],
        "resources": {"limits": {"cpu": "250m"}},
        "volumeMounts": [
            {"name": "conf", "mountPath": "/etc/app"},
            {"name": "conf", "mountPath": "/usr/share/one.txt", "subPath": "a.txt"},
            {"name": "keys", "mountPath": "/var/run/keys", "readOnly": True},
            {"name": "host", "mountPath": "/from/host", "readOnly": True},
            {"name": "work", "mountPath": "/work-dir"},
            {"name": "me", "mountPath": "/me"},
        ],
    }
    fields = {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}
    volumes = [
        {"name": "conf", "configMap": {"name": "conf"}},
        {"name": "keys", "secret": {"secretName": "keys", "defaultMode": 0o400}},
        {"name": "host", "hostPath": {"path": str(tmp_path / "host"), "type": "Directory"}},
        {"name": "work", "emptyDir": {}},
        {"name": "me", "downwardAPI": fields},
    ]
    await place.run("a", container, volumes=volumes)

    _, said = await place.sh("a", 'echo "$GREETING|$KEY|$CPU|$C_LEVEL|$IP"')
    address = place.status("a")["podIP"]
    assert said.strip() == f"hello me $(WHO) $(NOBODY)|hush|250|info|{address}"
    _, said = await place.sh(
        "a", "cat /etc/app/a.txt /usr/share/one.txt /var/run/keys/key /from/host/f /me/name"
    )
    assert said == "oneonehushfrom the hosta"
    assert (await place.sh("a", "touch /work-dir/x && ls /work-dir")) == (0, "x\n")
    assert (await place.sh("a", "touch /from/host/g"))[0] != 0
    assert (await place.sh("a", "hostname; grep nameserver /etc/resolv.conf; grep -w a /etc/hosts"))[0] == 0


async def test_the_host_is_not_touched(place: Any) -> None:
    place.store.create(CONFIG_MAP, {"metadata": {"name": "conf"}, "data": {"a.txt": "one"}})
    mount = {"name": "conf", "mountPath": "/etc/devmesh-test-only"}
    await place.run("a", {"volumeMounts": [mount]}, volumes=[{"name": "conf", "configMap": {"name": "conf"}}])
    code, _ = await place.sh("a", "ls /etc/devmesh-test-only/a.txt && echo x > /etc/devmesh-test-file")
    assert code == 0
    assert not os.path.exists("/etc/devmesh-test-only")  # noqa: ASYNC240
    assert not os.path.exists("/etc/devmesh-test-file")  # noqa: ASYNC240


async def test_a_changed_config_map_reaches_the_container(place: Any) -> None:
    place.store.create(CONFIG_MAP, {"metadata": {"name": "conf"}, "data": {"a": "old"}})
    mounts = [{"name": "conf", "mountPath": "/etc/app"}]
    await place.run("a", {"volumeMounts": mounts}, volumes=[{"name": "conf", "configMap": {"name": "conf"}}])
    place.store.update(CONFIG_MAP, {"metadata": {"name": "conf"}, "data": {"b": "new"}})
    assert await place.sh("a", "cat /etc/app/b; ls /etc/app") == (0, "newb\n")


async def test_source_files_are_live(place: Any) -> None:
    file = place.src / "page"
    file.write_text("old")
    await place.run("a", {})
    assert await place.sh("a", "cat page") == (0, "old")
    other = place.src / "page.new"
    other.write_text("new")
    other.rename(file)  # as editors save
    assert await place.sh("a", "cat page") == (0, "new")


async def test_a_container_killed_behind_our_back_is_replaced(place: Any) -> None:
    await place.run("a", {})
    first = pid_of(place, "a")
    os.kill(first, signal.SIGKILL)
    await place.until(lambda: pid_of(place, "a") != first and place.is_ready("a"))
    status = place.status("a")["containerStatuses"][0]
    assert status["restartCount"] == 1
    assert status["lastState"]["terminated"]["exitCode"] == 137


async def test_what_a_container_has_started_ends_with_it(place: Any) -> None:
    await place.run("a", {"command": ["sh", "-c", "setsid sleep 98765 & exec sleep 1000"]})
    await place.until(lambda: commands("98765"))
    os.kill(pid_of(place, "a"), signal.SIGKILL)
    await place.until(lambda: place.status("a")["containerStatuses"][0]["restartCount"] == 1)
    await place.until(lambda: len(commands("98765")) == 1)  # that of the new one


def commands(word: str) -> list[int]:
    """Return the ids of processes with `word` in their command line."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                arguments = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if word.encode() in arguments:
                found.append(int(folder.name))
    return found


async def test_exec_tells_exit_status_and_takes_input(place: Any) -> None:
    await place.run("a", {})
    assert await place.sh("a", "exit 7") == (7, "")
    session = await place.runtime.exec("default", "a", "main", ["cat"], stdin=True, tty=False)
    await session.stdin.send_all(b"ping")
    await session.stdin.aclose()
    assert b"".join([bytes(piece) async for piece in session.stdout]) == b"ping"
    assert await session.wait() == 0
    await session.aclose()
    with pytest.raises(FileNotFoundError, match="no-such-command"):
        await place.runtime.exec("default", "a", "main", ["no-such-command"], stdin=False, tty=False)


async def test_a_terminal_has_a_size(place: Any) -> None:
    await place.run("a", {})
    session = await place.runtime.exec("default", "a", "main", ["sh"], stdin=True, tty=True)
    await session.resize(101, 33)
    await session.stdin.send_all(b"stty size; exit 3\n")
    output = b"".join([bytes(piece) async for piece in session.stdout])
    assert b"33 101" in output
    assert await session.wait() == 3
    await session.aclose()


async def test_closing_a_session_ends_its_command(place: Any) -> None:
    await place.run("a", {})
    command = ["sh", "-c", "sleep 87654 & wait"]
    session = await place.runtime.exec("default", "a", "main", command, stdin=False, tty=False)
    await place.until(lambda: commands("87654"))
    await session.aclose()
    await place.until(lambda: not commands("87654"))


async def test_logs_are_there_at_once_and_follow(place: Any) -> None:
    script = "echo one; echo two >&2; while [ ! -e /tmp/go ]; do sleep 0.02; done; echo three; sleep 1000"
    await place.run("a", {"command": ["sh", "-c", script]})
    lines: list[str] = []

    async def follow() -> None:
        from devmesh.runtime.access import LogOptions

        async for piece in place.runtime.logs("default", "a", "main", LogOptions(follow=True)):
            lines.extend(piece.decode().splitlines())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow)
        await place.until(lambda: sorted(lines) == ["one", "two"])
        await place.sh("a", "touch /tmp/go")
        await place.until(lambda: "three" in lines)
        nursery.cancel_scope.cancel()
    assert await place.log("a", tail=1) == "three\n"
    assert (await place.log("a", timestamps=True, tail=1)).endswith("Z three\n")


async def test_the_log_of_the_run_before_is_kept(place: Any) -> None:
    await place.run("a", {"command": ["sh", "-c", "echo first; exec sleep 1000"]})
    written = lambda: [f for f in place.state.glob("pods/*/logs/main/1.log") if f.stat().st_size]  # noqa: E731
    await place.until(written)
    os.kill(pid_of(place, "a"), signal.SIGKILL)
    await place.until(lambda: place.status("a")["containerStatuses"][0]["restartCount"] == 1)
    assert await place.log("a", previous=True) == "first\n"


async def test_sigterm_comes_first(place: Any) -> None:
    script = "trap 'echo bye > /out/bye; exit 0' TERM; echo up; while :; do sleep 0.02; done"
    mount = {"volumeMounts": [{"name": "out", "mountPath": "/out"}]}
    out = place.src / "out"
    out.mkdir()
    volumes = [{"name": "out", "hostPath": {"path": str(out)}}]
    await place.run("a", {"command": ["sh", "-c", script], **mount}, volumes=volumes)
    await trio.sleep(0.1)
    place.store.delete(Key(POD, "default", "a"))
    await place.until(lambda: place.store.get(POD, "default", "a") is None)
    assert (out / "bye").read_text() == "bye\n"


async def test_who_does_not_hear_sigterm_does_not_keep_us_waiting(place: Any) -> None:
    await place.run("a", {})
    began = trio.current_time()
    place.store.delete(Key(POD, "default", "a"))
    await place.until(lambda: place.store.get(POD, "default", "a") is None)
    assert trio.current_time() - began < 1


async def test_a_claim_outlives_its_pods(place: Any) -> None:
    place.store.create(PERSISTENT_VOLUME_CLAIM, {"metadata": {"name": "data"}, "spec": {}})
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    mount = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    await place.run("a", mount, volumes=volumes)
    await place.sh("a", "echo kept > /data/x")
    place.store.delete(Key(POD, "default", "a"))
    await place.until(lambda: place.store.get(POD, "default", "a") is None)
    await place.run("b", mount, volumes=volumes)
    assert await place.sh("b", "cat /data/x") == (0, "kept\n")


async def test_an_image_without_a_program_says_what_to_add(place: Any) -> None:
    await place.run("a", {"image": "docker.io/library/redis:7"}, wait=False)
    await place.until(lambda: warnings(place, "a"))
    assert any('match: "*redis:*"' in message for message in warnings(place, "a"))


async def test_a_missing_command_is_a_start_error(place: Any) -> None:
    await place.run("a", {"command": ["/no/such/program"]}, wait=False, restartPolicy="Never")
    await place.until(lambda: place.status("a").get("phase") == "Failed")
    terminated = place.status("a")["containerStatuses"][0]["state"]["terminated"]
    assert (terminated["reason"], terminated["exitCode"]) == ("StartError", 127)
    assert "no such file" in terminated["message"]


async def test_a_read_only_root_and_its_volumes(place: Any) -> None:
    container = {
        "securityContext": {"readOnlyRootFilesystem": True},
        "volumeMounts": [{"name": "work", "mountPath": "/data"}],
    }
    await place.run("a", container, volumes=[{"name": "work", "emptyDir": {}}])
    assert (await place.sh("a", "touch /etc/x"))[0] != 0
    assert (await place.sh("a", "touch /x"))[0] != 0
    assert (await place.sh("a", "touch /data/x"))[0] == 0


async def test_processes_cannot_change_their_interception(place: Any) -> None:
    await place.run("a", {})
    _, capabilities = await place.sh("a", "grep CapBnd /proc/self/status")
    net_admin = 1 << 12
    assert not int(capabilities.split()[1], 16) & net_admin


async def test_nothing_is_left_after_a_stop(place: Any) -> None:
    template = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "main", "image": "app", "command": ["sleep", "76543"]}]},
    }
    spec = {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    place.store.create(DEPLOYMENT, {"metadata": {"name": "web"}, "spec": spec})
    await place.until(lambda: len(commands("76543")) == 3)
    await place.runtime.stop()
    assert commands("76543") == []
    assert place.store.list(POD)


async def test_limits_are_enforced_or_said_to_have_no_effect(place: Any) -> None:
    eat = "x = bytearray(200 << 20); print(len(x))"
    limits = {"resources": {"limits": {"memory": "50Mi", "cpu": "500m"}}}
    command = {"command": [sys.executable, "-S", "-c", eat]}
    await place.run("a", {**command, **limits}, wait=False, restartPolicy="Never")
    await place.until(lambda: place.status("a").get("phase") in ("Failed", "Succeeded"))
    terminated = place.status("a")["containerStatuses"][0]["state"]["terminated"]
    if place.status("a")["phase"] == "Succeeded":
        assert any("limits have no effect" in message for message in warnings(place, "a"))
    else:
        assert (terminated["reason"], terminated["exitCode"]) == ("OOMKilled", 137)


async def test_a_container_may_say_why_it_ends(place: Any) -> None:
    say = {"command": ["sh", "-c", "echo 'no database' > /dev/termination-log; exit 1"]}
    log = {"command": ["sh", "-c", "echo 'it is broken'; exit 1"]}
    fallback = {"name": "log", "terminationMessagePolicy": "FallbackToLogsOnError", **log}
    await place.run("a", say, fallback, wait=False, restartPolicy="Never")
    await place.until(lambda: place.status("a").get("phase") == "Failed")
    states = [s["state"]["terminated"] for s in place.status("a")["containerStatuses"]]
    assert [state["message"] for state in states] == ["no database\n", "it is broken"]


async def test_a_container_runs_as_its_user_where_that_is_possible(place: Any) -> None:
    security = {"securityContext": {"runAsUser": 1234, "runAsGroup": 2345}}
    mounts = {"volumeMounts": [{"name": "work", "mountPath": "/data"}]}
    await place.run("a", {**security, **mounts}, volumes=[{"name": "work", "emptyDir": {}}])
    assert (await place.sh("a", "touch /data/x"))[0] == 0
    _, who = await place.sh("a", "id -u; id -g")
    if place.fabric.network(place.store.get(POD, "default", "a").uid).userns_fd is None:
        assert who.split() == ["1234", "2345"]
    else:
        assert who.split() == [str(os.getuid()), str(os.getgid())]
        assert any("runAsUser has no effect" in message for message in warnings(place, "a"))
