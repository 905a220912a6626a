"""Whether this machine lets devmesh do its work, and what would: the checks of `devmesh doctor`."""

from __future__ import annotations

import errno
import os
import platform
import resource
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from devmesh.config.statedir import StateDir
from devmesh.runtime.dns.resolvconf import HostServers
from devmesh.runtime.dockerd import Daemon, NoDaemon
from devmesh.runtime.network.namespaces import InlineNamespaces, Namespaces
from devmesh.runtime.network.privilege import missing_capabilities
from devmesh.runtime.network.selftest import SelfTest, SelfTestFailed
from devmesh.runtime.network.userns import UserNamespaces

Status = Literal["ok", "warn", "fail"]

PORTS = {20001: "--port", 20443: "--tls-port", 8080: "--http-port", 8443: "--https-port"}
_COLLECTORS = {4317: "OTLP by gRPC", 4318: "OTLP by HTTP", 9411: "Zipkin"}
_MIN_KERNEL = (5, 2)  # nat in tables for both IP versions
_MIN_FILES = 4096
_RELEASED = 1_767_225_600  # 2026-01-01: a clock before it is wrong
_SYSCTLS = Path("/proc/sys")
_MODULES = "nf_tables nft_chain_nat nft_redir nft_nat nft_numgen nft_reject_inet nf_conntrack veth bridge"
_FORBIDDING = {
    "kernel/apparmor_restrict_unprivileged_userns": (
        "1",
        "AppArmor keeps user namespaces from programs without a profile",
        "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or run devmesh with sudo",
    ),
    "kernel/unprivileged_userns_clone": (
        "0",
        "this kernel keeps user namespaces for root",
        "sudo sysctl -w kernel.unprivileged_userns_clone=1, or run devmesh with sudo",
    ),
    "user/max_user_namespaces": (
        "0",
        "user namespaces are turned off",
        "sudo sysctl -w user.max_user_namespaces=15000, or run devmesh with sudo",
    ),
}


@dataclass(frozen=True, slots=True)
class Check:
    """One finding; `fix` is what to do where it isn't ok (empty: nothing needs to be done)."""

    name: str
    status: Status
    detail: str
    fix: str = ""


def examine() -> list[Check]:
    """Make all checks. Takes about half a second, and leaves nothing behind.

    Call it on the main thread, with no event loop running: it enters namespaces and blocks.
    """
    checks = [check_kernel(), check_privileges()]
    namespaces, opened = open_way_in()
    checks.append(opened)
    if namespaces is not None:
        checks += check_interception(namespaces)
    checks += [
        check_docker(),
        *check_leftovers(),
        check_resolver(),
        *check_ports(),
        check_files(),
        check_clock(),
    ]
    return checks


def check_kernel(release: str | None = None) -> Check:
    release = release or platform.release()
    if platform.system() != "Linux":
        return Check(
            "kernel",
            "fail",
            f"{platform.system()} has no network namespaces",
            "run devmesh in a Linux virtual machine or container",
        )
    numbers = tuple(int(part) for part in release.split("-")[0].split(".")[:2] if part.isdigit())
    if numbers < _MIN_KERNEL:
        return Check("kernel", "fail", f"Linux {release} is too old", "use Linux 5.2 or later")
    return Check("kernel", "ok", f"Linux {release}")


def check_privileges() -> Check:
    missing = missing_capabilities()
    if not missing:
        return Check("privileges", "ok", "namespaces can be entered from here, containers' too")
    return Check(
        "privileges",
        "warn",
        f"without {' and '.join(missing)}: processes run in a user namespace, containers can't be entered",
        "run devmesh with sudo to use containers",
    )


def open_way_in() -> tuple[Namespaces | None, Check]:
    """Try to enter namespaces as devmesh would; None where there is no way."""
    if not missing_capabilities():
        namespaces = InlineNamespaces()
        try:
            os.close(namespaces.create())
        except OSError as error:
            fix = "in a container, start it with --privileged; else look for a seccomp or LSM profile"
            return None, Check("namespaces", "fail", str(error), fix)
        return namespaces, Check("namespaces", "ok", "a network namespace can be made and entered")
    try:
        return UserNamespaces.start(), Check("namespaces", "ok", "a user namespace can be made")
    except OSError as error:
        detail, fix = _why_no_user_namespace()
        return None, Check("namespaces", "fail", detail or str(error), fix)


def _why_no_user_namespace() -> tuple[str, str]:
    for name, (value, reason, fix) in _FORBIDDING.items():
        try:
            if (_SYSCTLS / name).read_text().strip() == value:
                return reason, fix
        except OSError:
            continue
    return "", "run devmesh with sudo; in a container, allow unshare in its seccomp profile"


