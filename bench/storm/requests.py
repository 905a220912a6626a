"""What is asked of the mesh, and what came of it."""

from __future__ import annotations

import itertools
import json
import random
from dataclasses import dataclass, field
from typing import Any

PATHS = ("/a/one", "/a/two?x=1", "/b", "/b/c?x=2", "/exact", "/v1/items/7", "/other")
USERS = ("", "anna", "bert")
FLAKY, WAIT = "x-flaky", "x-wait"
TARGETS = ("shop", "till", "aside", "ext.test", "front.test")
SLOW = 0.4  # seconds that a slow request takes


@dataclass(frozen=True, slots=True)
class Request:
    """One request of the load.

    Attributes:
        target: Whose rules apply: the name that is in `host`.
    """

    target: str
    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    size: int = 0

    @property
    def user(self) -> str:
        return self.headers.get("x-user", "")

    @property
    def is_flaky(self) -> bool:
        return FLAKY in self.headers

    @property
    def wait(self) -> float:
        return float(self.headers.get(WAIT, "0"))

    def plan(self, connect: str, port: int) -> dict[str, Any]:
        """As the load client wants it."""
        return {
            "connect": connect, "port": port, "host": self.target, "method": self.method, "path": self.path,
            "headers": self.headers, "size": self.size,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a request. `status` 0: nothing, `body` says why. Times are CLOCK_MONOTONIC's."""

    request: Request
    began: float
    ended: float
    status: int
    fields: dict[str, str]
    body: str

    @property
    def seen(self) -> dict[str, Any] | None:
        """What the application saw, if it was that which answered."""
        if not self.body.startswith('{"pod"'):
            return None
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def seconds(self) -> float:
        return self.ended - self.began


def mix(targets: tuple[str, ...], draw: random.Random) -> list[Request]:
    """Return the requests of one turn of the load, in an order of chance."""
    found = []
    for target, path, user in itertools.product(targets, PATHS, USERS):
        headers = {"x-user": user} if user else {}
        found.append(Request(target, "GET", path, headers | {"x-junk": "1"}))
        if user == "anna":
            found.append(Request(target, "POST", path, headers, size=draw.choice((0, 3, 3000))))
            found.append(Request(target, "GET", path, headers | {FLAKY: "1"}))
    found += [Request(target, "GET", path, {WAIT: str(SLOW)}) for target in targets for path in PATHS[:1]]
    draw.shuffle(found)
    return found
