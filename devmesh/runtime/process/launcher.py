"""Start one command in a pod: a program of its own, run as ``python -I -S -E -B launcher.py FD``.

It is a fresh process of one thread, so that entering namespaces, mounting and changing the user touch
nothing of devmesh, and it imports next to nothing, so that it is there in 10 ms. The folder tree is put
together in a private mount namespace: a tmpfs with an overlay of each of the host's top folders, so that
whatever is written or mounted there stays there. The command becomes a child of *devmesh* (CLONE_PARENT),
as the first process of a PID namespace: when it ends, whatever it started ends too, and when devmesh ends,
however it ends, the kernel kills it (PR_SET_PDEATHSIG).

It reads a `spec` (marshal: the same interpreter is at both ends) from the descriptor named by its one
argument and reports in lines on the descriptor ``spec["status"]``, closed by the final exec:
``pid N``, ``note TEXT``, ``error ERRNO STAGE: TEXT``.
"""

# mypy and ruff read this like any other module, but nothing of devmesh is imported, on purpose.
from __future__ import annotations

import ctypes
import marshal
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x20000, 0x4000000, 0x8000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
CLONE_PARENT, SIGCHLD, SIGKILL = 0x8000, 17, 9
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_PRIVATE, MS_NOATIME, MS_RELATIME = 4096, 16384, 1 << 18, 1024, 1 << 21
MNT_DETACH = 2
PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 24, 38
RLIMIT_NOFILE = 7
TIOCSCTTY = 0x540E
ENOENT, EACCES, ENOTDIR, ENOEXEC = 2, 13, 20, 8
_SYSCALLS = {"x86_64": (56, 155), "aarch64": (220, 41), "riscv64": (220, 41)}  # clone, pivot_root

# Top folders that are not overlaid: made anew, or the host's own.
_FRESH = {"tmp": 0o1777, "run": 0o755, "lost+found": 0o700}
_HOST = ("sys", "proc")
_WRITTEN = ("hosts", "resolv.conf", "hostname")  # below /etc
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "pts")
_DEVICE_LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}
# What a pod need not see of other mounts: pseudo file systems, and other containers' trees.
_PSEUDO = {"autofs", "nsfs", "overlay", "proc", "sysfs", "devtmpfs", "devpts", "cgroup", "cgroup2", "tracefs"}
_PSEUDO |= {
    "debugfs",
    "securityfs",
    "pstore",
    "bpf",
    "mqueue",
    "hugetlbfs",
    "configfs",
    "binfmt_misc",
    "fusectl",
}

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long


class Failed(Exception):
    """A step failed; `errno` is 0 where no system call did."""

    def __init__(self, stage: str, errno: int, text: str) -> None:
        super().__init__(text)
        self.stage = stage
        self.errno = errno


def check(result: int, stage: str, what: str) -> int:
    if result < 0:
        errno = ctypes.get_errno()
        raise Failed(stage, errno, f"{what}: {os.strerror(errno)}")
    return result


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    done = libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), data.encode())
    check(done, "mount", f"{source} on {target}")


def enter(spec: dict[str, Any]) -> None:
    """Enter a running container's namespaces (`join`), or the pod's network and new ones."""
    if spec["join"] is not None:
        kinds = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET
        if spec["userns"] is not None:
            kinds |= CLONE_NEWUSER
        check(libc.setns(spec["join"], kinds), "join", "enter the container")
        return
    if spec["userns"] is not None:
        check(libc.setns(spec["userns"], CLONE_NEWUSER), "namespace", "enter the user namespace")
    if spec["netns"] is not None:
        check(libc.setns(spec["netns"], CLONE_NEWNET), "namespace", "enter the pod's network namespace")
    check(libc.unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC), "namespace", "make namespaces")
    name = spec["hostname"].encode()
    check(libc.sethostname(name, len(name)), "namespace", "set the host name")


def other_mounts() -> list[str]:
    """Return where the host has mounted real file systems, the outer ones first."""
    found: list[str] = []
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            left, _, right = line.partition(" - ")
            point = left.split(" ")[4].replace("\\040", " ")
            if right.split(" ", 1)[0] not in _PSEUDO and point != "/" and os.path.isdir(point):
                found.append(point)
    return sorted(set(found))


