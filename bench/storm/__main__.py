"""``python -m bench.storm``: the whole storm, on a mesh of its own; part of ``make soak``. Results go to
bench/results/storm.json."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.storm.cluster import Cluster
from bench.storm.run import Storm, prepare

RESULTS = Path(__file__).parents[1] / "results"
DEVMESH = Path(sys.executable).parent / "devmesh"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.storm", description=__doc__)
    parser.add_argument("--changes", type=int, default=500, help="of rules (default: 500)")
    parser.add_argument("--pause", type=float, default=0.2, help="seconds between them (default: 0.2)")
    parser.add_argument("--seed", type=int, default=1, help="of what is random (default: 1)")
    parser.add_argument("--runtime", default="process", help="process or docker (default: process)")
    parser.add_argument("--show", type=int, default=20, help="failures to print (default: 20)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="devmesh-storm-") as folder:
        result = storm(Path(folder), asked.changes, asked.pause, asked.seed, asked.runtime)
    failures = result.pop("failures")
    result |= {"failures": len(failures), "time": datetime.now(UTC).isoformat(timespec="seconds")}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "storm.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    for failure in failures[: asked.show]:
        print(f"storm: {failure}", file=sys.stderr)
    return 1 if failures else 0


def storm(folder: Path, changes: int, pause: float, seed: int, runtime: str) -> dict[str, Any]:
    """Bring a mesh up in `folder`, run a storm over it, return what came of it."""
    shared = folder / "shared"
    source = prepare(folder, shared)
    environment = dict(os.environ) | {"XDG_STATE_HOME": str(folder), "DEVMESH_MESH": "storm"}
    ports = [f"--{port}=0" for port in ("port", "tls-port", "http-port", "https-port")]
    _devmesh(environment, "up", "-d", "-f", str(source), "--runtime", runtime, *ports)
    try:
        cluster = Cluster(json.loads(_devmesh(environment, "status", "-o", "json")))
        whole = Storm(cluster, shared, changes, pause, seed=seed)
        verdict = whole.run()
        cluster.close()
    finally:
        _devmesh(environment, "down")
    return {
        "requests": verdict.answers,
        "requests_per_second_at_full_load": round(whole.capacity),
        "statuses": dict(sorted(verdict.statuses.items())),
        "accidents": verdict.accidents,
        "transitions": verdict.transitions,
        "events": dict(whole.done),
        "failures": verdict.failures,
    }


def _devmesh(environment: dict[str, str], *args: str) -> str:
    done = subprocess.run([DEVMESH, *args], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"devmesh {' '.join(args)}: {done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