def check_interception(namespaces: Namespaces) -> Iterator[Check]:
    """Take traffic over in scratch namespaces, the whole way."""
    try:
        test = SelfTest(namespaces)
    except OSError as error:
        yield Check("interception", "fail", str(error), _kernel_fix(error))
        return
    try:
        yield _try("outbound", test.outbound, "connections of a pod arrive at its proxy, their targets known")
        yield _try("hop", test.hop, "connections between proxies arrive")
        yield _try("DNS", test.names, "queries of a pod arrive at devmesh")
        yield _try("pod to pod", test.between_pods, "UDP goes from pod to pod")
        if test.has_ipv6:
            yield _try("IPv6", test.outbound_ipv6, "connections of a pod by IPv6 arrive at its proxy")
        else:
            yield Check("IPv6", "warn", "namespaces have none: pods get IPv4 addresses alone")
    finally:
        test.close()


def _try(name: str, test: Callable[[], None], detail: str) -> Check:
    try:
        test()
    except (OSError, SelfTestFailed) as error:
        reason = "nothing arrived" if isinstance(error, TimeoutError) else str(error)
        return Check(name, "fail", reason, _kernel_fix(error))
    return Check(name, "ok", detail)


def _kernel_fix(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno in (errno.EPERM, errno.EACCES):
        return "run devmesh with sudo; in a container, start it with --privileged"
    return f"load the kernel's modules: sudo modprobe -a {_MODULES}"


def check_docker() -> Check:
    try:
        daemon = Daemon.ask()
    except NoDaemon as error:
        fix = "start the engine to use containers (processes need none)"
        if isinstance(error.__cause__, PermissionError):
            fix = "run devmesh with sudo to use containers"
        return Check("Docker", "warn", str(error), fix)
    what = f"{daemon.system}, version {daemon.version}"
    if daemon.obstacle:
        fix = "use --runtime process, or an engine on this machine that runs as root"
        return Check("Docker", "warn", f"{what}: {daemon.obstacle}", fix)
    if missing_capabilities():
        return Check("Docker", "warn", f"{what}: its containers can't be entered", "run devmesh with sudo")
    return Check("Docker", "ok", what)


def check_leftovers() -> Iterator[Check]:
    """Containers of meshes that no process runs any more."""
    try:
        meshes = Daemon.ask().meshes()
    except NoDaemon:
        return
    for mesh, count in sorted(meshes.items()):
        if not StateDir.of(mesh).is_held():
            yield Check(
                "leftovers",
                "warn",
                f"{count} containers of mesh {mesh!r}, which isn't running",
                f"devmesh --mesh {mesh} down",
            )


def check_resolver(servers: Callable[[], Sequence[str]] | None = None) -> Check:
    found = (servers or HostServers())()
    if found:
        return Check("resolver", "ok", f"other names are asked of {', '.join(found)}")
    return Check(
        "resolver",
        "warn",
        "/etc/resolv.conf names no server: pods find the mesh's names alone",
        "add a nameserver to /etc/resolv.conf",
    )


def check_ports(ports: Iterable[int] = (*PORTS, *_COLLECTORS)) -> Iterator[Check]:
    """The ports that `devmesh up` listens on by itself; those of a running mesh are as they should be."""
    busy = [port for port in ports if not _is_free(port)]
    meshes = _ports_of_meshes() if busy else {}
    for port in busy:
        if port in meshes:
            yield Check(f"port {port}", "ok", f"127.0.0.1:{port} is that of mesh {meshes[port]!r}")
            continue
        wanted = PORTS.get(port)
        fix = f"end what listens there (ss -ltnp 'sport = :{port}')"
        if wanted:
            fix += f", or choose another: devmesh up {wanted} 0"
        what = (
            ""
            if wanted
            else f", so {_COLLECTORS.get(port, 'what uses it')} from outside the mesh isn't taken"
        )
        yield Check(f"port {port}", "warn", f"127.0.0.1:{port} is in use{what}", fix)
    if not busy:
        yield Check("ports", "ok", "those of `devmesh up` are free")


def _ports_of_meshes() -> dict[int, str]:
    """Return what the running meshes of this user listen on, each with its mesh's name."""
    found: dict[int, str] = {}
    for state in StateDir.all():
        about = state.running() or {}
        urls = (about.get("api") or {}).values()
        for address in (*urls, *(about.get("gateways") or {}).values()):
            port = str(address).rpartition(":")[2]
            if port.isdecimal():
                found[int(port)] = state.name
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def check_files() -> Check:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < _MIN_FILES:
        return Check("open files", "warn", f"at most {hard} at once", f"ulimit -n {_MIN_FILES}, as root")
    return Check("open files", "ok", f"{soft} at once" + ("" if soft == hard else f", up to {hard}"))


def check_clock(now: float | None = None) -> Check:
    now = time.time() if now is None else now
    if now < _RELEASED:
        date = time.strftime("%Y-%m-%d", time.gmtime(now))
        return Check("clock", "fail", f"it says {date}: certificates would not be valid", "set the clock")
    return Check("clock", "ok", time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now)))