class Tree:
    """The folder tree of one container, put together at `top` and then made the root."""

    def __init__(self, top: str, userns: bool, all_devices: bool) -> None:
        self.top = top
        self.root = top + "/root"
        self.old = ""
        self.userns = userns
        self.all_devices = all_devices
        self.notes: list[str] = []
        self.layers: set[int] = set()  # the devices of what is laid over the host
        self.volumes: list[str] = []

    def build(self, keep: list[str]) -> None:
        """Put the host's folders together; those in `keep` and other mounts are the host's own."""
        mount("none", "/", "", MS_REC | MS_PRIVATE)
        mount("devmesh", self.top, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755")
        os.mkdir(self.root)
        mount("devmesh", self.root, "tmpfs", MS_NODEV, "mode=755")
        self.layers.add(os.stat(self.root).st_dev)
        mounts = other_mounts()
        plain: list[str] = []
        with os.scandir("/") as entries:
            for entry in entries:
                self.top_entry(entry, mounts, plain)
        if "/usr" in plain:  # that of others may be as it is: without root, other mounts inside prevent it
            names = " ".join(plain)
            self.notes.append(f"no overlay of {names}: what is written there is written on this machine")
        self.make_devices()
        for path in mounts:
            name = path.split("/")[1]
            if name not in _FRESH and name not in ("dev", *_HOST) and "/" + name not in plain:
                self.bind_same(path)
        for path in keep:
            if os.path.isdir(path):
                self.bind_same(path)

    def top_entry(self, entry: os.DirEntry[str], mounts: list[str], plain: list[str]) -> None:
        name, source, target = entry.name, "/" + entry.name, f"{self.root}/{entry.name}"
        if entry.is_symlink():
            os.symlink(os.readlink(source), target)
        elif not entry.is_dir() or name == "dev":
            return
        elif name in _FRESH:
            os.mkdir(target)
            os.chmod(target, _FRESH[name])
        else:
            os.mkdir(target)
            if name in _HOST:
                mount(source, target, "", MS_BIND | MS_REC)
            elif not self.overlay(source, target):
                plain.append(source)
                if name == "etc":
                    self.scatter(source, target)
                else:
                    mount(source, target, "", MS_BIND | MS_REC)

    def make_devices(self) -> None:
        """Make /dev as a container has it: a mount below the host's own would need a file there."""
        top = self.root + "/dev"
        os.mkdir(top)
        if self.all_devices:
            mount("/dev", top, "", MS_BIND | MS_REC)
            return
        for name in _DEVICES:
            source, target = "/dev/" + name, f"{top}/{name}"
            if os.path.isdir(source):
                os.mkdir(target)
            elif os.path.exists(source):
                os.close(os.open(target, os.O_CREAT | os.O_CLOEXEC))
            else:
                continue
            mount(source, target, "", MS_BIND)
        for name, link in _DEVICE_LINKS.items():
            os.symlink(link, f"{top}/{name}")
        os.mkdir(top + "/shm")
        os.chmod(top + "/shm", 0o1777)

    def overlay(self, source: str, target: str) -> bool:
        """Lay a tmpfs over one folder; False where the kernel refuses (locked mounts inside, say)."""
        status = os.stat(source)
        upper, work = f"{self.top}/upper{source}", f"{self.top}/work{source}"
        os.makedirs(upper)
        os.makedirs(work)
        os.chmod(upper, status.st_mode & 0o7777)
        if not self.userns:
            os.chown(upper, status.st_uid, status.st_gid)
        options = f"lowerdir={source},upperdir={upper},workdir={work}"
        try:
            mount("overlay", target, "overlay", 0, options + (",userxattr" if self.userns else ""))
        except Failed:
            return False
        self.layers.add(os.stat(target).st_dev)
        return True

    def scatter(self, source: str, target: str) -> None:
        """Show each entry of a folder by itself, so that other files can lie beside them: no overlay's."""
        with os.scandir(source) as entries:
            for entry in entries:
                path = f"{target}/{entry.name}"
                if entry.name in _WRITTEN:
                    continue
                if entry.is_symlink():
                    os.symlink(os.readlink(entry.path), path)
                    continue
                if entry.is_dir():
                    os.mkdir(path)
                else:
                    os.close(os.open(path, os.O_CREAT | os.O_CLOEXEC))
                mount(entry.path, path, "", MS_BIND | MS_REC)

    def bind_same(self, path: str) -> None:
        """Show the host's `path` at the same place."""
        target = self.root + path
        try:
            os.makedirs(target, exist_ok=True)
            mount(path, target, "", MS_BIND | MS_REC)
        except (Failed, OSError):
            self.notes.append(f"{path} of this machine cannot be shown in the pod")

    def make_root(self) -> None:
        """Make it the root. The host's stays under `old` until `forget_host`."""
        self.old = "/.host"
        os.mkdir(self.root + self.old)
        call = _SYSCALLS[os.uname().machine][1]
        done = libc.syscall(call, self.root.encode(), (self.root + self.old).encode())
        check(done, "root", f"pivot_root {self.root}")
        os.chdir("/")

    def write(self, path: str, content: bytes) -> None:
        """Write a file such as /etc/hosts, in place of the host's; a script may be executed."""
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            if os.path.lexists(path):
                os.unlink(path)
            with open(path, "wb") as file:
                file.write(content)
            os.chmod(path, 0o755 if content.startswith(b"#!") else 0o644)
        except OSError as problem:
            raise Failed("root", problem.errno or 0, f"write {path}: {problem.strerror}") from problem

    def mount_volume(self, source: str, target: str, read_only: bool) -> None:
        """Show a file or folder of the host at `target`, which is made where it isn't there."""
        self.check_makeable(target)
        self.volumes.append(target)
        try:
            if os.path.isdir(self.old + source):
                os.makedirs(target, exist_ok=True)
            elif not os.path.lexists(target):
                os.makedirs(os.path.dirname(target), exist_ok=True)
                os.close(os.open(target, os.O_CREAT | os.O_CLOEXEC, 0o644))
        except OSError as problem:
            raise Failed("volume", problem.errno or 0, f"make {target}: {problem.strerror}") from problem
        mount(self.old + source, target, "", MS_BIND | MS_REC)
        if read_only:
            self.protect(target)

    def check_makeable(self, target: str) -> None:
        """Refuse a mount whose place would have to be made on the host itself, not in a layer over it."""
        there = target
        while not os.path.lexists(there):
            there = os.path.dirname(there)
        inside = any(target.startswith(volume.rstrip("/") + "/") for volume in self.volumes)
        if there != target and not inside and os.stat(there).st_dev not in self.layers:
            text = f"{target} would have to be made below {there}, which is this machine's own"
            raise Failed("volume", EACCES, text)

    def protect(self, target: str) -> None:
        """Make a mount read-only. Flags that it has must stay: in a user namespace they are locked."""
        flags = os.statvfs(target).f_flag & (MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME)
        mount("none", target, "", MS_BIND | MS_REMOUNT | MS_RDONLY | MS_RELATIME | flags)

    def forget_host(self) -> None:
        check(libc.umount2(self.old.encode(), MNT_DETACH), "root", "let go of the host's root")
        os.rmdir(self.old)


def build(spec: dict[str, Any]) -> list[str]:
    """Put the folder tree together; return what should be said about it."""
    tree = Tree(spec["top"], spec["userns"] is not None, spec["all_devices"])
    tree.build(spec["keep"])
    tree.make_root()
    for path, content in spec["files"]:
        tree.write(path, content)
    for source, target, read_only in spec["mounts"]:
        tree.mount_volume(source, target, read_only)
    tree.forget_host()
    if spec["read_only_root"]:
        protect_root(tree, {target for _, target, _ in spec["mounts"]})
    return tree.notes


def protect_root(tree: Tree, volumes: set[str]) -> None:
    """Make the root and its overlays read-only, volumes apart."""
    for name in os.listdir("/"):
        path = "/" + name
        if name not in _HOST and path not in volumes and not os.path.islink(path) and os.path.ismount(path):
            tree.protect(path)
    tree.protect("/")


def limit_files(soft: int, hard: int) -> None:
    """Give the command the limits that devmesh was given: it has raised its own."""
    libc.setrlimit(RLIMIT_NOFILE, (ctypes.c_ulong * 2)(soft, hard))


def become(spec: dict[str, Any]) -> None:
    """Give up rights: capabilities that no container has, then the user."""
    if spec["files_open"] is not None:
        limit_files(*spec["files_open"])
    if spec["drop"] is not None:
        for capability in spec["drop"]:
            libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    if spec["groups"] is not None and spec["userns"] is None:
        os.setgroups(spec["groups"])
    if spec["gid"] is not None and spec["gid"] != os.getgid():
        os.setgid(spec["gid"])
    if spec["uid"] is not None and spec["uid"] != os.getuid():
        os.setuid(spec["uid"])
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)  # a change of user clears it: so this late


