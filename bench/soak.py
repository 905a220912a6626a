"""``make soak``: Bookinfo for a while, with everything changing, and what must not grow watched.

Certificates live four seconds, traffic flows, routing rules change several times a second, pods are scaled
up and down. At the end: no failed request, and memory, descriptors and threads where they were after the
warm-up. Then the parsers are fuzzed: the suite's properties, with many more examples. Results go to
bench/results/soak.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "samples" / "bookinfo"
RESULTS = Path(__file__).parent / "results"
BIN = Path(sys.executable).parent
WARM_UP = 15.0
GROWTH = 12 * 1024  # kB that memory may grow by after the warm-up: histograms and rings fill
FOLDERS = ["tests/proxy", "tests/config", "tests/runtime/dns", "tests/api"]
FUZZED = "split or never or any or cut or fuzz or crash"  # the properties' names


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=180, help="how long traffic flows (default: 180)")
    parser.add_argument("--rate", type=float, default=40, help="pages per second (default: 40)")
    parser.add_argument("--examples", type=int, default=2000, help="per fuzzed property (default: 2000)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="devmesh-soak-") as folder:
        result = soak(Path(folder), asked.seconds, asked.rate)
    result["fuzz"] = fuzz(asked.examples)
    result["time"] = datetime.now(UTC).isoformat(timespec="seconds")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "soak.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    problems = verdict(result)
    for problem in problems:
        print(f"soak: {problem}", file=sys.stderr)
    return 1 if problems else 0


def soak(folder: Path, seconds: float, rate: float) -> dict[str, Any]:
    environment = dict(os.environ) | {"XDG_STATE_HOME": str(folder), "DEVMESH_MESH": "soak"}
    _mesh_file(folder)
    ports = [f"--{port}=0" for port in ("port", "tls-port", "http-port", "https-port")]
    _devmesh(environment, "up", "-d", "-f", str(folder), "--runtime", "process", *ports)
    try:
        status = json.loads(_devmesh(environment, "status", "-o", "json"))
        page = f"http://{status['gateways']['http']}/productpage"
        load = subprocess.Popen(
            [BIN / "devmesh", "traffic", page, "-r", str(rate), "-t", f"{seconds:g}s", "-c", "8", "-q",
             "-o", "json"],
            env=environment, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        before = during = measure(status["pid"])
        changes, started = 0, time.monotonic()
        peak = before["rss_kb"]
        while load.poll() is None:
            changes += change(environment, changes)
            during = measure(status["pid"])
            peak = max(peak, during["rss_kb"])
            if time.monotonic() - started < WARM_UP:
                before = during
        assert load.stdout
        return {
            "seconds": seconds,
            "traffic": json.loads(load.stdout.read()),
            "changes": changes,
            "after_warm_up": before,
            "at_the_end": during,
            "peak_rss_kb": peak,
        }
    finally:
        _devmesh(environment, "down")


def change(environment: dict[str, str], n: int) -> int:
    """Change something, as a user would; return how many changes that were."""
    files = [
        "virtual-service-all-v1.yaml",
        "virtual-service-reviews-50-v3.yaml",
        "virtual-service-reviews-v3.yaml",
    ]
    _devmesh(environment, "apply", "-f", str(SAMPLE / "networking" / files[n % len(files)]))
    if n % 20 == 10:
        _devmesh(environment, "scale", "deploy/details-v1", "--replicas", str(1 + n // 20 % 3))
    time.sleep(0.2)
    return 1


def measure(pid: int) -> dict[str, int]:
    status = Path(f"/proc/{pid}/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return {
        "rss_kb": int(fields["VmRSS"].split()[0]),
        "threads": int(fields["Threads"]),
        "descriptors": len(list(Path(f"/proc/{pid}/fd").iterdir())),
    }


def fuzz(examples: int) -> str:
    """Run the suite's properties with many examples; return pytest's last line."""
    environment = dict(os.environ) | {"DEVMESH_EXAMPLES": str(examples)}
    done = subprocess.run(
        [BIN / "python", "-m", "pytest", "-q", "-m", "not docker and not netns and not browser",
         "--hypothesis-profile=soak", "-p", "no:cacheprovider", "-k", FUZZED, *FOLDERS],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout.strip().splitlines()[-1]


def verdict(result: dict[str, Any]) -> list[str]:
    problems = []
    if result["traffic"]["errors"] or result["traffic"]["codes"].keys() - {"200"}:
        problems.append(f"requests failed: {result['traffic']['codes']} {result['traffic']['errors']}")
    before, after = result["after_warm_up"], result["at_the_end"]
    if after["rss_kb"] - before["rss_kb"] > GROWTH:
        problems.append(f"memory grew from {before['rss_kb']} to {after['rss_kb']} kB")
    if after["threads"] > before["threads"] + 4 or after["descriptors"] > before["descriptors"] * 1.5 + 40:
        problems.append(f"threads or descriptors grew: {before} {after}")
    if "failed" in result["fuzz"] or "error" in result["fuzz"]:
        problems.append(f"fuzzing: {result['fuzz']}")
    return problems


def _mesh_file(folder: Path) -> None:
    file = yaml.safe_load((SAMPLE / "devmesh.yaml").read_text())
    spec = file["spec"]
    spec["meshConfig"] = {"defaultConfig": {"proxyMetadata": {"SECRET_TTL": "4s"}}}
    spec["resources"] = [str(SAMPLE / path) for path in spec["resources"]]
    for image in spec["images"]:
        image.pop("build", None)
        image["process"]["workdir"] = str(SAMPLE / image["process"]["workdir"])
    (folder / "devmesh.yaml").write_text(yaml.safe_dump(file))


def _devmesh(environment: dict[str, str], *args: str) -> str:
    done = subprocess.run(
        [BIN / "devmesh", *args], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"devmesh {' '.join(args)}: {done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
