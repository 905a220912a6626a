"""Runs a storm over a mesh that is up: load, changes, kills, scale, all at once."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.storm.changes import DRAWN
from bench.storm.cluster import Cluster, Pod
from bench.storm.judge import History, Kill, Verdict, judge
from bench.storm.requests import TARGETS, Answer, Request, mix

MESH = Path(__file__).with_name("mesh")
DEPLOYMENTS = ("shop-v1", "shop-v2", "till-v1", "till-v2", "aside-v1")
FRONT = "front.test"


@dataclass(slots=True)
class Storm:
    """What a storm is to be.

    Attributes:
        shared: A folder that the client's pod sees as /shared.
        changes: How many, each `pause` seconds after the one before.
        calibrate: Seconds of load as fast as it goes, to learn the capacity.
        share: Of the capacity, for the rest.
    """

    cluster: Cluster
    shared: Path
    changes: int
    pause: float = 0.2
    kill_every: float = 1.0
    scale_every: float = 3.0
    calibrate: float = 3.0
    share: float = 0.7
    threads: int = 16
    seed: int = 1
    history: History = field(default_factory=History)
    done: Counter[str] = field(default_factory=Counter)
    capacity: float = 0.0

    def run(self) -> Verdict:
        """Run it and judge the answers."""
        draw = random.Random(self.seed)
        version = 0
        for name in DRAWN:
            version += 1
            self._change(name, version, draw)
        time.sleep(1.0)
        inside = mix(tuple(t for t in TARGETS if t != FRONT), draw)
        outside = mix((FRONT,), draw)
        with self._load(inside, outside):
            time.sleep(self.calibrate + 0.5)
            self._weather(draw, version)
        return judge(self._answers({"client": inside, "outside": outside}), self.history)

    def _weather(self, draw: random.Random, version: int) -> None:
        names = [name for name, (_, often) in DRAWN.items() for _ in range(often)]
        began = time.monotonic()
        killed = scaled = began
        for number in range(self.changes):
            self._change(draw.choice(names), version + 1 + number, draw)
            now = time.monotonic()
            if now - killed >= self.kill_every:
                killed = now
                self._kill(draw)
            if now - scaled >= self.scale_every:
                scaled = now
                self._scale(draw)
            time.sleep(max(0.0, began + (number + 1) * self.pause - time.monotonic()))

    def _change(self, name: str, number: int, draw: random.Random) -> None:
        version = DRAWN[name][0](draw, number)
        self.history.begin(name, time.monotonic(), version)
        self.cluster.apply(version.document)
        self.history.taken(name, time.monotonic())
        self.done[name] += 1

    def _kill(self, draw: random.Random) -> None:
        """End a replica without grace; its version keeps another that is ready."""
        pods = [pod for pod in self.cluster.pods() if pod.ready and not pod.ending]
        counts = Counter(pod.deployment for pod in pods)
        spare = [pod for pod in pods if pod.deployment in DEPLOYMENTS and counts[pod.deployment] > 1]
        if not spare:
            self.done["nothing to kill"] += 1
            return
        pod = draw.choice(spare)
        if pod.restarts or draw.random() < 0.5:
            self._delete(pod)
        else:
            self._kill_process(pod)

    def _delete(self, pod: Pod) -> None:
        began = time.monotonic()
        self.cluster.delete_pod(pod.name, 0)
        self._killed(pod, began, deleted=True)

    def _kill_process(self, pod: Pod) -> None:
        began = time.monotonic()
        if self.cluster.kill(pod.name):
            self._killed(pod, began, deleted=False)

    def _killed(self, pod: Pod, began: float, *, deleted: bool) -> None:
        self.history.kills.append(Kill(pod.name, pod.addresses, began, time.monotonic(), deleted))
        self.done["deleted" if deleted else "killed"] += 1

    def _scale(self, draw: random.Random) -> None:
        self.cluster.scale(draw.choice(DEPLOYMENTS), draw.choice((2, 3)))
        self.done["scaled"] += 1

    @contextmanager
    def _load(self, inside: list[Request], outside: list[Request]) -> Iterator[None]:
        """Let the clients ask, in their pod and at the ingress gateway, until the end of the block."""
        host, _, port = str(self.cluster.status["gateways"]["http"]).partition(":")
        common = {"calibrate": self.calibrate, "share": self.share}
        plan = {
            "client": common
            | {"threads": self.threads, "requests": [request.plan(request.target, 80) for request in inside]},
            "outside": common
            | {
                "threads": self.threads // 3,
                "requests": [request.plan(host, int(port)) for request in outside],
            },
        }
        _write(self.shared / "plan.json", json.dumps(plan))
        gateway = subprocess.Popen(
            [sys.executable, str(MESH / "app.py"), "load", str(self.shared)],
            env=os.environ | {"ROLE": "outside"},
        )
        try:
            yield
        finally:
            (self.shared / "stop").touch()
            gateway.wait(60)

    def _answers(self, requests: dict[str, list[Request]]) -> list[Answer]:
        found = []
        for role, asked in requests.items():
            told = _read(self.shared / f"{role}.out")
            self.capacity += told["capacity"]
            found += [
                Answer(asked[number], began, ended, status, fields, body)
                for number, began, ended, status, fields, body in told["lines"]
            ]
        return found


def _write(path: Path, text: str) -> None:
    part = path.with_suffix(".part")
    part.write_text(text)
    part.rename(path)


def _read(path: Path) -> dict[str, Any]:
    deadline = time.monotonic() + 30
    while not path.exists():
        if time.monotonic() > deadline:
            raise FileNotFoundError(f"{path}: the client has not written what came of its requests")
        time.sleep(0.05)
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def prepare(folder: Path, shared: Path) -> Path:
    """Copy the mesh's sources to `folder`, with `shared` in the client's pod; return where they are."""
    source = folder / "storm"
    shutil.copytree(MESH, source)
    manifest = source / "apps.yaml"
    manifest.write_text(manifest.read_text().replace("SHARED", str(shared)))
    shared.mkdir(exist_ok=True)
    shared.chmod(0o777)
    return source