def run(spec: dict[str, Any]) -> NoReturn:
    """Become the command. The child's part."""
    os.setsid()
    if spec["tty"]:
        import fcntl

        fcntl.ioctl(0, TIOCSCTTY, 0)
    if spec["join"] is None:
        mount_proc()
    try:
        become(spec)
    except OSError as problem:
        raise Failed(
            "user", problem.errno or 0, f"become user {spec['uid']}: {problem.strerror}"
        ) from problem
    try:
        os.chdir(spec["workdir"])
    except OSError as problem:
        raise Failed("workdir", problem.errno or 0, f"{spec['workdir']}: {problem.strerror}") from problem
    # From here a parent that is gone would not be noticed: it went before the line above, or kills us.
    os.write(spec["status"], b"go\n")
    os.umask(0o022)
    execute(spec["argv"], spec["env"])


def mount_proc() -> None:
    try:  # noqa: SIM105 (contextlib would cost the launcher milliseconds)
        mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    except Failed:
        pass  # the host's stays: processes see themselves under other numbers


def execute(argv: list[str], env: dict[str, str]) -> NoReturn:
    """Exec, looking `argv[0]` up in the PATH that the command will have."""
    name = argv[0]
    folders = [""] if "/" in name else env.get("PATH", "/usr/local/bin:/usr/bin:/bin").split(":")
    worst = ENOENT
    for folder in folders:
        path = os.path.join(folder, name) if folder else name
        try:
            os.execve(path, argv, env)
        except OSError as problem:
            if problem.errno not in (ENOENT, ENOTDIR) and os.path.exists(path):
                worst = problem.errno or worst
    raise Failed("exec", worst, f"{name}: {os.strerror(worst)}")


