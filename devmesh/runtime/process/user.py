"""As whom processes run, and what they find in their environment."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass

# What an image would set, and a process has from whoever started devmesh.
_INHERITED = (
    "PATH",
    "LANG",
    "LANGUAGE",
    "TZ",
    "JAVA_HOME",
    "GOPATH",
    "NVM_DIR",
    "VIRTUAL_ENV",
    "LD_LIBRARY_PATH",
)
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class User:
    """A user of this machine. `name` and `home` are guesses where it has no entry."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    name: str
    home: str

    @classmethod
    def invoking(cls) -> User:
        """Return who has called devmesh: under sudo, who has called sudo."""
        if os.geteuid() == 0 and os.environ.get("SUDO_UID", "").isdigit():
            return cls.of(
                int(os.environ["SUDO_UID"]), int(os.environ.get("SUDO_GID") or os.environ["SUDO_UID"])
            )
        return cls.of(os.geteuid(), os.getegid())

    @classmethod
    def of(cls, uid: int, gid: int | None = None) -> User:
        """Return the user of that number; one unknown to the machine has group 0, as in a container."""
        try:
            entry = pwd.getpwuid(uid)
        except KeyError:
            return cls(uid, gid or 0, (), str(uid), "/")
        group = entry.pw_gid if gid is None else gid
        try:
            groups = tuple(os.getgrouplist(entry.pw_name, group))
        except OSError:
            groups = (group,)
        return cls(uid, group, groups, entry.pw_name, entry.pw_dir)

    def environment(self) -> dict[str, str]:
        """Return the variables a process begins with, before those of its image and its manifest."""
        env = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        env |= {name: value for name, value in os.environ.items() if name.startswith("LC_")}
        env.setdefault("PATH", _PATH)
        env |= {"HOME": self.home, "USER": self.name}
        env["PYTHONUNBUFFERED"] = "1"  # as images of Python programs do: a log line is to be seen at once
        return env