def join_group(entrance: str) -> None:
    descriptor = os.open(entrance, os.O_WRONLY | os.O_CLOEXEC)
    os.write(descriptor, b"0")
    os.close(descriptor)


def restore_signals() -> None:
    """Give the command the signals of a container: Python ignores some, and so may who started devmesh."""
    import _signal  # type: ignore[import-not-found]  # `signal` itself takes milliseconds to import

    for number in range(1, _signal.NSIG):
        try:  # noqa: SIM105 (contextlib would cost the launcher milliseconds)
            _signal.signal(number, _signal.SIG_DFL)
        except (OSError, ValueError):
            pass  # KILL, STOP and the C library's own
    _signal.pthread_sigmask(_signal.SIG_SETMASK, [])


def main(descriptor: int) -> None:
    with open(descriptor, "rb") as file:
        spec = marshal.load(file)
    status = spec["status"]
    os.set_inheritable(status, False)
    child = False
    try:
        libc.prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)
        restore_signals()
        for entrance in spec["cgroups"]:
            join_group(entrance)
        enter(spec)
        notes = build(spec) if spec["join"] is None else []
        for note in notes:
            os.write(status, f"note {note}\n".encode())
        flags = CLONE_PARENT | SIGCHLD | (CLONE_NEWPID if spec["join"] is None else 0)
        call = _SYSCALLS[os.uname().machine][0]
        pid = check(libc.syscall(call, flags, 0, 0, 0, 0), "start", "make a process")
        if pid == 0:
            child = True
            run(spec)
        os.write(status, f"pid {pid}\n".encode())
    except Failed as problem:
        os.write(status, f"error {problem.errno} {problem.stage}: {problem}\n".encode())
    except OSError as problem:
        os.write(status, f"error {problem.errno or 0} start: {problem}\n".encode())
    os._exit(127 if child else 0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
